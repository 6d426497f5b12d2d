"""What budgets have spent is what the ledger's rows say, whatever is shipped in whatever order by however many."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.money.records import make_intent, make_settlement
from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.money import PLATFORM, Spend, counter_ref
from tollkeeper.contracts.usage import CallStatus, Intent, LedgerKind, Settlement
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models import Budget, Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.days import close_days
from tollkeeper.domains.usage.sink import LedgerSink
from tollkeeper.domains.usage.spend import SqlSpend, backfill
from tollkeeper.domains.usage.spend_verification import verify_spend
from tollkeeper.domains.usage.verification import list_verifiable, verify_day

KEYS = [uuid7() for _ in range(2)]
ODD_SUBJECT = 'a"b\\c,{d}:e|NULL'
THRESHOLDS = [10, 50, 80, 100, 120]


@dataclass(frozen=True)
class Attempt:
    """What one attempt left behind: the truth, what was put down in its place, or both."""

    intent: Intent
    truth: Settlement | None
    interruption: Settlement | None

    @property
    def final(self) -> Settlement:
        found = self.truth or self.interruption
        assert found is not None
        return found

    @property
    def lines(self) -> list[Settlement]:
        return [line for line in (self.truth, self.interruption) if line is not None]


@pytest.fixture
async def tenants(database: Database) -> list[UUID]:
    rows = [Tenant(id=uuid7(), name=f"Tenant {number}", slug=f"tenant-{number}") for number in range(2)]
    async with database.platform() as session:
        session.add_all(rows)
    return [row.id for row in rows]


@pytest.fixture
async def budget_of(database: Database) -> Callable[..., Any]:
    async def make(tenant_id: UUID | None, **fields: Any) -> UUID:
        values = {
            "id": uuid7(),
            "tenant_id": tenant_id,
            "scope": "tenant",
            "amount_nano": 20_000_000_000,
            "window_kind": "total",
            "counts_from": 0,
            "thresholds": THRESHOLDS,
        }
        budget = Budget(**(values | fields))
        async with database.platform() as session:
            session.add(budget)
        return budget.id

    return make


def interruption_of(intent: Intent, charge: int | None) -> Settlement:
    return make_settlement(
        intent,
        kind=LedgerKind.INTERRUPTED,
        status=CallStatus.INTERRUPTED,
        usage=Usage(input=20, is_estimated=True),
        cost_nano=charge,
        charge_nano=charge,
        latency_ms=0,
        http_status=0,
    )


def any_attempt(chance: random.Random, refs: dict[UUID, Sequence[str]]) -> Attempt:
    tenant = chance.choice(list(refs))
    budgets = tuple(chance.sample(refs[tenant], chance.randrange(len(refs[tenant]) + 1)))
    moment = datetime.now(UTC) - timedelta(hours=chance.choice([0, 0, 0, 1, 30, 24 * 20, 24 * 420]))
    intent = make_intent(
        request_id=UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1))),
        tenant_id=tenant,
        key_id=chance.choice(KEYS),
        attempt=chance.randrange(1, 3),
        model=chance.choice(["a", "b"]),
        budgets=budgets,
        run_id=chance.choice([None, "run_1"]),
    )
    cost = chance.choice([None, 0, chance.randrange(10**9)])
    truth = make_settlement(
        intent,
        usage=Usage(*[chance.randrange(1000) for _ in range(10)]),
        status=chance.choice([CallStatus.OK, CallStatus.ERROR, CallStatus.CANCELLED]),
        cost_nano=cost,
        charge_nano=None if cost is None else cost * 2,
        latency_ms=chance.randrange(60_000),
    )
    interruption = interruption_of(intent, chance.choice([None, chance.randrange(10**9)]))
    shape = chance.random()
    return Attempt(intent, truth if shape < 0.8 else None, interruption if shape > 0.5 else None)


def spent_by(attempts: Sequence[Attempt]) -> dict[tuple[UUID, str], int]:
    """The plain model: the truth counts, and where nobody knows it what was put down."""
    sums: Counter[tuple[UUID, str]] = Counter()
    for attempt in attempts:
        for ref in attempt.intent.budgets:
            if ref.startswith("@"):
                sums[PLATFORM, ref[1:]] += attempt.final.cost_nano or 0
            else:
                sums[attempt.intent.tenant_id, ref] += attempt.final.charge_nano or 0
    return {counter: nano for counter, nano in sums.items() if nano}


async def rows_of(database: Database, query: str, **values: Any) -> list[Any]:
    async with database.platform() as session:
        return list((await session.execute(text(query), values)).all())


async def spends_in(database: Database) -> dict[tuple[UUID, str], Spend]:
    rows = await rows_of(database, "SELECT tenant_id, ref, spent_nano, version FROM budget_spend")
    return {(row.tenant_id, row.ref): Spend(*row) for row in rows}


def batches_of(chance: random.Random, attempts: Sequence[Attempt]) -> list[list[Settlement]]:
    lines = [line for attempt in attempts for line in attempt.lines]
    lines += chance.choices(lines, k=len(lines))
    chance.shuffle(lines)
    batches = []
    while lines:
        size = chance.choice([1, 3, 20, 60])
        batches.append(lines[:size])
        lines = lines[size:]
    return batches


@pytest.mark.parametrize("seed", range(6))
async def test_rows_rollups_and_budgets_agree_with_a_plain_model(
    database: Database, tenants: list[UUID], budget_of: Callable[..., Any], seed: int
) -> None:
    chance = random.Random(seed)
    platform_ref = "@" + counter_ref(await budget_of(None, scope="provider"), 0, "local")
    refs: dict[UUID, Sequence[str]] = {
        tenant: (
            counter_ref(await budget_of(tenant), 0),
            counter_ref(uuid7(), 1_790_000_000, ODD_SUBJECT),
            platform_ref,
        )
        for tenant in tenants
    }
    attempts = [any_attempt(chance, refs) for _ in range(150)]
    batches = batches_of(chance, attempts)
    sinks = [LedgerSink(database, SystemClock(), retention_days=400) for _ in range(2)]
    returned: list[Spend] = []

    async def ship(sink: LedgerSink, own: list[list[Settlement]]) -> None:
        for batch in own:
            spends = await sink.ship(batch)
            named = {
                (PLATFORM, ref[1:]) if ref.startswith("@") else (line.intent.tenant_id, ref)
                for line in batch
                for ref in line.intent.budgets
            }
            assert named <= {(spend.tenant_id, spend.ref) for spend in spends}
            returned.extend(spends)

    async def close() -> None:
        for _ in range(3):
            await close_days(database, SystemClock())

    await sinks[0].ship(batches[0])
    await asyncio.gather(ship(sinks[0], batches[::2]), ship(sinks[1], batches[1::2]), close())
    await close_days(database, SystemClock())

    kept = await spends_in(database)
    assert {counter: spend.spent_nano for counter, spend in kept.items() if spend.spent_nano} == spent_by(attempts)
    # Of what the sinks said, the highest version is the last word.
    for counter, spend in kept.items():
        said = [each for each in returned if (each.tenant_id, each.ref) == counter]
        assert max(said, key=lambda each: each.version) == spend
        assert len({each.spent_nano for each in said if each.version == spend.version}) == 1
    await assert_rows_are_right(database, attempts)
    await assert_each_threshold_was_told_once(database, kept)


async def assert_rows_are_right(database: Database, attempts: Sequence[Attempt]) -> None:
    ledger = "(SELECT * FROM usage_logs UNION ALL SELECT * FROM usage_late) AS ledger"
    rows = await rows_of(
        database,
        f"SELECT request_id, attempt, array_agg(kind ORDER BY kind) AS kinds, sum(output_tokens) AS output, "
        f"sum(input_tokens) AS input, sum(cost_nano) AS cost, sum(charge_nano) AS charge, sum(latency_ms) AS latency, "
        f"(array_agg(status ORDER BY is_correction DESC))[1] AS status, array_agg(DISTINCT run_id) AS runs "
        f"FROM {ledger} GROUP BY 1, 2",
    )
    found = {(row.request_id, row.attempt): row for row in rows}
    assert len(found) == len(attempts)
    for attempt in attempts:
        row, final = found[attempt.intent.request_id, attempt.intent.attempt], attempt.final
        assert row.kinds in (["settled"], ["interrupted"], ["correction", "interrupted"])
        assert (row.kinds == ["interrupted"]) == (attempt.truth is None)
        assert (row.input, row.output) == (final.usage.input, final.usage.output)
        assert (row.cost or 0, row.charge or 0) == (final.cost_nano or 0, final.charge_nano or 0)
        assert (row.latency, row.status) == (final.latency_ms, final.status.value)
        assert row.runs == [attempt.intent.run_id]
    (sums,) = await rows_of(
        database,
        "SELECT sum(requests), sum(errors), sum(charge_nano), sum(cost_nano), sum(latency_ms_sum) FROM usage_rollups",
    )
    (of_days,) = await rows_of(
        database,
        "SELECT (SELECT sum(charge_nano) FROM usage_days) = sum(charge_nano) FROM usage_rollups "
        "WHERE (hour AT TIME ZONE 'UTC')::date <= (SELECT max(day) FROM usage_days)",
    )
    assert of_days == (True,)
    finals = [attempt.final for attempt in attempts]
    assert tuple(sums) == (
        len(finals),
        sum(final.status in {CallStatus.ERROR, CallStatus.INTERRUPTED} for final in finals),
        sum(final.charge_nano or 0 for final in finals),
        sum(final.cost_nano or 0 for final in finals),
        sum(final.latency_ms for final in finals),
    )
    for day in await list_verifiable(database):
        assert all(entry.is_right for entry in await verify_day(database, day))
    assert (await verify_spend(database)).wrong == []


async def assert_each_threshold_was_told_once(database: Database, kept: dict[tuple[UUID, str], Spend]) -> None:
    rows = await rows_of(database, "SELECT tenant_id, payload FROM outbox WHERE event = 'budget.threshold_reached'")
    told = Counter((row.tenant_id, row.payload["ref"], row.payload["percent"]) for row in rows)
    assert set(told.values()) <= {1}
    budgets = {row.id.hex: row for row in await rows_of(database, "SELECT * FROM budgets WHERE tenant_id IS NOT NULL")}
    for (tenant, ref), spend in kept.items():
        budget = budgets.get(ref.partition(":")[0])
        reached = [each for each in THRESHOLDS if budget and spend.spent_nano * 100 >= each * budget.amount_nano]
        assert all((tenant, ref, percent) in told for percent in reached)


@pytest.mark.parametrize("is_settled_first", [True, False])
async def test_an_interruption_and_the_truth_race_and_the_truth_counts(
    database: Database, sink: LedgerSink, is_settled_first: bool
) -> None:
    other = LedgerSink(database, SystemClock(), retention_days=400)
    ref = counter_ref(uuid7(), 0)
    intents = [make_intent(budgets=(ref,)) for _ in range(40)]

    async def race(intent: Intent) -> None:
        truth, interruption = make_settlement(intent, charge_nano=7), interruption_of(intent, 100)
        ships = [sink.ship([truth]), other.ship([interruption])]
        await asyncio.gather(*(ships if is_settled_first else reversed(ships)))

    await asyncio.gather(*[race(intent) for intent in intents])

    (spend,) = (await spends_in(database)).values()
    assert spend.spent_nano == 7 * len(intents)
    rows = await rows_of(
        database, "SELECT count(*) FILTER (WHERE kind <> 'correction'), sum(charge_nano) FROM usage_logs"
    )
    assert tuple(rows[0]) == (len(intents), 7 * len(intents))


async def test_the_truth_after_an_interruption_is_one_difference(database: Database, sink: LedgerSink) -> None:
    ref = counter_ref(uuid7(), 0)
    intent = make_intent(budgets=(ref,), tags={"t": "x"}, run_id="run_1")
    truth = make_settlement(intent, usage=Usage(input=12, output=30), charge_nano=400, cost_nano=300, latency_ms=240)
    (before,) = await sink.ship([interruption_of(intent, 1_000)])

    (after,) = await sink.ship([truth, truth])
    (again,) = await sink.ship([truth, interruption_of(intent, 1_000)])

    assert (before.spent_nano, before.version) == (1_000, 1)
    assert after == again == Spend(intent.tenant_id, ref, 400, 2)
    interrupted, correction = await rows_of(database, "SELECT * FROM usage_logs ORDER BY is_correction")
    assert (interrupted.kind, interrupted.charge_nano, interrupted.run_id) == ("interrupted", 1_000, "run_1")
    assert (correction.kind, correction.charge_nano, correction.cost_nano) == ("correction", -600, -700)
    assert (correction.input_tokens, correction.output_tokens, correction.latency_ms) == (-8, 30, 240)
    assert (correction.status, correction.http_status, correction.is_estimated) == ("ok", 200, False)
    assert (correction.budgets, correction.tags, correction.run_id) == ([ref], {"t": "x"}, "run_1")


async def test_an_interruption_after_the_truth_is_nothing(database: Database, sink: LedgerSink) -> None:
    intent = make_intent(budgets=(counter_ref(uuid7(), 0),))
    (first,) = await sink.ship([make_settlement(intent, charge_nano=5)])

    (second,) = await sink.ship([interruption_of(intent, 1_000)])

    assert first == second
    assert [row.kind for row in await rows_of(database, "SELECT kind FROM usage_logs")] == ["settled"]


async def test_a_truth_older_than_retention_corrects_what_is_still_in_its_day(database: Database) -> None:
    moment = datetime.now(UTC) - timedelta(days=10)
    intent = make_intent(
        request_id=UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1))),
        budgets=(counter_ref(uuid7(), 0),),
    )
    await LedgerSink(database, SystemClock(), retention_days=30).ship([interruption_of(intent, 1_000)])

    (spend,) = await LedgerSink(database, SystemClock(), retention_days=5).ship(
        [make_settlement(intent, charge_nano=7)]
    )

    assert spend.spent_nano == 7
    assert [row.kind for row in await rows_of(database, "SELECT kind FROM usage_late")] == ["correction"]


async def test_rows_without_budgets_and_free_ones_leave_counters_alone(database: Database, sink: LedgerSink) -> None:
    ref = counter_ref(uuid7(), 0)
    free = make_settlement(make_intent(budgets=(ref,)), cost_nano=0, charge_nano=0)

    spends = await sink.ship([make_settlement(), free])

    assert spends == [Spend(free.intent.tenant_id, ref, 0, 0)]
    assert await spends_in(database) == {}


async def test_a_ref_that_names_no_counter_is_named_as_such(sink: LedgerSink, database: Database) -> None:
    for ref in ("nonsense", f"{uuid7().hex}:x:", f"{uuid7().hex}:{10**30}:", f"{uuid7().hex}:{10**15}:"):
        with pytest.raises(ValueError):
            await sink.ship([make_settlement(make_intent(budgets=(ref,)))])
    assert await rows_of(database, "SELECT 1 FROM usage_logs") == []


async def test_what_is_spent_is_read_by_ref(database: Database, sink: LedgerSink) -> None:
    known, unknown = counter_ref(uuid7(), 0, ODD_SUBJECT), counter_ref(uuid7(), 0)
    settlement = make_settlement(make_intent(budgets=(known, "@" + known)), cost_nano=3, charge_nano=4)
    await sink.ship([settlement])
    source = SqlSpend(database, deadline_seconds=5)
    tenant = settlement.intent.tenant_id

    assert await source.read(tenant, [unknown, known]) == [Spend(tenant, unknown, 0, 0), Spend(tenant, known, 4, 1)]
    assert await source.read(PLATFORM, [known]) == [Spend(PLATFORM, known, 3, 1)]
    assert await source.read(uuid7(), [known]) != [Spend(tenant, known, 4, 1)]


async def test_an_absent_database_is_a_dependency_for_whoever_reads(new_database: Callable[[], str]) -> None:
    database = Database(new_database().replace("127.0.0.1", "127.0.0.2"))
    with pytest.raises(DependencyUnavailable):
        await SqlSpend(database).read(uuid7(), [counter_ref(uuid7(), 0)])
    await database.close()


async def test_what_was_spent_before_the_budget_counts_once(database: Database, sink: LedgerSink) -> None:
    ref = counter_ref(uuid7(), 0)
    settlement = make_settlement(make_intent(budgets=(ref,)), charge_nano=4)
    await sink.ship([settlement])

    for _ in range(2):
        async with database.platform() as session:
            await backfill(session, settlement.intent.tenant_id, ref, 100)

    (spend,) = (await spends_in(database)).values()
    assert (spend.spent_nano, spend.version) == (104, 3)


async def told(database: Database) -> list[tuple[UUID, int, str, str]]:
    rows = await rows_of(
        database, "SELECT tenant_id, payload FROM outbox WHERE event = 'budget.threshold_reached' ORDER BY id"
    )
    return [
        (row.tenant_id, row.payload["percent"], row.payload["spent_usd"], row.payload["amount_usd"]) for row in rows
    ]


def charged(tenant: UUID, ref: str, usd: float) -> Settlement:
    nano = int(usd * 1_000_000_000)
    return make_settlement(make_intent(tenant_id=tenant, budgets=(ref,)), cost_nano=nano, charge_nano=nano)


async def test_each_threshold_is_told_when_it_is_passed_and_never_again(
    database: Database, sink: LedgerSink, tenants: list[UUID], budget_of: Callable[..., Any]
) -> None:
    tenant, other = tenants
    budget = await budget_of(tenant, amount_nano=10_000_000_000, thresholds=[100, 50])
    ref = counter_ref(budget, 0)
    expected: list[tuple[UUID, int, str, str]] = []

    for usd, percents in ((4.999, ()), (0.001, (50,)), (1, ()), (5, (100,)), (-8, ()), (9, ())):
        await sink.ship([charged(tenant, ref, usd)])
        expected += [(tenant, percent, "5" if percent == 50 else "11", "10") for percent in percents]
        assert await told(database) == expected

    # Another window, another subject: told of again, both at once.
    await sink.ship([charged(tenant, counter_ref(budget, 3_600, "alice"), 20)])
    assert await told(database) == [*expected, (tenant, 50, "20", "10"), (tenant, 100, "20", "10")]
    await sink.ship([charged(other, counter_ref(uuid7(), 0), 20)])
    assert len(await told(database)) == 4


async def test_thresholds_are_shares_of_what_may_be_spent_now(
    database: Database, sink: LedgerSink, tenants: list[UUID], budget_of: Callable[..., Any]
) -> None:
    tenant, _ = tenants
    fields = {"amount_nano": 10_000_000_000, "thresholds": [100]}
    soon = datetime.now(UTC) + timedelta(hours=1)
    raised = await budget_of(tenant, **fields, increase_nano=10_000_000_000, increase_until=soon)
    lapsed = await budget_of(tenant, **fields, increase_nano=10_000_000_000, increase_until=soon - timedelta(hours=2))
    rolling = await budget_of(tenant, **fields, rolls_over=True, window_kind="hour")

    await sink.ship([charged(tenant, counter_ref(rolling, 3_600), 4)])
    await sink.ship([charged(tenant, counter_ref(rolling, 7_200), 15)])
    await sink.ship([charged(tenant, counter_ref(raised, 0), 15), charged(tenant, counter_ref(lapsed, 0), 15)])
    assert await told(database) == [(tenant, 100, "15", "10")]

    await sink.ship([charged(tenant, counter_ref(raised, 0), 5), charged(tenant, counter_ref(rolling, 7_200), 1)])
    assert sorted(await told(database))[1:] == [(tenant, 100, "16", "16"), (tenant, 100, "20", "20")]


async def test_what_happens_to_the_platforms_budgets_is_told_at_its_home(
    database: Database, sink: LedgerSink, tenants: list[UUID], budget_of: Callable[..., Any]
) -> None:
    home, caller = tenants
    ref = "@" + counter_ref(await budget_of(None, amount_nano=10_000_000_000, thresholds=[50, 90]), 0)
    await sink.ship([charged(caller, ref, 6)])
    assert await told(database) == []
    user = uuid7()
    async with database.platform() as session:
        for statement in (
            "INSERT INTO users (id, tenant_id, email, name) VALUES (:user, :home, 'a@example.com', 'A')",
            "INSERT INTO members (id, tenant_id, user_id, role) VALUES (:user, :home, :user, 'platform_admin')",
        ):
            await session.execute(text(statement), {"user": user, "home": home})

    await sink.ship([charged(caller, ref, 3)])

    assert await told(database) == [(home, 50, "9", "10"), (home, 90, "9", "10")]
