"""The foundation: every table of the first release, with row-level security forced from the start.

The roles exist before (`tollkeeper/db/roles.py`), and this runs as `tk_owner`.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE tenants (
        id uuid NOT NULL,
        name text NOT NULL,
        slug text NOT NULL,
        email text,
        is_active boolean DEFAULT true NOT NULL,
        rate_limit integer,
        monthly_budget_nano bigint,
        allowed_models text[],
        allowed_providers text[],
        logging_policy text DEFAULT 'metadata' NOT NULL,
        settings jsonb DEFAULT '{}'::jsonb NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_tenants PRIMARY KEY (id),
        CONSTRAINT ck_tenants_rate_limit CHECK (rate_limit > 0),
        CONSTRAINT ck_tenants_monthly_budget_nano CHECK (monthly_budget_nano >= 0),
        CONSTRAINT ck_tenants_logging_policy CHECK (logging_policy IN ('none', 'metadata', 'redacted', 'full'))
    )
    """,
    "CREATE UNIQUE INDEX uq_tenants_name ON tenants (lower(name))",
    "CREATE UNIQUE INDEX uq_tenants_slug ON tenants (slug)",
    """
    CREATE TABLE users (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        email text NOT NULL,
        name text NOT NULL,
        password_hash text,
        role text NOT NULL,
        is_active boolean DEFAULT true NOT NULL,
        preferences jsonb DEFAULT '{}'::jsonb NOT NULL,
        session_epoch integer DEFAULT 0 NOT NULL,
        last_login_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_users PRIMARY KEY (id),
        CONSTRAINT ck_users_role CHECK (role IN ('platform_admin', 'tenant_admin', 'developer', 'finance', 'auditor', 'viewer')),
        CONSTRAINT fk_users_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT uq_users_tenant_id_id UNIQUE (tenant_id, id)
    )
    """,
    "CREATE UNIQUE INDEX uq_users_email ON users (lower(email))",
    """
    CREATE TABLE sessions (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        family_id uuid NOT NULL,
        token_digest bytea NOT NULL,
        last_used_at timestamptz,
        expires_at timestamptz NOT NULL,
        revoked_at timestamptz,
        replaced_by uuid,
        user_agent text,
        address text,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_sessions PRIMARY KEY (id),
        CONSTRAINT fk_sessions_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_sessions_family_id ON sessions (family_id)",
    "CREATE INDEX ix_sessions_tenant_id_user_id ON sessions (tenant_id, user_id)",
    "CREATE UNIQUE INDEX uq_sessions_token_digest ON sessions (token_digest)",
    """
    CREATE TABLE api_keys (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        name text NOT NULL,
        public_id text,
        digest bytea NOT NULL,
        pepper_id text NOT NULL,
        previous_digest bytea,
        previous_pepper_id text,
        previous_expires_at timestamptz,
        display_prefix text NOT NULL,
        last_four text NOT NULL,
        environment text DEFAULT 'live' NOT NULL,
        scopes text[] NOT NULL,
        status text DEFAULT 'active' NOT NULL,
        expires_at timestamptz,
        revoked_at timestamptz,
        rate_limit_override integer,
        allowed_models_override text[],
        tags jsonb DEFAULT '{}'::jsonb NOT NULL,
        last_used_at timestamptz,
        created_by uuid,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_api_keys PRIMARY KEY (id),
        CONSTRAINT ck_api_keys_environment CHECK (environment IN ('live', 'test')),
        CONSTRAINT ck_api_keys_status CHECK (status IN ('active', 'revoked')),
        CONSTRAINT ck_api_keys_scopes CHECK (scopes <@ ARRAY['inference', 'admin']::text[] AND scopes <> '{}'),
        CONSTRAINT ck_api_keys_rate_limit_override CHECK (rate_limit_override > 0),
        CONSTRAINT fk_api_keys_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT fk_api_keys_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES users (tenant_id, id)
    )
    """,
    "CREATE INDEX ix_api_keys_previous_digest ON api_keys (previous_digest) WHERE previous_digest IS NOT NULL",
    "CREATE INDEX ix_api_keys_tenant_id_id ON api_keys (tenant_id, id)",
    "CREATE INDEX ix_api_keys_tenant_id_user_id ON api_keys (tenant_id, user_id)",
    "CREATE UNIQUE INDEX uq_api_keys_digest ON api_keys (digest) WHERE public_id IS NULL",
    "CREATE UNIQUE INDEX uq_api_keys_public_id ON api_keys (public_id)",
    """
    CREATE TABLE providers (
        id uuid NOT NULL,
        tenant_id uuid,
        name text NOT NULL,
        kind text NOT NULL,
        base_url text,
        allow_private_address boolean DEFAULT false NOT NULL,
        proxy_url bytea,
        ca_bundle text,
        headers jsonb DEFAULT '{}'::jsonb NOT NULL,
        options jsonb DEFAULT '{}'::jsonb NOT NULL,
        timeouts jsonb DEFAULT '{}'::jsonb NOT NULL,
        is_active boolean DEFAULT true NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_providers PRIMARY KEY (id),
        CONSTRAINT fk_providers_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT uq_providers_tenant_id_id UNIQUE (tenant_id, id)
    )
    """,
    "CREATE UNIQUE INDEX uq_providers_name ON providers (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), lower(name))",
    """
    CREATE TABLE provider_credentials (
        id uuid NOT NULL,
        tenant_id uuid,
        provider_id uuid NOT NULL,
        name text NOT NULL,
        envelope bytea NOT NULL,
        kek_id text NOT NULL,
        origins text[] NOT NULL,
        is_active boolean DEFAULT true NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_provider_credentials PRIMARY KEY (id),
        CONSTRAINT fk_provider_credentials_provider_id FOREIGN KEY(provider_id) REFERENCES providers (id) ON DELETE CASCADE,
        CONSTRAINT fk_provider_credentials_tenant_id_provider_id FOREIGN KEY(tenant_id, provider_id) REFERENCES providers (tenant_id, id) ON DELETE CASCADE
    )
    """,
    "CREATE UNIQUE INDEX uq_provider_credentials_name ON provider_credentials (provider_id, lower(name))",
    """
    CREATE TABLE models (
        id uuid NOT NULL,
        tenant_id uuid,
        name text NOT NULL,
        strategy text DEFAULT 'priority' NOT NULL,
        targets jsonb NOT NULL,
        unpriced_policy text DEFAULT 'allow' NOT NULL,
        owned_by text DEFAULT 'tollkeeper' NOT NULL,
        is_active boolean DEFAULT true NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_models PRIMARY KEY (id),
        CONSTRAINT ck_models_unpriced_policy CHECK (unpriced_policy IN ('allow', 'block')),
        CONSTRAINT fk_models_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
    """,
    "CREATE UNIQUE INDEX uq_models_name ON models (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), name)",
    """
    CREATE TABLE prices (
        id uuid NOT NULL,
        tenant_id uuid,
        provider text,
        model text NOT NULL,
        input_pico bigint NOT NULL,
        output_pico bigint NOT NULL,
        cache_read_pico bigint,
        cache_write_pico bigint,
        cache_write_1h_pico bigint,
        input_audio_pico bigint,
        input_image_pico bigint,
        reasoning_pico bigint,
        output_audio_pico bigint,
        output_image_pico bigint,
        effective_at timestamptz NOT NULL,
        source text NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_prices PRIMARY KEY (id),
        CONSTRAINT ck_prices_source CHECK (source IN ('file', 'api', 'builtin')),
        CONSTRAINT ck_prices_amounts CHECK (input_pico >= 0 AND output_pico >= 0),
        CONSTRAINT fk_prices_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
    """,
    "CREATE INDEX ix_prices_model_effective_at ON prices (model, effective_at DESC)",
    """
    CREATE TABLE usage_logs (
        tenant_id uuid NOT NULL,
        day date NOT NULL,
        request_id uuid NOT NULL,
        attempt smallint NOT NULL,
        kind text NOT NULL,
        api_key_id uuid NOT NULL,
        user_id uuid,
        environment text NOT NULL,
        operation text NOT NULL,
        model text NOT NULL,
        provider text NOT NULL,
        upstream_model text NOT NULL,
        status text NOT NULL,
        http_status integer NOT NULL,
        error_code text,
        is_stream boolean DEFAULT false NOT NULL,
        is_estimated boolean DEFAULT false NOT NULL,
        input_tokens bigint DEFAULT 0 NOT NULL,
        cache_read_tokens bigint DEFAULT 0 NOT NULL,
        cache_write_tokens bigint DEFAULT 0 NOT NULL,
        cache_write_1h_tokens bigint DEFAULT 0 NOT NULL,
        input_audio_tokens bigint DEFAULT 0 NOT NULL,
        input_image_tokens bigint DEFAULT 0 NOT NULL,
        output_tokens bigint DEFAULT 0 NOT NULL,
        reasoning_tokens bigint DEFAULT 0 NOT NULL,
        output_audio_tokens bigint DEFAULT 0 NOT NULL,
        output_image_tokens bigint DEFAULT 0 NOT NULL,
        cost_nano bigint,
        charge_nano bigint,
        price_version uuid,
        latency_ms integer NOT NULL,
        first_token_ms integer,
        run_id text,
        team_id uuid,
        tags jsonb,
        end_user text,
        resource_type text DEFAULT 'tokens' NOT NULL,
        quantity bigint DEFAULT 0 NOT NULL,
        client_request_id text,
        upstream_request_id text,
        created_at timestamptz NOT NULL,
        shipped_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_usage_logs PRIMARY KEY (tenant_id, day, request_id, attempt, kind),
        CONSTRAINT ck_usage_logs_kind CHECK (kind IN ('settled', 'interrupted', 'correction')),
        CONSTRAINT ck_usage_logs_status CHECK (status IN ('ok', 'error', 'cancelled', 'interrupted', 'blocked', 'cached'))
    ) PARTITION BY RANGE (day)
    """,
    "CREATE INDEX ix_usage_logs_tenant_id_api_key_id ON usage_logs (tenant_id, api_key_id, created_at DESC)",
    "CREATE INDEX ix_usage_logs_tenant_id_created_at ON usage_logs (tenant_id, created_at DESC, request_id)",
    """
    CREATE TABLE usage_late (
        LIKE usage_logs INCLUDING DEFAULTS,
        CONSTRAINT pk_usage_late PRIMARY KEY (tenant_id, day, request_id, attempt, kind)
    )
    """,
    """
    CREATE TABLE usage_rollups (
        hour timestamptz NOT NULL,
        tenant_id uuid NOT NULL,
        api_key_id uuid NOT NULL,
        user_id uuid NOT NULL,
        model text NOT NULL,
        provider text NOT NULL,
        requests bigint DEFAULT 0 NOT NULL,
        errors bigint DEFAULT 0 NOT NULL,
        prompt_tokens bigint DEFAULT 0 NOT NULL,
        completion_tokens bigint DEFAULT 0 NOT NULL,
        cache_read_tokens bigint DEFAULT 0 NOT NULL,
        cost_nano bigint DEFAULT 0 NOT NULL,
        charge_nano bigint DEFAULT 0 NOT NULL,
        latency_ms_sum bigint DEFAULT 0 NOT NULL,
        unpriced_requests bigint DEFAULT 0 NOT NULL,
        CONSTRAINT pk_usage_rollups PRIMARY KEY (hour, tenant_id, api_key_id, user_id, model, provider)
    )
    """,
    "CREATE INDEX ix_usage_rollups_tenant_id_hour ON usage_rollups (tenant_id, hour)",
    """
    CREATE TABLE audit_logs (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        sequence bigint NOT NULL,
        previous_hash bytea NOT NULL,
        hash bytea NOT NULL,
        actor_type text NOT NULL,
        actor_id text NOT NULL,
        actor_name text NOT NULL,
        action text NOT NULL,
        object_type text NOT NULL,
        object_id text NOT NULL,
        before jsonb,
        after jsonb,
        request_id uuid,
        address inet,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_audit_logs PRIMARY KEY (id),
        CONSTRAINT fk_audit_logs_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
    """,
    "CREATE INDEX ix_audit_logs_tenant_id_object ON audit_logs (tenant_id, object_type, object_id)",
    "CREATE UNIQUE INDEX uq_audit_logs_tenant_id_sequence ON audit_logs (tenant_id, sequence)",
    """
    CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY,
        tenant_id uuid NOT NULL,
        event text NOT NULL,
        payload jsonb NOT NULL,
        delivered_at timestamptz,
        attempts integer DEFAULT 0 NOT NULL,
        next_attempt_at timestamptz DEFAULT now() NOT NULL,
        last_error text,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_outbox PRIMARY KEY (id),
        CONSTRAINT fk_outbox_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
    """,
    "CREATE INDEX ix_outbox_due ON outbox (next_attempt_at, id) WHERE delivered_at IS NULL",
    """
    CREATE TABLE announcements (
        id uuid NOT NULL,
        kind text NOT NULL,
        subject uuid NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_announcements PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_announcements_created_at ON announcements (created_at)",
    """
    CREATE TABLE jobs (
        id uuid NOT NULL,
        tenant_id uuid,
        kind text NOT NULL,
        payload jsonb DEFAULT '{}'::jsonb NOT NULL,
        status text DEFAULT 'queued' NOT NULL,
        priority smallint DEFAULT 0 NOT NULL,
        run_at timestamptz DEFAULT now() NOT NULL,
        attempts integer DEFAULT 0 NOT NULL,
        max_attempts integer DEFAULT 5 NOT NULL,
        leased_by text,
        leased_until timestamptz,
        heartbeat_at timestamptz,
        progress jsonb,
        result jsonb,
        last_error text,
        schedule_key text,
        finished_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_jobs PRIMARY KEY (id),
        CONSTRAINT ck_jobs_status CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'dead', 'cancelled')),
        CONSTRAINT fk_jobs_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
    """,
    "CREATE INDEX ix_jobs_claim ON jobs (priority DESC, run_at, id) WHERE status IN ('queued', 'failed', 'running')",
    "CREATE UNIQUE INDEX uq_jobs_schedule_key ON jobs (schedule_key)",
    """
    CREATE TABLE idempotency_keys (
        tenant_id uuid NOT NULL,
        route text NOT NULL,
        key text NOT NULL,
        body_digest bytea NOT NULL,
        status_code integer,
        response bytea,
        object_id text,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant_id, route, key)
    )
    """,
    "CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at)",
    """
    CREATE TABLE workers (
        id uuid NOT NULL,
        host text NOT NULL,
        pid integer NOT NULL,
        journal_path text NOT NULL,
        started_at timestamptz DEFAULT now() NOT NULL,
        heartbeat_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_workers PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE system_state (
        key text NOT NULL,
        value jsonb NOT NULL,
        CONSTRAINT pk_system_state PRIMARY KEY (key)
    )
    """,
)

# Made by `LIKE` and attached, because that locks the ledger against nothing a running call does.
PARTITION_FUNCTION = """
CREATE FUNCTION create_usage_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp AS $$
DECLARE
    partition text := 'usage_logs_p' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass('public.' || partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE usage_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
    -- A partition asked for by its own name would not apply the ledger's policies: let nobody ask.
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE usage_logs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, day, day + 1);
    RETURN true;
END
$$
"""
PARTITIONS_AHEAD = (
    "SELECT create_usage_partition((now() AT TIME ZONE 'UTC')::date + ahead) FROM generate_series(-1, 7) AS ahead"
)

OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
# What `tk_app` may do inside its tenant, table by table; `tk_platform` has the same over all tenants where not said otherwise.
TENANT_TABLES = {
    "users": "SELECT, INSERT, UPDATE, DELETE",
    "sessions": "SELECT, INSERT, UPDATE, DELETE",
    "api_keys": "SELECT, INSERT, UPDATE, DELETE",
    "usage_logs": "SELECT",
    "usage_late": "SELECT",
    "usage_rollups": "SELECT",
    "audit_logs": "SELECT, INSERT",
    "outbox": "INSERT",
    "jobs": "SELECT, INSERT, UPDATE",
    "idempotency_keys": "SELECT, INSERT, UPDATE, DELETE",
}
# Rows without a tenant belong to the platform: seen by all, changed by none but the platform.
SHARED_TABLES = {
    "providers": "SELECT, INSERT, UPDATE, DELETE",
    "models": "SELECT, INSERT, UPDATE, DELETE",
    "prices": "SELECT, INSERT",
}
PLATFORM_GRANTS = {
    "audit_logs": "SELECT, INSERT",
    "usage_logs": "SELECT, INSERT",
    "usage_late": "SELECT, INSERT",
    "prices": "SELECT, INSERT",
}
ALL_TABLES = (
    "tenants",
    "users",
    "sessions",
    "api_keys",
    "providers",
    "provider_credentials",
    "models",
    "prices",
    "usage_logs",
    "usage_late",
    "usage_rollups",
    "audit_logs",
    "outbox",
    "announcements",
    "jobs",
    "idempotency_keys",
    "workers",
    "system_state",
)
ALL = "SELECT, INSERT, UPDATE, DELETE"
# Columns where a proof needs only some: no password hash and no refresh token is ever read on a call's path.
LOOKUP_GRANTS = {
    "tenants": "SELECT",
    "users": "SELECT (id, tenant_id, email, name, role, is_active, session_epoch, preferences)",
    "sessions": "SELECT (id, tenant_id, user_id, family_id, expires_at, revoked_at)",
    "api_keys": "SELECT",
    "providers": "SELECT",
    "provider_credentials": "SELECT",
    "models": "SELECT",
    "prices": "SELECT",
    "announcements": "SELECT",
    "system_state": "SELECT",
}


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    op.execute(PARTITION_FUNCTION)
    op.execute("REVOKE EXECUTE ON FUNCTION create_usage_partition(date) FROM PUBLIC")
    op.execute(PARTITIONS_AHEAD)
    for table in ALL_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"GRANT {PLATFORM_GRANTS.get(table, ALL)} ON {table} TO tk_platform")
        op.execute(f"CREATE POLICY platform ON {table} TO tk_platform USING (true) WITH CHECK (true)")
    for table, privileges in TENANT_TABLES.items():
        op.execute(f"GRANT {privileges} ON {table} TO tk_app")
        op.execute(f"CREATE POLICY tenant ON {table} TO tk_app USING ({OWN}) WITH CHECK ({OWN})")
    for table, privileges in SHARED_TABLES.items():
        op.execute(f"GRANT {privileges} ON {table} TO tk_app")
        op.execute(f"CREATE POLICY tenant ON {table} TO tk_app USING ({OWN}) WITH CHECK ({OWN})")
        op.execute(f"CREATE POLICY shared ON {table} FOR SELECT TO tk_app USING (tenant_id IS NULL)")
    # A tenant sees and changes itself; making and removing tenants is the platform's.
    own_tenant = OWN.replace("tenant_id", "id")
    op.execute("GRANT SELECT, UPDATE ON tenants TO tk_app")
    op.execute(f"CREATE POLICY tenant ON tenants TO tk_app USING ({own_tenant}) WITH CHECK ({own_tenant})")
    # The secrets of shared providers are nobody's to see.
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON provider_credentials TO tk_app")
    op.execute(f"CREATE POLICY tenant ON provider_credentials TO tk_app USING ({OWN}) WITH CHECK ({OWN})")
    # Announcements name ids only, and every change makes one.
    op.execute("GRANT INSERT ON announcements TO tk_app")
    op.execute("CREATE POLICY announce ON announcements FOR INSERT TO tk_app WITH CHECK (true)")
    for table, privileges in LOOKUP_GRANTS.items():
        op.execute(f"GRANT {privileges} ON {table} TO tk_lookup")
        op.execute(f"CREATE POLICY lookup ON {table} FOR SELECT TO tk_lookup USING (true)")


def downgrade() -> None:
    for table in reversed(ALL_TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION create_usage_partition(date)")
