"""Runs that were ended before their time. Run keys have no rows; what is kept is which of them are refused."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ENDED_RUNS = """
    CREATE TABLE ended_runs (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        key_id uuid NOT NULL,
        run_id uuid,
        issued_before timestamptz,
        ends_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        created_by uuid,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_ended_runs PRIMARY KEY (id),
        CONSTRAINT ck_ended_runs_subject CHECK ((run_id IS NULL) <> (issued_before IS NULL)),
        CONSTRAINT fk_ended_runs_tenant_id_key_id FOREIGN KEY(tenant_id, key_id) REFERENCES api_keys (tenant_id, id)
    )
"""
OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
ALL = "SELECT, INSERT, UPDATE, DELETE"


def upgrade() -> None:
    op.execute(ENDED_RUNS)
    op.execute("CREATE UNIQUE INDEX uq_ended_runs_key_id_run_id ON ended_runs (tenant_id, key_id, run_id)")
    op.execute("ALTER TABLE ended_runs ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE ended_runs FORCE ROW LEVEL SECURITY")
    op.execute(f"GRANT {ALL} ON ended_runs TO tk_platform, tk_app")
    op.execute("CREATE POLICY platform ON ended_runs TO tk_platform USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY tenant ON ended_runs TO tk_app USING ({OWN}) WITH CHECK ({OWN})")
    op.execute("GRANT SELECT ON ended_runs TO tk_lookup")
    op.execute("CREATE POLICY lookup ON ended_runs FOR SELECT TO tk_lookup USING (true)")


def downgrade() -> None:
    op.execute("DROP TABLE ended_runs")
