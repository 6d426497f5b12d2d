"""Guardrail policies in versions, where they hold, who is exempt until when, and what they found, by day."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_NONE = "'00000000-0000-0000-0000-000000000000'::uuid"
TABLES = (
    """
    CREATE TABLE guardrail_policies (
        id uuid NOT NULL,
        tenant_id uuid,
        name text NOT NULL,
        description text DEFAULT '' NOT NULL,
        published_number integer,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT '1' NOT NULL,
        CONSTRAINT pk_guardrail_policies PRIMARY KEY (id),
        CONSTRAINT fk_guardrail_policies_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
    """,
    f"""
    CREATE UNIQUE INDEX uq_guardrail_policies_name ON guardrail_policies (coalesce(tenant_id, {_NONE}), lower(name))
    """,
    """
    CREATE TABLE guardrail_policy_versions (
        policy_id uuid NOT NULL,
        number integer NOT NULL,
        tenant_id uuid,
        document jsonb NOT NULL,
        id uuid NOT NULL,
        secrets bytea,
        created_at timestamptz DEFAULT now() NOT NULL,
        published_at timestamptz,
        CONSTRAINT pk_guardrail_policy_versions PRIMARY KEY (policy_id, number),
        CONSTRAINT uq_guardrail_policy_versions_id UNIQUE (id),
        CONSTRAINT fk_guardrail_policy_versions_policy_id FOREIGN KEY(policy_id) REFERENCES guardrail_policies (id)
            ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE guardrail_attachments (
        id uuid NOT NULL,
        policy_id uuid NOT NULL,
        tenant_id uuid,
        level text NOT NULL,
        subject_tenant_id uuid,
        team_id uuid,
        project_id uuid,
        key_id uuid,
        model text,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_guardrail_attachments PRIMARY KEY (id),
        CONSTRAINT ck_guardrail_attachments_level CHECK (
            CASE level
                WHEN 'platform' THEN num_nonnulls(subject_tenant_id, team_id, project_id, key_id, model, tenant_id) = 0
                WHEN 'tenant' THEN num_nonnulls(team_id, project_id, key_id, model) = 0 AND subject_tenant_id IS NOT NULL
                WHEN 'team' THEN num_nonnulls(project_id, key_id, model) = 0 AND num_nonnulls(subject_tenant_id, team_id) = 2
                WHEN 'project' THEN num_nonnulls(team_id, key_id, model) = 0
                    AND num_nonnulls(subject_tenant_id, project_id) = 2
                WHEN 'key' THEN num_nonnulls(team_id, project_id, model) = 0 AND num_nonnulls(subject_tenant_id, key_id) = 2
                WHEN 'model' THEN num_nonnulls(subject_tenant_id, team_id, project_id, key_id) = 0 AND model IS NOT NULL
                ELSE false
            END
        ),
        CONSTRAINT ck_guardrail_attachments_own CHECK (
            tenant_id IS NULL OR subject_tenant_id IS NULL OR subject_tenant_id = tenant_id
        ),
        CONSTRAINT fk_guardrail_attachments_policy_id FOREIGN KEY(policy_id) REFERENCES guardrail_policies (id)
            ON DELETE CASCADE,
        CONSTRAINT fk_guardrail_attachments_subject_tenant_id FOREIGN KEY(subject_tenant_id) REFERENCES tenants (id),
        CONSTRAINT fk_guardrail_attachments_subject_tenant_id_team_id FOREIGN KEY(subject_tenant_id, team_id)
            REFERENCES teams (tenant_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_guardrail_attachments_subject_tenant_id_project_id FOREIGN KEY(subject_tenant_id, project_id)
            REFERENCES projects (tenant_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_guardrail_attachments_subject_tenant_id_key_id FOREIGN KEY(subject_tenant_id, key_id)
            REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE
    )
    """,
    f"""
    CREATE UNIQUE INDEX uq_guardrail_attachments_subject ON guardrail_attachments (
        policy_id, level, coalesce(team_id, project_id, key_id, subject_tenant_id, {_NONE}), coalesce(model, '')
    )
    """,
    "CREATE INDEX ix_guardrail_attachments_team_id ON guardrail_attachments (team_id) WHERE team_id IS NOT NULL",
    "CREATE INDEX ix_guardrail_attachments_project_id ON guardrail_attachments (project_id) WHERE project_id IS NOT NULL",
    "CREATE INDEX ix_guardrail_attachments_key_id ON guardrail_attachments (key_id) WHERE key_id IS NOT NULL",
    """
    CREATE TABLE guardrail_exemptions (
        id uuid NOT NULL,
        policy_id uuid NOT NULL,
        tenant_id uuid,
        rule text NOT NULL,
        label text,
        key_tenant_id uuid NOT NULL,
        key_id uuid NOT NULL,
        reason text NOT NULL,
        created_by uuid NOT NULL,
        expires_at timestamptz NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_guardrail_exemptions PRIMARY KEY (id),
        CONSTRAINT ck_guardrail_exemptions_own CHECK (tenant_id IS NULL OR key_tenant_id = tenant_id),
        CONSTRAINT fk_guardrail_exemptions_policy_id FOREIGN KEY(policy_id) REFERENCES guardrail_policies (id)
            ON DELETE CASCADE,
        CONSTRAINT fk_guardrail_exemptions_key_tenant_id_key_id FOREIGN KEY(key_tenant_id, key_id)
            REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_guardrail_exemptions_policy_id_id ON guardrail_exemptions (policy_id, id)",
    "CREATE INDEX ix_guardrail_exemptions_key_id ON guardrail_exemptions (key_id)",
)
EVENTS = (
    """
    CREATE TABLE guardrail_events (
        tenant_id uuid NOT NULL,
        day date NOT NULL,
        id uuid NOT NULL,
        created_at timestamptz NOT NULL,
        request_id uuid NOT NULL,
        api_key_id uuid NOT NULL,
        user_id uuid,
        model text,
        policy_id uuid NOT NULL,
        policy text NOT NULL,
        policy_version bigint NOT NULL,
        is_platform boolean NOT NULL,
        rule text NOT NULL,
        label text NOT NULL,
        action text NOT NULL,
        is_monitored boolean NOT NULL,
        direction text NOT NULL,
        place text NOT NULL,
        role text NOT NULL,
        count integer NOT NULL,
        envelope bytea,
        kek_id text GENERATED ALWAYS AS (encode(substring(envelope from 2 for 4), 'hex')) STORED,
        CONSTRAINT pk_guardrail_events PRIMARY KEY (tenant_id, day, id)
    ) PARTITION BY RANGE (day)
    """,
    "CREATE INDEX ix_guardrail_events_day_id ON guardrail_events (day, id)",
    "CREATE INDEX ix_guardrail_events_kek_id ON guardrail_events (kek_id) WHERE envelope IS NOT NULL",
)
# As the request log's (0015).
PARTITION_FUNCTION = """
CREATE FUNCTION create_guardrail_event_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp AS $$
DECLARE
    partition text := 'guardrail_events_p' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass('public.' || partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I (LIKE guardrail_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED)', partition
    );
    -- A partition asked for by its own name would not apply the table's policies: let nobody ask.
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE guardrail_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, day, day + 1);
    RETURN true;
END
$$
"""
PARTITIONS_AHEAD = (
    "SELECT create_guardrail_event_partition((now() AT TIME ZONE 'UTC')::date + ahead) "
    "FROM generate_series(-1, 7) AS ahead"
)
OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
ALL = "SELECT, INSERT, UPDATE, DELETE"
OF_POLICIES = ("guardrail_policies", "guardrail_policy_versions", "guardrail_attachments", "guardrail_exemptions")


def upgrade() -> None:
    for statement in (*TABLES, *EVENTS):
        op.execute(statement)
    op.execute(PARTITION_FUNCTION)
    op.execute("REVOKE EXECUTE ON FUNCTION create_guardrail_event_partition(date) FROM PUBLIC")
    op.execute(PARTITIONS_AHEAD)
    for table in (*OF_POLICIES, "guardrail_events"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"GRANT {ALL} ON {table} TO tk_platform")
        op.execute(f"CREATE POLICY platform ON {table} TO tk_platform USING (true) WITH CHECK (true)")
        # A tenant sees and changes its own; of the platform's it sees what they do to its calls.
        op.execute(f"GRANT {ALL if table in OF_POLICIES else 'SELECT'} ON {table} TO tk_app")
        op.execute(f"CREATE POLICY tenant ON {table} TO tk_app USING ({OWN}) WITH CHECK ({OWN})")
    for table in OF_POLICIES:
        op.execute(f"GRANT SELECT ON {table} TO tk_lookup")
        op.execute(f"CREATE POLICY lookup ON {table} FOR SELECT TO tk_lookup USING (true)")


def downgrade() -> None:
    op.execute("DROP TABLE guardrail_events")
    op.execute("DROP FUNCTION create_guardrail_event_partition(date)")
    for table in reversed(OF_POLICIES):
        op.execute(f"DROP TABLE {table}")
