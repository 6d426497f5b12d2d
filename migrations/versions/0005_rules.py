"""Rules: limits and budgets as objects of their own, on every scope.

The short spellings (a tenant's `rate_limit` and `monthly_budget`, a key's `rate_limit_override`) become rules with an
`origin`; their columns go. A rule without a tenant is the platform's.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
ALL = "SELECT, INSERT, UPDATE, DELETE"
_NONE = "'00000000-0000-0000-0000-000000000000'::uuid"
_LARGEST = 9_000_000_000_000_000

_SCOPE = f"""
        id uuid NOT NULL,
        tenant_id uuid,
        name text DEFAULT '' NOT NULL,
        description text DEFAULT '' NOT NULL,
        scope text NOT NULL,
        value text,
        team_id uuid,
        project_id uuid,
        user_id uuid,
        key_id uuid,
        only_tenant_id uuid,
        holder_id uuid GENERATED ALWAYS AS (
            coalesce(key_id, user_id, project_id, team_id, tenant_id, only_tenant_id, {_NONE})
        ) STORED NOT NULL,
        models text[],
        is_per_model boolean DEFAULT false NOT NULL,
        managed_by text DEFAULT 'api' NOT NULL,
        place text,
        origin text,
"""
_CHANGING = """
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
"""


def _constraints(table: str) -> str:
    return f"""
        CONSTRAINT pk_{table} PRIMARY KEY (id),
        CONSTRAINT ck_{table}_scope CHECK (scope IN ('tenant', 'team', 'project', 'user', 'key', 'tag', 'end_user', 'model', 'endpoint', 'provider')),
        CONSTRAINT ck_{table}_subject CHECK (
            num_nonnulls(value, team_id, project_id, user_id, key_id, only_tenant_id) <= 1
            AND (value IS NULL OR scope IN ('tag', 'end_user', 'model', 'endpoint', 'provider'))
            AND (team_id IS NULL OR scope = 'team') AND (project_id IS NULL OR scope = 'project')
            AND (user_id IS NULL OR scope = 'user') AND (key_id IS NULL OR scope = 'key')
            AND (only_tenant_id IS NULL OR scope = 'tenant')
        ),
        CONSTRAINT ck_{table}_platform CHECK (
            CASE WHEN tenant_id IS NULL THEN num_nonnulls(team_id, project_id, user_id, key_id) = 0
            ELSE only_tenant_id IS NULL END
        ),
        CONSTRAINT ck_{table}_managed_by CHECK (managed_by IN ('api', 'file')),
        CONSTRAINT fk_{table}_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT fk_{table}_only_tenant_id FOREIGN KEY(only_tenant_id) REFERENCES tenants (id),
        CONSTRAINT fk_{table}_tenant_id_team_id FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_{table}_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_{table}_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES members (tenant_id, user_id),
        CONSTRAINT fk_{table}_tenant_id_key_id FOREIGN KEY(tenant_id, key_id) REFERENCES api_keys (tenant_id, id)
    """


TABLES = (
    f"""
    CREATE TABLE limits (
        {_SCOPE}
        unit text NOT NULL,
        amount bigint NOT NULL,
        period text,
        burst bigint,
        is_shadow boolean DEFAULT false NOT NULL,
        override_amount bigint,
        override_until timestamptz,
        {_CHANGING}
        CONSTRAINT ck_limits_unit CHECK (unit IN ('requests', 'input_tokens', 'output_tokens', 'total_tokens', 'parallel')),
        CONSTRAINT ck_limits_period CHECK (period IN ('second', 'minute', 'hour', 'day')),
        CONSTRAINT ck_limits_rate CHECK ((unit = 'parallel') = (period IS NULL) AND (unit <> 'parallel' OR burst IS NULL)),
        CONSTRAINT ck_limits_amounts CHECK (amount > 0 AND burst > 0 AND override_amount > 0),
        CONSTRAINT ck_limits_override CHECK ((override_amount IS NULL) = (override_until IS NULL)),
        {_constraints("limits")}
    )
    """,
    f"""
    CREATE TABLE budgets (
        {_SCOPE}
        amount_nano bigint NOT NULL,
        window_kind text NOT NULL,
        time_zone text DEFAULT 'UTC' NOT NULL,
        anchor bigint,
        seconds bigint,
        counts_from bigint NOT NULL,
        is_hard boolean DEFAULT true NOT NULL,
        increase_nano bigint DEFAULT 0 NOT NULL,
        increase_until timestamptz,
        rolls_over boolean DEFAULT false NOT NULL,
        refusal_status smallint DEFAULT 429 NOT NULL,
        thresholds smallint[] DEFAULT '{{80,100}}' NOT NULL,
        {_CHANGING}
        CONSTRAINT ck_budgets_amounts CHECK (
            amount_nano >= 0 AND increase_nano >= 0 AND amount_nano + increase_nano <= {_LARGEST}
        ),
        CONSTRAINT ck_budgets_window CHECK (
            window_kind IN ('hour', 'day', 'week', 'month', 'quarter', 'year', 'total', 'custom')
            AND (window_kind = 'custom') = (seconds IS NOT NULL) AND (window_kind <> 'total' OR NOT rolls_over)
        ),
        CONSTRAINT ck_budgets_refusal_status CHECK (refusal_status IN (402, 429)),
        {_constraints("budgets")}
    )
    """,
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table in ("limits", "budgets"):
        op.execute(f"CREATE INDEX ix_{table}_holder_id ON {table} (holder_id)")
        op.execute(f"CREATE INDEX ix_{table}_tenant_id_id ON {table} (tenant_id, id)")
        for name in ("team_id", "project_id", "user_id", "key_id"):
            op.execute(
                f"CREATE INDEX ix_{table}_tenant_id_{name} ON {table} (tenant_id, {name}) WHERE {name} IS NOT NULL"
            )
        op.execute(f"CREATE UNIQUE INDEX uq_{table}_origin ON {table} (holder_id, origin) WHERE origin IS NOT NULL")
        _protect(table)
    _move()
    op.execute("ALTER TABLE tenants DROP COLUMN rate_limit, DROP COLUMN monthly_budget_nano")
    op.execute("ALTER TABLE api_keys DROP COLUMN rate_limit_override")


def _protect(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"GRANT {ALL} ON {table} TO tk_platform, tk_app")
    op.execute(f"GRANT SELECT ON {table} TO tk_lookup")
    op.execute(f"CREATE POLICY platform ON {table} TO tk_platform USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY tenant ON {table} TO tk_app USING ({OWN}) WITH CHECK ({OWN})")
    op.execute(f"CREATE POLICY lookup ON {table} FOR SELECT TO tk_lookup USING (true)")


def _move() -> None:
    """The owner sees no row under forced row-level security, so the platform's role moves them.

    A rule takes the id of what it stands on, which is unique here.
    """
    connection = op.get_bind()
    connection.execute(sa.text("SELECT set_config('role', 'tk_platform', true)"))
    for counted, moved in (
        (
            "SELECT count(*) FROM tenants WHERE rate_limit IS NOT NULL",
            (
                "INSERT INTO limits (id, tenant_id, scope, unit, amount, period, origin) "
                "SELECT id, id, 'tenant', 'requests', rate_limit, 'minute', 'rate_limit' "
                "FROM tenants WHERE rate_limit IS NOT NULL"
            ),
        ),
        (
            "SELECT count(*) FROM api_keys WHERE rate_limit_override IS NOT NULL",
            (
                "INSERT INTO limits (id, tenant_id, scope, key_id, unit, amount, period, origin) "
                "SELECT id, tenant_id, 'key', id, 'requests', rate_limit_override, 'minute', 'rate_limit_override' "
                "FROM api_keys WHERE rate_limit_override IS NOT NULL"
            ),
        ),
        (
            "SELECT count(*) FROM tenants WHERE monthly_budget_nano IS NOT NULL",
            (
                "INSERT INTO budgets (id, tenant_id, scope, amount_nano, window_kind, counts_from, origin) "
                "SELECT id, id, 'tenant', least(monthly_budget_nano, 9000000000000000), 'month', "
                "extract(epoch FROM date_trunc('month', now(), 'UTC'))::bigint, 'monthly_budget' "
                "FROM tenants WHERE monthly_budget_nano IS NOT NULL"
            ),
        ),
    ):
        expected = connection.execute(sa.text(counted)).scalar_one()
        found = connection.execute(sa.text(moved)).rowcount
        if found != expected:
            raise RuntimeError(f"{found} of {expected} short spellings became rules")
    connection.execute(sa.text("SELECT set_config('role', 'tk_owner', true)"))


def downgrade() -> None:
    raise NotImplementedError("Rules do not fit the schema before; restore the backup instead.")
