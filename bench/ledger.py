"""How fast the console's questions are answered over a large ledger: `python -m bench.ledger [--rows N] [--keep DIR]`.

Rows are made by PostgreSQL itself, evenly over 30 days, of one large tenant (six of ten calls) and a few others with 40
keys each. A key calls two models, in every hour of every day; with `--worst` it calls eight at three providers each, and
nearly every row is a rollup of its own.
"""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy import text

from tollkeeper.core.clock import SystemClock
from tollkeeper.core.embedded import EmbeddedPostgres
from tollkeeper.db import migrations
from tollkeeper.db.session import Database
from tollkeeper.domains.usage import repository, rollup
from tollkeeper.domains.usage.days import close_days
from tollkeeper.domains.usage.partitions import add_days
from tollkeeper.domains.usage.schemas import Filters, Question, period
from tollkeeper.domains.usage.service import list_records
from tollkeeper.domains.usage.verification import verify_day

DAYS: Final = 30
BAR_MS: Final = 200.0
_CHUNK: Final = 250_000
_TENANT: Final = UUID(int=1)
_FILL: Final = """
    INSERT INTO usage_logs (tenant_id, day, request_id, attempt, kind, api_key_id, user_id, team_id, project_id, tags, end_user,
        environment, operation, model, provider, upstream_model, status, http_status, input_tokens, cache_read_tokens,
        output_tokens, reasoning_tokens, cost_nano, charge_nano, latency_ms, created_at)
    SELECT tenant_id, (at AT TIME ZONE 'UTC')::date, gen_random_uuid(), 1, 'settled', key_id,
           md5('user' || key_id)::uuid, md5('team' || (key % 5))::uuid, md5('project' || (key % 10))::uuid,
           jsonb_build_object('cost-centre', (key % 7)::text), 'user-' || n % 1000, 'live', 'chat',
           'model-' || model, 'provider-' || provider, 'model-' || model, CASE WHEN n % 50 = 0 THEN 'error' ELSE 'ok' END, 200,
           n % 4000, n % 300, n % 900, n % 100, n % 90000, n % 100000, 200 + n % 3000, at
    FROM (
        SELECT n, n / 7 % 40 AS key, tenant_id,
               CASE WHEN CAST(:worst AS bool) THEN n % 8 ELSE (n / 7 % 40 + n % 2) % 8 END AS model,
               CASE WHEN CAST(:worst AS bool) THEN n % 3 ELSE (n / 7 % 40 + n % 2) % 8 % 3 END AS provider, md5(tenant_id::text || n / 7 % 40)::uuid AS key_id,
               CAST(:since AS timestamptz) + ((n - 1)::float / :rows * :days) * interval '1 day' AS at
        FROM (
            SELECT n, lpad(to_hex(CASE WHEN n % 10 < 6 THEN 1 ELSE n % 10 END), 32, '0')::uuid AS tenant_id
            FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
        ) AS calls
    ) AS placed
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="A folder that keeps the filled database for the next run.")
    parser.add_argument("--worst", action="store_true", help="As many rollups as there can be.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(asyncio.run(_run(options.keep or Path(folder), options.rows, options.rounds, is_worst=options.worst)))


async def _run(folder: Path, rows: int, rounds: int, *, is_worst: bool) -> int:
    server = EmbeddedPostgres(folder)
    await asyncio.to_thread(server.start)
    try:
        await migrations.upgrade(server.endpoint.url)
        database = Database(server.endpoint.url)
        try:
            await _fill(database, rows, is_worst=is_worst)
            worst = await _measure(database, rounds)
        finally:
            await database.close()
    finally:
        await asyncio.to_thread(server.stop)
    return 0 if worst <= BAR_MS else 1


async def _fill(database: Database, rows: int, *, is_worst: bool) -> None:
    now = SystemClock().now().astimezone(UTC)
    since = now - timedelta(days=DAYS)
    async with database.platform() as session:
        held = (await session.execute(text("SELECT coalesce(sum(requests), 0) FROM usage_rollups"))).scalar_one()
        if held:
            _say(f"{held} rows are there already")
            return
        await add_days(session, [since.date() + timedelta(days=ahead) for ahead in range(DAYS + 1)])
    begun = time.perf_counter()
    for first in range(1, rows + 1, _CHUNK):
        async with database.platform() as session:
            await session.execute(text("SELECT set_config('statement_timeout', '0', true)"))
            last = min(rows, first + _CHUNK - 1)
            values = {"since": since, "rows": rows, "days": DAYS, "first": first, "last": last, "worst": is_worst}
            await session.execute(text(_FILL), values)
    async with database.platform() as session:
        await session.execute(text("SELECT set_config('statement_timeout', '0', true)"))
        made = await session.execute(
            text(f"INSERT INTO usage_rollups ({', '.join(rollup.COLUMNS)}) {rollup.select_from('usage_logs')}")
        )
        count = made.rowcount  # type: ignore[attr-defined]
    await close_days(database, SystemClock())
    await _analyze(database)
    _say(f"{rows} rows, {count} rollups, filled in {time.perf_counter() - begun:.0f} s")


async def _analyze(database: Database) -> None:
    async with database.owner() as session:
        for table in ("usage_logs", "usage_rollups", "usage_days"):
            await session.execute(text(f"ANALYZE {table}"))


async def _measure(database: Database, rounds: int) -> float:
    """The p95 of the slowest question that the console asks."""
    worst = 0.0
    for name, ask in _questions(database).items():
        await ask()
        took = []
        for _ in range(rounds):
            begun = time.perf_counter()
            await ask()
            took.append((time.perf_counter() - begun) * 1_000)
        took.sort()
        p95 = took[math.ceil(0.95 * len(took)) - 1]
        is_console = not name.startswith("(")
        worst = max(worst, p95) if is_console else worst
        _say(f"{name:<44} p50 {took[len(took) // 2]:8.1f} ms   p95 {p95:8.1f} ms")
    begun = time.perf_counter()
    await verify_day(database, SystemClock().now().date() - timedelta(days=1))
    _say(f"{'(ledger verify of one day)':<44} {(time.perf_counter() - begun) * 1_000:12.1f} ms")
    _say(f"slowest p95 of the console: {worst:.1f} ms (bar {BAR_MS:.0f})")
    return worst


def _questions(database: Database) -> dict[str, Callable[[], Awaitable[object]]]:
    since, until = period(None, None, SystemClock().now(), "UTC")
    month = Filters(since, until, _TENANT)
    today = Filters(datetime.combine(until.date(), datetime.min.time(), UTC), until, _TENANT)
    key = Filters(since, until, _TENANT, owner_id=None, model=("model-3",))

    def sums(
        filters: Filters, *words: str, zone: str = "UTC", percentiles: bool = False
    ) -> Callable[[], Awaitable[object]]:
        async def ask() -> object:
            async with database.tenant(_TENANT) as session:
                return await repository.list_groups(session, Question(filters, words, zone, percentiles))

        return ask

    async def newest() -> object:
        async with database.tenant(_TENANT) as session:
            return await list_records(session, month, None, 51)

    async def newest_of_model() -> object:
        async with database.tenant(_TENANT) as session:
            return await list_records(session, key, None, 51)

    return {
        "30 days, totals": sums(month),
        "30 days by model": sums(month, "model"),
        "30 days by key": sums(month, "key"),
        "30 days by team and project": sums(month, "team", "project"),
        "30 days by day": sums(month, "day"),
        "30 days by day and model, Berlin": sums(month, "day", "model", zone="Europe/Berlin"),
        "30 days of one model by day": sums(key, "day"),
        "today by hour and model": sums(today, "hour", "model"),
        "newest 50 calls": newest,
        "newest 50 calls of one model": newest_of_model,
        "(from rows: 1 day by tag)": sums(today, "tag:cost-centre"),
        "(from rows: 1 day with percentiles)": sums(today, "model", percentiles=True),
        "(from rows: 30 days by end user)": sums(month, "end_user"),
    }


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
