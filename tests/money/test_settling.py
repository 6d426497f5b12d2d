"""What becomes of a call that was admitted: corrected rates, leases, two spaces, counters that have to be found first."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest

from tests.money.admissions import ASKED, ask, make_budget
from tests.money.records import make_intent, make_principal, make_settlement
from tests.money.test_holds import Away, counter, trust
from tollkeeper.contracts.money import (
    PLATFORM,
    Budget,
    Limit,
    Period,
    RuleScope,
    ScopeKind,
    Spend,
    Unit,
    Window,
    WindowKind,
    counter_ref,
)
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import DependencyUnavailable, InsufficientQuota, RateLimited
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.money.admission import Admission
from tollkeeper.gateway.money.registry import LATER_SECONDS
from tollkeeper.gateway.money.terms import Terms, counter_key, gen_key, holds_key, terms_of

NOW_US = 1_790_000_000_000_000


@dataclass
class Keeper:
    """Makes counters right by saying so; what the ledger holds is `spends`."""

    spends: dict[str, tuple[int, int]] = field(default_factory=dict)
    admission: Admission | None = None
    is_away: bool = False
    rebuilt: list[UUID] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    share: int = 0

    async def rebuild(self, tenant_id: UUID) -> bool:
        self.rebuilt.append(tenant_id)
        if self.is_away:
            return False
        assert self.admission is not None
        link, epoch = self.admission.pump.redis, 1 + len(self.rebuilt)
        await link.call("DEL", holds_key(tenant_id))
        generation = ("r", link.run_id or "", "e", epoch, "s", "r", "t", "9999999999999")
        await link.call("HSET", gen_key(tenant_id), *generation)
        return await self.admission.registry.push(tenant_id)

    async def init(self, tenant_id: UUID, refs: Sequence[str]) -> bool:
        self.asked += refs
        assert self.admission is not None
        for ref in refs:
            base, version = self.spends.get(ref, (0, 0))
            epoch = await self.admission.pump.redis.call("HGET", gen_key(tenant_id), "e")
            await self.admission.pump.redis.call(
                "HSET", counter_key(tenant_id, ref), "e", epoch, "b", base, "v", version
            )
        return True

    def note(self, terms: Terms, nano: int) -> None:
        pass

    def take(self, tenant_id: UUID, refs: Sequence[str], nano: int) -> bool:
        self.share -= nano
        return self.share >= 0


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture(params=["valkey_url", "redis62_url"])
async def admission(request: pytest.FixtureRequest, keeper: Keeper) -> AsyncIterator[Admission]:
    url = request.getfixturevalue(request.param)
    link = RedisLink(url, SystemClock(), connect_seconds=2.0, operation_seconds=2.0)
    await link.start()
    made = Admission(link, SystemClock(), lambda: 1, worker_id=uuid7(), counters=keeper)
    keeper.admission = made
    await made.start()
    yield made
    await made.close()
    await link.close()


def tokens_a_minute(principal: Principal, unit: Unit, amount: int, **fields: Any) -> Principal:
    scope = RuleScope(ScopeKind.KEY, principal.key_id.hex)
    limit = Limit(uuid7(), scope, unit, amount, Period.MINUTE, **fields)
    return replace(principal, limits=(*principal.limits, limit))


def with_budget(budget: Budget, principal: Principal | None = None) -> Principal:
    return replace(principal or make_principal(), budgets=(budget,))


async def settled(admission: Admission) -> None:
    """What was said without waiting has arrived."""
    await admission.set_bases([Spend(uuid7(), counter_ref(uuid7(), 0), 0, 0)])


async def test_token_rates_charge_the_estimate_and_are_corrected_at_the_end(admission: Admission) -> None:
    admission.pump.script_now_us = NOW_US
    principal = tokens_a_minute(make_principal(), Unit.TOTAL_TOKENS, 60_000, burst=10_000)

    first = await ask(admission, principal, tokens=(1_000, 4_000))
    assert first.headers["x-ratelimit-remaining-tokens"] == "5000"
    assert first.headers["x-ratelimit-limit-tokens"] == "60000"
    assert first.hold is not None
    admission.settle(first.hold, 0, rows=1, input_tokens=900, output_tokens=100)
    second = await ask(admission, principal, tokens=(0, 0))

    assert second.headers["x-ratelimit-remaining-tokens"] == "9000"


async def test_a_call_dearer_than_the_burst_goes_on_a_full_bucket_into_debt(admission: Admission) -> None:
    admission.pump.script_now_us = NOW_US
    principal = tokens_a_minute(make_principal(), Unit.INPUT_TOKENS, 60_000, burst=1_000)
    await ask(admission, principal, tokens=(30_000, 0))
    with pytest.raises(RateLimited) as caught:
        await ask(admission, principal, tokens=(1, 0))
    # 29,001 tokens are to be paid off before one more fits.
    assert caught.value.retry_after_seconds == 29.001
    assert caught.value.type == "tokens"
    assert caught.value.message.startswith("Rate limit reached for this key: 60000 input tokens per minute.")
    admission.pump.script_now_us += 30_000_000
    assert (await ask(admission, principal, tokens=(5_000, 0))).hold is not None


async def test_both_kinds_of_rates_are_in_the_headers(admission: Admission) -> None:
    admission.pump.script_now_us = NOW_US
    principal = tokens_a_minute(make_principal(key_limit=60), Unit.OUTPUT_TOKENS, 6_000)

    admitted = await ask(admission, principal, tokens=(5, 100))

    assert admitted.headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "900",
        "x-ratelimit-reset-tokens": "1s",
    }


async def test_parallel_calls_are_counted_while_they_live(admission: Admission) -> None:
    principal = make_principal()
    limit = Limit(uuid7(), RuleScope(ScopeKind.KEY, principal.key_id.hex), Unit.PARALLEL, 2)
    principal = replace(principal, limits=(limit,))
    holds = [(await ask(admission, principal)).hold for _ in range(2)]
    with pytest.raises(RateLimited) as caught:
        await ask(admission, principal)
    assert caught.value.message == (
        "Rate limit reached for this key: 2 calls at once. Please try again when one has ended."
    )

    assert holds[0] is not None
    admission.settle(holds[0], 0, rows=1, input_tokens=0, output_tokens=0)

    assert (await ask(admission, principal)).hold is not None
    with pytest.raises(RateLimited):
        await ask(admission, principal)


async def test_parallel_calls_are_counted_without_redis_as_well(admission: Admission) -> None:
    principal = make_principal()
    limit = Limit(uuid7(), RuleScope(ScopeKind.KEY, principal.key_id.hex), Unit.PARALLEL, 2)
    principal = replace(principal, limits=(limit,))
    admission.pump.redis = Away(admission.pump.redis)  # type: ignore[assignment]
    holds = [(await ask(admission, principal)).hold for _ in range(2)]
    with pytest.raises(RateLimited):
        await ask(admission, principal)
    for hold in holds:
        assert hold is not None
        admission.settle(hold, 0, rows=1, input_tokens=0, output_tokens=0)
        admission.settle(hold, 0, rows=1, input_tokens=0, output_tokens=0)
    for _ in range(2):
        assert (await ask(admission, principal)).hold is not None
    with pytest.raises(RateLimited):
        await ask(admission, principal)


async def test_what_the_platform_refuses_takes_nothing_from_the_tenant(admission: Admission) -> None:
    principal = make_principal(key_limit=600)
    pool = make_budget(100, is_platform=True, scope=RuleScope(ScopeKind.PROVIDER, uuid7().hex))
    own = make_budget(10_000, scope=RuleScope(ScopeKind.TENANT, principal.tenant_id.hex))
    principal = replace(principal, budgets=(own, pool))
    asked = replace(ASKED, provider=pool.scope.subject or "")
    await trust(admission, principal.tenant_id)
    await trust(admission, PLATFORM)
    admitted = await ask(admission, principal, full=80, asked=asked)
    assert admitted.hold is not None
    assert admitted.hold.refs == (counter_ref(own.id, 0), "@" + counter_ref(pool.id, 0))

    for _ in range(3):
        with pytest.raises(InsufficientQuota):
            await ask(admission, principal, full=30, asked=asked)

    await settled(admission)
    assert await counter(admission, principal.tenant_id, own) == (0, 80)
    assert await counter(admission, PLATFORM, pool) == (0, 80)
    assert int((await ask(admission, principal, asked=asked)).headers["x-ratelimit-remaining-requests"]) >= 98


async def test_an_extension_that_the_platform_refuses_is_taken_back(admission: Admission) -> None:
    principal = make_principal()
    pool = make_budget(100, is_platform=True, scope=RuleScope(ScopeKind.PROVIDER, uuid7().hex))
    own = make_budget(10_000, scope=RuleScope(ScopeKind.TENANT, principal.tenant_id.hex))
    principal = replace(principal, budgets=(own, pool))
    asked = replace(ASKED, provider=pool.scope.subject or "")
    await trust(admission, principal.tenant_id)
    await trust(admission, PLATFORM)
    hold = (await ask(admission, principal, full=80, asked=asked)).hold
    assert hold is not None

    assert not await admission.extend(hold, 30)
    assert await admission.extend(hold, 15)

    assert hold.held_nano == 95
    assert await counter(admission, principal.tenant_id, own) == (0, 95)
    assert await counter(admission, PLATFORM, pool) == (0, 95)


async def test_an_extension_across_a_rebuild_is_held(admission: Admission) -> None:
    """What a rebuild pushes is older than the extension that waits for it."""
    principal = make_principal()
    principal = with_budget(make_budget(1_000, scope=RuleScope(ScopeKind.TENANT, principal.tenant_id.hex)), principal)
    hold = (await ask(admission, principal, full=600)).hold
    assert hold is not None
    await admission.pump.redis.call("DEL", gen_key(principal.tenant_id))

    assert await admission.extend(hold, 50)

    assert hold.held_nano == 650
    _, held = await counter(admission, principal.tenant_id, principal.budgets[0])
    assert held == 650


async def test_of_two_spaces_the_lesser_amount_is_what_is_held(admission: Admission) -> None:
    principal = make_principal()
    pool = make_budget(10**9, is_platform=True, scope=RuleScope(ScopeKind.PROVIDER, uuid7().hex))
    own = make_budget(1_000, scope=RuleScope(ScopeKind.TENANT, principal.tenant_id.hex))
    principal = replace(principal, budgets=(own, pool))
    asked = replace(ASKED, provider=pool.scope.subject or "")
    await trust(admission, principal.tenant_id)
    await trust(admission, PLATFORM)
    hold = (await ask(admission, principal, full=600, forecast=100, is_cuttable=True, asked=asked)).hold
    assert hold is not None
    assert (hold.held_nano, hold.is_full) == (100, False)


async def test_counters_nobody_trusts_are_rebuilt_and_the_call_goes_on(admission: Admission, keeper: Keeper) -> None:
    scope = RuleScope(ScopeKind.TENANT)
    principal = make_principal()
    principal = with_budget(make_budget(1_000, scope=RuleScope(scope.kind, principal.tenant_id.hex)), principal)
    ref = counter_ref(principal.budgets[0].id, 0)
    keeper.spends[ref] = (700, 4)

    assert (await ask(admission, principal, full=300)).hold is not None

    assert keeper.rebuilt == [principal.tenant_id]
    assert set(keeper.asked) == {ref}
    with pytest.raises(InsufficientQuota):
        await ask(admission, principal, full=1)
    await admission.pump.redis.call("DEL", counter_key(principal.tenant_id, ref), gen_key(principal.tenant_id))
    with pytest.raises(InsufficientQuota):
        await ask(admission, principal, full=1)
    assert await counter(admission, principal.tenant_id, principal.budgets[0]) == (700, 300)


async def test_a_rebuild_that_takes_too_long_is_a_clear_refusal(admission: Admission, keeper: Keeper) -> None:
    keeper.is_away = True
    with pytest.raises(DependencyUnavailable) as caught:
        await ask(admission, with_budget(make_budget()), full=1)
    assert (caught.value.status, caught.value.code) == (503, "budget_unavailable")
    assert caught.value.retry_after_seconds == 1.0


async def test_a_window_that_begins_now_needs_no_ledger(admission: Admission, keeper: Keeper) -> None:
    principal = make_principal()
    scope = RuleScope(ScopeKind.TENANT, principal.tenant_id.hex)
    hourly = make_budget(1_000, scope=scope, window=Window(WindowKind.HOUR))
    await trust(admission, principal.tenant_id)
    assert (await ask(admission, with_budget(hourly, principal), full=300)).hold is not None
    assert keeper.asked == []


async def test_what_was_left_of_a_window_is_there_in_the_next(admission: Admission, keeper: Keeper) -> None:
    principal = make_principal()
    scope = RuleScope(ScopeKind.TENANT, principal.tenant_id.hex)
    budget = make_budget(1_000, scope=scope, window=Window(WindowKind.DAY), rolls_over=True)
    principal = with_budget(budget, principal)
    (terms,) = terms_of(principal, ASKED, SystemClock().unix())
    before = terms.budgets[0].before
    assert before is not None
    keeper.spends[before.ref] = (400, 1)
    await admission.pump.redis.call(
        "HSET",
        gen_key(principal.tenant_id),
        "r",
        admission.pump.redis.run_id or "",
        "e",
        "1",
        "s",
        "r",
        "t",
        "9999999999999",
    )

    assert (await ask(admission, principal, full=1_600)).hold is not None

    with pytest.raises(InsufficientQuota):
        await ask(admission, principal, full=1)


async def test_a_call_without_a_cap_holds_its_forecast_and_is_watched(admission: Admission) -> None:
    principal = with_budget(make_budget(10_000))
    await trust(admission, principal.tenant_id)
    hold = (await ask(admission, principal, full=None, forecast=50)).hold
    assert hold is not None
    assert (hold.held_nano, hold.is_full) == (50, False)


async def test_a_call_that_was_never_sent_gives_its_hold_back(admission: Admission) -> None:
    principal = make_principal()
    principal = with_budget(make_budget(1_000, scope=RuleScope(ScopeKind.TENANT, principal.tenant_id.hex)), principal)
    await trust(admission, principal.tenant_id)
    hold = (await ask(admission, principal, full=600)).hold
    assert hold is not None
    admission.settle(hold, 0, rows=0, input_tokens=0, output_tokens=0)
    await settled(admission)
    assert await counter(admission, principal.tenant_id, principal.budgets[0]) == (0, 0)
    assert len(admission.registry) == 0


async def test_rows_that_reach_the_ledger_before_the_call_ends_are_forgotten_with_it(admission: Admission) -> None:
    principal = make_principal()
    principal = with_budget(make_budget(1_000, scope=RuleScope(ScopeKind.TENANT, principal.tenant_id.hex)), principal)
    await trust(admission, principal.tenant_id)
    hold = (await ask(admission, principal, full=600)).hold
    assert hold is not None
    intent = make_intent(request_id=hold.request_id, tenant_id=hold.tenant_id, budgets=hold.refs)
    admission.acknowledge([make_settlement(intent)], [Spend(hold.tenant_id, hold.refs[0], 200, 1)])
    admission.settle(hold, 200, rows=1, input_tokens=0, output_tokens=0)
    await settled(admission)
    assert await counter(admission, principal.tenant_id, principal.budgets[0]) == (200, 0)
    assert len(admission.registry) == 0


async def test_a_dead_workers_hold_goes_when_its_rows_are_in_the_ledger(admission: Admission) -> None:
    principal = make_principal()
    principal = with_budget(make_budget(1_000, scope=RuleScope(ScopeKind.TENANT, principal.tenant_id.hex)), principal)
    await trust(admission, principal.tenant_id)
    hold = (await ask(admission, principal, full=600)).hold
    assert hold is not None
    # Another worker has it from the journal that was left behind.
    admission.registry._holds.clear()
    later: list[Any] = []
    admission.registry._loop = Later(later)  # type: ignore[assignment]
    intent = make_intent(request_id=hold.request_id, tenant_id=hold.tenant_id, budgets=hold.refs)
    admission.acknowledge([make_settlement(intent)], [Spend(hold.tenant_id, hold.refs[0], 200, 1)])
    await settled(admission)
    assert await counter(admission, principal.tenant_id, principal.budgets[0]) == (200, 600)
    ((seconds, call),) = later
    assert seconds == LATER_SECONDS
    call()
    await settled(admission)
    assert await counter(admission, principal.tenant_id, principal.budgets[0]) == (200, 0)


class Later:
    """A loop whose timers are kept."""

    def __init__(self, kept: list[Any]) -> None:
        self._kept = kept

    def call_later(self, seconds: float, call: Any, *arguments: Any) -> None:
        self._kept.append((seconds, lambda: call(*arguments)))


async def test_what_is_above_the_hold_is_settled_as_it_is(admission: Admission) -> None:
    principal = make_principal()
    principal = with_budget(make_budget(1_000, scope=RuleScope(ScopeKind.TENANT, principal.tenant_id.hex)), principal)
    await trust(admission, principal.tenant_id)
    hold = (await ask(admission, principal, full=600)).hold
    assert hold is not None
    admission.settle(hold, 650, rows=1, input_tokens=0, output_tokens=0)
    await settled(admission)
    assert await counter(admission, principal.tenant_id, principal.budgets[0]) == (0, 650)


async def test_without_redis_a_worker_takes_from_what_it_has_put_aside(admission: Admission, keeper: Keeper) -> None:
    principal = make_principal()
    principal = with_budget(make_budget(1_000, scope=RuleScope(ScopeKind.TENANT, principal.tenant_id.hex)), principal)
    await trust(admission, principal.tenant_id)
    keeper.share = 100
    admission.pump.redis.trip("for the test")
    hold = (await ask(admission, principal, full=60)).hold
    assert hold is not None
    with pytest.raises(DependencyUnavailable) as caught:
        await ask(admission, principal, full=60)
    assert caught.value.code == "budget_unavailable"
    while not admission.pump.redis.is_available:
        await admission.pump.redis._probe()

    admission.on_connect()
    await settled(admission)

    assert await counter(admission, principal.tenant_id, principal.budgets[0]) == (0, 60)
