"""How calls to clouds end (RULING 16, see `tests/gateway/test_settlement.py`): a token that cannot be had costs nothing and
holds nothing, a stream of frames is billed as counted, also when nobody waits for it.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.clouds.token_service import aws, config, entra, origin, tokens_in_turn
from tests.gateway.serving import Serving, chat, events_of, provider, route, serving, snapshot
from tests.gateway.test_settlement import FREE_ERROR, OK, Row, Scene, leave
from tests.gateway.upstream import FakeUpstream, Script, Seen, answer, answer_json, http_chunk, silent
from tests.money.records import FakeHolds
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.simulator.vendors import event_stream

USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
WORDS = ("four", "char", "word", "here")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(kind: str, **data: Any) -> bytes:
    return event_stream.event(kind, json.dumps(data).encode())


START = event("messageStart", role="assistant")
SAID = [event("contentBlockDelta", contentBlockIndex=0, delta={"text": word}) for word in WORDS]
STOP = event("messageStop", stopReason="end_turn")
METADATA = event("metadata", usage=USAGE, metrics={"latencyMs": 1})
WHOLE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "four"}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
    "metrics": {"latencyMs": 1},
}


class Frames:
    """Writes pieces; after `count` of them it waits for `go`. Without `ends` the connection is cut."""

    def __init__(self, *pieces: bytes, count: int | None = None, ends: bool = True) -> None:
        self.pieces = pieces
        self.count = len(pieces) if count is None else count
        self.ends = ends
        self.go = asyncio.Event()

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(HEAD + b"".join(map(http_chunk, self.pieces[: self.count])))
        await writer.drain()
        if self.count < len(self.pieces):
            waiting = {asyncio.create_task(self.go.wait()), asyncio.create_task(seen.gone.wait())}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        writer.write(b"".join(map(http_chunk, self.pieces[self.count :])) + (b"0\r\n\r\n" if self.ends else b""))
        await writer.drain()
        return self.ends


def bedrock(vendor: FakeUpstream) -> Any:
    owner = config("bedrock", origin(vendor), aws(), options={"region": "eu-west-1"})
    return snapshot([owner], [route("gpt-4o-mini", ("cloud", "amazon.nova-pro-v1:0"))])


ENDINGS: dict[str, tuple[Script, dict[str, Any], int, list[Row]]] = {
    "whole": (answer_json(WHOLE), chat(), 200, [OK]),
    "stream": (Frames(START, *SAID, STOP, METADATA), chat(stream=True), 200, [OK]),
    "stream without its count": (
        Frames(START, *SAID, STOP),
        chat(stream=True),
        200,
        [Row(is_estimated=True, output=4)],
    ),
    "stream that is cut": (
        Frames(START, *SAID[:2], ends=False),
        chat(stream=True),
        200,
        [Row(CallStatus.ERROR, is_estimated=True, output=2)],
    ),
    "exception after content": (
        Frames(START, *SAID[:2], event_stream.exception("internalServerException", b"{}")),
        chat(stream=True),
        200,
        [Row(CallStatus.ERROR, is_estimated=True, output=2)],
    ),
    "refused": (answer_json({"message": "no"}, 400), chat(), 400, [FREE_ERROR]),
    "rights are missing": (answer_json({"message": "no"}, 403), chat(), 502, [FREE_ERROR]),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_every_ending_of_a_signed_call_is_settled_once(tmp_path: Path, vendor: FakeUpstream, name: str) -> None:
    vendor.script, body, status, rows = ENDINGS[name]
    holds = FakeHolds()
    async with serving(tmp_path, bedrock(vendor), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        response = await gateway.post(body=body)
        assert response.status_code == status
        await scene.check(rows)


async def test_caller_that_leaves_a_stream_of_frames_pays_the_vendors_count(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    slow = vendor.script = Frames(START, *SAID, STOP, METADATA, count=3)
    holds, drains = FakeHolds(), Drains()
    async with serving(tmp_path, bedrock(vendor), holds=holds, drains=drains) as gateway:
        scene = Scene(gateway, holds)
        await leave(gateway, vendor, chat(stream=True), WORDS[1])
        assert (drains.count, gateway.settlements) == (1, [])
        slow.go.set()
        await scene.check([Row(CallStatus.CANCELLED)])


def by_entra(vendor: FakeUpstream, service: FakeUpstream, *more: Any) -> Any:
    owner = config("azure", origin(vendor), entra(service))
    targets = [("cloud", "dep"), *((one.name, "gpt-4o-mini") for one in more)]
    return snapshot([owner, *more], [route("gpt-4o-mini", *targets)])


async def test_token_that_cannot_be_had_gives_the_hold_back(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = answer(503, b"")
    holds = FakeHolds()
    async with serving(tmp_path, by_entra(vendor, service), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        response = await gateway.post()
        assert (response.status_code, vendor.seen) == (503, [])
        await scene.check([])


async def test_next_target_is_the_first_attempt_that_costs(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = answer(503, b"")
    holds = FakeHolds()
    async with serving(tmp_path, by_entra(vendor, service, provider("two", vendor.base_url)), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        assert (await gateway.post()).status_code == 200
        await scene.check([OK])


async def test_caller_that_leaves_while_a_token_is_fetched_pays_nothing(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = silent()
    holds = FakeHolds()
    async with serving(tmp_path, by_entra(vendor, service), holds=holds) as gateway:
        scene = Scene(gateway, holds)
        await leave(gateway, service, chat(), None)
        await scene.check([])
        assert vendor.seen == []
        # The token was for everybody: its fetch goes on, and the next call has it.
        await given(gateway, vendor, service)


async def given(gateway: Serving, vendor: FakeUpstream, service: FakeUpstream) -> None:
    service.script = tokens_in_turn("later.token")
    gateway.clock.ahead += 20
    gateway.admission.hold = None
    async with asyncio.timeout(5):
        while (await gateway.post()).status_code != 200:
            gateway.clock.ahead += 3
    assert vendor.seen[-1].header("authorization") == "Bearer later.token"


async def test_call_waits_for_a_token_no_longer_than_its_own_time(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = silent()
    async with serving(tmp_path, by_entra(vendor, service)) as gateway:
        response = await gateway.post(headers={"x-tollkeeper-timeout-ms": "60"})
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "upstream_timeout"
    assert vendor.seen == []


async def test_error_event_names_what_broke(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = Frames(START, SAID[0], event_stream.exception("throttlingException", b'{"message":"acct 1234"}'))
    async with serving(tmp_path, bedrock(vendor)) as gateway:
        response = await gateway.post(body=chat(stream=True))
        await gateway.settled()
    error = json.loads(events_of(response.text)[-1])["error"]
    assert error["code"] == "upstream_error"
    assert "1234" not in error["message"]
