"""Attribution: who a call's cost belongs to. Ledger rows name the project; rollups are by team and project too.

Rollups also get the token classes they lacked, taken from the rows of the days that are still there.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NONE = "'00000000-0000-0000-0000-000000000000'::uuid"
_CLASSES = (
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "reasoning_tokens",
    "output_audio_tokens",
    "output_image_tokens",
)
_KEY = "hour, tenant_id, api_key_id, user_id, team_id, project_id, model, provider"


def upgrade() -> None:
    op.execute("ALTER TABLE usage_logs ADD COLUMN project_id uuid")
    op.execute("ALTER TABLE usage_late ADD COLUMN project_id uuid")
    for name in ("team_id", "project_id"):
        # The zero uuid is "none": a primary key holds no NULL.
        op.execute(f"ALTER TABLE usage_rollups ADD COLUMN {name} uuid DEFAULT {_NONE} NOT NULL")
    for name in _CLASSES:
        op.execute(f"ALTER TABLE usage_rollups ADD COLUMN {name} bigint DEFAULT 0 NOT NULL")
    op.execute("ALTER TABLE usage_rollups DROP CONSTRAINT pk_usage_rollups")
    op.execute(f"ALTER TABLE usage_rollups ADD CONSTRAINT pk_usage_rollups PRIMARY KEY ({_KEY})")
    for name in ("team_id", "project_id"):
        op.execute(f"ALTER TABLE usage_rollups ALTER COLUMN {name} DROP DEFAULT")
    # The owner sees no row under forced row-level security.
    op.execute("SELECT set_config('role', 'tk_platform', true)")
    op.execute(_fill())
    op.execute("SELECT set_config('role', 'tk_owner', true)")


def _fill() -> str:
    sums = ", ".join(f"sum({name}) AS {name}" for name in _CLASSES)
    changes = ", ".join(f"{name} = rows.{name}" for name in _CLASSES)
    return f"""
        UPDATE usage_rollups AS rollup SET {changes}
        FROM (
            SELECT tenant_id, date_trunc('hour', created_at, 'UTC') AS hour, api_key_id,
                   coalesce(user_id, {_NONE}) AS user_id, model, provider, {sums}
            FROM (SELECT * FROM usage_logs UNION ALL SELECT * FROM usage_late) AS ledger
            GROUP BY 1, 2, 3, 4, 5, 6
        ) AS rows
        WHERE rollup.tenant_id = rows.tenant_id AND rollup.hour = rows.hour AND rollup.api_key_id = rows.api_key_id
          AND rollup.user_id = rows.user_id AND rollup.model = rows.model AND rollup.provider = rows.provider
    """  # noqa: S608 - names of our own


def downgrade() -> None:
    raise NotImplementedError("Rollups by team and project do not fit the schema before; restore the backup instead.")
