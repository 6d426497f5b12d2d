"""Files, whose bytes lie in the object store under a sealed key, and batches with what became of each request."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KEK = "kek_id text GENERATED ALWAYS AS (encode(substring(envelope from 2 for 4), 'hex')) STORED NOT NULL"
FILES = f"""
    CREATE TABLE files (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        project_id uuid,
        environment text NOT NULL,
        status text NOT NULL,
        filename text NOT NULL,
        purpose text NOT NULL,
        size bigint NOT NULL,
        envelope bytea NOT NULL,
        {KEK},
        expires_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_files PRIMARY KEY (id),
        CONSTRAINT ck_files_environment CHECK (environment IN ('live', 'test')),
        CONSTRAINT ck_files_status CHECK (status IN ('uploading', 'processed', 'deleting')),
        CONSTRAINT fk_files_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
"""
BATCHES = f"""
    CREATE TABLE batches (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        project_id uuid,
        environment text NOT NULL,
        key_id uuid NOT NULL,
        endpoint text NOT NULL,
        completion_window text NOT NULL,
        status text NOT NULL,
        input_file_id uuid NOT NULL,
        output_file_id uuid,
        error_file_id uuid,
        output_seconds integer,
        metadata jsonb,
        model text,
        errors jsonb,
        total integer DEFAULT 0 NOT NULL,
        completed integer DEFAULT 0 NOT NULL,
        failed integer DEFAULT 0 NOT NULL,
        runner uuid,
        envelope bytea NOT NULL,
        {KEK},
        expires_at timestamptz NOT NULL,
        in_progress_at timestamptz,
        finalizing_at timestamptz,
        completed_at timestamptz,
        failed_at timestamptz,
        expired_at timestamptz,
        cancelling_at timestamptz,
        cancelled_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_batches PRIMARY KEY (id),
        CONSTRAINT ck_batches_environment CHECK (environment IN ('live', 'test')),
        CONSTRAINT ck_batches_status CHECK (status IN
            ('validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired', 'cancelling', 'cancelled')),
        CONSTRAINT fk_batches_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
"""
BATCH_ITEMS = """
    CREATE TABLE batch_items (
        batch_id uuid NOT NULL,
        line integer NOT NULL,
        tenant_id uuid NOT NULL,
        custom_id text NOT NULL,
        start bigint NOT NULL,
        length integer NOT NULL,
        status text NOT NULL,
        run_after timestamptz DEFAULT now() NOT NULL,
        tries integer DEFAULT 0 NOT NULL,
        request_id uuid,
        interrupted uuid[] DEFAULT '{}'::uuid[] NOT NULL,
        http_status integer,
        outcome bytea,
        CONSTRAINT pk_batch_items PRIMARY KEY (batch_id, line),
        CONSTRAINT ck_batch_items_status CHECK (status IN ('waiting', 'running', 'done', 'failed')),
        CONSTRAINT fk_batch_items_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id) ON DELETE CASCADE
    )
"""
INDEXES = (
    "CREATE INDEX ix_files_tenant_id_id ON files (tenant_id, id)",
    "CREATE INDEX ix_files_expires_at ON files (expires_at)",
    "CREATE INDEX ix_files_kek_id ON files (kek_id, id)",
    "CREATE INDEX ix_batches_tenant_id_id ON batches (tenant_id, id)",
    "CREATE INDEX ix_batches_input_file_id ON batches (input_file_id)",
    "CREATE INDEX ix_batches_kek_id ON batches (kek_id, id)",
    """
    CREATE INDEX ix_batches_open ON batches (id)
        WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling')
    """,
    "CREATE INDEX ix_batch_items_waiting ON batch_items (batch_id, line) WHERE status = 'waiting'",
)
TABLES = ("files", "batches", "batch_items")
OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
ALL = "SELECT, INSERT, UPDATE, DELETE"


def upgrade() -> None:
    for table in (FILES, BATCHES, BATCH_ITEMS, *INDEXES):
        op.execute(table)
    # Sealed bytes do not get smaller.
    op.execute("ALTER TABLE batch_items ALTER COLUMN outcome SET STORAGE EXTERNAL")
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"GRANT {ALL} ON {table} TO tk_platform, tk_app")
        op.execute(f"CREATE POLICY platform ON {table} TO tk_platform USING (true) WITH CHECK (true)")
        op.execute(f"CREATE POLICY tenant ON {table} TO tk_app USING ({OWN}) WITH CHECK ({OWN})")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
