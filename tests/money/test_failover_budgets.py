"""Budgets of providers under calls that fail over between them: the gateway, the admission, a real Redis and a ledger."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.gateway.serving import KEY, PRICE, TENANT, Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, answer_json, answer_raw, completion, running_upstream
from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import Ledger, Worker, hard_budget
from tollkeeper.contracts.money import Budget, Limit, Period, RuleScope, ScopeKind, Unit, Window, WindowKind
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.appraiser import Appraiser

IN_NANO, OUT_NANO = PRICE.input // 1000, PRICE.output // 1000
CAP = 40
CALL_NANO = 10 * IN_NANO + CAP * OUT_NANO
OWN = hard_budget(10_000 * CALL_NANO, TENANT)
SERVED = answer_json(
    completion("hello", usage={"prompt_tokens": 10, "completion_tokens": CAP, "total_tokens": 10 + CAP})
)
REFUSED = answer_json({"error": {"message": "boom"}}, 500)
# The vendor may have billed it: the connection ends inside the answer.
CUT = answer_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")


@dataclass
class Pair:
    """Two providers, the second one for what fails at the first."""

    gateway: Serving
    worker: Worker
    ledger: Ledger
    one: FakeUpstream
    two: FakeUpstream
    budgets: dict[str, Budget]

    async def call(self, **fields: Any) -> int:
        body = chat(max_completion_tokens=CAP, **fields)
        return (await self.gateway.post(body=body)).status_code

    async def ship(self) -> dict[str, int]:
        """What the ledger has charged to each budget; nothing is held any more."""
        async with asyncio.timeout(10):
            while len(self.worker.admission.registry) or not self.gateway.settlements:
                rows, self.gateway.journal.settlements = self.gateway.settlements, []
                self.kept += rows
                self.worker.admission.acknowledge(rows, await self.ledger.ship(rows))
                await self.worker.flushed()
                if not len(self.worker.admission.registry):
                    break
                await asyncio.sleep(0.01)
        await self.worker.flushed()
        spent = {}
        for name, budget in self.budgets.items():
            ref = f"{budget.id.hex}:0:"
            (counted,) = await self.worker.counters.script.peek(TENANT, [ref])
            spent[name] = self.ledger.spent.get((TENANT, ref), 0)
            if counted is not None:
                assert (counted.base or 0, counted.held) == (spent[name], 0), name
        return spent

    def __post_init__(self) -> None:
        self.kept: list[Any] = []


def about(name: str, calls: float) -> Budget:
    """A hard budget of a provider with room for so many calls."""
    scope = RuleScope(ScopeKind.PROVIDER, name)
    return Budget(uuid4(), scope, int(calls * CALL_NANO), Window(WindowKind.TOTAL), counts_from=0)


@pytest.fixture
async def worker(open_worker: OpenWorker) -> Worker:
    return await open_worker()


@pytest.fixture
async def pair(tmp_path: Path, worker: Worker, ledger: Ledger) -> AsyncIterator[Pair]:
    async with running_upstream() as one, running_upstream() as two:
        one.script = two.script = SERVED
        configs = [provider("one", one.base_url), provider("two", two.base_url)]
        snap = snapshot(configs, [route("gpt-4o-mini", ("one", "m"), ("two", "m"))])
        admission = worker.admission
        async with serving(
            tmp_path / "gateway", snap, admission=admission, appraise=Appraiser(), holds=admission
        ) as gateway:
            yield Pair(gateway, worker, ledger, one, two, {})


def under(pair: Pair, *, limits: tuple[Limit, ...] = (), **calls: float) -> None:
    pair.budgets = {"": OWN, **{name: about(name, room) for name, room in calls.items()}}
    pair.gateway.keys.add(KEY, budgets=tuple(pair.budgets.values()), limits=limits)


async def test_calls_that_fail_over_spend_the_next_providers_budget_and_no_more(pair: Pair) -> None:
    under(pair, one=1_000, two=7.5)
    pair.one.script = REFUSED
    answers = await asyncio.gather(*(pair.call() for _ in range(30)))
    assert set(answers) <= {200, 429, 502, 503}
    # The worst case is more than a call comes to: another one may fit once those at the same time have ended.
    for _ in range(10):
        await pair.call()
    served = len([one for one in pair.two.seen if one.path])
    spent = await pair.ship()
    assert spent["one"] == 0
    assert 0 < spent["two"] <= pair.budgets["two"].amount_nano
    assert spent[""] == spent["two"] == served * CALL_NANO


async def test_a_call_that_both_may_bill_is_charged_to_each_for_its_own_part(pair: Pair) -> None:
    under(pair, one=50, two=50)
    pair.one.script = CUT
    assert await pair.call() == 200
    spent = await pair.ship()
    rows = {row.intent.provider: row for row in pair.kept}
    assert spent == {
        "": (rows["one"].charge_nano or 0) + CALL_NANO,
        "one": rows["one"].charge_nano,
        "two": CALL_NANO,
    }
    assert spent["one"]
    assert not set(rows["one"].intent.budgets) & {f"{pair.budgets['two'].id.hex}:0:"}
    assert not set(rows["two"].intent.budgets) & {f"{pair.budgets['one'].id.hex}:0:"}


async def test_an_exhausted_provider_is_tried_last_where_there_is_another(pair: Pair) -> None:
    under(pair, one=0.1, two=50)
    assert await pair.call() == 200
    assert (len(pair.one.seen), len(pair.two.seen)) == (0, 1)
    pair.two.script = REFUSED
    assert await pair.call() in {429, 502, 503}
    assert not pair.one.seen
    assert await pair.ship() == {"": CALL_NANO, "one": 0, "two": CALL_NANO}


async def test_where_no_provider_has_room_the_budgets_refuse(pair: Pair) -> None:
    under(pair, one=0.1, two=0.1)
    answer = await pair.gateway.post(body=chat(max_completion_tokens=CAP))
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
    assert not pair.one.seen + pair.two.seen


async def test_a_providers_rate_sends_calls_on(pair: Pair) -> None:
    rate = Limit(uuid7(), RuleScope(ScopeKind.PROVIDER, "one"), Unit.REQUESTS, 3, Period.DAY)
    under(pair, limits=(rate,))
    assert [await pair.call() for _ in range(5)] == [200] * 5
    assert (len(pair.one.seen), len(pair.two.seen)) == (3, 2)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_fails_sums_are_the_ledgers_and_nothing_stays_held(pair: Pair, seed: int) -> None:
    under(pair, one=15.5, two=12.5)
    scripts = (SERVED, REFUSED, CUT)
    turn = seed

    async def one_call(number: int) -> None:
        nonlocal turn
        turn += 1
        pair.one.script = scripts[turn % 3]
        pair.two.script = scripts[turn // 3 % 2]
        await pair.call(stream=number % 2 == 0)

    for start in range(0, 40, 8):
        await asyncio.gather(*(one_call(start + number) for number in range(8)))
    spent = await pair.ship()
    for name in ("one", "two"):
        rows = [row for row in pair.kept if row.intent.provider == name]
        assert spent[name] == sum(row.charge_nano or 0 for row in rows)
        assert 0 < spent[name] <= pair.budgets[name].amount_nano
    assert spent[""] == spent["one"] + spent["two"]
