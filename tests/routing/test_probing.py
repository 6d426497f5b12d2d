"""Probes go to the providers of policies that ask for them, and their breakers hear what came of it."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from uuid import UUID

import pytest

from tollkeeper.contracts.catalog import Credential, ModelRoute, ProviderConfig, Snapshot
from tollkeeper.contracts.ports import ProbeResult
from tollkeeper.contracts.routing import Branch, BreakerRule, Fork, Place, RoutePolicy, Strategy, Target
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.probing import Probing
from tollkeeper.gateway.provider import Failure, FailureClass
from tollkeeper.gateway.routing.hints import HintKind, read_hint
from tollkeeper.gateway.routing.targets import Targets

ONE = UUID(int=1)
RULE = BreakerRule(failures=3, open_seconds=2.0, successes=2, floor_millionths=0)


class HandClock(SystemClock):
    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


class Vendor:
    """What each provider answers its probe with; counts them."""

    def __init__(self) -> None:
        self.result = ProbeResult(ok=True, message="3 models.", credential_id=ONE)
        self.asked: list[str] = []
        self.hanging = asyncio.Event()
        self.hangs: frozenset[str] = frozenset()

    async def probe(self, config: ProviderConfig) -> list[ProbeResult]:
        self.asked.append(config.name)
        if config.name in self.hangs:
            await self.hanging.wait()
        return [self.result]


def policy(seconds: float | None, *names: str) -> RoutePolicy:
    branches = tuple(Branch(Target(name, "large")) for name in names)
    return RoutePolicy(Fork(Strategy.PRIORITY, branches), breaker=RULE, probe_seconds=seconds)


def snapshot(*policies: RoutePolicy) -> Snapshot:
    providers = {
        name: ProviderConfig(UUID(int=9), name, "openai", "https://test", (Credential(ONE, "s"),))
        for name in ("acme", "beta", "gamma")
    }
    models: dict[tuple[UUID | None, str], ModelRoute] = {
        (None, f"m{number}"): ModelRoute(UUID(int=number), f"m{number}", (Target("gamma", "own"),), policy=one)
        for number, one in enumerate(policies)
    }
    return Snapshot(1, MappingProxyType(providers), MappingProxyType(models))


class Bench:
    def __init__(self, *policies: RoutePolicy) -> None:
        self.snapshot = snapshot(*policies)
        self.clock = HandClock()
        self.vendor = Vendor()
        self.targets = Targets(lambda: self.snapshot, chance=lambda: 0.0)
        self.probing = Probing(self.vendor, self.targets, lambda: self.snapshot, self.clock, chance=lambda: 0.5)

    def current(self) -> Snapshot:
        return self.snapshot

    async def pass_seconds(self, seconds: float) -> None:
        """In steps as the task takes them."""
        for _ in range(int(seconds * 2)):
            self.clock.seconds += 0.5
            started: Sequence[asyncio.Task[None]] = self.probing.start_due()
            if not self.vendor.hangs:
                await asyncio.gather(*started)

    def state(self) -> str:
        """Of acme's large model; not called is as good as well."""
        states = {(name, model): state for name, model, state in self.targets.states(self.clock.monotonic())}
        return states.get(("acme", "large"), "closed")


async def test_only_providers_of_a_policy_that_asks_are_probed() -> None:
    bench = Bench(policy(10.0, "acme", "beta"), policy(None, "gamma"))

    await bench.pass_seconds(31)

    assert sorted(bench.vendor.asked) == ["acme"] * 3 + ["beta"] * 3


async def test_the_most_impatient_policy_decides() -> None:
    bench = Bench(policy(30.0, "acme"), policy(5.0, "acme"))

    await bench.pass_seconds(30)

    assert 5 <= len(bench.vendor.asked) <= 6


async def test_a_provider_that_does_not_answer_is_known_before_the_first_call() -> None:
    bench = Bench(policy(2.0, "acme"))
    bench.vendor.result = ProbeResult(ok=False, message="refused", credential_id=ONE, trouble="server")

    await bench.pass_seconds(6)

    assert bench.state() == "open"
    assert bench.targets.standing("acme", "large", bench.clock.monotonic()).blocked_until > 0


async def test_good_probes_close_a_breaker_without_a_call() -> None:
    bench = Bench(policy(2.0, "acme"))
    place = Place("acme", "large", ONE)
    for _ in range(3):
        visit = bench.targets.enter(place, RULE, bench.clock.monotonic())
        assert visit is not None
        visit.failed(bench.clock.monotonic(), Failure(FailureClass.SERVER, UpstreamError("no")))
    assert bench.state() == "open"

    await bench.pass_seconds(8)

    assert bench.state() == "closed"


async def test_a_good_list_of_models_excuses_no_failed_calls() -> None:
    bench = Bench(policy(1.0, "acme"))
    for _ in range(3):
        visit = bench.targets.enter(Place("acme", "large", ONE), RULE, bench.clock.monotonic())
        assert visit is not None
        visit.failed(bench.clock.monotonic(), Failure(FailureClass.SERVER, UpstreamError("no")))
        bench.clock.seconds += 1.5
        await asyncio.gather(*bench.probing.start_due())

    assert len(bench.vendor.asked) >= 2
    assert bench.state() == "open"


@pytest.mark.parametrize(
    ("trouble", "state"),
    [("credential", "quarantined"), ("rate", "paused"), (None, "closed"), ("nonsense", "closed")],
)
async def test_each_kind_of_trouble_does_what_a_call_s_would(trouble: str | None, state: str) -> None:
    bench = Bench(policy(2.0, "acme"))
    bench.vendor.result = ProbeResult(ok=False, message="no", credential_id=ONE, trouble=trouble)

    await bench.pass_seconds(1.5)

    assert bench.state() == state


class Lease:
    """Who may probe, as Redis has it: the first one that asks within each span."""

    def __init__(self) -> None:
        self.until: dict[str, float] = {}
        self.now = 0.0

    async def __call__(self, provider: str, seconds: float) -> bool:
        if self.until.get(provider, 0.0) > self.now:
            return False
        self.until[provider] = self.now + seconds
        return True


async def test_of_many_workers_one_probes() -> None:
    lease, vendor, benches = Lease(), Vendor(), []
    for number in range(4):
        bench = Bench(policy(2.0, "acme"))
        chances = random.Random(number)
        bench.probing = Probing(vendor, bench.targets, bench.current, bench.clock, chances.random, lease)
        benches.append(bench)

    for _ in range(200):
        lease.now += 0.5
        for bench in benches:
            await bench.pass_seconds(0.5)

    # A hundred seconds; alone each would have asked fifty times.
    assert 40 <= len(vendor.asked) <= 63


async def test_the_others_hear_of_a_probe() -> None:
    bench, told = Bench(policy(2.0, "acme")), list[bytes]()
    bench.targets.line = Told(told)

    await bench.pass_seconds(1.5)

    hint = read_hint(told[0])
    assert hint is not None
    assert (hint.kind, hint.place, hint.is_well) == (HintKind.PROBED, Place("acme", "", ONE), True)


class Told:
    """A line that only notes what is told."""

    def __init__(self, told: list[bytes]) -> None:
        self.tell = told.append

    def tell_open(self, message: bytes, name: bytes, seconds: float) -> None: ...

    def forget_open(self, name: bytes) -> None: ...

    def recall_open(self) -> None: ...

    def keep(self, canary: str, message: bytes) -> None: ...

    def recall(self, canary: str) -> None: ...

    def forget(self, canary: str) -> None: ...


async def test_a_probe_that_hangs_holds_up_nobody_and_is_not_doubled() -> None:
    bench = Bench(policy(2.0, "acme", "beta"))
    bench.vendor.hangs = frozenset({"acme"})

    await bench.pass_seconds(10)
    await asyncio.sleep(0)
    assert bench.vendor.asked.count("acme") == 1
    assert bench.vendor.asked.count("beta") >= 1

    await bench.probing.stop()


async def test_a_provider_that_is_gone_is_asked_no_more() -> None:
    bench = Bench(policy(2.0, "acme"))
    await bench.pass_seconds(5)
    count = len(bench.vendor.asked)
    providers = {name: config for name, config in bench.snapshot.providers.items() if name != "acme"}
    bench.snapshot = replace(bench.snapshot, providers=MappingProxyType(providers))

    await bench.pass_seconds(10)

    assert len(bench.vendor.asked) == count
