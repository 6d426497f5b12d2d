"""What a model can do, beside what it costs: the longest answer, and how much it reads and writes together."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

FIGURES = ("max_output_tokens", "context_tokens")


def upgrade() -> None:
    for table in ("models", "prices"):
        for name in FIGURES:
            op.execute(f"ALTER TABLE {table} ADD COLUMN {name} integer")
        checks = " AND ".join(f"{name} > 0" for name in FIGURES)
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_figures CHECK ({checks})")


def downgrade() -> None:
    for table in ("models", "prices"):
        for name in FIGURES:
            op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
