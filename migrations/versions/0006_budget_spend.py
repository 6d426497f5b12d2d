"""What budgets have spent, and ledger rows that name the budgets they count for.

An attempt has one row that says what it was, `settled` or `interrupted`, and at most one `correction`: whether a row is
one is in the key, not what kind it is. Days that are over get sums of their own beside those of their hours.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
BUDGET_SPEND = """
    CREATE TABLE budget_spend (
        tenant_id uuid NOT NULL,
        ref text NOT NULL,
        budget_id uuid NOT NULL,
        window_start timestamptz NOT NULL,
        subject text DEFAULT '' NOT NULL,
        spent_nano bigint DEFAULT 0 NOT NULL,
        backfill_nano bigint DEFAULT 0 NOT NULL,
        version bigint DEFAULT 0 NOT NULL,
        notified smallint DEFAULT 0 NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_budget_spend PRIMARY KEY (tenant_id, ref)
    ) WITH (fillfactor = 50)
"""
USAGE_DAYS = """
    CREATE TABLE usage_days (
        day date NOT NULL,
        LIKE usage_rollups INCLUDING DEFAULTS
    )
"""
# Tenants' monthly budgets are older than this: they go on with what the month has cost so far, which no row names.
MONTHLY_BUDGETS = """
    INSERT INTO budget_spend (tenant_id, ref, budget_id, window_start, spent_nano, backfill_nano, version)
    SELECT tenant_id, replace(id::text, '-', '') || ':' || counts_from || ':', id, to_timestamp(counts_from), nano, nano, 1
    FROM budgets JOIN LATERAL (
        SELECT coalesce(sum(charge_nano), 0)::bigint AS nano FROM usage_rollups
        WHERE usage_rollups.tenant_id = budgets.tenant_id AND hour >= to_timestamp(counts_from)
    ) AS spent ON nano > 0
    WHERE origin = 'monthly_budget'
"""
# A generated column is copied only where that is asked for.
PARTITION_FUNCTION = """
CREATE OR REPLACE FUNCTION create_usage_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp AS $$
DECLARE
    partition text := 'usage_logs_p' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass('public.' || partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I (LIKE usage_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED)', partition
    );
    -- A partition asked for by its own name would not apply the ledger's policies: let nobody ask.
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE usage_logs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, day, day + 1);
    RETURN true;
END
$$
"""


def upgrade() -> None:
    op.execute(BUDGET_SPEND)
    op.execute("CREATE INDEX ix_budget_spend_tenant_id_budget_id ON budget_spend (tenant_id, budget_id)")
    op.execute("ALTER TABLE budget_spend ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE budget_spend FORCE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT, UPDATE ON budget_spend TO tk_platform")
    op.execute("CREATE POLICY platform ON budget_spend TO tk_platform USING (true) WITH CHECK (true)")
    op.execute("GRANT SELECT ON budget_spend TO tk_app")
    op.execute(f"CREATE POLICY tenant ON budget_spend TO tk_app USING ({OWN}) WITH CHECK ({OWN})")
    op.execute("GRANT SELECT ON budget_spend TO tk_lookup")
    op.execute("CREATE POLICY lookup ON budget_spend FOR SELECT TO tk_lookup USING (true)")
    op.execute(USAGE_DAYS)
    op.execute("ALTER TABLE usage_days DROP COLUMN hour")
    op.execute(
        "ALTER TABLE usage_days ADD CONSTRAINT pk_usage_days "
        "PRIMARY KEY (day, tenant_id, api_key_id, user_id, team_id, project_id, model, provider)"
    )
    op.execute("CREATE INDEX ix_usage_days_tenant_id_day ON usage_days (tenant_id, day)")
    op.execute("ALTER TABLE usage_days ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE usage_days FORCE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON usage_days TO tk_platform")
    op.execute("CREATE POLICY platform ON usage_days TO tk_platform USING (true) WITH CHECK (true)")
    op.execute("GRANT SELECT ON usage_days TO tk_app")
    op.execute(f"CREATE POLICY tenant ON usage_days TO tk_app USING ({OWN}) WITH CHECK ({OWN})")
    for table in ("usage_logs", "usage_late"):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN budgets text[], "
            "ADD COLUMN is_correction boolean GENERATED ALWAYS AS (kind = 'correction') STORED"
        )
        # Fails where an attempt is both settled and interrupted, which nothing before this could write.
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT pk_{table}")
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} "
            "PRIMARY KEY (tenant_id, day, request_id, attempt, is_correction)"
        )
    op.execute(PARTITION_FUNCTION)
    # The owner sees no row under forced row-level security.
    op.execute("SELECT set_config('role', 'tk_platform', true)")
    op.execute(MONTHLY_BUDGETS)
    op.execute("SELECT set_config('role', 'tk_owner', true)")


def downgrade() -> None:
    raise NotImplementedError("Corrected rows do not fit the schema before; restore the backup instead.")
