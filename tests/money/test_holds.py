"""Holds against a model of them: two workers, several budgets, one Redis; what is admitted never goes beyond a budget."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest

from tests.money.admissions import ask, make_budget
from tests.money.records import make_intent, make_principal, make_settlement
from tollkeeper.contracts.money import Budget, RuleScope, ScopeKind, Spend, counter_ref
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import DependencyUnavailable, InsufficientQuota
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.core.redis_cluster import make_link
from tollkeeper.gateway.money.admission import Admission
from tollkeeper.gateway.money.hold import Hold
from tollkeeper.gateway.money.terms import counter_key, gen_key, holds_key

NANO = 1_000


@pytest.fixture(params=["valkey_url", "redis62_url", "cluster_url"])
def redis_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
async def workers(redis_url: str) -> AsyncIterator[list[Admission]]:
    links = [make_link(redis_url, SystemClock(), connect_seconds=2.0, operation_seconds=2.0) for _ in range(2)]
    made = []
    for link in links:
        await link.start()
        admission = Admission(link, SystemClock(), lambda: 2, worker_id=uuid7())
        await admission.start()
        made.append(admission)
    yield made
    for admission, link in zip(made, links, strict=True):
        await admission.close()
        await link.close()


async def trust(admission: Admission, space: UUID) -> None:
    """Counters that were just rebuilt, out of nothing."""
    run_id = admission.pump.redis.run_id_at(gen_key(space)) or ""
    await admission.pump.redis.call("HSET", gen_key(space), "r", run_id, "e", "1", "s", "r", "t", "0")


@dataclass
class Open:
    hold: Hold
    worker: Admission
    amount: int
    budgets: list[Budget]
    charge: int | None = None


@dataclass
class Model:
    """What Redis has to say: the ledger's part of each counter, its version, and every call beside it."""

    principals: list[Principal]
    base: dict[UUID, int] = field(default_factory=dict)
    version: dict[UUID, int] = field(default_factory=dict)
    open: list[Open] = field(default_factory=list)

    def held(self, budget: Budget) -> int:
        return sum(
            entry.amount if entry.charge is None else entry.charge for entry in self.open if budget in entry.budgets
        )

    def remaining(self, budget: Budget) -> int:
        return budget.amount_nano - self.base.get(budget.id, 0) - self.held(budget)

    def admits(self, budgets: tuple[Budget, ...], full: int, forecast: int) -> int | None:
        """The amount that is held; None when it is refused."""
        rest = [self.remaining(budget) for budget in budgets if budget.is_hard]
        if any(forecast > left or left <= 0 for left in rest):
            return None
        return full if all(full * 64 <= left for left in rest) else forecast


def make_world() -> Model:
    tenant = uuid7()
    shared = make_budget(300 * NANO, scope=RuleScope(ScopeKind.TENANT, tenant.hex))
    soft = make_budget(10 * NANO, scope=RuleScope(ScopeKind.TENANT, tenant.hex), is_hard=False)
    principals = []
    for amount in (120, 200):
        principal = make_principal(tenant_id=tenant)
        own = make_budget(amount * NANO, scope=RuleScope(ScopeKind.KEY, principal.key_id.hex))
        principals.append(replace(principal, budgets=(shared, own, soft)))
    return Model(principals)


async def counter(admission: Admission, space: UUID, budget: Budget) -> tuple[int, int]:
    """Base and held as Redis has them."""
    apart = space.hex if budget.scope.subject is None else ""
    base, held = await admission.pump.redis.call(
        "HMGET", counter_key(space, counter_ref(budget.id, 0, apart)), "b", "h"
    )
    return int(base or 0), int(held or 0)


async def step(model: Model, workers: list[Admission], dice: random.Random) -> None:
    principal = dice.choice(model.principals)
    worker = dice.choice(workers)
    still_open = [entry for entry in model.open if entry.charge is None]
    settled = [entry for entry in model.open if entry.charge is not None]
    match dice.randrange(6):
        case 0 | 1:
            forecast = dice.choice([0, 1, 7, 30]) * NANO // dice.choice([1, 3])
            full = forecast + dice.choice([0, 0, 5, 400]) * NANO
            expected = model.admits(principal.budgets, full, forecast)
            try:
                admitted = await ask(worker, principal, full=full, forecast=forecast, is_cuttable=True)
            except InsufficientQuota:
                assert expected is None
                return
            assert admitted.hold is not None
            assert admitted.hold.held_nano == expected
            assert admitted.hold.is_full is (expected == full)
            model.open.append(Open(admitted.hold, worker, admitted.hold.held_nano, list(principal.budgets)))
        case 2 if still_open:
            entry = dice.choice(still_open)
            add = dice.choice([1, 20]) * NANO
            fits = all(model.remaining(budget) >= add for budget in entry.budgets if budget.is_hard)
            assert await entry.worker.extend(entry.hold, add) is fits
            entry.amount += add if fits else 0
        case 3 if still_open:
            entry = dice.choice(still_open)
            rows = dice.choice([0, 1, 2])
            charge = dice.randint(0, entry.amount) if rows else 0
            entry.worker.settle(entry.hold, charge, rows=rows, input_tokens=1, output_tokens=1)
            entry.worker.settle(entry.hold, charge + 7, rows=1, input_tokens=1, output_tokens=1)
            entry.charge = charge
            if not rows:
                model.open.remove(entry)
        case 4 if settled:
            await ship(model, dice.choice(settled), dice)
        case 5 if still_open and dice.random() < 0.3:
            # The whole worker says again what it holds: nothing changes.
            assert await worker.registry.push(principal.tenant_id)


async def ship(model: Model, entry: Open, dice: random.Random) -> None:
    """The rows of a call go to the ledger; the answer may come twice, and old ones after new ones."""
    assert entry.charge is not None
    tenant = entry.hold.tenant_id
    spends = []
    for budget in entry.budgets:
        stale = Spend(tenant, counter_ref(budget.id, 0), model.base.get(budget.id, 0), model.version.get(budget.id, 0))
        model.base[budget.id] = model.base.get(budget.id, 0) + entry.charge
        model.version[budget.id] = model.version.get(budget.id, 0) + 1
        spends.append(Spend(tenant, stale.ref, model.base[budget.id], model.version[budget.id]))
        if dice.random() < 0.3:
            spends.append(stale)
    intent = make_intent(request_id=entry.hold.request_id, tenant_id=tenant, budgets=entry.hold.refs)
    rows = [make_settlement(replace(intent, attempt=attempt)) for attempt in range(1, entry.hold.rows + 1)]
    for row in rows:
        entry.worker.acknowledge([row], spends)
    model.open.remove(entry)


@pytest.mark.parametrize("seed", range(12))
async def test_counters_are_what_a_model_of_them_says(workers: list[Admission], seed: int) -> None:
    dice, model = random.Random(seed), make_world()
    space = model.principals[0].tenant_id
    await trust(workers[0], space)
    for _ in range(80):
        await step(model, workers, dice)
        for worker in workers:
            await worker.set_bases([])
            await worker.pump.redis.call("PING")
        for principal in model.principals:
            for budget in principal.budgets:
                assert await counter(workers[0], space, budget) == (model.base.get(budget.id, 0), model.held(budget))
                assert not budget.is_hard or model.remaining(budget) >= 0


async def test_a_call_without_room_in_one_budget_holds_nothing_in_the_others(workers: list[Admission]) -> None:
    model = make_world()
    first, second = model.principals
    space = first.tenant_id
    await trust(workers[0], space)
    await ask(workers[0], first, full=110 * NANO)

    with pytest.raises(InsufficientQuota) as caught:
        await ask(workers[0], first, full=11 * NANO)

    assert (caught.value.status, caught.value.code, caught.value.should_retry) == (429, "insufficient_quota", False)
    assert await counter(workers[0], space, first.budgets[0]) == (0, 110 * NANO)
    assert (await ask(workers[1], second, full=190 * NANO)).hold is not None


async def test_counters_that_are_not_trusted_admit_nothing(workers: list[Admission]) -> None:
    model = make_world()
    principal = model.principals[0]
    with pytest.raises(DependencyUnavailable) as caught:
        await ask(workers[0], principal, full=1)
    assert caught.value.code == "budget_unavailable"
    await trust(workers[0], principal.tenant_id)
    await ask(workers[0], principal, full=1)
    await workers[0].pump.redis.call("HSET", gen_key(principal.tenant_id), "r", "another server")
    with pytest.raises(DependencyUnavailable):
        await ask(workers[0], principal, full=1)


async def test_a_soft_budget_refuses_nothing_and_needs_no_trust(workers: list[Admission]) -> None:
    principal = make_principal()
    principal = replace(principal, budgets=(make_budget(5, is_hard=False),))
    assert (await ask(workers[0], principal, full=1_000)).hold is not None
    await trust(workers[0], principal.tenant_id)
    admitted = await ask(workers[0], principal, full=1_000)
    assert admitted.hold is not None
    assert admitted.hold.is_full
    assert await counter(workers[0], principal.tenant_id, principal.budgets[0]) == (0, 1_000)


async def test_a_caller_who_left_holds_nothing(workers: list[Admission]) -> None:
    principal = make_principal()
    principal = replace(principal, budgets=(make_budget(1_000_000),))
    await trust(workers[0], principal.tenant_id)
    await ask(workers[0], principal, full=0)
    for turns in (0, 1, 2, 3, 5, 8, 20):
        tasks = [asyncio.create_task(ask(workers[0], principal, full=10)) for _ in range(10)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(answer, BaseException):
                workers[0].settle(answer.hold, 0, rows=0, input_tokens=0, output_tokens=0)
    await ask(workers[0], principal, full=0)
    await ask(workers[0], principal, full=0)

    assert await counter(workers[0], principal.tenant_id, principal.budgets[0]) == (0, 0)


async def test_what_happened_while_redis_was_away_is_told_when_it_is_back(workers: list[Admission]) -> None:
    worker = workers[0]
    principal = make_principal()
    principal = replace(principal, budgets=(make_budget(1_000),))
    await trust(worker, principal.tenant_id)
    hold = (await ask(worker, principal, full=600)).hold
    assert hold is not None
    link = worker.pump.redis
    worker.pump.redis = Away(link)  # type: ignore[assignment]
    worker.settle(hold, 250, rows=1, input_tokens=1, output_tokens=1)
    await worker.set_bases([])
    with pytest.raises(DependencyUnavailable):
        await ask(worker, principal, full=1)
    worker.pump.redis = link

    worker.on_connect()
    await ask(worker, principal, full=0)

    assert await counter(worker, principal.tenant_id, principal.budgets[0]) == (0, 250)


class Away:
    """A link whose server is gone."""

    is_available = False
    is_cluster = False
    run_id = None

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def ask(self, *_asked: Any) -> None:
        raise DependencyUnavailable("away")


async def test_a_hold_says_whose_it_is_and_what_for(workers: list[Admission]) -> None:
    principal = make_principal()
    principal = replace(principal, budgets=(make_budget(1_000),))
    await trust(workers[0], principal.tenant_id)

    hold = (await ask(workers[0], principal, full=600, payload=b'["an intent"]')).hold

    assert hold is not None
    stored = await workers[0].pump.redis.call("HGET", holds_key(principal.tenant_id), hold.request_id.hex)
    amount, state, sequence, owner, _, refs, payload = stored.decode().split(" ", 6)
    assert (amount, state, sequence, owner) == ("600", "h", "0", workers[0].pump._owner.decode())
    assert (refs, payload) == (",".join(hold.refs), '["an intent"]')
