"""`python -m bench.faults`: one of two vendors fails in one way or another; what callers see of it, and how load moves.

The data plane, both vendors and the callers are in one process, over real sockets: figures are of failover, not of speed.
Writes `bench/faults.md`.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from bench.figures import percentile
from bench.processes import ROOT
from tests.faults.calls import Call, read_events, take_event
from tests.faults.in_process import PRICE, Vendor, World, world
from tests.faults.script import PROMPT_TOKENS, WHOLE_TOKENS
from tests.faults.upstream import Mood
from tests.gateway.serving import KEY, route
from tollkeeper.contracts.routing import Branch, Fork, RoutePolicy, Strategy, Target
from tollkeeper.contracts.usage import CallStatus

PER_SECOND: Final = 40.0
CHUNKS: Final = 4
# What a good vendor does: a first token after 20 ms, and three more.
GOOD: Final = f"good-wait20-stream{CHUNKS}x5"
FIRST_TOKEN_SECONDS: Final = 1.0
RECOVERY_SECONDS: Final = 30.0
# Of a fault, in which breakers learn of it.
FIRST_SECONDS: Final = 3.0
_STEP_SECONDS: Final = 0.5
_PAGE: Final = ROOT / "bench" / "faults.md"


@dataclass(frozen=True)
class Fault:
    """`begin` makes the vendor fail, `end` makes it well again; `tick` is called twice a second in between."""

    title: str
    begin: Callable[[Vendor], Awaitable[None]]
    end: Callable[[Vendor], Awaitable[None]]
    tick: Callable[[Vendor, int], None] = lambda _vendor, _number: None


@dataclass
class Made:
    """A call: when it was due, and how long until its first token (a whole answer: until it was there)."""

    call: Call
    is_stream: bool
    due: float
    first_seconds: float | None = None


@dataclass
class Figures:
    title: str
    calls: int = 0
    failed: int = 0
    told: int = 0
    wrong_bills: int = 0
    p50_added_ms: float = 0.0
    p99_first_ms: float = 0.0
    p99_later_ms: float = 0.0
    sends: float = 0.0
    load_after: float = 0.0
    recovered_seconds: float | None = None


@dataclass
class Load:
    """Calls at a fixed rate, half of them streams; one that is late does not make the next one late."""

    found: World
    session: aiohttp.ClientSession
    made: list[Made] = field(default_factory=list)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _runner: "asyncio.Task[None] | None" = None

    def start(self) -> None:
        self._runner = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        assert self._runner is not None
        self._runner.cancel()
        await asyncio.gather(self._runner, *self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            due += 1 / PER_SECOND
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
            made = Made(Call(f"bench-{time.monotonic_ns()}"), len(self.made) % 2 == 0, due)
            self.made.append(made)
            task = asyncio.ensure_future(self._call(made))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _call(self, made: Made) -> None:
        call = made.call
        document = {
            "model": "model",
            "messages": [{"role": "user", "content": "say five words"}],
            "user": call.user,
            "stream": made.is_stream,
        }
        try:
            async with self.session.post("/v1/chat/completions", json=document) as answer:
                call.status = answer.status
                call.headers = {name.lower(): value for name, value in answer.headers.items()}
                if answer.content_type == "text/event-stream":
                    async for event in read_events(answer):
                        if made.first_seconds is None:
                            made.first_seconds = time.monotonic() - made.due
                        take_event(call, event)
                else:
                    body = await answer.json()
                    made.first_seconds = time.monotonic() - made.due
                    call.error = body.get("error")
                    call.is_whole = answer.status == 200
        except (aiohttp.ClientError, TimeoutError) as error:
            call.fault = f"{type(error).__name__}: {error}"


def _moody(words: str, share: float = 1.0) -> Callable[[Vendor], Awaitable[None]]:
    async def begin(vendor: Vendor) -> None:
        vendor.upstream.mood = Mood(words, share)

    return begin


async def _well(vendor: Vendor) -> None:
    vendor.upstream.mood = None


def _flap(vendor: Vendor, number: int) -> None:
    """A second well, a second not."""
    vendor.upstream.mood = None if number // 2 % 2 else Mood("status502")


FAULTS: Final = (
    Fault("hard down (connections refused)", Vendor.stop, Vendor.start),
    Fault("silent (accepts, never answers)", _moody("hang"), _well),
    Fault("slow (first token after 3 s)", _moody(f"wait3000-stream{CHUNKS}x5"), _well),
    Fault("503 to every call", _moody("status503"), _well),
    Fault("429 with Retry-After: 2", _moody("status429-retry2"), _well),
    Fault("connections reset", _moody("reset"), _well),
    Fault("flapping (a second well, a second 502)", _moody("status502"), _well, _flap),
    Fault("30 % of calls fail with 500", _moody("status500", 0.3), _well),
    Fault("30 % of streams cut in mid-answer", _moody(f"wait20-stream{CHUNKS}x5-cut2", 0.3), _well),
)


async def measure(fault: Fault, folder: Path, *, warm_seconds: float, fault_seconds: float) -> Figures:
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(world(folder, "bad", "good"))
        bad = found.vendors["bad"]
        _configure(found)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                found.gateway.origin,
                connector=aiohttp.TCPConnector(limit=0),
                headers={"authorization": f"Bearer {KEY}"},
                timeout=aiohttp.ClientTimeout(total=30),
            )
        )
        load = Load(found, session)
        load.start()
        await asyncio.sleep(warm_seconds)
        began = time.monotonic()
        await fault.begin(bad)
        for number in range(int(fault_seconds / _STEP_SECONDS)):
            fault.tick(bad, number)
            await asyncio.sleep(_STEP_SECONDS)
        ended = time.monotonic()
        await fault.end(bad)
        recovered = await _recovery(load, ended)
        await load.stop()
        await found.quiet()
        return _figures(fault.title, found, load.made, began, ended, recovered)


def _configure(found: World) -> None:
    # The one that is well may be late where this machine is.
    first_byte = {"bad": FIRST_TOKEN_SECONDS, "good": 10 * FIRST_TOKEN_SECONDS}
    options = {"cancel_stops_billing": True}
    configs = [
        vendor.config(name, options=options, connect_seconds=1.0, first_byte_seconds=first_byte[name])
        for name, vendor in found.vendors.items()
    ]
    branches = tuple(Branch(Target(name, GOOD)) for name in ("bad", "good"))
    policy = RoutePolicy(Fork(Strategy.PRIORITY, branches), name="two")
    found.configure(configs, [route("model", ("bad", GOOD), ("good", GOOD), policy=policy)])


async def _recovery(load: Load, ended: float) -> float | None:
    """Seconds until nine of ten calls go to the vendor again that is well again; None: not in time."""
    while (now := time.monotonic()) < ended + RECOVERY_SECONDS:
        await asyncio.sleep(_STEP_SECONDS)
        if _share([made for made in load.made if now <= made.due]) >= 0.9:
            return now - ended
    return None


def _share(made: Sequence[Made]) -> float:
    """Of those that were answered, how many by the vendor that fails."""
    answered = [one for one in made if one.call.status is not None]
    served = [one for one in answered if one.call.headers.get("x-tollkeeper-provider") == "bad"]
    return len(served) / len(answered) if answered else 0.0


def _figures(
    title: str, found: World, made: Sequence[Made], began: float, ended: float, recovered: float | None
) -> Figures:
    # A cold process's first calls are none of a vendor's faults.
    before = _firsts(made, made[0].due + (began - made[0].due) / 2, began)
    usual_p50, usual_p99 = percentile(before, 0.5), percentile(before, 0.99)
    hit = [one for one in made if began <= one.due < ended]
    last = [one for one in hit if one.due >= max(began + 10.0, ended - 2.0)]
    sent = [served for served in found.vendors["bad"].upstream.log if began <= served.begun < ended]
    last_sent = [served for served in sent if last and served.begun >= last[0].due]
    settled = began + FIRST_SECONDS
    later = [one for one in hit if one.due >= settled]
    logs = (vendor.upstream.log for vendor in found.vendors.values())
    sends = [served for log in logs for served in log if settled <= served.begun < ended]
    return Figures(
        title,
        calls=len(hit),
        failed=sum(not one.call.is_whole and not _is_told(one) for one in made),
        told=sum(_is_told(one) for one in made),
        wrong_bills=sum(not _is_billed_right(found, one) for one in made),
        p50_added_ms=1000 * (percentile(_firsts(made, began, ended), 0.5) - usual_p50),
        p99_first_ms=1000 * (percentile(_firsts(made, began, settled), 0.99) - usual_p99),
        p99_later_ms=1000 * (percentile(_firsts(made, settled, ended), 0.99) - usual_p99),
        sends=len(sends) / max(len(later), 1),
        load_after=len(last_sent) / max(len(last), 1),
        recovered_seconds=recovered,
    )


def _firsts(made: Sequence[Made], since: float, until: float) -> list[float]:
    return sorted(one.first_seconds for one in made if since <= one.due < until and one.first_seconds is not None)


def _is_told(made: Made) -> bool:
    """A stream that had begun, ended by a typed error event."""
    call = made.call
    return call.status == 200 and call.fault is None and call.error is not None and bool(call.text)


def _is_billed_right(found: World, made: Made) -> bool:
    rows = found.rows(made.call.user)
    if made.call.is_whole:
        tokens = CHUNKS if made.is_stream else WHOLE_TOKENS
        nano = (PROMPT_TOKENS * PRICE.input + tokens * PRICE.output + 500) // 1000
        good = [row for row in rows if row.status is CallStatus.OK]
        return [row.charge_nano for row in good] == [nano]
    if _is_told(made):
        return len(rows) == 1 and rows[0].usage.is_estimated and bool(rows[0].charge_nano)
    return not any(row.status is CallStatus.OK for row in rows)


def page(figures: Sequence[Figures], *, fault_seconds: float) -> str:
    lines = [
        "# When a vendor fails",
        "",
        "Made by `python -m bench.faults`. Two vendors behind a policy of strategy `priority`, no hedging, default breakers and",
        f"retries, a first-token deadline of {FIRST_TOKEN_SECONDS:g} s at the first; {PER_SECOND:g} calls a second, half of them streams.",
        f"The first vendor fails for {fault_seconds:g} s and is then well again. Data plane, vendors and callers share one",
        "process: times are of failover, not of speed, and some tens of milliseconds either way are the machine's noise.",
        "",
        "*failed*: answered with anything but the whole answer. *told*: streams that had begun and ended with a typed error",
        "event, which nothing can repair. *bills*: calls that were not billed for exactly what they got (streams that were",
        "told: one flagged estimate). *p99 added*: to the first token, against the same run before the fault, in its first",
        "three seconds and after. *sends*: requests to both vendors for each call, after these. *load*: calls that still try",
        "the failing vendor in the last two seconds of the fault. *back*: until nine of ten calls go to it again.",
        "",
        "| fault | calls | failed | told | bills wrong | p50 added | p99 added, first 3 s | p99 added, then | sends | load | back |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in figures:
        back = "not in 30 s" if one.recovered_seconds is None else f"{one.recovered_seconds:.1f} s"
        cells = [
            one.title,
            str(one.calls),
            str(one.failed),
            str(one.told),
            str(one.wrong_bills),
            f"{one.p50_added_ms:.1f} ms",
            f"{one.p99_first_ms:.0f} ms",
            f"{one.p99_later_ms:.0f} ms",
            f"{one.sends:.2f}",
            f"{one.load_after:.0%}",
            back,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


async def run(faults: Sequence[Fault], *, warm_seconds: float, fault_seconds: float) -> list[Figures]:
    found = []
    for fault in faults:
        print(f"bench.faults: {fault.title} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="tollkeeper-faults-") as folder:
            found.append(await measure(fault, Path(folder), warm_seconds=warm_seconds, fault_seconds=fault_seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each fault")
    parser.add_argument("--only", help="faults whose title contains this; nothing is written then")
    given = parser.parse_args()
    faults = [fault for fault in FAULTS if given.only is None or given.only in fault.title]
    found = asyncio.run(run(faults, warm_seconds=5.0, fault_seconds=given.seconds))
    text = page(found, fault_seconds=given.seconds)
    print(text)
    if given.only is None:
        _PAGE.write_text(text)
    sys.exit(0 if all(one.failed == 0 and one.wrong_bills == 0 for one in found) else 1)


if __name__ == "__main__":
    main()
