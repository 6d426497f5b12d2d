"""The statements by which the sink writes ledger rows and rollups. Pure.

They lock rows in the order of their keys, then rollups and days in the order of theirs, and end with what was written for the
budgets: tenant, ref and nano-dollars. The first line of that, without a ref, counts the rows. A batch of new rows takes
one statement. One with rows that are there already takes two, because only the second sees what the first met.
"""

from typing import Final

from tollkeeper.domains.usage import rollup
from tollkeeper.domains.usage.ledger_row import COLUMNS

_NAMES: Final = ", ".join(name for name, _ in COLUMNS)
# What tells attempts apart, in the order in which rows are locked. The kind comes after it, backwards: of an attempt that
# is both settled and interrupted in one batch the settlement is the truth.
_KEY: Final = ("tenant_id", "day", "request_id", "attempt")
_ORDER: Final = f"ORDER BY {', '.join(_KEY)}, kind DESC"
_DIFFERENCES: Final = frozenset(
    name for name, _ in COLUMNS if name.endswith("_tokens") or name in {"cost_nano", "charge_nano", "latency_ms"}
)
# What the true settlement says of the attempt's end; where it belongs stays as the interruption has it, so that sums by
# anything are differences.
_OF_THE_TRUTH: Final = frozenset(
    {
        "status",
        "http_status",
        "error_code",
        "is_estimated",
        "price_version",
        "first_token_ms",
        "client_request_id",
        "upstream_request_id",
    }
)


def _value(index: int, kind: str) -> str:
    if kind == "jsonb":
        return f"nullif(line -> {index}, 'null')"
    return kind.format(f"(line ->> {index})") if "{" in kind else f"(line ->> {index})::{kind}"


_LINES: Final = f"""
    SELECT {", ".join(f"{_value(index, kind)} AS {name}" for index, (name, kind) in enumerate(COLUMNS))}
    FROM jsonb_array_elements($1::text::jsonb) AS lines (line)
"""  # noqa: S608 - names of our own


def _same(one: str, other: str) -> str:
    return " AND ".join(f"{one}.{name} = {other}.{name}" for name in _KEY)


def _insert(table: str, source: str) -> str:
    return f"INSERT INTO {table} ({_NAMES}) SELECT {_NAMES} FROM {source} {_ORDER} ON CONFLICT DO NOTHING RETURNING *"  # noqa: S608


def _correction(name: str) -> str:
    if name == "kind":
        return "'correction' AS kind"
    if name in {"cost_nano", "charge_nano"}:
        return (
            f"CASE WHEN truth.{name} IS NOT NULL OR prior.{name} IS NOT NULL "
            f"THEN coalesce(truth.{name}, 0) - coalesce(prior.{name}, 0) END AS {name}"
        )
    if name in _DIFFERENCES:
        return f"truth.{name} - prior.{name} AS {name}"
    return f"{'truth' if name in _OF_THE_TRUTH else 'prior'}.{name}"


def _and_sums() -> str:
    """Let the rollups grow by `written`, those of closed days too, and tell what its rows spent."""
    closed = "written WHERE day <= (SELECT max(day) FROM usage_days)"
    return f"""
        , rolled_up AS (
            {rollup.grow("usage_rollups", rollup.COLUMNS, rollup.KEY, rollup.select_from("written"))}
        ), summed AS (
            {rollup.grow("usage_days", rollup.DAY_COLUMNS, rollup.DAY_KEY, rollup.days_from(closed))}
        )
        SELECT NULL::uuid AS tenant_id, NULL::text AS ref, count(*) AS nano FROM written
        UNION ALL
        {rollup.spent_from("written")}
    """  # noqa: S608 - names of our own


def _plain(table: str) -> str:
    """In one go; right only where it counts as many rows as there are lines."""
    return f"WITH written AS ({_insert(table, f'({_LINES}) AS lines')}) {_and_sums()}"


def _first(table: str, *, elsewhere: str | None = None) -> str:
    """The rows alone. Whoever writes the same ones at the moment is waited for, so the statement after it sees them.

    `elsewhere` is a table that may have the attempt already.
    """
    source = f"({_LINES}) AS lines"
    if elsewhere is not None:
        source += f" WHERE NOT EXISTS (SELECT FROM {elsewhere} AS other WHERE {_same('other', 'lines')})"
    return _insert(table, source)


def _then(table: str, *, elsewhere: str | None = None) -> str:
    """In the same transaction: a settlement whose attempt was put down as interrupted becomes a correction."""
    kept = table
    if elsewhere is not None:
        kept = f"(SELECT {_NAMES} FROM {table} UNION ALL SELECT {_NAMES} FROM {elsewhere})"  # noqa: S608 - names of our own
    key = ", ".join(_KEY)
    # What this transaction inserted carries its number, as long as it makes no savepoint.
    return f"""
        WITH lines AS MATERIALIZED (
            SELECT DISTINCT ON ({key}, kind) * FROM ({_LINES}) AS lines ORDER BY {key}, kind
        ), inserted AS (
            SELECT row.* FROM {table} AS row JOIN lines ON {_same("row", "lines")} AND row.kind = lines.kind
            WHERE row.xmin = pg_current_xact_id()::xid
        ), corrected AS (
            INSERT INTO {table} ({_NAMES})
            SELECT {", ".join(_correction(name) for name, _ in COLUMNS)}
            FROM lines AS truth JOIN {kept} AS prior ON {_same("prior", "truth")}
            WHERE truth.kind = 'settled' AND prior.kind = 'interrupted'
            ORDER BY 1, 2, 3, 4
            ON CONFLICT DO NOTHING RETURNING *
        ), written AS (
            SELECT * FROM inserted UNION ALL SELECT * FROM corrected
        ) {_and_sums()}
    """  # noqa: S608 - names of our own


INTO_DAYS: Final = _plain("usage_logs")
INTO_DAYS_AGAIN: Final = (_first("usage_logs"), _then("usage_logs"))
# So rare that it is not tried plainly. The day may still be there, with the attempt in it.
INTO_LATE: Final = (_first("usage_late", elsewhere="usage_logs"), _then("usage_late", elsewhere="usage_logs"))
