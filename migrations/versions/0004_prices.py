"""Prices: where a price was read and when, tiers, and what is charged by the image, the second, the text or the call.

A row with `vendor` is one of a public price list and prices that vendor's model whatever the provider is called here.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PRICES = """
    ALTER TABLE prices
        ADD COLUMN vendor text,
        ADD COLUMN image_pico bigint,
        ADD COLUMN audio_second_pico bigint,
        ADD COLUMN character_pico bigint,
        ADD COLUMN request_pico bigint,
        ADD COLUMN tiers jsonb DEFAULT '[]'::jsonb NOT NULL,
        ADD COLUMN reference text,
        ADD COLUMN checked_on date,
        DROP CONSTRAINT ck_prices_source,
        ADD CONSTRAINT ck_prices_source CHECK (source IN ('file', 'api', 'builtin', 'list')),
        ADD CONSTRAINT ck_prices_vendor CHECK (
            (source = 'list') = (vendor IS NOT NULL) AND (vendor IS NULL OR (provider IS NULL AND tenant_id IS NULL))
        )
"""


def upgrade() -> None:
    op.execute(PRICES)
    op.execute(
        "CREATE INDEX ix_prices_vendor_model ON prices (vendor, model, effective_at DESC) WHERE vendor IS NOT NULL"
    )


def downgrade() -> None:
    raise NotImplementedError("Prices with tiers do not fit the schema before; restore the backup instead.")
