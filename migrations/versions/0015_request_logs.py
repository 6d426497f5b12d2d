"""One row per finished call, by day, for whoever looks a call up."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

REQUEST_LOGS = """
    CREATE TABLE request_logs (
        tenant_id uuid NOT NULL,
        day date NOT NULL,
        request_id uuid NOT NULL,
        created_at timestamptz NOT NULL,
        client_request_id text,
        api_key_id uuid NOT NULL,
        user_id uuid,
        team_id uuid,
        project_id uuid,
        environment text NOT NULL,
        operation text NOT NULL,
        dialect text NOT NULL,
        model text,
        provider text,
        upstream_model text,
        is_stream boolean DEFAULT false NOT NULL,
        status text NOT NULL,
        http_status smallint NOT NULL,
        error_code text,
        ended text NOT NULL,
        attempts smallint DEFAULT 0 NOT NULL,
        latency_ms integer NOT NULL,
        first_token_ms integer,
        overhead_us integer NOT NULL,
        prompt_tokens bigint DEFAULT 0 NOT NULL,
        completion_tokens bigint DEFAULT 0 NOT NULL,
        charge_nano bigint,
        cache text,
        guardrail text,
        run_id text,
        end_user text,
        CONSTRAINT pk_request_logs PRIMARY KEY (tenant_id, day, request_id),
        CONSTRAINT ck_request_logs_status CHECK (status IN ('ok', 'error', 'cancelled', 'blocked', 'cached')),
        CONSTRAINT ck_request_logs_ended CHECK (ended IN ('completed', 'refused', 'failed', 'cancelled'))
    ) PARTITION BY RANGE (day)
"""
INDEXES = (
    "CREATE INDEX ix_request_logs_day_request_id ON request_logs (day, request_id)",
    "CREATE INDEX ix_request_logs_tenant_id_api_key_id ON request_logs (tenant_id, api_key_id, day, request_id)",
    "CREATE INDEX ix_request_logs_latency_ms ON request_logs (latency_ms)",
    "CREATE INDEX ix_request_logs_charge_nano ON request_logs (charge_nano)",
    "CREATE INDEX ix_request_logs_tenant_id_client_request_id ON request_logs (tenant_id, client_request_id)",
)
# As the ledger's (0006).
PARTITION_FUNCTION = """
CREATE FUNCTION create_request_log_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp AS $$
DECLARE
    partition text := 'request_logs_p' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass('public.' || partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE request_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
    -- A partition asked for by its own name would not apply the table's policies: let nobody ask.
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE request_logs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, day, day + 1);
    RETURN true;
END
$$
"""
PARTITIONS_AHEAD = (
    "SELECT create_request_log_partition((now() AT TIME ZONE 'UTC')::date + ahead) FROM generate_series(-1, 7) AS ahead"
)
OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"


def upgrade() -> None:
    op.execute(REQUEST_LOGS)
    for index in INDEXES:
        op.execute(index)
    op.execute(PARTITION_FUNCTION)
    op.execute("REVOKE EXECUTE ON FUNCTION create_request_log_partition(date) FROM PUBLIC")
    op.execute(PARTITIONS_AHEAD)
    op.execute("ALTER TABLE request_logs ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE request_logs FORCE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT ON request_logs TO tk_platform")
    op.execute("CREATE POLICY platform ON request_logs TO tk_platform USING (true) WITH CHECK (true)")
    op.execute("GRANT SELECT ON request_logs TO tk_app")
    op.execute(f"CREATE POLICY tenant ON request_logs TO tk_app USING ({OWN}) WITH CHECK ({OWN})")


def downgrade() -> None:
    op.execute("DROP TABLE request_logs")
    op.execute("DROP FUNCTION create_request_log_partition(date)")
