"""A provider's own rules hold for calls that come to it from another provider as for those that begin there."""

import asyncio
import time
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import Hall, Ledger, Worker
from tests.money.records import make_principal, make_settlement
from tests.money.test_reaper import die
from tollkeeper.contracts.catalog import ModelRoute, Price, ProviderConfig, Snapshot
from tollkeeper.contracts.chat import Call, Operation, Usage
from tollkeeper.contracts.money import PLATFORM, Budget, Limit, Period, RuleScope, ScopeKind, Unit, Window, WindowKind
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import InsufficientQuota, RateLimited, UpstreamError
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.crossing import Crossing, shares_of
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.intents import make_intent
from tollkeeper.gateway.money.journal_format import pack_intent, unpack_intent
from tollkeeper.gateway.money.terms import Asked, refs_of
from tollkeeper.gateway.providers import PROVIDERS
from tollkeeper.gateway.stage import Attempt, Bill, Exchange

COST = 1_000
PRICE = Price(version=uuid7(), input=1, output=1)
TARGETS = tuple(Target(name, "m") for name in ("one", "two", "three"))


class Desk:
    """Every call costs the same here."""

    def __call__(self, exchange: Exchange) -> Appraisal:
        return Appraisal(10, 10, COST, COST)

    async def exactly(self, exchange: Exchange) -> Appraisal:
        return self(exchange)


def budget(kind: ScopeKind, subject: str, amount: int, *, is_platform: bool = False) -> Budget:
    return Budget(
        uuid4(), RuleScope(kind, subject), amount, Window(WindowKind.TOTAL), counts_from=0, is_platform=is_platform
    )


class Caller:
    """One call after the other, as `admit`, `dispatch` and `meter` make them."""

    def __init__(self, worker: Worker, *rules: Budget | Limit, tenant_id: UUID | None = None) -> None:
        tenant_id = tenant_id or uuid4()
        own = budget(ScopeKind.TENANT, tenant_id.hex, 1_000_000)
        self.worker = worker
        self.own = own
        self.principal: Principal = make_principal(
            tenant_id=tenant_id,
            budgets=(own, *(rule for rule in rules if isinstance(rule, Budget))),
            limits=tuple(rule for rule in rules if isinstance(rule, Limit)),
        )
        self.crossing = Crossing(worker.admission, worker.admission, Desk(), PROVIDERS, lambda path: path)

    async def begin(self, *targets: Target) -> Exchange:
        exchange = make_exchange(self.principal, targets or TARGETS)
        exchange.appraisal = Desk()(exchange)
        first = exchange.plan[0]
        terms = self.worker.admission.terms(self.principal, Asked("m", "", first.provider))
        intent = make_intent(exchange, first, 1, None)
        intent.budgets = refs_of(self.principal.tenant_id, terms)
        admitted = await self.worker.admission.admit(
            terms, exchange.request_id, exchange.appraisal, payload=pack_intent(intent)
        )
        exchange.hold, exchange.entered = admitted.hold, first.provider
        return exchange

    async def attempt(self, exchange: Exchange, target: Target) -> Attempt:
        hold = await self.crossing.enter(exchange, target)
        attempt = Attempt(make_intent(exchange, target, exchange.attempts + 1, hold), time.monotonic())
        self.worker.journal.intent(attempt.intent)
        exchange.tries.append(attempt)
        exchange.attempts += 1
        return attempt

    def finish(self, exchange: Exchange) -> None:
        """As `meter` does."""
        for attempt in exchange.tries:
            if attempt.may_cost or attempt is exchange.tries[-1]:
                assert attempt.bill is not None
                charge = attempt.bill.charge_nano
                self.worker.journal.settle(make_settlement(attempt.intent, cost_nano=charge, charge_nano=charge))
            else:
                self.worker.journal.void(attempt.intent.request_id, attempt.intent.attempt)
        assert exchange.entries is not None
        for share in shares_of(exchange, exchange.entries):
            self.worker.admission.settle(
                share.hold, share.charge_nano, rows=share.rows, input_tokens=9, output_tokens=9, own_tokens=share.tokens
            )

    async def spent(self, ledger: Ledger) -> dict[str, tuple[int, int]]:
        """By provider, or "" for the tenant: what the ledger has, and what stands in Redis beside it."""
        await self.worker.flushed()
        found = {}
        for one in self.principal.budgets:
            space = PLATFORM if one.is_platform else self.principal.tenant_id
            ref = f"{one.id.hex}:0:"
            (counted,) = await self.worker.counters.script.peek(space, [ref])
            name = one.scope.subject if one is not self.own else ""
            found[name or ""] = (ledger.spent.get((space, ref), 0), 0 if counted is None else counted.held)
        return found


def make_exchange(principal: Principal, targets: tuple[Target, ...]) -> Exchange:
    unused: Any = None
    exchange = Exchange(uuid7(), Operation.CHAT, unused, {}, unused, time.monotonic(), time.monotonic() + 60)
    exchange.principal = principal
    exchange.call = Call(Operation.CHAT, "m", is_stream=False, body={"messages": []})
    exchange.route = ModelRoute(uuid7(), "m", targets, price=PRICE)
    exchange.plan = targets
    configs = {one.provider: ProviderConfig(uuid7(), one.provider, "openai_compatible", None) for one in targets}
    exchange.snapshot = Snapshot(version=1, providers=configs, models={})
    return exchange


def over(attempt: Attempt, charge: int | None) -> None:
    """None: the provider takes nothing for it."""
    attempt.ended, attempt.error = time.monotonic(), UpstreamError("no")
    attempt.may_cost = charge is not None
    attempt.bill = Bill(Usage(input=9, output=9), charge or 0, charge or 0)


async def test_each_attempt_is_charged_to_its_own_providers_budget(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    caller = Caller(worker, budget(ScopeKind.PROVIDER, "one", 5_000), budget(ScopeKind.PROVIDER, "two", 5_000))
    exchange = await caller.begin()
    over(await caller.attempt(exchange, TARGETS[0]), 300)
    last = await caller.attempt(exchange, TARGETS[1])
    assert await caller.spent(ledger) == {"": (0, 300 + COST), "one": (0, 300), "two": (0, COST)}
    over(last, 700)

    caller.finish(exchange)

    assert await caller.spent(ledger) == {"": (0, 1_000), "one": (0, 300), "two": (0, 700)}
    await worker.ship()
    assert await caller.spent(ledger) == {"": (1_000, 0), "one": (300, 0), "two": (700, 0)}
    assert len(worker.admission.registry) == 0


async def test_what_a_provider_took_nothing_for_is_there_again(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    # Room for one call alone: what was put aside for the first attempt pays for the second.
    caller = Caller(worker, budget(ScopeKind.PROVIDER, "one", COST), budget(ScopeKind.PROVIDER, "two", COST))
    caller.principal = replace(
        caller.principal, budgets=(replace(caller.own, amount_nano=COST), *caller.principal.budgets[1:])
    )
    exchange = await caller.begin()
    over(await caller.attempt(exchange, TARGETS[0]), None)
    over(await caller.attempt(exchange, TARGETS[1]), 400)
    caller.finish(exchange)
    await worker.ship()
    await worker.flushed()
    assert sorted(ledger.spent.values()) == [400, 400]
    assert len(worker.admission.registry) == 0


async def test_a_provider_without_room_is_passed_by_and_nothing_is_left_behind(
    open_worker: OpenWorker, ledger: Ledger
) -> None:
    worker = await open_worker()
    caller = Caller(
        worker,
        budget(ScopeKind.PROVIDER, "one", 5_000),
        budget(ScopeKind.PROVIDER, "two", COST - 1),
    )
    exchange = await caller.begin()
    over(await caller.attempt(exchange, TARGETS[0]), None)
    with pytest.raises(InsufficientQuota) as caught:
        await caller.attempt(exchange, TARGETS[1])
    assert caught.value.is_of_provider
    over(await caller.attempt(exchange, TARGETS[2]), 600)
    caller.finish(exchange)
    await worker.ship()
    assert await caller.spent(ledger) == {"": (600, 0), "one": (0, 0), "two": (0, 0)}
    assert len(worker.admission.registry) == 0


async def test_a_call_may_come_back_to_the_provider_it_came_from(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    caller = Caller(worker, budget(ScopeKind.PROVIDER, "one", 1_300), budget(ScopeKind.PROVIDER, "two", 5_000))
    exchange = await caller.begin()
    over(await caller.attempt(exchange, TARGETS[0]), 300)
    over(await caller.attempt(exchange, TARGETS[1]), None)
    over(await caller.attempt(exchange, TARGETS[0]), 1_000)
    caller.finish(exchange)
    await worker.ship()
    assert await caller.spent(ledger) == {"": (1_300, 0), "one": (1_300, 0), "two": (0, 0)}
    again = await caller.begin(*TARGETS[1:])
    over(await caller.attempt(again, TARGETS[1]), None)
    with pytest.raises(InsufficientQuota):
        await caller.attempt(again, TARGETS[0])


async def test_a_pool_of_the_platform_counts_what_comes_to_it(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    pool = budget(ScopeKind.PROVIDER, "two", 2_500, is_platform=True)
    callers = [Caller(worker, pool) for _ in range(4)]

    async def one_call(caller: Caller) -> bool:
        exchange = await caller.begin()
        over(await caller.attempt(exchange, TARGETS[0]), None)
        try:
            over(await caller.attempt(exchange, TARGETS[1]), COST)
        except InsufficientQuota:
            over(await caller.attempt(exchange, TARGETS[2]), COST)
        caller.finish(exchange)
        return exchange.tries[-1].intent.provider == "two"

    took = await asyncio.gather(*(one_call(caller) for caller in callers))
    await worker.ship()
    assert sum(took) == 2
    assert (await callers[0].spent(ledger))["two"] == (2_000, 0)


async def test_no_providers_budget_is_overspent_by_callers_that_fail_over_together(
    open_worker: OpenWorker, ledger: Ledger
) -> None:
    workers = [await open_worker(), await open_worker("other")]
    tenant = uuid4()
    rules = (budget(ScopeKind.PROVIDER, "one", 7_500), budget(ScopeKind.PROVIDER, "two", 9_500))
    first = Caller(workers[0], *rules, tenant_id=tenant)
    callers = [first, Caller(workers[1], *rules, tenant_id=tenant)]
    callers[1].principal, callers[1].own = first.principal, first.own
    refused = 0

    async def one_call(number: int) -> None:
        nonlocal refused
        caller = callers[number % 2]
        try:
            exchange = await caller.begin(*TARGETS[:2])
        except InsufficientQuota:
            refused += 1
            return
        over(await caller.attempt(exchange, TARGETS[0]), (None, 200, COST)[number % 3])
        try:
            over(await caller.attempt(exchange, TARGETS[1]), 900)
        except InsufficientQuota:
            refused += 1
        if exchange.entries is not None:
            caller.finish(exchange)

    await asyncio.gather(*(one_call(number) for number in range(60)))
    for worker in workers:
        await worker.ship()
        await worker.flushed()
        assert len(worker.admission.registry) == 0
    spent = await first.spent(ledger)
    assert refused
    assert 0 < spent["one"][0] <= 7_500
    assert 0 < spent["two"][0] <= 9_500
    assert spent[""] == (spent["one"][0] + spent["two"][0], 0)
    assert [held for _, held in spent.values()] == [0, 0, 0]


async def test_parallel_calls_and_rates_of_the_next_provider_count_too(open_worker: OpenWorker) -> None:
    worker = await open_worker()
    slots = Limit(uuid7(), RuleScope(ScopeKind.PROVIDER, "two"), Unit.PARALLEL, 1, None)
    rate = Limit(uuid7(), RuleScope(ScopeKind.PROVIDER, "three"), Unit.REQUESTS, 2, Period.DAY)
    caller = Caller(worker, slots, rate)
    exchange = await caller.begin()
    over(await caller.attempt(exchange, TARGETS[0]), None)
    held = await caller.attempt(exchange, TARGETS[1])
    others = [await caller.begin() for _ in range(3)]
    for other in others:
        over(await caller.attempt(other, TARGETS[0]), None)
        with pytest.raises(RateLimited):
            await caller.attempt(other, TARGETS[1])
    for other in others[:2]:
        over(await caller.attempt(other, TARGETS[2]), 5)
        caller.finish(other)
    with pytest.raises(RateLimited) as caught:
        await caller.attempt(others[2], TARGETS[2])
    assert caught.value.is_of_provider
    over(held, 5)
    caller.finish(exchange)
    await worker.flushed()
    over(await caller.attempt(others[2], TARGETS[1]), 5)


async def test_a_lost_workers_attempts_are_charged_to_the_providers_they_were_made_at(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger
) -> None:
    one, lost = await open_worker(), await open_worker("lost")
    caller = Caller(lost, budget(ScopeKind.PROVIDER, "one", 5_000), budget(ScopeKind.PROVIDER, "two", 5_000))
    exchange = await caller.begin()
    over(await caller.attempt(exchange, TARGETS[0]), 300)
    await caller.attempt(exchange, TARGETS[1])
    await die(lost, hall, one)

    await one.reaper.turn()
    await one.ship()
    await one.reaper.turn()

    estimate = exchange.tries[1].intent.estimated_charge_nano or exchange.tries[1].intent.estimated_cost_nano or 0
    caller.worker = one
    spent = await caller.spent(ledger)
    assert {attempt for _, attempt in ledger.kinds} == {1, 2}
    assert spent["two"] == (min(COST, estimate), 0)
    assert spent["one"][1] == 0
    assert spent[""] == (spent["one"][0] + spent["two"][0], 0)


async def test_what_crossed_is_told_again_to_counters_that_were_lost(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    caller = Caller(worker, budget(ScopeKind.PROVIDER, "one", 5_000), budget(ScopeKind.PROVIDER, "two", 5_000))
    exchange = await caller.begin()
    over(await caller.attempt(exchange, TARGETS[0]), 300)
    last = await caller.attempt(exchange, TARGETS[1])
    await worker.link.call("FLUSHALL")
    assert await worker.counters.rebuild(caller.principal.tenant_id)
    assert await caller.spent(ledger) == {"": (0, 300 + COST), "one": (0, 300), "two": (0, COST)}
    over(last, 700)
    caller.finish(exchange)
    await worker.ship()
    assert await caller.spent(ledger) == {"": (1_000, 0), "one": (300, 0), "two": (700, 0)}


async def test_a_call_without_rules_about_providers_keeps_its_one_hold(open_worker: OpenWorker) -> None:
    caller = Caller(await open_worker())
    exchange = await caller.begin()
    hold = exchange.hold
    over(await caller.attempt(exchange, TARGETS[0]), 300)
    over(await caller.attempt(exchange, TARGETS[1]), 300)
    assert exchange.hold is hold
    assert exchange.entries is None


def test_a_journals_line_says_which_hold_pays() -> None:
    exchange = make_exchange(make_principal(), TARGETS)
    intent = make_intent(exchange, TARGETS[0], 2, None)
    intent.hold = 1
    read = unpack_intent(pack_intent(intent))
    assert read.hold_id == intent.hold_id != intent.request_id
    assert intent.hold_id.hex[:-1] == intent.request_id.hex[:-1]
