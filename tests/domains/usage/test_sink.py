"""The ledger on a real PostgreSQL: each settlement once, and rollups that are the sums of the rows."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.money.records import make_intent, make_settlement
from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.usage import CallStatus, LedgerKind, Settlement
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.partitions import drop_expired, ensure_partitions, list_days
from tollkeeper.domains.usage.sink import LedgerSink

TENANTS = [uuid7() for _ in range(2)]
KEYS = [uuid7() for _ in range(3)]


def request_id_at(moment: datetime) -> UUID:
    """As `uuid7` makes them, at another time."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))


def any_settlement(chance: random.Random, **fields: Any) -> Settlement:
    cost = chance.choice([None, 0, chance.randrange(10**9)])
    values: dict[str, Any] = {
        "usage": Usage(*[chance.randrange(1000) for _ in range(10)], is_estimated=chance.random() < 0.2),
        "status": chance.choice(list(CallStatus)),
        "cost_nano": cost,
        "charge_nano": cost,
        "latency_ms": chance.randrange(60_000),
        "extra": {"team": "a\0b"} if chance.random() < 0.2 else {},
    }
    intent = make_intent(
        tenant_id=chance.choice(TENANTS),
        key_id=chance.choice(KEYS),
        user_id=chance.choice([None, KEYS[0]]),
        model=chance.choice(["gpt-4o-mini", "other\0model"]),
        attempt=chance.randrange(1, 3),
    )
    return make_settlement(intent, **(values | fields))


async def one(database: Database, query: str, **values: Any) -> Any:
    async with database.platform() as session:
        return (await session.execute(text(query), values)).one()


SUMS = """
    SELECT count(*) FILTER (WHERE kind <> 'correction') AS requests,
           coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens + cache_write_1h_tokens
                        + input_audio_tokens + input_image_tokens), 0) AS prompt_tokens,
           coalesce(sum(output_tokens + reasoning_tokens + output_audio_tokens + output_image_tokens), 0)
               AS completion_tokens,
           coalesce(sum(cache_read_tokens), 0) AS cache_read_tokens,
           coalesce(sum(cost_nano), 0) AS cost_nano, coalesce(sum(charge_nano), 0) AS charge_nano,
           coalesce(sum(latency_ms), 0) AS latency_ms_sum,
           count(*) FILTER (WHERE kind <> 'correction' AND charge_nano IS NULL) AS unpriced_requests,
           count(*) FILTER (WHERE status IN ('error', 'interrupted')) - count(*) FILTER (WHERE kind = 'correction')
               AS errors
    FROM (SELECT * FROM usage_logs UNION ALL SELECT * FROM usage_late) AS ledger
"""
ROLLED_UP = """
    SELECT coalesce(sum(requests), 0), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
           coalesce(sum(cache_read_tokens), 0), coalesce(sum(cost_nano), 0), coalesce(sum(charge_nano), 0),
           coalesce(sum(latency_ms_sum), 0), coalesce(sum(unpriced_requests), 0), coalesce(sum(errors), 0)
    FROM usage_rollups
"""


async def assert_reconciled(database: Database, settlements: list[Settlement]) -> None:
    keys = {(entry.intent.request_id, entry.intent.attempt, entry.kind) for entry in settlements}
    (count,) = await one(
        database, "SELECT count(*) FROM (SELECT 1 FROM usage_logs UNION ALL SELECT 1 FROM usage_late) AS ledger"
    )
    assert count == len(keys)
    assert tuple(await one(database, SUMS)) == tuple(await one(database, ROLLED_UP))


async def test_a_settlement_is_stored_with_everything_it_says(database: Database, sink: LedgerSink) -> None:
    settlement = make_settlement(
        make_intent(
            end_user="alice",
            is_stream=True,
            user_id=KEYS[0],
            environment="test",
            team_id=KEYS[1],
            project_id=KEYS[2],
            tags={"cost": "b"},
        ),
        usage=Usage(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, is_estimated=True),
        status=CallStatus.ERROR,
        error_code="upstream_error",
        http_status=502,
        first_token_ms=7,
        client_request_id="abc",
        upstream_request_id="req_1",
        extra={"team": "a"},
    )
    intent = settlement.intent

    await sink.ship([settlement])

    row = await one(database, "SELECT * FROM usage_logs")
    assert (row.tenant_id, row.request_id, row.attempt, row.kind) == (
        intent.tenant_id,
        intent.request_id,
        1,
        "settled",
    )
    assert (row.api_key_id, row.user_id, row.environment, row.operation) == (intent.key_id, KEYS[0], "test", "chat")
    assert (row.model, row.provider, row.upstream_model) == (intent.model, intent.provider, intent.upstream_model)
    assert (row.status, row.http_status, row.error_code) == ("error", 502, "upstream_error")
    assert (row.input_tokens, row.cache_read_tokens, row.cache_write_tokens, row.cache_write_1h_tokens) == (1, 2, 3, 4)
    assert (row.input_audio_tokens, row.input_image_tokens, row.output_tokens, row.reasoning_tokens) == (5, 6, 7, 8)
    assert (row.output_audio_tokens, row.output_image_tokens, row.is_estimated, row.is_stream) == (9, 10, True, True)
    assert (row.cost_nano, row.charge_nano, row.price_version) == (19_800, 19_800, intent.price_version)
    assert (row.latency_ms, row.first_token_ms, row.end_user, row.tags) == (240, 7, "alice", {"team": "a", "cost": "b"})
    assert (row.client_request_id, row.upstream_request_id) == ("abc", "req_1")
    assert row.day == row.created_at.date()
    assert (row.run_id, row.team_id, row.project_id) == (None, KEYS[1], KEYS[2])
    assert abs(row.created_at - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("seed", range(3))
async def test_ledger_and_rollups_agree_under_duplicates_reordering_and_concurrent_shippers(
    database: Database, sink: LedgerSink, seed: int
) -> None:
    chance = random.Random(seed)
    settlements = [any_settlement(chance) for _ in range(300)]
    settlements += [
        make_settlement(entry.intent, kind=LedgerKind.CORRECTION, charge_nano=-5, cost_nano=-5)
        for entry in settlements[:20]
    ]
    sinks = [sink, LedgerSink(database, SystemClock(), retention_days=400)]
    shipped = settlements * 3
    chance.shuffle(shipped)
    batches = [shipped[at : at + 70] for at in range(0, len(shipped), 70)]

    await asyncio.gather(*[chance.choice(sinks).ship(batch) for batch in batches])

    await assert_reconciled(database, settlements)


async def test_what_is_not_said_is_null(database: Database, sink: LedgerSink) -> None:
    await sink.ship([make_settlement(cost_nano=None, charge_nano=None)])

    row = await one(
        database, "SELECT cost_nano, charge_nano, user_id, end_user, tags, team_id, first_token_ms FROM usage_logs"
    )
    assert tuple(row) == (None,) * 7


async def test_the_same_settlement_twice_in_a_batch_counts_once(database: Database, sink: LedgerSink) -> None:
    settlement = make_settlement()

    await sink.ship([settlement, settlement])

    await assert_reconciled(database, [settlement])


async def test_a_line_shipped_late_lands_in_its_own_day(database: Database, sink: LedgerSink) -> None:
    moment = datetime.now(UTC) - timedelta(days=20)
    settlement = make_settlement(make_intent(request_id=request_id_at(moment)))

    await asyncio.gather(sink.ship([settlement]), sink.ship([make_settlement()]))

    (stored,) = await one(database, "SELECT day FROM usage_logs ORDER BY day LIMIT 1")
    assert stored == moment.date()


async def test_a_line_older_than_retention_is_kept_apart(database: Database) -> None:
    sink = LedgerSink(database, SystemClock(), retention_days=30)
    old = make_settlement(make_intent(request_id=request_id_at(datetime.now(UTC) - timedelta(days=31))))
    new = make_settlement()

    await sink.ship([old, new, old])

    assert tuple(await one(database, "SELECT count(*) FROM usage_late")) == (1,)
    assert tuple(await one(database, "SELECT count(*) FROM usage_logs")) == (1,)
    await assert_reconciled(database, [old, new])


async def test_a_clock_gone_wild_makes_no_partition(database: Database, sink: LedgerSink) -> None:
    wild = make_settlement(make_intent(request_id=request_id_at(datetime(2999, 1, 1, tzinfo=UTC))))

    await sink.ship([wild])

    assert tuple(await one(database, "SELECT count(*) FROM usage_late")) == (1,)


async def test_a_row_the_ledger_can_never_take_is_named_as_such(database: Database, sink: LedgerSink) -> None:
    for impossible in (
        make_settlement(cost_nano=1 << 70),
        make_settlement(make_intent(attempt=1 << 20)),
        make_settlement(status="nonsense"),
    ):
        object.__setattr__(impossible, "status", _as_enum(impossible.status))
        with pytest.raises(ValueError):
            await sink.ship([make_settlement(), impossible])

    assert tuple(await one(database, "SELECT count(*) FROM usage_logs")) == (0,)


class _Odd:
    def __init__(self, value: str) -> None:
        self.value = value


def _as_enum(status: Any) -> Any:
    return status if isinstance(status, CallStatus) else _Odd(status)


async def test_an_absent_database_is_a_dependency(new_database: Callable[[], str]) -> None:
    url = new_database()
    database = Database(url.replace("127.0.0.1", "127.0.0.2"))
    with pytest.raises(DependencyUnavailable):
        await LedgerSink(database, SystemClock(), retention_days=400).ship([make_settlement()])
    await database.close()


async def test_partitions_are_made_ahead_once_and_dropped_when_expired(database: Database) -> None:
    today = datetime.now(UTC).date()
    async with database.platform() as session:
        first = await ensure_partitions(session, days_ahead=12)
        again = await ensure_partitions(session, days_ahead=12)
        days = await list_days(session)
    assert again == []
    assert {today + timedelta(days=ahead) for ahead in range(13)} <= set(days)
    assert today + timedelta(days=12) in first

    sink = LedgerSink(database, SystemClock(), retention_days=400)
    old = make_settlement(make_intent(request_id=request_id_at(datetime.now(UTC) - timedelta(days=10))))
    await sink.ship([old, make_settlement()])
    async with database.platform() as session:
        dropped = await drop_expired(session, 9)
        left = await list_days(session)

    assert dropped == [today - timedelta(days=10)]
    assert min(left) >= today - timedelta(days=9)
    assert tuple(await one(database, "SELECT count(*) FROM usage_logs")) == (1,)
    assert tuple(await one(database, "SELECT sum(requests) FROM usage_rollups")) == (2,)


async def test_processes_make_the_same_day_at_once(database: Database) -> None:
    day = date(2026, 1, 1)
    sinks = [LedgerSink(database, SystemClock(), retention_days=4_000) for _ in range(4)]
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    settlements = [make_settlement(make_intent(request_id=request_id_at(moment))) for _ in sinks]

    await asyncio.gather(*[sink.ship([entry]) for sink, entry in zip(sinks, settlements, strict=True)])

    async with database.platform() as session:
        assert day in await list_days(session)
    await assert_reconciled(database, settlements)
