"""What is sold of a provider beyond models: paths that are passed through, and fine-tuning jobs with who may see them."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

COLUMNS = ("passthrough", "fine_tuning")
FINE_TUNING_JOBS = """
    CREATE TABLE fine_tuning_jobs (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        project_id uuid,
        environment text NOT NULL,
        provider text NOT NULL,
        credential_id uuid,
        vendor_id text NOT NULL,
        model text NOT NULL,
        document jsonb DEFAULT '{}'::jsonb NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_fine_tuning_jobs PRIMARY KEY (id),
        CONSTRAINT ck_fine_tuning_jobs_environment CHECK (environment IN ('live', 'test')),
        CONSTRAINT uq_fine_tuning_jobs_tenant_id_provider_vendor_id UNIQUE (tenant_id, provider, vendor_id),
        CONSTRAINT fk_fine_tuning_jobs_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
"""
OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
ALL = "SELECT, INSERT, UPDATE, DELETE"


def upgrade() -> None:
    for name in COLUMNS:
        op.execute(f"ALTER TABLE providers ADD COLUMN {name} jsonb")
    op.execute(FINE_TUNING_JOBS)
    op.execute("CREATE INDEX ix_fine_tuning_jobs_tenant_id ON fine_tuning_jobs (tenant_id, id)")
    op.execute("ALTER TABLE fine_tuning_jobs ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE fine_tuning_jobs FORCE ROW LEVEL SECURITY")
    op.execute(f"GRANT {ALL} ON fine_tuning_jobs TO tk_platform")
    op.execute("CREATE POLICY platform ON fine_tuning_jobs TO tk_platform USING (true) WITH CHECK (true)")
    op.execute("GRANT SELECT, INSERT, UPDATE ON fine_tuning_jobs TO tk_app")
    op.execute(f"CREATE POLICY tenant ON fine_tuning_jobs TO tk_app USING ({OWN}) WITH CHECK ({OWN})")


def downgrade() -> None:
    op.execute("DROP TABLE fine_tuning_jobs")
    for name in COLUMNS:
        op.execute(f"ALTER TABLE providers DROP COLUMN {name}")
