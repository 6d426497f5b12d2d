"""Tenancy: members with roles, custom roles, teams and projects, invitations, second factors, identity providers.

A user's role moves to `members`, so that one person may act in several tenants; `users.tenant_id` stays as the tenant
that manages the account.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ROLES = "'platform_admin', 'tenant_admin', 'developer', 'finance', 'auditor', 'viewer', 'custom'"

# What a level of the tree may narrow for everything below it.
_NODE = """
        name text NOT NULL,
        description text DEFAULT '' NOT NULL,
        is_active boolean DEFAULT true NOT NULL,
        allowed_models text[],
        allowed_providers text[],
        logging_policy text,
        tags jsonb DEFAULT '{}'::jsonb NOT NULL,
        flags jsonb DEFAULT '{}'::jsonb NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
"""

TABLES = (
    """
    CREATE TABLE roles (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        name text NOT NULL,
        description text DEFAULT '' NOT NULL,
        permissions text[] NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_roles PRIMARY KEY (id),
        CONSTRAINT fk_roles_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT uq_roles_tenant_id_id UNIQUE (tenant_id, id)
    )
    """,
    "CREATE UNIQUE INDEX uq_roles_tenant_id_name ON roles (tenant_id, lower(name))",
    f"""
    CREATE TABLE members (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        role text NOT NULL,
        role_id uuid,
        is_active boolean DEFAULT true NOT NULL,
        removed_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_members PRIMARY KEY (id),
        CONSTRAINT ck_members_role CHECK (role IN ({_ROLES}) AND (role = 'custom') = (role_id IS NOT NULL)),
        CONSTRAINT fk_members_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT fk_members_user_id FOREIGN KEY(user_id) REFERENCES users (id),
        CONSTRAINT fk_members_tenant_id_role_id FOREIGN KEY(tenant_id, role_id) REFERENCES roles (tenant_id, id),
        CONSTRAINT uq_members_tenant_id_user_id UNIQUE (tenant_id, user_id)
    )
    """,
    "CREATE INDEX ix_members_user_id ON members (user_id)",
    f"""
    CREATE TABLE teams (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        {_NODE}
        CONSTRAINT pk_teams PRIMARY KEY (id),
        CONSTRAINT ck_teams_logging_policy CHECK (logging_policy IN ('none', 'metadata', 'redacted', 'full')),
        CONSTRAINT fk_teams_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT uq_teams_tenant_id_id UNIQUE (tenant_id, id)
    )
    """,
    "CREATE UNIQUE INDEX uq_teams_tenant_id_name ON teams (tenant_id, lower(name))",
    """
    CREATE TABLE team_members (
        tenant_id uuid NOT NULL,
        team_id uuid NOT NULL,
        user_id uuid NOT NULL,
        role text DEFAULT 'member' NOT NULL,
        source text DEFAULT 'manual' NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_team_members PRIMARY KEY (tenant_id, team_id, user_id),
        CONSTRAINT ck_team_members_role CHECK (role IN ('member', 'maintainer')),
        CONSTRAINT ck_team_members_source CHECK (source IN ('manual', 'identity_provider')),
        CONSTRAINT fk_team_members_tenant_id_team_id FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_team_members_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES members (tenant_id, user_id)
    )
    """,
    "CREATE INDEX ix_team_members_tenant_id_user_id ON team_members (tenant_id, user_id)",
    f"""
    CREATE TABLE projects (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        team_id uuid,
        {_NODE}
        CONSTRAINT pk_projects PRIMARY KEY (id),
        CONSTRAINT ck_projects_logging_policy CHECK (logging_policy IN ('none', 'metadata', 'redacted', 'full')),
        CONSTRAINT fk_projects_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT fk_projects_tenant_id_team_id FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id),
        CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
    )
    """,
    "CREATE UNIQUE INDEX uq_projects_tenant_id_name ON projects (tenant_id, lower(name))",
    "CREATE INDEX ix_projects_tenant_id_team_id ON projects (tenant_id, team_id)",
    f"""
    CREATE TABLE invitations (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        email text NOT NULL,
        role text NOT NULL,
        role_id uuid,
        team_id uuid,
        digest bytea NOT NULL,
        invited_by uuid NOT NULL,
        expires_at timestamptz NOT NULL,
        accepted_at timestamptz,
        accepted_by uuid,
        revoked_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_invitations PRIMARY KEY (id),
        CONSTRAINT ck_invitations_role CHECK (role IN ({_ROLES}) AND (role = 'custom') = (role_id IS NOT NULL)),
        CONSTRAINT fk_invitations_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT fk_invitations_tenant_id_role_id FOREIGN KEY(tenant_id, role_id) REFERENCES roles (tenant_id, id),
        CONSTRAINT fk_invitations_tenant_id_team_id FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id)
    )
    """,
    "CREATE UNIQUE INDEX uq_invitations_digest ON invitations (digest)",
    "CREATE INDEX ix_invitations_tenant_id_id ON invitations (tenant_id, id)",
    """
    CREATE TABLE one_time_links (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        purpose text NOT NULL,
        digest bytea NOT NULL,
        created_by uuid,
        expires_at timestamptz NOT NULL,
        used_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_one_time_links PRIMARY KEY (id),
        CONSTRAINT ck_one_time_links_purpose CHECK (purpose IN ('password_reset', 'email_verification')),
        CONSTRAINT fk_one_time_links_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
    )
    """,
    "CREATE UNIQUE INDEX uq_one_time_links_digest ON one_time_links (digest)",
    "CREATE INDEX ix_one_time_links_tenant_id_user_id ON one_time_links (tenant_id, user_id)",
    """
    CREATE TABLE second_factors (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        secret bytea NOT NULL,
        confirmed_at timestamptz,
        last_step bigint DEFAULT 0 NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_second_factors PRIMARY KEY (id),
        CONSTRAINT fk_second_factors_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
        CONSTRAINT uq_second_factors_tenant_id_user_id UNIQUE (tenant_id, user_id)
    )
    """,
    """
    CREATE TABLE recovery_codes (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        user_id uuid NOT NULL,
        digest bytea NOT NULL,
        used_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_recovery_codes PRIMARY KEY (id),
        CONSTRAINT fk_recovery_codes_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_recovery_codes_tenant_id_user_id ON recovery_codes (tenant_id, user_id)",
    """
    CREATE TABLE identity_providers (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        name text NOT NULL,
        issuer text NOT NULL,
        client_id text,
        client_secret bytea,
        scopes text[] DEFAULT '{openid,email,profile}' NOT NULL,
        is_active boolean DEFAULT true NOT NULL,
        allows_sign_in boolean DEFAULT true NOT NULL,
        allows_workloads boolean DEFAULT false NOT NULL,
        audience text,
        email_domains text[],
        creates_users boolean DEFAULT true NOT NULL,
        default_role text,
        role_claim text,
        role_map jsonb DEFAULT '{}'::jsonb NOT NULL,
        group_claim text,
        group_map jsonb DEFAULT '{}'::jsonb NOT NULL,
        allow_private_address boolean DEFAULT false NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_identity_providers PRIMARY KEY (id),
        CONSTRAINT fk_identity_providers_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
        CONSTRAINT uq_identity_providers_tenant_id_id UNIQUE (tenant_id, id)
    )
    """,
    "CREATE UNIQUE INDEX uq_identity_providers_tenant_id_name ON identity_providers (tenant_id, lower(name))",
    "CREATE INDEX ix_identity_providers_issuer ON identity_providers (issuer)",
    """
    CREATE TABLE external_identities (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        provider_id uuid NOT NULL,
        subject text NOT NULL,
        user_id uuid NOT NULL,
        email text,
        last_login_at timestamptz,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_external_identities PRIMARY KEY (id),
        CONSTRAINT fk_external_identities_tenant_id_provider_id FOREIGN KEY(tenant_id, provider_id) REFERENCES identity_providers (tenant_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_external_identities_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES members (tenant_id, user_id),
        CONSTRAINT uq_external_identities_tenant_id_provider_id_subject UNIQUE (tenant_id, provider_id, subject)
    )
    """,
    "CREATE INDEX ix_external_identities_tenant_id_user_id ON external_identities (tenant_id, user_id)",
    """
    CREATE TABLE workload_bindings (
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        provider_id uuid NOT NULL,
        key_id uuid NOT NULL,
        name text NOT NULL,
        claims jsonb NOT NULL,
        is_active boolean DEFAULT true NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT 1 NOT NULL,
        CONSTRAINT pk_workload_bindings PRIMARY KEY (id),
        CONSTRAINT fk_workload_bindings_tenant_id_provider_id FOREIGN KEY(tenant_id, provider_id) REFERENCES identity_providers (tenant_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_workload_bindings_tenant_id_key_id FOREIGN KEY(tenant_id, key_id) REFERENCES api_keys (tenant_id, id)
    )
    """,
    "CREATE UNIQUE INDEX uq_workload_bindings_tenant_id_name ON workload_bindings (tenant_id, lower(name))",
    "CREATE INDEX ix_workload_bindings_tenant_id_key_id ON workload_bindings (tenant_id, key_id)",
    "CREATE INDEX ix_workload_bindings_tenant_id_provider_id ON workload_bindings (tenant_id, provider_id)",
    """
    CREATE TABLE consumed_tokens (
        digest bytea NOT NULL,
        purpose text NOT NULL,
        expires_at timestamptz NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_consumed_tokens PRIMARY KEY (digest)
    )
    """,
    "CREATE INDEX ix_consumed_tokens_expires_at ON consumed_tokens (expires_at)",
)

COLUMNS = (
    "ALTER TABLE tenants ADD COLUMN flags jsonb DEFAULT '{}'::jsonb NOT NULL",
    "ALTER TABLE tenants ADD COLUMN suspension_reason text",
    "ALTER TABLE tenants ADD COLUMN require_second_factor boolean DEFAULT false NOT NULL",
    "ALTER TABLE users ADD COLUMN kind text DEFAULT 'person' NOT NULL",
    "ALTER TABLE users ADD CONSTRAINT ck_users_kind CHECK (kind IN ('person', 'service'))",
    "ALTER TABLE users ADD COLUMN email_verified_at timestamptz",
    "ALTER TABLE users ADD COLUMN password_changed_at timestamptz",
    "ALTER TABLE sessions ADD COLUMN authenticated_at timestamptz DEFAULT now() NOT NULL",
    "ALTER TABLE sessions ADD COLUMN method text DEFAULT 'password' NOT NULL",
    "ALTER TABLE sessions ADD COLUMN epoch integer DEFAULT 0 NOT NULL",
    "ALTER TABLE api_keys ADD CONSTRAINT uq_api_keys_tenant_id_id UNIQUE (tenant_id, id)",
    "DROP INDEX ix_api_keys_tenant_id_id",
    "ALTER TABLE api_keys ADD COLUMN team_id uuid",
    "ALTER TABLE api_keys ADD COLUMN project_id uuid",
    "ALTER TABLE api_keys ADD COLUMN allowed_endpoints text[]",
    "ALTER TABLE api_keys ADD COLUMN allowed_addresses text[]",
    "ALTER TABLE api_keys ADD COLUMN allowed_origins text[]",
    "ALTER TABLE api_keys ADD COLUMN allowed_providers_override text[]",
    "ALTER TABLE api_keys ADD COLUMN is_imported boolean DEFAULT false NOT NULL",
    "ALTER TABLE api_keys ADD CONSTRAINT fk_api_keys_tenant_id_team_id FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id)",
    "ALTER TABLE api_keys ADD CONSTRAINT fk_api_keys_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)",
    "CREATE INDEX ix_api_keys_tenant_id_team_id ON api_keys (tenant_id, team_id)",
    "CREATE INDEX ix_api_keys_tenant_id_project_id ON api_keys (tenant_id, project_id)",
    "ALTER TABLE audit_logs ADD COLUMN outcome text DEFAULT 'success' NOT NULL",
    "ALTER TABLE audit_logs ADD CONSTRAINT ck_audit_logs_outcome CHECK (outcome IN ('success', 'refused'))",
    "CREATE INDEX ix_audit_logs_tenant_id_actor_id ON audit_logs (tenant_id, actor_id, sequence)",
    "CREATE INDEX ix_audit_logs_tenant_id_action ON audit_logs (tenant_id, action text_pattern_ops, sequence)",
    "CREATE INDEX ix_audit_logs_tenant_id_created_at ON audit_logs (tenant_id, created_at)",
    "CREATE INDEX ix_audit_logs_tenant_id_request_id ON audit_logs (tenant_id, request_id)",
    "CREATE INDEX ix_audit_logs_tenant_id_address ON audit_logs (tenant_id, address)",
    "CREATE INDEX ix_audit_logs_refused ON audit_logs (tenant_id, sequence) WHERE outcome = 'refused'",
)

OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
ALL = "SELECT, INSERT, UPDATE, DELETE"
TENANT_TABLES = (
    "roles",
    "members",
    "teams",
    "team_members",
    "projects",
    "invitations",
    "one_time_links",
    "second_factors",
    "recovery_codes",
    "identity_providers",
    "external_identities",
    "workload_bindings",
)
# Columns where a proof needs only some.
LOOKUP_GRANTS = {
    "roles": "SELECT",
    "members": "SELECT",
    "teams": "SELECT",
    "projects": "SELECT",
    "identity_providers": "SELECT (id, tenant_id, name, issuer, client_id, is_active, allows_sign_in, allows_workloads, audience, allow_private_address)",
    "workload_bindings": "SELECT",
    "second_factors": "SELECT (id, tenant_id, user_id, confirmed_at)",
}


def upgrade() -> None:
    for statement in TABLES[:3]:
        op.execute(statement)
    _protect("roles")
    _protect("members")
    _move_roles()
    op.execute("ALTER TABLE users DROP COLUMN role")
    # A key's owner and a session's user are members of the tenant, not necessarily of its own accounts.
    for table, action in (("api_keys", ""), ("sessions", " ON DELETE CASCADE")):
        name = f"fk_{table}_tenant_id_user_id"
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY(tenant_id, user_id) "
            f"REFERENCES members (tenant_id, user_id){action}"
        )
    later = [statement for statement in TABLES[3:] if "workload_bindings" not in statement]
    bindings = [statement for statement in TABLES[3:] if "workload_bindings" in statement]
    for statement in (*later, *COLUMNS, *bindings):
        op.execute(statement)
    for table in TENANT_TABLES[2:]:
        _protect(table)
    op.execute("ALTER TABLE consumed_tokens ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE consumed_tokens FORCE ROW LEVEL SECURITY")
    op.execute(f"GRANT {ALL} ON consumed_tokens TO tk_platform")
    op.execute("CREATE POLICY platform ON consumed_tokens TO tk_platform USING (true) WITH CHECK (true)")
    for table, privileges in LOOKUP_GRANTS.items():
        op.execute(f"GRANT {privileges} ON {table} TO tk_lookup")
        op.execute(f"CREATE POLICY lookup ON {table} FOR SELECT TO tk_lookup USING (true)")
    op.execute("GRANT SELECT (kind, tenant_id) ON users TO tk_lookup")
    op.execute("GRANT SELECT (authenticated_at, last_used_at, created_at, method, epoch) ON sessions TO tk_lookup")
    # A tenant sees the accounts of its guests, and changes only its own.
    op.execute(
        "CREATE POLICY guest ON users FOR SELECT TO tk_app USING (EXISTS ("
        "SELECT FROM members WHERE members.user_id = users.id AND members.removed_at IS NULL "
        "AND members.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid))"
    )


def _protect(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"GRANT {ALL} ON {table} TO tk_platform, tk_app")
    op.execute(f"CREATE POLICY platform ON {table} TO tk_platform USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY tenant ON {table} TO tk_app USING ({OWN}) WITH CHECK ({OWN})")


def _move_roles() -> None:
    """The owner sees no row under forced row-level security, so the platform's role moves them."""
    connection = op.get_bind()
    connection.execute(sa.text("SELECT set_config('role', 'tk_platform', true)"))
    users = connection.execute(sa.text("SELECT count(*) FROM users")).scalar_one()
    moved = connection.execute(
        sa.text(
            "INSERT INTO members (id, tenant_id, user_id, role, is_active, created_at, updated_at) "
            "SELECT id, tenant_id, id, role, is_active, created_at, updated_at FROM users"
        )
    ).rowcount
    if moved != users:
        raise RuntimeError(f"{moved} of {users} users were given their membership")
    connection.execute(sa.text("SELECT set_config('role', 'tk_owner', true)"))


def downgrade() -> None:
    raise NotImplementedError("Members of several tenants do not fit the schema before; restore the backup instead.")
