"""Rows of the settlement table (RULING 16) for calls that are charged by pictures, seconds, characters, searches.

Prices are round, so that each row's cost can be told by looking at it: a picture takes 40 million nano-dollars, a second
of sound 100,000, a character 15,000, a search 2 million, a token in 5,000 and a token out 40,000.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.forms import TYPE, form, transcription
from tests.gateway.serving import Serving, provider, route, serving, snapshot
from tests.gateway.test_other_operations import COMPLETED, DELTA, DONE, PARTIAL, SPEECH
from tests.gateway.test_settlement import FULL, one_by_one, replace_request
from tests.gateway.upstream import FakeUpstream, Script, Seen, answer, answer_json, answer_raw, event, silent, stream
from tests.money.records import FakeHolds
from tollkeeper.contracts.catalog import Price
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.simulator import media

PICTURE, SECOND, CHARACTER, SEARCH, IN, OUT = 40_000_000, 100_000, 15_000, 2_000_000, 5_000, 40_000
BESIDE = Price(
    uuid7(), 0, 0, image=PICTURE * 1000, audio_second=SECOND * 1000, character=CHARACTER * 1000, request=SEARCH * 1000
)
TOKENS = Price(uuid7(), IN * 1000, OUT * 1000)
FREE = Price(uuid7(), 0, 0)
DRAW = {"model": "gpt-image-1", "prompt": "x" * 8, "n": 2, "size": "1024x1024", "quality": "low"}
RANK = {"model": "m", "query": "q", "documents": ["a", "b"]}
WAV = media.wav(1.5)
LISTEN = transcription(WAV, model="m")
TWO = {"created": 1, "data": [{"url": "https://x.test/1"}, {"url": "https://x.test/2"}]}
DRAWN = {"input_tokens": 8, "output_tokens": 544, "total_tokens": 552}
MODERATION = {"id": "modr-1", "model": "m", "results": [{"flagged": False}]}


@dataclass(frozen=True)
class Row:
    """`cost_nano`: of this row; one that is not estimated is exact."""

    cost_nano: int
    status: CallStatus = CallStatus.OK
    is_estimated: bool = False


@dataclass(frozen=True)
class Ending:
    name: str
    path: str
    content: Any
    answers: Sequence[Script]
    rows: Sequence[Row]
    price: Price = BESIDE
    status: int = 200
    targets: int = 1
    config: dict[str, Any] = field(default_factory=dict)


def ranking(units: int | None) -> Script:
    meta = {} if units is None else {"meta": {"billed_units": {"search_units": units}}}
    return answer_json({"results": [{"index": 0, "relevance_score": 1}], **meta})


def transcript(**fields: Any) -> Script:
    return answer_json({"text": "x" * 40, **fields})


ENDINGS = [
    Ending(
        "moderation that is free",
        "moderations",
        {"model": "m", "input": "x"},
        [answer_json(MODERATION)],
        [Row(0)],
        FREE,
    ),
    Ending(
        "moderation by tokens nobody counted",
        "moderations",
        {"model": "m", "input": "x"},
        [answer_json(MODERATION)],
        # The bytes of the body, four a token.
        [Row(7 * IN, is_estimated=True)],
        TOKENS,
    ),
    Ending("pictures", "images/generations", DRAW, [answer_json(TWO)], [Row(2 * PICTURE + SEARCH)]),
    Ending(
        "fewer pictures than asked for",
        "images/generations",
        DRAW,
        [answer_json({**TWO, "data": TWO["data"][:1]})],  # type: ignore[index]
        [Row(PICTURE + SEARCH)],
    ),
    Ending(
        "pictures by tokens",
        "images/generations",
        DRAW,
        [answer_json({**TWO, "usage": DRAWN})],
        [Row(8 * IN + 544 * OUT)],
        TOKENS,
    ),
    Ending(
        "pictures by tokens nobody counted",
        "images/generations",
        DRAW,
        [answer_json(TWO)],
        [Row(24 * IN + 2 * 272 * OUT, is_estimated=True)],
        TOKENS,
    ),
    Ending(
        "pictures streamed",
        "images/generations",
        {**DRAW, "stream": True},
        [stream(event(PARTIAL), event(COMPLETED), event(COMPLETED))],
        [Row(2 * PICTURE + SEARCH)],
    ),
    Ending(
        "pictures streamed by tokens",
        "images/generations",
        {**DRAW, "stream": True},
        [stream(event(PARTIAL), event(COMPLETED), event(COMPLETED))],
        [Row(2 * (3 * IN + 272 * OUT))],
        TOKENS,
    ),
    Ending(
        "pictures cut after the first",
        "images/generations",
        {**DRAW, "stream": True},
        [stream(event(COMPLETED), ends=False)],
        [Row(PICTURE + SEARCH, CallStatus.ERROR)],
    ),
    Ending(
        "pictures refused",
        "images/generations",
        DRAW,
        [answer_json({"error": {"code": "moderation_blocked", "message": "no"}}, 400)],
        [Row(0, CallStatus.ERROR)],
        status=400,
    ),
    Ending(
        "pictures that may have been made",
        "images/generations",
        DRAW,
        [answer_raw(b"")],
        [Row(2 * PICTURE + SEARCH, CallStatus.ERROR, is_estimated=True)],
        status=502,
    ),
    Ending(
        "pictures that took too long",
        "images/generations",
        DRAW,
        [silent()],
        [Row(2 * PICTURE + SEARCH, CallStatus.ERROR, is_estimated=True)],
        status=504,
        config={"first_byte_seconds": 0.2},
    ),
    Ending(
        "pictures of another target",
        "images/generations",
        DRAW,
        [answer_json({}, 500), answer_json(TWO)],
        [Row(2 * PICTURE + SEARCH)],
        targets=2,
    ),
    Ending(
        "pictures edited",
        "images/edits",
        form(("model", "m"), ("prompt", "x"), ("n", "2"), ("image", media.png(b"abc"), "a.png")),
        [answer_json(TWO)],
        [Row(2 * PICTURE + SEARCH)],
    ),
    Ending("speech", "audio/speech", SPEECH, [stream(b"ID3", b"x" * 99)], [Row(5 * CHARACTER + SEARCH)]),
    Ending(
        "speech of umlauts",
        "audio/speech",
        {**SPEECH, "input": "Grüße"},
        [stream(b"ID3")],
        [Row(5 * CHARACTER + SEARCH)],
    ),
    Ending(
        "speech in events by tokens",
        "audio/speech",
        {**SPEECH, "stream_format": "sse"},
        [stream(event({"type": "speech.audio.done", "usage": {"input_tokens": 2, "output_tokens": 9}}))],
        [Row(2 * IN + 9 * OUT)],
        TOKENS,
    ),
    Ending(
        "speech by tokens nobody counted",
        "audio/speech",
        SPEECH,
        [stream(b"ID3")],
        [Row(13 * IN + 7 * OUT, is_estimated=True)],
        TOKENS,
    ),
    Ending(
        "speech that is none",
        "audio/speech",
        SPEECH,
        [answer(200, b"<html>")],
        [Row(5 * CHARACTER + SEARCH, CallStatus.ERROR, is_estimated=True)],
        status=502,
    ),
    Ending("transcript", "audio/transcriptions", LISTEN, [transcript()], [Row(SECOND * 1_503 // 1000 + SEARCH)]),
    Ending(
        "transcript as the vendor counts its seconds",
        "audio/transcriptions",
        LISTEN,
        [transcript(usage={"type": "duration", "seconds": 2})],
        [Row(2 * SECOND + SEARCH)],
    ),
    Ending(
        "transcript of a length that the answer tells",
        "audio/translations",
        LISTEN,
        [transcript(duration=1.5)],
        [Row(SECOND * 3 // 2 + SEARCH)],
    ),
    Ending(
        "transcript of seconds that cannot be",
        "audio/transcriptions",
        LISTEN,
        [transcript(usage={"type": "duration", "seconds": 9_999})],
        [Row(SECOND * 1_503 // 1000 + SEARCH, is_estimated=True)],
    ),
    Ending(
        "transcript of a file that does not tell its length",
        "audio/transcriptions",
        transcription(bytes(16_000), model="m"),
        [transcript()],
        [Row(2 * SECOND + SEARCH, is_estimated=True)],
    ),
    Ending(
        "transcript by tokens",
        "audio/transcriptions",
        LISTEN,
        [transcript(usage={"type": "tokens", "input_tokens": 15, "output_tokens": 4, "total_tokens": 19})],
        [Row(15 * IN + 4 * OUT)],
        TOKENS,
    ),
    Ending(
        "transcript as text by tokens nobody counted",
        "audio/transcriptions",
        transcription(WAV, ("response_format", "text"), model="m"),
        [answer(200, b"x" * 40, content_type="text/plain")],
        [Row(59 * IN + 10 * OUT, is_estimated=True)],
        TOKENS,
    ),
    Ending(
        "transcript streamed by tokens",
        "audio/transcriptions",
        transcription(WAV, ("stream", "true"), model="m"),
        [stream(event(DELTA), event(DONE))],
        [Row(10 * IN + 2 * OUT)],
        TOKENS,
    ),
    Ending("ranking", "rerank", RANK, [ranking(3)], [Row(3 * SEARCH)]),
    Ending("ranking without a count", "rerank", RANK, [ranking(None)], [Row(SEARCH)]),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.name)
async def test_every_ending_is_settled_once_and_leaves_nothing_held(
    tmp_path: Path, vendor: FakeUpstream, ending: Ending
) -> None:
    vendor.script = one_by_one(ending.answers)
    holds = FakeHolds()
    async with serving(tmp_path, make_snapshot(vendor, ending), holds=holds) as gateway:
        gateway.admission.hold = replace_request(holds)
        response = await send(gateway, ending)
        assert response.status_code == ending.status
        await check(gateway, holds, ending.rows)


async def test_caller_that_leaves_pays_for_the_pictures_that_were_made(tmp_path: Path, vendor: FakeUpstream) -> None:
    """The vendor is not said to stop at a close for anything but text: its answer is read to the end."""
    go = asyncio.Event()

    async def slow(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await answer_json(TWO)(seen, writer)

    vendor.script = slow
    ending = Ending("", "images/generations", DRAW, [], [], config={"options": {"cancel_stops_billing": True}})
    holds = FakeHolds()
    async with serving(tmp_path, make_snapshot(vendor, ending), holds=holds) as gateway:
        gateway.admission.hold = replace_request(holds)
        with pytest.raises(httpx.ReadTimeout):
            await gateway.post("/v1/images/generations", DRAW, timeout=0.2)
        assert holds.held == FULL
        go.set()
        await check(gateway, holds, [Row(2 * PICTURE + SEARCH, CallStatus.CANCELLED)])


async def test_costs_stand_in_the_answers_headers(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(TWO)
    async with serving(tmp_path, make_snapshot(vendor, ENDINGS[2])) as gateway:
        response = await gateway.post("/v1/images/generations", DRAW)
        assert response.headers["x-tollkeeper-cost-usd"] == "0.082"


async def send(gateway: Serving, ending: Ending) -> httpx.Response:
    headers = TYPE if isinstance(ending.content, bytes) else {}
    return await gateway.post(f"/v1/{ending.path}", ending.content, headers=headers)


async def check(gateway: Serving, holds: FakeHolds, rows: Sequence[Row]) -> None:
    found = await gateway.settled(len(rows))
    async with asyncio.timeout(5):
        while not holds.settled:
            await asyncio.sleep(0.002)
    shown = [Row(row.cost_nano or 0, row.status, row.usage.is_estimated) for row in found]
    assert shown == list(rows), json.dumps([str(row.usage) for row in found])
    ((charged, count, _, _),) = holds.settled
    assert (charged, count) == (sum(row.cost_nano for row in rows), len(rows))
    assert holds.held == 0, "nothing stays held"


def make_snapshot(vendor: FakeUpstream, ending: Ending) -> Any:
    names = [f"p{number}" for number in range(ending.targets)]
    configs = [replace(provider(name, vendor.base_url), **ending.config) for name in names]
    routes = [route(model, *((name, "*") for name in names), price=ending.price) for model in ("m", "gpt-image-1")]
    return snapshot(configs, routes)
