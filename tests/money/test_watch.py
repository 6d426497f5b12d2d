"""A stream is kept within what its call has put aside: extended ahead of what is produced, or cut to a good end."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.money.records import FakeHolds
from tollkeeper.contracts.chat import Batch, Call, Chunk, Operation, Usage
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.money.hold import Hold
from tollkeeper.gateway.money.watch import Watch

# A token is a word of the text below for every tokenizer, and costs a nano-dollar.
PICO = 1_000
INPUT_NANO = 100
MODEL = "gpt-4o"


def words(count: int) -> list[str]:
    return [" the"] * count


def text_chunk(text: str, index: int = 0) -> Chunk:
    choice = {"index": index, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    data = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return Chunk(data, is_content=True, text_length=len(text))


def finish_chunk(reason: str = "stop") -> Chunk:
    choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
    return Chunk({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


class Vendor:
    """Gives its batches one by one; `stopped` once it was told to."""

    def __init__(self, batches: Sequence[Batch], seconds: float = 0.0) -> None:
        self.batches = [*batches, [finish_chunk(), Chunk({}, is_hidden=True, is_final=True, usage=Usage(output=1))]]
        self.given = 0
        self.seconds = seconds
        self.is_stopped = False

    async def read(self) -> Batch:
        await asyncio.sleep(self.seconds)
        assert not self.is_stopped
        if self.given == len(self.batches):
            raise StopAsyncIteration
        self.given += 1
        return self.batches[self.given - 1]

    async def cut(self) -> Usage:
        self.is_stopped = True
        return Usage(input=7, output=3, is_estimated=True)


def watch(vendor: Vendor, hold: Hold, holds: FakeHolds, **body: Any) -> Watch:
    call = Call(Operation.CHAT, MODEL, is_stream=True, body=body, wants_usage=True)
    clock = asyncio.get_running_loop().time
    return Watch(vendor.read, vendor.cut, hold, holds, call, MODEL, clock)


def hold_of(holds: FakeHolds, tokens: int, *, cap: int | None = 10_000) -> Hold:
    """Forecast of so many tokens of output, and their price held."""
    return holds.open(
        full=None if cap is None else INPUT_NANO + cap,
        forecast=INPUT_NANO + tokens,
        is_full=False,
        output_tokens=tokens,
        output_cap=cap,
        output_pico=PICO,
    )


async def collect(watched: Watch) -> list[Chunk]:
    try:
        async with asyncio.timeout(5):
            return [chunk async for batch in watched for chunk in batch]
    finally:
        await watched.aclose()


def texts(chunks: Sequence[Chunk]) -> list[str]:
    parts = [c["delta"].get("content") for chunk in chunks for c in chunk.data.get("choices", ())]
    return [part for part in parts if part]


async def test_an_answer_within_its_hold_passes_untouched_and_asks_for_nothing() -> None:
    holds, batches = FakeHolds(), [[text_chunk(word)] for word in words(20)]
    vendor = Vendor(batches)
    chunks = await collect(watch(vendor, hold_of(holds, 1_000), holds))
    assert [id(chunk) for chunk in chunks] == [id(chunk) for batch in vendor.batches for chunk in batch]
    assert (holds.asked, vendor.is_stopped) == ([], False)


async def test_the_hold_is_extended_ahead_of_what_is_produced_and_never_much() -> None:
    holds = FakeHolds(room=10_000)
    hold = hold_of(holds, 40)
    vendor = Vendor([[text_chunk(word)] for word in words(600)], seconds=0.0005)
    short_of: list[int] = []

    async def read() -> Batch:
        batch = await Vendor.read(vendor)
        short_of.append(hold.held_nano - INPUT_NANO - vendor.given)
        return batch

    vendor.read = read  # type: ignore[method-assign]
    chunks = await collect(watch(vendor, hold, holds))
    assert len(texts(chunks)) == 600
    assert min(short_of) > 0, "never behind what is produced"
    assert len(holds.asked) < 12
    # Of a long answer, a part of what there is; of any, no more than comes before the next answer.
    assert hold.held_nano - INPUT_NANO < 600 * 1.25 + 600


async def test_an_answer_that_cannot_be_paid_for_is_cut_to_a_good_end() -> None:
    holds = FakeHolds(room=0)
    hold = hold_of(holds, 50)
    vendor = Vendor([[text_chunk(word)] for word in words(500)])
    chunks = await collect(watch(vendor, hold, holds))
    assert vendor.is_stopped
    assert len(texts(chunks)) == 50
    end, usage, final = chunks[-3:]
    assert end.data["choices"] == [{"index": 0, "logprobs": None, "finish_reason": "length", "delta": {}}]
    assert (end.data["id"], end.data["model"]) == ("c", "m")
    assert usage.data["choices"] == []
    assert usage.data["usage"]["total_tokens"] == 10
    assert (final.is_final, final.is_hidden, final.error) == (True, True, None)


async def test_all_room_there_is_goes_to_the_answer_before_it_is_cut() -> None:
    holds = FakeHolds(room=30)
    vendor = Vendor([[text_chunk(word)] for word in words(500)])
    chunks = await collect(watch(vendor, hold_of(holds, 50), holds))
    assert vendor.is_stopped
    assert len(texts(chunks)) >= 50 + 30 - 16
    assert holds.room < 16


async def test_every_choice_gets_its_end_also_one_that_has_not_begun() -> None:
    holds = FakeHolds(room=0)
    vendor = Vendor([[text_chunk(word, index)] for word in words(200) for index in (0, 1)])
    chunks = await collect(watch(vendor, hold_of(holds, 20), holds, n=3))
    ends = [c for chunk in chunks for c in chunk.data.get("choices", ()) if c["finish_reason"] == "length"]
    assert [c["index"] for c in ends] == [0, 1, 2]
    assert [c["delta"] for c in ends] == [{}, {}, {"role": "assistant", "content": ""}]


async def test_of_a_large_read_only_what_is_paid_for_is_passed_on() -> None:
    holds = FakeHolds(room=0)
    vendor = Vendor([[text_chunk(word) for word in words(300)]])
    chunks = await collect(watch(vendor, hold_of(holds, 50), holds))
    assert vendor.is_stopped
    assert len(texts(chunks)) == 50


async def test_an_answer_that_has_ended_is_not_cut_whatever_it_came_to() -> None:
    """Its price is the vendor's to say, and all of it is there."""
    holds = FakeHolds(room=0)
    vendor = Vendor([])
    vendor.batches[0] = [*(text_chunk(word) for word in words(300)), *vendor.batches[0]]
    chunks = await collect(watch(vendor, hold_of(holds, 50), holds))
    assert len(texts(chunks)) == 300
    assert not vendor.is_stopped


async def test_the_stream_waits_for_an_extension_only_when_the_hold_is_used_up() -> None:
    holds = FakeHolds(room=10_000, gate=asyncio.Event())
    assert holds.gate is not None
    vendor = Vendor([[text_chunk(word)] for word in words(200)])
    watched = watch(vendor, hold_of(holds, 60), holds)
    seen: list[Chunk] = []

    async def read_all() -> None:
        async for batch in watched:
            seen.extend(batch)

    reading = asyncio.create_task(read_all())
    async with asyncio.timeout(5):
        while len(texts(seen)) < 60:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert len(texts(seen)) == 60, "asked long before, and flowed on until the last that is paid for"
    assert holds.asked
    holds.gate.set()
    await reading
    await watched.aclose()
    assert len(texts(seen)) == 200


async def test_the_cap_ends_the_watching() -> None:
    """Where the whole worst case is held nothing is asked for and nothing is cut, whatever we count."""
    holds = FakeHolds(room=1_000)
    hold = hold_of(holds, 50, cap=80)
    vendor = Vendor([[text_chunk(word)] for word in words(500)])
    chunks = await collect(watch(vendor, hold, holds))
    assert len(texts(chunks)) == 500
    assert hold.held_nano == INPUT_NANO + 80
    assert not vendor.is_stopped


async def test_earlier_attempts_have_used_their_share_of_the_hold() -> None:
    holds = FakeHolds(room=0)
    hold = hold_of(holds, 50)
    hold.spent_nano = 20
    vendor = Vendor([[text_chunk(word)] for word in words(500)])
    assert len(texts(await collect(watch(vendor, hold, holds)))) == 30


async def test_tool_arguments_and_reasoning_count_as_output() -> None:
    holds = FakeHolds(room=0)
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "find", "arguments": ""}}
    parts: list[dict[str, Any]] = [{"reasoning_content": " the" * 10}, {"tool_calls": [call]}]
    parts += [{"tool_calls": [{"index": 0, "function": {"arguments": " the" * 10}}]} for _ in range(50)]
    batches = []
    for delta in parts:
        chunk = text_chunk("")
        chunk.data["choices"][0]["delta"] = delta
        batches.append([chunk])
    vendor = Vendor(batches)
    await collect(watch(vendor, hold_of(holds, 60), holds))
    assert vendor.is_stopped
    assert vendor.given < 8


async def test_a_slow_caller_does_not_slow_the_counting() -> None:
    holds = FakeHolds(room=0)
    vendor = Vendor([[text_chunk(word)] for word in words(500)])
    watched = watch(vendor, hold_of(holds, 50), holds)
    await anext(watched)
    async with asyncio.timeout(5):
        while not vendor.is_stopped:
            await asyncio.sleep(0.001)
    assert vendor.given == 51, "the vendor was stopped though nobody had read on"
    assert len(texts(await collect(watched))) == 49


async def test_a_caller_that_stays_behind_slows_the_vendor_once_the_whole_call_is_held() -> None:
    holds = FakeHolds(room=100_000)
    vendor = Vendor([[text_chunk(word)] for word in words(5_000)])
    hold = hold_of(holds, 50)
    watched = watch(vendor, hold, holds)
    await anext(watched)
    given = -1
    async with asyncio.timeout(10):
        while vendor.given != given:
            given = vendor.given
            await asyncio.sleep(0.05)
    assert 50 < given < 400, "a quarter of a megabyte, in chunks of a kilobyte"
    assert hold.held_nano == INPUT_NANO + 10_000
    assert len(texts(await collect(watched))) == 5_000 - 1


async def test_where_the_whole_call_cannot_be_held_a_slow_caller_does_not_stop_the_counting() -> None:
    holds = FakeHolds(room=2_000)
    vendor = Vendor([[text_chunk(word)] for word in words(5_000)])
    watched = watch(vendor, hold_of(holds, 50), holds)
    await anext(watched)
    async with asyncio.timeout(10):
        while not vendor.is_stopped:
            await asyncio.sleep(0.001)
    assert 2_000 < vendor.given <= 2_052
    await collect(watched)


async def test_what_breaks_a_stream_is_raised_after_what_came_before_it() -> None:
    holds = FakeHolds()
    vendor = Vendor([[text_chunk(" the")]])

    async def read() -> Batch:
        if vendor.given == 1:
            raise UpstreamError("cut off", code="upstream_cut")
        return await Vendor.read(vendor)

    vendor.read = read  # type: ignore[method-assign]
    watched = watch(vendor, hold_of(holds, 50), holds)
    assert texts(await anext(watched)) == [" the"]
    with pytest.raises(UpstreamError, match="cut off"):
        await anext(watched)
    await watched.aclose()


async def test_closing_early_leaves_no_task_behind() -> None:
    holds = FakeHolds(room=10_000, gate=asyncio.Event())
    watched = watch(Vendor([[text_chunk(word)] for word in words(500)]), hold_of(holds, 50), holds)
    await anext(watched)
    before = len(asyncio.all_tasks())
    await watched.aclose()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) < before
