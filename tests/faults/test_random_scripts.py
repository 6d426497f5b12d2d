"""Random faults of random vendors under random policies: each call ends once, with the right answer and the right bill.

What a call came to is held against the vendors' own log. Nothing here depends on how fast the machine is: which of two
ends a race has is read from the log, never expected. `./tollkeeper test --full tests/faults/test_random_scripts.py` plays
10,000, in parts of a hundred; what an earlier run has passed with the same code is not played again.
"""

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.faults.calls import Call, Caller, new_name, read_events, take_event
from tests.faults.conftest import PASSED
from tests.faults.in_process import PRICE, World, world
from tests.faults.progress import RESULTS, Progress, digest_of
from tests.faults.script import PROMPT_TOKENS, Script, text_of
from tests.faults.upstream import Served
from tests.gateway.serving import KEY, route
from tollkeeper.contracts.catalog import ModelRoute, ProviderConfig
from tollkeeper.contracts.routing import (
    Branch,
    Deadlines,
    Fork,
    HedgeRule,
    RetryRule,
    RoutePolicy,
    Strategy,
    Target,
)
from tollkeeper.contracts.usage import CallStatus, Settlement

pytestmark = pytest.mark.xdist_group("faults-random")

IS_FULL: Final = os.environ.get("TOLLKEEPER_TEST_FULL") == "1"
# Of one part, each of so many scripts, which meet one another in one gateway.
EXAMPLES: Final = 10 if IS_FULL else 15
SCRIPTS_AT_ONCE: Final = 10
PARTS: Final = 100 if IS_FULL else 1
NAMES: Final = ("one", "two", "three")
# Short, so that thousands of silent vendors can be waited for; a slow machine only meets more of them.
SECONDS: Final = {"connect_seconds": 2.0, "first_byte_seconds": 0.25, "idle_seconds": 0.25, "total_seconds": 1.0}
_numbers = itertools.count()
_FOLDER: Final = Path(__file__).parent
_CODE: Final = (
    _FOLDER.parents[1] / "backend" / "tollkeeper" / "gateway",
    *(_FOLDER / name for name in ("test_random_scripts.py", "in_process.py", "script.py", "upstream.py")),
)


@dataclass(frozen=True)
class Place:
    """A target: whose it is, and what is done with the calls that reach it. `dead`: nobody listens; `tls`: nobody can."""

    vendor: str
    way: str
    scripts: tuple[Script, ...]
    stops_at_close: bool


@dataclass(frozen=True)
class Asking:
    is_stream: bool
    # After so many events the caller leaves; None: it stays.
    leaves_after: int | None


@dataclass(frozen=True)
class Case:
    places: tuple[Place, ...]
    strategy: Strategy
    retry: RetryRule
    hedge: HedgeRule | None
    first_token: float | None
    calls: tuple[Asking, ...]


SHARES = st.integers(0, 100).map(lambda percent: percent / 100)
GOOD = st.builds(
    Script,
    wait_seconds=st.sampled_from([0.0, 0.0, 0.01, 0.05]),
    chunks=st.integers(0, 6),
    gap_seconds=st.sampled_from([0.0, 0.0, 0.005]),
)
REFUSED = st.builds(
    Script,
    status=st.sampled_from([400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529]),
    retry_after=st.none() | st.integers(0, 2),
)
ODD = st.builds(
    Script,
    chunks=st.integers(1, 6),
    gap_seconds=st.sampled_from([0.0, 0.01]),
    oddity=st.sampled_from(["hang", "garbage", "nonsense", "reset", "short", "long", "endless", "okerror"]),
)
TORN = st.builds(
    Script,
    chunks=st.integers(1, 6),
    torn_at=SHARES,
    ending=st.sampled_from(["close", "reset", "hang"]),
)
CUT = st.builds(Script, chunks=st.integers(1, 6), cut_after=st.integers(0, 5))
STALLED = st.builds(Script, chunks=st.integers(1, 6), stall_at=SHARES, stall_seconds=st.sampled_from([0.02, 0.1, 5.0]))
DRIPPED = st.builds(Script, chunks=st.integers(1, 3), bytes_per_second=st.sampled_from([1, 400, 20_000]))
SCRIPTS = GOOD | GOOD | REFUSED | ODD | TORN | CUT | STALLED | DRIPPED
PLACES = st.builds(
    Place,
    vendor=st.just(""),
    way=st.sampled_from(["open", "open", "open", "open", "dead", "tls"]),
    scripts=st.lists(SCRIPTS, min_size=1, max_size=2).map(tuple),
    stops_at_close=st.booleans(),
)
CASES = st.builds(
    Case,
    places=st.lists(PLACES, min_size=1, max_size=3).map(
        lambda found: tuple(
            Place(name, place.way, place.scripts, place.stops_at_close)
            for name, place in zip(NAMES, found, strict=False)
        )
    ),
    strategy=st.sampled_from([Strategy.PRIORITY, Strategy.PRIORITY, Strategy.WEIGHTED, Strategy.LEAST_LATENCY]),
    retry=st.builds(
        RetryRule,
        most_attempts=st.integers(1, 3),
        base_seconds=st.just(0.002),
        most_seconds=st.just(0.01),
        budget_millionths=st.just(1_000_000),
    ),
    hedge=st.none()
    | st.none()
    | st.builds(
        HedgeRule,
        after_seconds=st.sampled_from([0.005, 0.05]),
        share_millionths=st.just(1_000_000),
        spend_millionths=st.just(10_000_000),
    ),
    first_token=st.none() | st.sampled_from([0.1, 0.3]),
    calls=st.lists(
        st.builds(
            Asking,
            is_stream=st.booleans(),
            leaves_after=st.none() | st.none() | st.none() | st.integers(0, 3),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
)


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("random")
    async with world(folder, *NAMES) as found:
        yield found


@pytest.fixture(scope="module")
def progress() -> Progress | None:
    """None: a sample, which is always played."""
    return Progress(RESULTS / "random-scripts.json", digest_of(_CODE)) if IS_FULL else None


def part_of(number: int) -> Any:
    """One part as a test of its own, with chances of its own; the same in each run."""

    @pytest.mark.usefixtures("unplayed")
    @seed(number)
    @given(cases=st.lists(CASES, min_size=SCRIPTS_AT_ONCE, max_size=SCRIPTS_AT_ONCE))
    @settings(
        max_examples=EXAMPLES,
        # As it was drawn: to make a failure smaller would play it for hours.
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    async def play(running: World, cases: list[Case]) -> None:
        await play_at_once(running, cases)

    play.__name__ = f"test_every_call_ends_once_with_the_right_answer_and_the_right_bill_{number:03}"
    return play


@pytest.fixture
def unplayed(request: pytest.FixtureRequest, progress: Progress | None) -> Iterator[None]:
    """Leaves out what an earlier run has passed, and takes down what this one does."""
    part = int(request.node.name.rpartition("_")[2])
    if progress is not None and part in progress:
        pytest.skip("passed with this very code before")
    began = time.monotonic()
    yield
    if progress is not None and request.node.stash.get(PASSED, False):
        scripts = EXAMPLES * SCRIPTS_AT_ONCE
        progress.add(part, scripts=scripts, seconds=round(time.monotonic() - began, 1))


# Tests of the names that pytest looks for: hypothesis seeds a function, not its parameters.
globals().update({play.__name__: play for play in map(part_of, range(PARTS))})


async def play_at_once(running: World, cases: list[Case]) -> None:
    numbered = [(next(_numbers), case) for case in cases]
    routed = [route_of(running, case, number) for number, case in numbered]
    running.configure([config for configs, _ in routed for config in configs], [route for _, route in routed])
    async with Caller(running.gateway.origin, KEY) as caller:
        asked = [
            (case, number, asking, ask(running, caller, case, f"model-{number}", asking))
            for number, case in numbered
            for asking in case.calls
        ]
        calls = await asyncio.gather(*(answered for *_, answered in asked))
    await running.quiet()
    for call, (case, number, asking, _) in zip(calls, asked, strict=True):
        check(running, case, number, call, asking)


def route_of(running: World, case: Case, number: int) -> tuple[list[ProviderConfig], ModelRoute]:
    """Providers and a policy that nobody has met yet."""
    configs = []
    for place in case.places:
        vendor = running.vendors[place.vendor]
        options = {"cancel_stops_billing": place.stops_at_close}
        scheme = "https" if place.way == "tls" else "http"
        config = vendor.config(f"{place.vendor}-{number}", scheme=scheme, options=options, **SECONDS)
        configs.append(vendor.dead(config, running.dead_port) if place.way == "dead" else config)
    names = [config.name for config in configs]
    policy = RoutePolicy(
        Fork(case.strategy, tuple(Branch(Target(name, "model")) for name in names)),
        name=f"random-{number}",
        retry=case.retry,
        hedge=case.hedge,
        deadlines=Deadlines(first_token=case.first_token),
    )
    return configs, route(f"model-{number}", *((name, "model") for name in names), policy=policy)


async def ask(running: World, caller: Caller, case: Case, model: str, asking: Asking) -> Call:
    call = Call(new_name("random"))
    for place in case.places:
        running.vendors[place.vendor].upstream.scripts[call.user] = list(place.scripts)
    if asking.leaves_after is None:
        return await caller.call(model, user=call.user, is_stream=asking.is_stream)
    if not asking.is_stream or asking.leaves_after == 0:
        waiting = asyncio.ensure_future(caller.call(model, user=call.user, is_stream=asking.is_stream))
        await asyncio.wait([waiting], timeout=0.03 * (asking.leaves_after or 0) + 0.01)
        if waiting.cancel():
            await asyncio.gather(waiting, return_exceptions=True)
            return call
        return waiting.result()
    async with caller.open(model, call, is_stream=True) as answer:
        if answer.content_type != "text/event-stream":
            call.error = (await answer.json())["error"]
            return call
        seen = 0
        async for event in read_events(answer):
            take_event(call, event)
            seen += 1
            if seen == asking.leaves_after:
                answer.close()
                break
    return call


def check(running: World, case: Case, number: int, call: Call, asking: Asking) -> None:
    rows = running.rows(call.user)
    entries = {f"{place.vendor}-{number}": running.vendors[place.vendor].entries(call.user) for place in case.places}
    has_left = asking.leaves_after is not None and not call.is_whole and call.error is None
    if not has_left:
        check_answer(call, asking)
    check_rows(call, rows, entries, has_left=has_left)
    check_money(running, rows)
    sent = sum(map(len, entries.values()))
    # Each target as often as its rule says, each attempt once more where a kept connection had gone stale.
    assert sent <= 2 * case.retry.most_attempts * (len(case.places) + 1), entries


def check_answer(call: Call, asking: Asking) -> None:
    """It ended one way, and said so: never a silent cut."""
    assert call.fault is None, call
    assert call.status is not None
    if call.is_whole:
        assert call.status == 200
        assert call.error is None
    elif asking.leaves_after is None:
        assert call.error is not None, call
        assert call.error.keys() >= {"message", "type", "param", "code"}
        assert "127.0.0.1" not in call.error["message"]


def check_rows(call: Call, rows: Sequence[Settlement], entries: dict[str, list[Served]], *, has_left: bool) -> None:
    """One row for each attempt that may be billed, and the one that answered is the vendor's own count."""
    attempts = [row.intent.attempt for row in rows]
    assert len(set(attempts)) == len(attempts), rows
    assert len({row.intent.request_id for row in rows}) <= 1
    good = [row for row in rows if row.status is CallStatus.OK]
    if call.is_whole:
        [row] = good
        assert row.intent.provider == call.headers["x-tollkeeper-provider"]
        served = [entry for entry in entries[row.intent.provider] if entry.status == 200]
        texts = {text_of(entry.chunks) if entry.is_stream else "five words of an answer" for entry in served}
        assert call.text in texts
        if not row.usage.is_estimated:
            assert row.usage.input == PROMPT_TOKENS
            assert row.usage.output in {entry.chunks for entry in served}
    elif not has_left:
        assert not good, rows
    for name, sent in entries.items():
        paid = Counter(row.intent.provider for row in rows if row.charge_nano)[name]
        assert paid <= len(sent), (rows, sent)
        # What the vendor made is on the bill, at its own count or at an estimate.
        assert paid >= sum(entry.chunks > 0 and entry.status == 200 for entry in sent), (rows, sent)


def check_money(running: World, rows: Sequence[Settlement]) -> None:
    for row in rows:
        if not row.usage.is_estimated and row.charge_nano:
            pico = row.usage.input * PRICE.input + row.usage.output * PRICE.output
            assert row.charge_nano == (pico + 500) // 1000, row
    for request_id in {row.intent.request_id for row in rows}:
        charges = running.purse.charges[request_id]
        assert charges == [sum(row.charge_nano or 0 for row in rows)], "the hold was settled once, at the bill"
