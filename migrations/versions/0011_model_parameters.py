"""What a model can do and what its calls are given: capabilities, and an operator's defaults and overrides."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = (("models", "capabilities"), ("models", "parameters"), ("prices", "capabilities"))


def upgrade() -> None:
    for table, name in COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {name} jsonb DEFAULT '{{}}'::jsonb NOT NULL")


def downgrade() -> None:
    for table, name in COLUMNS:
        op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
