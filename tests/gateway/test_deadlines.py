"""How long an attempt may take: by the policy's word, the provider's, the process's, and never longer than its caller waits."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.gateway.dispatching import BOTH, ONE, Pair, fork, pair
from tests.gateway.serving import KEY, chat
from tests.gateway.test_settlement import BROKEN
from tests.gateway.upstream import (
    STREAM_HEAD,
    Script,
    Seen,
    chunk,
    event,
    good_stream,
    http_chunk,
    silent,
    stream,
)
from tollkeeper.contracts.routing import Deadlines, RetryRule, RoutePolicy
from tollkeeper.contracts.usage import CallStatus

ROLE = http_chunk(event(chunk({"role": "assistant", "content": ""})))
# Long enough for a busy machine, whose second target is held to it as well.
SOON = Deadlines(first_token=1.0)
LONG = 1_000.0


def dripping(*first: bytes, drop: bytes) -> Script:
    """`first` at once, then a drop now and then, without an end."""

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"".join(first))
        try:
            while not seen.gone.is_set():
                writer.write(drop)
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            # Told by the writing, before whoever reads could see it.
            seen.gone.set()
        return False

    return script


def pinging() -> Script:
    """A stream that is alive and says nothing."""
    return dripping(STREAM_HEAD, ROLE, drop=http_chunk(b": ping\n\n"))


@pytest.mark.parametrize("script", [silent(), silent(first=STREAM_HEAD + ROLE), pinging()])
async def test_a_stream_without_content_gives_way_after_the_first_token_deadline(
    tmp_path: Path, script: Script
) -> None:
    async with pair(tmp_path, RoutePolicy(BOTH, deadlines=SOON)) as both:
        both.one.script = script
        both.two.script = stream(*good_stream("from two"))
        response = await both.gateway.post(body=chat(stream=True))
        assert "from two" in response.text
        assert response.headers["x-tollkeeper-provider"] == "two"
        await asyncio.wait_for(both.one.seen[0].gone.wait(), 10)
        first, second = await both.gateway.settled(2)
        assert (first.status, first.error_code) == (CallStatus.ERROR, "upstream_timeout")
        assert second.status is CallStatus.OK
        assert both.gate.ends == [("timeout",), ("answered",)]


async def test_a_stream_that_has_begun_is_not_held_to_the_first_token_deadline(tmp_path: Path) -> None:
    async with pair(tmp_path, RoutePolicy(BOTH, deadlines=SOON)) as both:
        both.one.script = stream(*good_stream(*"abcdefgh"), pause=0.13)
        response = await both.gateway.post(body=chat(stream=True))
        assert response.text.endswith("data: [DONE]\n\n")
        assert response.headers["x-tollkeeper-provider"] == "one"


async def test_without_a_word_of_the_policy_the_providers_first_byte_bounds_all_but_the_last(tmp_path: Path) -> None:
    async with pair(tmp_path, first={"first_byte_seconds": 1.0}, second={"first_byte_seconds": 1.0}) as both:
        both.one.script = pinging()
        slow = [ROLE, *[http_chunk(b": ping\n\n")] * 10]
        both.two.script = _raw(slow, [http_chunk(part) for part in good_stream("late")[1:]], pause=0.12)
        response = await both.gateway.post(body=chat(stream=True))
        assert "late" in response.text


def _raw(before: Sequence[bytes], after: Sequence[bytes], *, pause: float) -> Script:
    async def script(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM_HEAD)
        for part in before:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        writer.write(b"".join(after) + b"0\r\n\r\n")
        await writer.drain()
        return True

    return script


@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_policys_first_byte_goes_before_the_providers(tmp_path: Path, is_stream: bool) -> None:
    policy = RoutePolicy(BOTH, deadlines=Deadlines(first_byte=1.0))
    async with pair(tmp_path, policy, first={"first_byte_seconds": LONG}) as both:
        both.one.script = silent()
        both.two.script = stream(*good_stream("hello"))
        response = await both.gateway.post(body=chat(stream=is_stream))
        assert response.headers["x-tollkeeper-provider"] == "two"


async def test_the_policys_idle_deadline_ends_a_stream_that_fell_silent(tmp_path: Path) -> None:
    policy = RoutePolicy(BOTH, deadlines=Deadlines(idle=1.0))
    async with pair(tmp_path, policy) as both:
        both.one.script = silent(first=STREAM_HEAD + http_chunk(b"".join(BROKEN)))
        response = await both.gateway.post(body=chat(stream=True))
        assert "upstream_timeout" in response.text
        assert "[DONE]" not in response.text


async def test_the_policys_total_bounds_the_whole_call(tmp_path: Path) -> None:
    policy = RoutePolicy(BOTH, deadlines=Deadlines(total=0.3))
    async with pair(tmp_path, policy) as both:
        both.one.script = silent()
        response = await both.gateway.post()
        assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
        assert both.two.seen == [], "nobody waits for another one"


async def test_a_providers_total_leaves_the_next_target_its_time(tmp_path: Path) -> None:
    async with pair(tmp_path, first={"total_seconds": 0.2}) as both:
        both.one.script = silent()
        assert (await both.gateway.post()).headers["x-tollkeeper-provider"] == "two"


async def test_no_policy_makes_a_call_longer_than_its_caller_waits(tmp_path: Path) -> None:
    said = Deadlines(first_byte=LONG, first_token=LONG, idle=LONG, total=LONG)
    async with pair(tmp_path, RoutePolicy(BOTH, deadlines=said)) as both:
        both.one.script = silent()
        response = await both.gateway.post(headers={"x-tollkeeper-timeout-ms": "300"})
        assert response.status_code == 504


# Pace

PACED = RoutePolicy(fork(ONE), deadlines=Deadlines(least_bytes_per_second=200), retry=RetryRule(most_attempts=1))
DROP = http_chunk(event(chunk({"content": "x"})))


async def pass_pace(both: Pair, asking: "asyncio.Task[object]") -> None:
    """Let the clock run: what the vendor sends meanwhile is far below the pace."""
    async with asyncio.timeout(20):
        while not asking.done():
            both.gateway.clock.ahead += 3.0
            await asyncio.sleep(0.15)


async def test_a_stream_that_drips_is_cut_with_an_error_that_has_a_name(tmp_path: Path) -> None:
    async with pair(tmp_path, PACED, targets=[ONE]) as both:
        both.one.script = dripping(STREAM_HEAD, *map(http_chunk, BROKEN), drop=http_chunk(b": ping\n\n"))
        asking = asyncio.create_task(both.gateway.post(body=chat(stream=True)))
        await pass_pace(both, asking)
        text = (await asking).text
        assert "upstream_too_slow" in text
        assert "[DONE]" not in text
        await asyncio.wait_for(both.one.seen[0].gone.wait(), 10)
        (row,) = await both.gateway.settled()
        assert (row.status, row.error_code, row.usage.output) == (CallStatus.ERROR, "upstream_too_slow", 4)


async def test_a_whole_answer_that_drips_is_cut(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
    async with pair(tmp_path, PACED, targets=[ONE]) as both:
        both.one.script = dripping(head, drop=b" ")
        asking = asyncio.create_task(both.gateway.post())
        await pass_pace(both, asking)
        response = await asking
        assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_too_slow")


async def test_an_answer_at_its_pace_is_left_alone(tmp_path: Path) -> None:
    async with pair(tmp_path, RoutePolicy(fork(ONE), deadlines=Deadlines(least_bytes_per_second=1))) as both:
        both.one.script = stream(*good_stream(*"abcdefghij"), pause=0.1)
        asking = asyncio.create_task(both.gateway.post(body=chat(stream=True)))
        await pass_pace(both, asking)
        assert (await asking).text.endswith("data: [DONE]\n\n")


# What is kept back


async def test_what_is_kept_before_the_first_content_is_bounded(tmp_path: Path) -> None:
    """Events that say nothing, each of them large: the answer begins with them before they fill the memory."""
    empty = event(chunk({"role": "assistant", "content": ""}, obfuscation="x" * 30_000))
    go = asyncio.Event()

    async def script(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM_HEAD + b"".join([http_chunk(empty)] * 12))
        await go.wait()
        writer.write(b"".join(map(http_chunk, good_stream("hello")[1:])) + b"0\r\n\r\n")
        await writer.drain()
        return True

    policy = RoutePolicy(BOTH, deadlines=Deadlines(first_token=60.0, idle=LONG, total=LONG))
    async with pair(tmp_path, policy, upstream_total_seconds=LONG) as both:
        both.one.script = script
        headers = {"authorization": f"Bearer {KEY}"}
        async with both.gateway.client.stream(
            "POST", "/v1/chat/completions", json=chat(stream=True), headers=headers
        ) as response:
            assert response.headers["x-tollkeeper-provider"] == "one"
            # The deadline of the first token would be over, had it not begun.
            both.gateway.clock.ahead += 120.0
            await asyncio.sleep(0.3)
            go.set()
            assert "hello" in (await response.aread()).decode()
