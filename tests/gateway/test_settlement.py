"""The settlement table (RULING 16): every way a call can end, what the ledger gets of it, what it is charged, and that
nothing stays held.

A row is a way to end. Its vendor counts 10 tokens in and 5 out where it counts; where nobody does, four characters of
what was produced are a token. Answers out of the cache have their rows in `cache/test_settled.py`.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.dispatching import NotingGate
from tests.gateway.serving import KEY, PRICE, TENANT, Serving, chat, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import (
    DONE,
    STREAM_HEAD,
    USAGE,
    FakeUpstream,
    Script,
    Seen,
    answer,
    answer_json,
    answer_raw,
    chunk,
    completion,
    event,
    good_stream,
    http_chunk,
    silent,
    stream,
)
from tests.money.admissions import ASKED, make_budget
from tests.money.records import FakeHolds, make_principal
from tollkeeper.contracts.catalog import Adjustment, Credential
from tollkeeper.contracts.routing import (
    Branch,
    Deadlines,
    FallbackKind,
    Fork,
    HedgeRule,
    RetryRule,
    RoutePolicy,
    Strategy,
    Target,
)
from tollkeeper.contracts.usage import CallStatus, LedgerKind
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.money.hold import Part
from tollkeeper.gateway.money.terms import terms_of

IN_NANO, OUT_NANO = PRICE.input // 1000, PRICE.output // 1000
COUNTED = 10 * IN_NANO + 5 * OUT_NANO
WORDS = ("four", "char", "word", "here")
FULL = 10_000_000
# What keeps its bill running after the connection is closed, and what does not.
STOPS, GOES_ON = {"cancel_stops_billing": True, "visible_output": True}, {"cancel_stops_billing": False}
EMBEDDING = {
    "object": "list",
    "model": "embed",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    "usage": {"prompt_tokens": 10, "total_tokens": 10},
}
TEXT = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "text": "four", "logprobs": None, "finish_reason": "stop"}],
}


@dataclass(frozen=True)
class Row:
    """One row of the ledger. `output`: tokens; None: as the vendor counted (5)."""

    status: CallStatus = CallStatus.OK
    is_estimated: bool = False
    output: int | None = None
    is_free: bool = False


OK = Row()
FREE_ERROR = Row(CallStatus.ERROR, output=0, is_free=True)


@dataclass(frozen=True)
class Ending:
    name: str
    # The vendor's answers, one for each request; the last one for all that follow.
    answers: Sequence[Script]
    rows: Sequence[Row] = (OK,)
    body: dict[str, Any] = field(default_factory=chat)
    path: str = "/v1/chat/completions"
    status: int = 200
    code: str | None = None
    options: dict[str, Any] = field(default_factory=lambda: STOPS)
    targets: int = 1
    credentials: int = 1
    # What is left of the budget beside the hold.
    room: int = FULL
    charge: Callable[[int], int] = lambda cost: cost
    config: dict[str, Any] = field(default_factory=dict)
    # Of the route's policy, by which its targets are tried in their order; None: there is none.
    policy: dict[str, Any] | None = None
    # Providers that are not let through.
    closed: Sequence[str] = ()


STREAM = chat(stream=True)
NO_USAGE = completion("x" * 40, usage=None)
BROKEN = good_stream(*WORDS)[:5]
AT_ONCE = RetryRule(base_seconds=0.0)
HEDGED: dict[str, Any] = {"hedge": HedgeRule(0.05, 1_000_000, 1_000_000), "retry": RetryRule(most_attempts=1)}
ELSEWHERE = Fork(Strategy.PRIORITY, (Branch(Target("p1", "gpt-4o-mini")),))
FALLEN_BACK: dict[str, Any] = {
    "fallbacks": {FallbackKind.CONTEXT_WINDOW: ELSEWHERE, FallbackKind.CONTENT_POLICY: ELSEWHERE}
}
FILTERED = completion("")
FILTERED["choices"][0]["finish_reason"] = "content_filter"
LOST = Row(CallStatus.CANCELLED, is_estimated=True, output=0)


class AfterNext:
    """Answers once another request has come."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.go = asyncio.Event()

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        async with asyncio.timeout(10):
            await self.go.wait()
        return await self._script(seen, writer)


def later(script: Script, seconds: float = 0.3) -> Script:
    async def answer_later(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        await asyncio.sleep(seconds)
        return await script(seen, writer)

    return answer_later


ENDINGS = [
    Ending("whole", [answer_json(completion())]),
    Ending("stream", [stream(*good_stream(*WORDS))], body=STREAM),
    Ending("stream of a vendor that ignores stream", [answer_json(completion())], body=STREAM),
    Ending("whole without usage", [answer_json(NO_USAGE)], [Row(is_estimated=True, output=10)]),
    Ending(
        "stream without usage",
        [stream(*(part for part in good_stream(*WORDS) if b'"usage"' not in part))],
        [Row(is_estimated=True, output=4)],
        body=STREAM,
    ),
    Ending("embedding", [answer_json(EMBEDDING)], [Row(output=0)], {"model": "embed", "input": "x"}, "/v1/embeddings"),
    Ending(
        "completion",
        [answer_json({**TEXT, "usage": USAGE})],
        body={"model": "gpt-4o-mini", "prompt": "x"},
        path="/v1/completions",
    ),
    Ending(
        "completion streamed",
        [stream(event(TEXT), event({**TEXT, "choices": [], "usage": USAGE}), b"data: [DONE]\n\n")],
        body={"model": "gpt-4o-mini", "prompt": "x", "stream": True},
        path="/v1/completions",
    ),
    Ending(
        "refused", [answer_json({"error": {"message": "no"}}, 400)], [FREE_ERROR], status=400, code="invalid_request"
    ),
    Ending("overloaded", [answer_json({}, 503)], [FREE_ERROR], status=503),
    Ending("credential refused", [answer_json({}, 401)], [FREE_ERROR], status=502, code="upstream_authentication"),
    Ending(
        "closed without an answer",
        [answer_raw(b"")],
        [Row(CallStatus.ERROR, True, 0)],
        status=502,
        code="upstream_disconnected",
    ),
    Ending("garbage", [answer(200, b"<html>")], [Row(CallStatus.ERROR, True, 0)], status=502, code="upstream_garbage"),
    Ending(
        "garbage before the first token",
        [stream(b"data: {\n\n")],
        [Row(CallStatus.ERROR, True, 0)],
        body=STREAM,
        status=502,
        code="upstream_garbage",
    ),
    Ending(
        "cut after the first token",
        [stream(*BROKEN, ends=False)],
        [Row(CallStatus.ERROR, True, 4)],
        body=STREAM,
        code="upstream_cut",
    ),
    Ending(
        "error event after the first token",
        [stream(*BROKEN, event({"error": {"message": "no"}}))],
        [Row(CallStatus.ERROR, True, 4)],
        body=STREAM,
        code="upstream_error",
    ),
    Ending(
        "silence from the first",
        [silent()],
        [Row(CallStatus.ERROR, True, 0)],
        status=504,
        code="upstream_timeout",
        config={"first_byte_seconds": 0.2},
    ),
    Ending(
        "silence after the first token",
        [silent(first=STREAM_HEAD + http_chunk(b"".join(BROKEN)))],
        [Row(CallStatus.ERROR, True, 4)],
        body=STREAM,
        code="upstream_timeout",
        config={"idle_seconds": 0.2},
    ),
    Ending("another credential", [answer_json({}, 401), answer_json(completion())], credentials=2),
    Ending("another target after a refusal", [answer_json({}, 500), answer_json(completion())], targets=2),
    Ending(
        "another target after a failure that may be billed",
        [answer_raw(b""), answer_json(completion())],
        [Row(CallStatus.ERROR, True, 0), OK],
        targets=2,
    ),
    Ending(
        "no other target where nothing is left to pay for it",
        [answer_raw(b""), answer_json(completion())],
        [Row(CallStatus.ERROR, True, 0)],
        targets=2,
        room=0,
        status=429,
        code="insufficient_quota",
    ),
    Ending(
        "no target helps",
        [answer_raw(b""), answer_json({}, 500)],
        [Row(CallStatus.ERROR, True, 0), FREE_ERROR],
        targets=2,
        status=503,
        code="no_target_available",
    ),
    Ending(
        "repeated after a refusal",
        [answer_json({}, 503), answer_json(completion())],
        policy={"retry": AT_ONCE},
    ),
    Ending(
        "repeated after the wait that a vendor asked for",
        [answer_json({}, 429, [("retry-after-ms", "20")]), answer_json(completion())],
        policy={"retry": AT_ONCE},
    ),
    Ending(
        "repeated in vain",
        [answer_json({}, 503)],
        [FREE_ERROR],
        status=503,
        policy={"retry": RetryRule(most_attempts=3, base_seconds=0.0)},
    ),
    Ending(
        "rate limited for longer than the policy waits",
        [answer_json({}, 429, [("retry-after", "60")])],
        [FREE_ERROR],
        status=429,
        code="rate_limit_exceeded",
    ),
    Ending("another credential after a rate limit", [answer_json({}, 429), answer_json(completion())], credentials=2),
    Ending(
        "another model for a long input",
        [answer_json({"error": {"message": "no", "code": "context_length_exceeded"}}, 400), answer_json(completion())],
        targets=2,
        policy={**FALLEN_BACK, "is_alone": True},
    ),
    Ending(
        "another model for what a filter left empty",
        [answer_json(FILTERED), answer_json(completion())],
        [Row(CallStatus.ERROR), OK],
        targets=2,
        policy={**FALLEN_BACK, "is_alone": True},
    ),
    Ending(
        "another model for what a filter left empty of a stream",
        [
            stream(event(chunk({"role": "assistant", "content": ""})), event(chunk({}, "content_filter"))),
            stream(*good_stream(*WORDS)),
        ],
        [Row(CallStatus.ERROR, True, 0), OK],
        body=STREAM,
        targets=2,
        policy={**FALLEN_BACK, "is_alone": True},
    ),
    Ending("another target for one that is not let through", [answer_json(completion())], targets=2, closed=["p0"]),
    Ending(
        "no target is let through",
        [answer_json(completion())],
        [],
        status=503,
        code="no_target_available",
        targets=2,
        closed=["p0", "p1"],
    ),
    Ending(
        "another target after the first token was due",
        [silent(first=STREAM_HEAD), stream(*good_stream(*WORDS))],
        [Row(CallStatus.ERROR, True, 0), OK],
        body=STREAM,
        targets=2,
        policy={"deadlines": Deadlines(first_token=1.0)},
    ),
    Ending("hedge won", [silent(), answer_json(completion())], [LOST, OK], targets=2, policy=HEDGED),
    Ending(
        "hedge won by a stream",
        [silent(first=STREAM_HEAD), stream(*good_stream(*WORDS))],
        [LOST, OK],
        body=STREAM,
        targets=2,
        policy=HEDGED,
    ),
    Ending("hedge lost", [AfterNext(answer_json(completion())), silent()], [LOST, OK], targets=2, policy=HEDGED),
    Ending(
        "hedge lost to a refusal of the call itself",
        [AfterNext(answer_json({"error": {"message": "no"}}, 400)), silent()],
        [LOST, FREE_ERROR],
        status=400,
        code="invalid_request",
        targets=2,
        policy=HEDGED,
    ),
    Ending(
        "hedge won and cut after the first token",
        [silent(first=STREAM_HEAD), stream(*BROKEN, ends=False)],
        [LOST, Row(CallStatus.ERROR, True, 4)],
        body=STREAM,
        code="upstream_cut",
        targets=2,
        policy=HEDGED,
    ),
    Ending(
        "hedge without room",
        [later(answer_json(completion())), answer_json(completion())],
        targets=2,
        policy=HEDGED,
        room=0,
    ),
    Ending(
        "both of a hedge fail",
        [AfterNext(answer_json({}, 500)), answer_raw(b"")],
        [Row(CallStatus.ERROR, True, 0)],
        status=503,
        code="no_target_available",
        targets=2,
        policy=HEDGED,
    ),
    Ending("margin", [answer_json(completion())], charge=lambda cost: cost * 6 // 5 + 7),
    Ending(
        "usage that cannot be true",
        [answer_json(completion("x" * 40, usage={"prompt_tokens": 900_000, "completion_tokens": 5}))],
        [Row(is_estimated=True, output=10)],
    ),
    Ending(
        "more output than was allowed",
        [answer_json(completion("x" * 40, usage={"prompt_tokens": 10, "completion_tokens": 5_000}))],
        [Row(is_estimated=True, output=10)],
        chat(max_tokens=20),
    ),
    Ending(
        "negative usage",
        [answer_json(completion("x" * 40, usage={"prompt_tokens": -10, "completion_tokens": 5}))],
        [Row(is_estimated=True, output=10)],
    ),
]


class Scene:
    """A gateway whose next call has `FULL` held, out of a budget with `room` beside it."""

    def __init__(self, gateway: Serving, holds: FakeHolds) -> None:
        self.gateway = gateway
        self.holds = holds
        gateway.admission.hold = replace_request(holds)

    async def check(self, rows: Sequence[Row], charge: Callable[[int], int] = lambda cost: cost) -> None:
        """The ledger's rows are these, and the hold was settled once at their sum."""
        found = await self.gateway.settled(len(rows)) if rows else []
        async with asyncio.timeout(10):
            while not self.holds.settled:
                await asyncio.sleep(0.002)
        assert len(self.gateway.settlements) == len(rows)
        for place, (settlement, row) in enumerate(zip(found, rows, strict=True)):
            assert settlement.kind is LedgerKind.SETTLED
            assert settlement.status is row.status
            assert settlement.usage.is_estimated is row.is_estimated
            assert settlement.usage.output == (5 if row.output is None else row.output)
            assert settlement.intent.budgets == ("budget:0:",)
            cost = settlement.usage.input * IN_NANO + settlement.usage.output * OUT_NANO
            assert settlement.cost_nano == cost
            assert settlement.charge_nano == (0 if row.is_free else charge(cost))
            assert (settlement.usage.input == 0) is row.is_free, f"row {place}"
        total = sum(settlement.charge_nano or 0 for settlement in found)
        ((charged, count, prompt, completion_tokens),) = self.holds.settled
        assert (charged, count) == (total, len(rows))
        assert prompt == sum(settlement.usage.prompt_tokens for settlement in found)
        assert completion_tokens == sum(settlement.usage.completion_tokens for settlement in found)
        assert self.holds.held == 0, "nothing stays held"


def replace_request(holds: FakeHolds, **fields: Any) -> Any:
    return holds.open(**{"full": FULL, "forecast": FULL, "is_full": True, "output_pico": PRICE.output, **fields})


def one_by_one(answers: Sequence[Script]) -> Script:
    left = list(answers)
    seen_before: list[Script] = []

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        for earlier in seen_before:
            if isinstance(earlier, AfterNext):
                earlier.go.set()
        seen_before.append(left[0])
        return await (left.pop(0) if len(left) > 1 else left[0])(seen, writer)

    return script


def make_snapshot(vendor: FakeUpstream, ending: Ending) -> Any:
    names = [f"p{number}" for number in range(ending.targets)]
    configs = [provider(name, vendor.base_url, options=ending.options, **ending.config) for name in names]
    configs = [
        replace(config, credentials=tuple(Credential(uuid7(), f"secret-{n}") for n in range(ending.credentials)))
        for config in configs
    ]
    targets = [(name, "gpt-4o-mini") for name in names]
    routes = [route("gpt-4o-mini", *targets), route("embed", *targets)]
    if ending.policy is not None:
        rules = dict(ending.policy)
        own = targets[:1] if rules.pop("is_alone", False) else targets
        root = Fork(Strategy.PRIORITY, tuple(Branch(Target(*target)) for target in own))
        routes = [replace(one, policy=RoutePolicy(root, **rules)) for one in routes]
    snap = snapshot(configs, routes)
    if ending.name == "margin":
        snap = replace(
            snap,
            adjustments={
                TENANT: (Adjustment(id=uuid7(), tenant_id=TENANT, factor_millionths=1_200_000, request_nano=7),)
            },
        )
    return snap


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.name)
async def test_every_ending_is_settled_once_and_leaves_nothing_held(
    tmp_path: Path, vendor: FakeUpstream, ending: Ending
) -> None:
    vendor.script = one_by_one(ending.answers)
    holds, gate = FakeHolds(room=ending.room), NotingGate()
    gate.closed = dict.fromkeys(ending.closed, ("paused", 1.0))
    async with serving(tmp_path, make_snapshot(vendor, ending), holds=holds, gate=gate) as gateway:
        scene = Scene(gateway, holds)
        response = await gateway.post(ending.path, ending.body)
        assert response.status_code == ending.status
        if ending.code is not None:
            text = events_of(response.text)[-1] if response.status_code == 200 else response.text
            assert json.loads(text)["error"]["code"] == ending.code
        await scene.check(ending.rows, ending.charge)
        assert all(len(ends) == 1 for ends in gate.ends), "whoever let it through is told one end"


# Callers that leave


@dataclass
class Slow:
    """A stream that pauses after `count` words until `go`; a whole answer (`count` None) that waits before its first byte."""

    count: int | None
    words: Sequence[str] = WORDS
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        waiting = [asyncio.ensure_future(self.go.wait()), asyncio.ensure_future(seen.gone.wait())]
        try:
            if self.count is not None:
                parts = good_stream(*self.words)
                writer.write(STREAM_HEAD + b"".join(map(http_chunk, parts[: 1 + self.count])))
                await writer.drain()
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                writer.write(b"".join(map(http_chunk, parts[1 + self.count :])) + b"0\r\n\r\n")
            else:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                await answer_json(completion())(seen, writer)
            return True
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def leave(gateway: Serving, vendor: FakeUpstream, body: dict[str, Any], wait_for: str | None) -> None:
    """Send a call and go away when `wait_for` has come back, or when the vendor has the call."""
    host, port = gateway.origin.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
    async with asyncio.timeout(10):
        if wait_for:
            await reader.readuntil(wait_for.encode())
        while not vendor.seen:
            await asyncio.sleep(0.002)
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(10):
        while not gateway.log:
            await asyncio.sleep(0.002)


LEFT_AT = [None, *range(len(WORDS) + 1)]


@pytest.mark.parametrize("left_at", LEFT_AT, ids=lambda at: "whole" if at is None else f"after {at} words")
async def test_caller_that_leaves_pays_what_was_produced_where_closing_ends_the_bill(
    tmp_path: Path, vendor: FakeUpstream, left_at: int | None
) -> None:
    vendor.script = Slow(left_at)
    holds = FakeHolds()
    async with serving(tmp_path, make_snapshot(vendor, Ending("", [])), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        await leave(gateway, vendor, chat(stream=left_at is not None), WORDS[left_at - 1] if left_at else None)
        await asyncio.wait_for(vendor.seen[0].gone.wait(), 2)
        await scene.check([Row(CallStatus.CANCELLED, is_estimated=True, output=left_at or 0)])


@pytest.mark.parametrize("left_at", LEFT_AT, ids=lambda at: "whole" if at is None else f"after {at} words")
async def test_caller_that_leaves_pays_the_vendors_count_where_the_bill_goes_on(
    tmp_path: Path, vendor: FakeUpstream, left_at: int | None
) -> None:
    slow = vendor.script = Slow(left_at)
    holds, drains = FakeHolds(), Drains()
    snap = make_snapshot(vendor, Ending("", [], options=GOES_ON))
    async with serving(tmp_path, snap, holds=holds, drains=drains) as gateway:
        scene = Scene(gateway, holds)
        await leave(gateway, vendor, chat(stream=left_at is not None), WORDS[left_at - 1] if left_at else None)
        assert (drains.count, gateway.settlements, holds.held) == (1, [], FULL), "not settled before the end is known"
        slow.go.set()
        await scene.check([Row(CallStatus.CANCELLED)])
        assert not vendor.seen[0].gone.is_set()
        # Whose connection serves again.
        gateway.admission.hold = None
        vendor.script = answer_json(completion())
        await gateway.post()
        assert vendor.connections == 1
        labels = {"operation": "chat", "model": "gpt-4o-mini", "provider": "p0", "direction": "completion"}
        assert gateway.metrics.registry.get_sample_value("tollkeeper_tokens_total", labels) == 10


async def drained(tmp_path: Path, vendor: FakeUpstream, drains: Drains, rows: Sequence[Row], *, closes: bool) -> None:
    vendor.script = Slow(2)
    holds = FakeHolds()
    snap = make_snapshot(vendor, Ending("", [], options=GOES_ON))
    async with serving(tmp_path, snap, holds=holds, drains=drains) as gateway:
        scene = Scene(gateway, holds)
        await leave(gateway, vendor, STREAM, WORDS[1])
        if closes:
            await drains.close()
        await scene.check(rows)
        await asyncio.wait_for(vendor.seen[0].gone.wait(), 2)


ESTIMATED = Row(CallStatus.CANCELLED, is_estimated=True, output=2)


async def test_what_is_drained_too_long_is_closed_and_estimated(tmp_path: Path, vendor: FakeUpstream) -> None:
    await drained(tmp_path, vendor, Drains(seconds=0.1), [ESTIMATED], closes=False)


async def test_where_there_is_no_room_to_drain_it_is_closed_and_estimated(tmp_path: Path, vendor: FakeUpstream) -> None:
    await drained(tmp_path, vendor, Drains(most=0), [ESTIMATED], closes=False)


async def test_a_worker_that_stops_settles_what_it_drains(tmp_path: Path, vendor: FakeUpstream) -> None:
    await drained(tmp_path, vendor, Drains(), [ESTIMATED], closes=True)


# Short holds


def short(holds: FakeHolds, tokens: int) -> Any:
    """The price of the input and of so many tokens of output is held; the worst case is far more."""
    forecast = 1_000 * IN_NANO + tokens * OUT_NANO
    return replace_request(holds, full=FULL, forecast=forecast, is_full=False, output_tokens=tokens)


# A token each.
LONG = [" the"] * 200


@dataclass
class Steady:
    """A word at a time; `over` with how many it got to send."""

    sent: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        try:
            writer.write(STREAM_HEAD)
            for part in good_stream(*LONG):
                if seen.gone.is_set():
                    return False
                writer.write(http_chunk(part))
                await writer.drain()
                self.sent += 1
                await asyncio.sleep(0.002)
            return True
        finally:
            self.over.set()


def is_asked_to_stream(seen: Seen) -> bool:
    return bool(seen.json().get("stream"))


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
async def test_an_answer_is_cut_where_the_budget_ends(tmp_path: Path, vendor: FakeUpstream, is_stream: bool) -> None:
    steady = vendor.script = Steady()
    holds = FakeHolds(room=0)
    options = {"include_usage": True}
    body = chat(stream=True, stream_options=options) if is_stream else chat()
    async with serving(tmp_path, make_snapshot(vendor, Ending("", [])), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        holds.held = 0
        hold = gateway.admission.hold = short(holds, 40)
        response = await gateway.post(body=body)
        assert response.status_code == 200
        assert is_asked_to_stream(vendor.seen[0])
        if is_stream:
            *_, end, usage, done = events_of(response.text)
            assert done == "[DONE]"
            assert json.loads(end)["choices"][0]["finish_reason"] == "length"
            shown = json.loads(usage)["usage"]
            assert json.loads(usage)["choices"] == []
        else:
            document = response.json()
            assert document["object"] == "chat.completion"
            assert document["choices"][0]["finish_reason"] == "length"
            assert document["choices"][0]["message"]["content"] == " the" * 40
            shown = document["usage"]
        (settlement,) = await gateway.settled()
        assert shown["completion_tokens"] == settlement.usage.output >= 40
        assert settlement.charge_nano is not None
        assert settlement.charge_nano <= hold.held_nano
        await scene.check([Row(is_estimated=True, output=settlement.usage.output)])
        await asyncio.wait_for(steady.over.wait(), 5)
        assert steady.sent < len(LONG), "the vendor was stopped"
        found = gateway.metrics.registry.get_sample_value("tollkeeper_answers_cut_total", {"provider": "p0"})
        assert found == 1


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
async def test_a_short_hold_grows_with_its_answer(tmp_path: Path, vendor: FakeUpstream, is_stream: bool) -> None:
    vendor.script = stream(*good_stream(*LONG), pause=0.001)
    holds = FakeHolds(room=FULL)
    async with serving(tmp_path, make_snapshot(vendor, Ending("", [])), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        holds.held = 0
        gateway.admission.hold = short(holds, 40)
        response = await gateway.post(body=chat(stream=is_stream))
        assert response.text.count(" the") == 200 or response.json()["choices"][0]["message"]["content"] == " the" * 200
        if not is_stream:
            assert response.json()["usage"] == USAGE
            assert response.json()["choices"][0]["finish_reason"] == "stop"
        assert holds.asked
        await scene.check([OK])


async def test_a_short_hold_is_made_whole_where_the_answer_cannot_be_cut(tmp_path: Path, vendor: FakeUpstream) -> None:
    holds = FakeHolds(room=FULL)
    snap = make_snapshot(vendor, Ending("", [], options=GOES_ON))
    async with serving(tmp_path, snap, holds=holds) as gateway:
        scene = Scene(gateway, holds)
        holds.held = 0
        hold = gateway.admission.hold = short(holds, 40)
        assert (await gateway.post()).status_code == 200
        assert hold.held_nano == FULL
        assert not is_asked_to_stream(vendor.seen[0])
        await scene.check([OK])


async def test_caller_that_leaves_a_watched_answer_pays_what_was_produced(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = Slow(2)
    holds = FakeHolds(room=FULL)
    async with serving(tmp_path, make_snapshot(vendor, Ending("", [])), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        holds.held = 0
        gateway.admission.hold = short(holds, 40)
        await leave(gateway, vendor, STREAM, WORDS[1])
        await asyncio.wait_for(vendor.seen[0].gone.wait(), 2)
        await scene.check([ESTIMATED])


async def test_a_watched_whole_answer_that_breaks_goes_on_at_the_next_target(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    """Its caller has seen nothing; what the first produced is charged, and made up for before the second is asked."""
    vendor.script = one_by_one([stream(*BROKEN, ends=False), stream(*good_stream(*WORDS))])
    holds = FakeHolds(room=FULL)
    async with serving(tmp_path, make_snapshot(vendor, Ending("", [], targets=2)), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        holds.held = 0
        gateway.admission.hold = short(holds, 40)
        response = await gateway.post()
        assert response.json()["choices"][0]["message"]["content"] == "".join(WORDS)
        await scene.check([Row(CallStatus.ERROR, is_estimated=True, output=4), OK])
        assert holds.asked[0] == gateway.settlements[0].charge_nano


# What does not fit


async def test_usage_whose_parts_are_more_than_their_whole_is_flagged_and_alarmed(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    usage = {**USAGE, "completion_tokens_details": {"reasoning_tokens": 7_000}}
    vendor.script = answer_json(completion(usage=usage))
    async with serving(tmp_path, make_snapshot(vendor, Ending("", []))) as gateway:
        await gateway.post()
        (row,) = await gateway.settled()
        assert (row.usage.completion_tokens, row.usage.is_estimated) == (5, True)
        labels = {"provider": "p0", "what": "contradictory"}
        assert gateway.metrics.registry.get_sample_value("tollkeeper_implausible_usage_total", labels) == 1


async def test_a_call_that_is_sent_nowhere_gives_its_hold_back(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = make_snapshot(vendor, Ending("", [], config={"kind": "groq"}))
    holds = FakeHolds()
    async with serving(tmp_path, snap, holds=holds) as gateway:
        scene = Scene(gateway, holds)
        response = await gateway.post("/v1/embeddings", {"model": "embed", "input": "x"})
        assert (response.status_code, vendor.seen) == (400, [])
        await scene.check([])


async def test_a_call_dearer_than_its_hold_is_settled_truly_and_alarmed(tmp_path: Path, vendor: FakeUpstream) -> None:
    holds = FakeHolds()
    async with serving(tmp_path, make_snapshot(vendor, Ending("", [])), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        holds.held = 0
        hold = gateway.admission.hold = replace_request(holds, full=COUNTED - 100, forecast=COUNTED - 100)
        terms = terms_of(make_principal(budgets=(make_budget(),)), ASKED, time.time())
        hold.parts = [Part(one, []) for one in terms]
        await gateway.post()
        await scene.check([OK])
        registry = gateway.metrics.registry
        assert registry.get_sample_value("tollkeeper_hold_exceeded_total") == 1
        assert registry.get_sample_value("tollkeeper_hold_exceeded_max_usd") == pytest.approx(100 / 1e9)


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(("prompt", "what"), [(900_000, "input"), (-1, "unreadable"), (1e30, "unreadable")])
async def test_usage_that_cannot_be_true_is_alarmed(
    tmp_path: Path, vendor: FakeUpstream, prompt: float, what: str, is_stream: bool
) -> None:
    usage = {"prompt_tokens": prompt, "completion_tokens": 5}
    parts = [*good_stream(*WORDS)[:-2], event(chunk(None, usage=usage)), DONE]
    vendor.script = stream(*parts) if is_stream else answer_json(completion("".join(WORDS), usage=usage))
    async with serving(tmp_path, make_snapshot(vendor, Ending("", []))) as gateway:
        assert (await gateway.post(body=chat(stream=is_stream))).status_code == 200
        (row,) = await gateway.settled()
        assert (row.usage.output, row.usage.is_estimated) == (4, True)
        labels = {"provider": "p0", "what": what}
        assert gateway.metrics.registry.get_sample_value("tollkeeper_implausible_usage_total", labels) == 1


async def test_a_call_nothing_limits_is_settled_without_a_hold(tmp_path: Path, vendor: FakeUpstream) -> None:
    holds = FakeHolds()
    async with serving(tmp_path, make_snapshot(vendor, Ending("", [])), holds=holds) as gateway:
        assert (await gateway.post()).status_code == 200
        assert [row.charge_nano for row in await gateway.settled()] == [COUNTED]
        assert holds.settled == []
