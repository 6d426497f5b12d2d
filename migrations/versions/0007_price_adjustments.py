"""Margins and discounts: what a tenant is charged for what the vendor takes. The platform's to change, the tenant's to see."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ADJUSTMENTS = """
    CREATE TABLE price_adjustments (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        provider text,
        model text,
        factor numeric(10, 6) NOT NULL,
        request_nano bigint DEFAULT 0 NOT NULL,
        effective_at timestamptz NOT NULL,
        ends_at timestamptz,
        note text,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_price_adjustments PRIMARY KEY (id),
        CONSTRAINT ck_price_adjustments_amounts CHECK (factor >= 0 AND request_nano >= 0),
        CONSTRAINT ck_price_adjustments_times CHECK (ends_at > effective_at),
        CONSTRAINT fk_price_adjustments_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
"""
OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"


def upgrade() -> None:
    op.execute(ADJUSTMENTS)
    op.execute("CREATE INDEX ix_price_adjustments_tenant_id ON price_adjustments (tenant_id, id)")
    op.execute("ALTER TABLE price_adjustments ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE price_adjustments FORCE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON price_adjustments TO tk_platform")
    op.execute("CREATE POLICY platform ON price_adjustments TO tk_platform USING (true) WITH CHECK (true)")
    # As on every table; the grant alone keeps a tenant from writing its own discount.
    op.execute("GRANT SELECT ON price_adjustments TO tk_app")
    op.execute(f"CREATE POLICY tenant ON price_adjustments TO tk_app USING ({OWN}) WITH CHECK ({OWN})")
    op.execute("GRANT SELECT ON price_adjustments TO tk_lookup")
    op.execute("CREATE POLICY lookup ON price_adjustments FOR SELECT TO tk_lookup USING (true)")


def downgrade() -> None:
    raise NotImplementedError(
        "The schema before has no place for what tenants are charged; restore the backup instead."
    )
