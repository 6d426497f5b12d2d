"""The stage over real sockets: calls wait, are refused in the caller's dialect, and go where there is room."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.serving import Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, Seen, answer_json, completion, running_upstream
from tollkeeper.core.flags import PRIORITY_CALLS
from tollkeeper.core.secrets import new_key
from tollkeeper.gateway.pressure.metrics import QueueMetrics
from tollkeeper.gateway.pressure.slots import Slots

Open = Callable[..., AbstractAsyncContextManager[tuple[Serving, Slots]]]


@pytest.fixture
async def gates() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def other() -> AsyncIterator[FakeUpstream]:
    async with running_upstream() as upstream:
        upstream.script = answer_json(completion("from the other"))
        yield upstream


@pytest.fixture
def gated(vendor: FakeUpstream, gates: asyncio.Event) -> FakeUpstream:
    """A vendor that answers when the test says so."""
    whole = answer_json(completion("hello"))

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        await gates.wait()
        return await whole(seen, writer)

    vendor.script = script
    return vendor


@pytest.fixture
def open_gateway(tmp_path: Path, gated: FakeUpstream, other: FakeUpstream) -> Open:
    @asynccontextmanager
    async def run(
        *, running: int = 2, waiting: int = 2, seconds: float = 30.0, **options: Any
    ) -> AsyncIterator[tuple[Serving, Slots]]:
        snap = snapshot(
            [provider("one", gated.base_url, options=options), provider("two", other.base_url)],
            [
                route("gpt-4o-mini", ("one", "gpt-4o-mini")),
                route("elsewhere", ("two", "gpt-4o-mini")),
                route("both", ("one", "gpt-4o-mini"), ("two", "gpt-4o-mini")),
            ],
        )
        made: list[Slots] = []

        def make_slots(clock: Any, metrics: Any) -> Slots:
            made.append(
                Slots(
                    clock,
                    QueueMetrics(metrics.registry),
                    most_running=running,
                    most_waiting=waiting,
                    longest_seconds=seconds,
                )
            )
            return made[0]

        async with serving(tmp_path, snap, make_slots=make_slots) as gateway:
            yield gateway, made[0]

    return run


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


def asking(gateway: Serving, **options: Any) -> "asyncio.Task[httpx.Response]":
    return asyncio.ensure_future(gateway.post(**options))


async def test_calls_beyond_the_bound_wait_and_are_all_served(
    open_gateway: Open, gated: FakeUpstream, gates: asyncio.Event
) -> None:
    async with open_gateway(running=2, waiting=8) as (gateway, slots):
        calls = [asking(gateway) for _ in range(8)]
        await until(lambda: slots.waiting == 6 and len(gated.seen) == 2)
        gates.set()
        assert [(await call).status_code for call in calls] == [200] * 8
        await until(lambda: slots.running == 0)
        assert gated.connections == 2
        assert len(await gateway.settled(8)) == 8


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/chat/completions", 503, "server_error"),
        ("/v1/messages", 529, "overloaded_error"),
        ("/v1beta/models/gpt-4o-mini:generateContent", 503, "UNAVAILABLE"),
    ],
)
async def test_call_that_finds_the_line_full_is_refused_in_its_own_words(
    open_gateway: Open, gates: asyncio.Event, path: str, status: int, kind: str
) -> None:
    body: dict[str, Any] = chat(max_tokens=5)
    if "generate" in path:
        body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    async with open_gateway(running=1, waiting=1) as (gateway, slots):
        calls = [asking(gateway), asking(gateway)]
        await until(lambda: slots.waiting == 1)
        refused = await gateway.post(path, body)
        error = refused.json()["error"]
        assert (refused.status_code, error.get("type") or error.get("status")) == (status, kind), refused.text
        if path == "/v1/chat/completions":
            assert error["code"] == "overloaded"
        # Nothing has ended yet: the longest that anybody waits.
        assert refused.headers["retry-after"] == "30"
        assert refused.headers["x-should-retry"] == "true"
        gates.set()
        assert [(await call).status_code for call in calls] == [200, 200]
        assert len(gateway.journal.settlements) == 2


async def test_caller_that_leaves_the_line_is_never_sent(
    open_gateway: Open, gated: FakeUpstream, gates: asyncio.Event
) -> None:
    async with open_gateway(running=1) as (gateway, slots):
        first, leaving = asking(gateway), asking(gateway)
        await until(lambda: slots.waiting == 1)
        leaving.cancel()
        await until(lambda: slots.waiting == 0)
        gates.set()
        assert (await first).status_code == 200
        await until(lambda: slots.running == 0)
        assert len(gated.seen) == 1
        assert len(gateway.settlements) == 1


async def test_failed_and_abandoned_calls_give_their_slots_back(open_gateway: Open, gated: FakeUpstream) -> None:
    async with open_gateway(running=1, waiting=1) as (gateway, slots):
        abandoned = asking(gateway)
        await until(lambda: len(gated.seen) == 1)
        abandoned.cancel()
        await until(lambda: slots.running == 0)
        gated.script = answer_json({"error": {"message": "no"}}, status=500)
        assert (await gateway.post()).status_code == 502
        assert (await gateway.post(body=chat(n=0))).status_code == 400
        await until(lambda: slots.running == 0)


async def test_call_goes_to_the_next_target_where_the_first_provider_is_full(
    open_gateway: Open, gates: asyncio.Event
) -> None:
    async with open_gateway(running=10, max_concurrency=1) as (gateway, slots):
        first = asking(gateway, body=chat(model="both"))
        await until(lambda: slots.running == 1)
        second = await gateway.post(body=chat(model="both"))
        assert second.headers["x-tollkeeper-provider"] == "two"
        only = asking(gateway)
        await until(lambda: slots.waiting == 1)
        assert (await gateway.post(body=chat(model="elsewhere"))).status_code == 200
        gates.set()
        assert [(await first).headers["x-tollkeeper-provider"], (await only).status_code] == ["one", 200]


async def test_priority_is_asked_for_by_header_and_high_only_where_it_is_allowed(
    open_gateway: Open, gated: FakeUpstream, gates: asyncio.Event
) -> None:
    token = new_key().token
    async with open_gateway(running=1, waiting=10) as (gateway, slots):
        gateway.keys.add(token, flags={PRIORITY_CALLS.name: True})
        refused = await gateway.post(headers={"x-tollkeeper-priority": "high"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "priority_not_allowed")
        unknown = await gateway.post(headers={"x-tollkeeper-priority": "urgent"})
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "x-tollkeeper-priority")
        calls = []
        ways: list[tuple[str, dict[str, str]]] = [
            ("first", {}),
            ("batch", {"x-tollkeeper-priority": "batch"}),
            ("low", {"x-tollkeeper-priority": "low"}),
            ("normal", {}),
            ("high", {"x-tollkeeper-priority": "high", "authorization": f"Bearer {token}"}),
        ]
        for name, headers in ways:
            calls.append(asking(gateway, body=chat(user=name), headers=headers))
            before = len(calls)
            await until(lambda: slots.running + slots.waiting == before)  # noqa: B023 - awaited in its own turn
        gates.set()
        assert [(await call).status_code for call in calls] == [200] * 5
        assert [seen.json()["user"] for seen in gated.seen] == ["first", "high", "normal", "low", "batch"]


async def test_metrics_tell_of_the_line(open_gateway: Open, gates: asyncio.Event) -> None:
    async with open_gateway(running=1, waiting=1) as (gateway, slots):
        calls = [asking(gateway), asking(gateway)]
        await until(lambda: slots.waiting == 1)
        value = gateway.metrics.registry.get_sample_value
        assert value("tollkeeper_queue_length") == 1
        assert json.loads((await gateway.post()).text)["error"]["code"] == "overloaded"
        assert value("tollkeeper_queue_refusals_total", {"reason": "full"}) == 1
        gates.set()
        await asyncio.gather(*calls)
        assert value("tollkeeper_queue_length") == 0
        assert value("tollkeeper_queue_seconds_count") == 1
