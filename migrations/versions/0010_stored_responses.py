"""Answers of the Responses API that are kept for the next turn of their conversations, sealed."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STORED_RESPONSES = """
    CREATE TABLE stored_responses (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        project_id uuid,
        environment text NOT NULL,
        previous_id uuid,
        item_ids text[] NOT NULL,
        envelope bytea NOT NULL,
        kek_id text GENERATED ALWAYS AS (encode(substring(envelope from 2 for 4), 'hex')) STORED NOT NULL,
        expires_at timestamptz NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_stored_responses PRIMARY KEY (id),
        CONSTRAINT ck_stored_responses_environment CHECK (environment IN ('live', 'test')),
        CONSTRAINT fk_stored_responses_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
"""
INDEXES = (
    "CREATE INDEX ix_stored_responses_item_ids ON stored_responses USING gin (item_ids)",
    "CREATE INDEX ix_stored_responses_expires_at ON stored_responses (expires_at)",
    # A start and a rotation of the master key count envelopes by it, and must not read them for that.
    "CREATE INDEX ix_stored_responses_kek_id ON stored_responses (kek_id, id)",
)
OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
ALL = "SELECT, INSERT, UPDATE, DELETE"


def upgrade() -> None:
    op.execute(STORED_RESPONSES)
    # Sealed bytes do not get smaller.
    op.execute("ALTER TABLE stored_responses ALTER COLUMN envelope SET STORAGE EXTERNAL")
    for index in INDEXES:
        op.execute(index)
    op.execute("ALTER TABLE stored_responses ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE stored_responses FORCE ROW LEVEL SECURITY")
    op.execute(f"GRANT {ALL} ON stored_responses TO tk_platform")
    op.execute("CREATE POLICY platform ON stored_responses TO tk_platform USING (true) WITH CHECK (true)")
    op.execute("GRANT SELECT, INSERT, DELETE ON stored_responses TO tk_app")
    op.execute(f"CREATE POLICY tenant ON stored_responses TO tk_app USING ({OWN}) WITH CHECK ({OWN})")


def downgrade() -> None:
    op.execute("DROP TABLE stored_responses")
