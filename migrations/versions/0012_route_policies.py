"""Route policies: where a model's calls go, by rules, in versions of which one is followed."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE route_policies (
        id uuid NOT NULL,
        tenant_id uuid,
        name text NOT NULL,
        description text DEFAULT '' NOT NULL,
        published_number integer,
        created_at timestamptz DEFAULT now() NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        version integer DEFAULT '1' NOT NULL,
        CONSTRAINT pk_route_policies PRIMARY KEY (id),
        CONSTRAINT fk_route_policies_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    )
    """,
    """
    CREATE UNIQUE INDEX uq_route_policies_name
        ON route_policies (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), lower(name))
    """,
    """
    CREATE TABLE route_policy_versions (
        policy_id uuid NOT NULL,
        number integer NOT NULL,
        tenant_id uuid,
        document jsonb NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        published_at timestamptz,
        CONSTRAINT pk_route_policy_versions PRIMARY KEY (policy_id, number),
        CONSTRAINT fk_route_policy_versions_policy_id FOREIGN KEY(policy_id) REFERENCES route_policies (id)
            ON DELETE CASCADE
    )
    """,
)
OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table in ("route_policies", "route_policy_versions"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO tk_platform")
        op.execute(f"CREATE POLICY platform ON {table} TO tk_platform USING (true) WITH CHECK (true)")
        # Made and changed by the platform alone; a tenant sees its own and the shared ones.
        op.execute(f"GRANT SELECT ON {table} TO tk_app")
        op.execute(f"CREATE POLICY tenant ON {table} FOR SELECT TO tk_app USING ({OWN})")
        op.execute(f"CREATE POLICY shared ON {table} FOR SELECT TO tk_app USING (tenant_id IS NULL)")
        op.execute(f"GRANT SELECT ON {table} TO tk_lookup")
        op.execute(f"CREATE POLICY lookup ON {table} FOR SELECT TO tk_lookup USING (true)")
    op.execute("ALTER TABLE models ADD COLUMN policy text")


def downgrade() -> None:
    op.execute("ALTER TABLE models DROP COLUMN policy")
    op.execute("DROP TABLE route_policy_versions")
    op.execute("DROP TABLE route_policies")
