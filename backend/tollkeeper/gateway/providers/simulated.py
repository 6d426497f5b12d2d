"""The provider `simulated`: answers in process, in OpenAI's wire format, so that the ordinary dialects read it.

No key, no socket, no cost. `gateway/simulator/directives.py` has the names and the header that choose paces and faults.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import DEFAULT_DEADLINES, Target
from tollkeeper.core.errors import UpstreamError, UpstreamTimeout
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.dialects.openai_completions import OpenAICompletions
from tollkeeper.gateway.dialects.openai_embeddings import OpenAIEmbeddings
from tollkeeper.gateway.dialects.openai_images import OpenAIImages
from tollkeeper.gateway.dialects.openai_moderations import OpenAIModerations
from tollkeeper.gateway.dialects.openai_rerank import OpenAIRerank
from tollkeeper.gateway.dialects.openai_speech import OpenAISpeech
from tollkeeper.gateway.dialects.openai_transcriptions import OpenAITranscriptions
from tollkeeper.gateway.openai_failures import read_failure
from tollkeeper.gateway.plain_chat import plain_changes
from tollkeeper.gateway.provider import Billing, Channel, Failure, UpstreamRequest, UpstreamResponse
from tollkeeper.gateway.simulator import engine
from tollkeeper.gateway.simulator.directed import Wire, direct
from tollkeeper.gateway.simulator.other_operations import PATHS as OTHER_PATHS
from tollkeeper.gateway.simulator.other_operations import OtherOperation, OtherWire
from tollkeeper.gateway.simulator.script import Ending, Part, Script

SIMULATE_HEADER: Final = "x-simulate"

_PATHS: Final[Mapping[Operation, str]] = {
    Operation.CHAT: engine.Operation.CHAT,
    Operation.COMPLETIONS: engine.Operation.COMPLETIONS,
    Operation.EMBEDDINGS: engine.Operation.EMBEDDINGS,
    Operation.MODERATIONS: OtherOperation.MODERATIONS,
    Operation.IMAGE_GENERATIONS: OtherOperation.IMAGE_GENERATIONS,
    Operation.IMAGE_EDITS: OtherOperation.IMAGE_EDITS,
    Operation.IMAGE_VARIATIONS: OtherOperation.IMAGE_VARIATIONS,
    Operation.SPEECH: OtherOperation.SPEECH,
    Operation.TRANSCRIPTIONS: OtherOperation.TRANSCRIPTIONS,
    Operation.TRANSLATIONS: OtherOperation.TRANSLATIONS,
    Operation.RERANK: OtherOperation.RERANK,
}
_DIALECTS: Final[Mapping[Operation, VendorDialect]] = {
    Operation.CHAT: OpenAIChat(),
    Operation.COMPLETIONS: OpenAICompletions(),
    Operation.EMBEDDINGS: OpenAIEmbeddings(),
    Operation.MODERATIONS: OpenAIModerations(),
    Operation.IMAGE_GENERATIONS: OpenAIImages(Operation.IMAGE_GENERATIONS),
    Operation.IMAGE_EDITS: OpenAIImages(Operation.IMAGE_EDITS),
    Operation.IMAGE_VARIATIONS: OpenAIImages(Operation.IMAGE_VARIATIONS),
    Operation.SPEECH: OpenAISpeech(),
    Operation.TRANSCRIPTIONS: OpenAITranscriptions(Operation.TRANSCRIPTIONS),
    Operation.TRANSLATIONS: OpenAITranscriptions(Operation.TRANSLATIONS),
    Operation.RERANK: OpenAIRerank(),
}
_WITH_STREAM_OPTIONS: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
# Others were translated into it.
_OWN_DIALECTS: Final = frozenset({"", OpenAIChat.NAME})
_SCHEME: Final = "simulated:"
# Where the provider's configuration says nothing: the defaults of the process.
_FIRST_BYTE_SECONDS = 60.0
_IDLE_SECONDS = 30.0
# What one read brings at most, as from a socket.
_READ_BYTES = 16_384


def _every_time_the_first(_digest: bytes) -> int:
    return 1


class SimulatedChannel:
    """Plays scripts. Each read gives the event loop a turn, however fast the answer is."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        path = request.url.removeprefix(_SCHEME)
        config = request.config
        header = request.headers.get(SIMULATE_HEADER) or config.headers.get(SIMULATE_HEADER, "")
        wire: Wire
        if path in OTHER_PATHS:
            wire = OtherWire(OtherOperation(path), request.headers.get("content-type", ""))
        else:
            wire = engine.OpenAIWire(engine.Operation(path))
        script = direct(wire, request.body, header=header, tries=_every_time_the_first, stands_in=False)
        now = self._monotonic()
        said = request.deadlines or DEFAULT_DEADLINES
        first_byte = _given(said.first_byte, _given(config.first_byte_seconds, _FIRST_BYTE_SECONDS))
        limit = min(request.deadline - now, first_byte)
        if script.never_begins or script.wait_seconds > limit:
            await asyncio.sleep(max(limit, 0.0))
            raise UpstreamTimeout("The provider did not begin to answer in time.")
        await asyncio.sleep(script.wait_seconds)
        idle = _given(said.idle, _given(config.idle_seconds, _IDLE_SECONDS))
        return _Response(script, request.deadline, idle, self._monotonic)


class _Response:
    def __init__(self, script: Script, deadline: float, idle_seconds: float, monotonic: Callable[[], float]) -> None:
        self.status = script.status
        self.headers: Mapping[str, str] = script.headers
        self._ending = script.ending
        self._parts: Iterable[Part] = script.parts
        self._deadline = deadline
        self._idle_seconds = idle_seconds
        self._monotonic = monotonic
        self._is_closed = False

    @property
    def received(self) -> int:
        return 0

    def bound(self, deadline: float, least_bytes_per_second: int) -> None:  # noqa: ARG002 - it keeps its own pace
        self._deadline = deadline

    async def read(self) -> bytes:
        return b"".join([data async for data in self.reads()])

    async def reads(self) -> AsyncIterator[bytes]:
        waiting: list[bytes] = []
        size = 0
        due = self._monotonic()
        for part in self._parts:
            if part.wait_seconds:
                if waiting:
                    yield b"".join(waiting)
                    waiting, size = [], 0
                # Against the schedule, not the last chunk, so that the pace holds whatever each chunk takes.
                due = max(due + part.wait_seconds, self._monotonic() - part.wait_seconds)
                await self._wait(due - self._monotonic())
            waiting.append(part.data)
            size += len(part.data)
            if size >= _READ_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
                await asyncio.sleep(0)
            if self._is_closed:
                return
        if waiting:
            yield b"".join(waiting)
        if self._ending is Ending.HANG:
            await self._wait(float("inf"))
        if self._ending is Ending.CUT:
            raise UpstreamError("The provider cut its answer off.", code="upstream_cut")

    async def finish(self) -> None:
        self._is_closed = True

    async def aclose(self) -> None:
        self._is_closed = True

    async def _wait(self, seconds: float) -> None:
        limit = min(self._idle_seconds, self._deadline - self._monotonic())
        if seconds > limit:
            await asyncio.sleep(max(limit, 0.0))
            raise UpstreamTimeout("The provider has sent nothing for too long.")
        await asyncio.sleep(max(seconds, 0.0))


class Simulated:
    def __init__(self, channel: Channel | None = None) -> None:
        self._channel = channel or SimulatedChannel()

    @property
    def kind(self) -> str:
        return "simulated"

    @property
    def channel(self) -> Channel | None:
        return self._channel

    @property
    def caller_headers(self) -> tuple[str, ...]:
        return (SIMULATE_HEADER,)

    def dialect(self, config: ProviderConfig, call: Call, target: Target) -> VendorDialect:  # noqa: ARG002 - the interface
        return _DIALECTS[call.operation]

    def fixed_headers(self, config: ProviderConfig, call: Call) -> Mapping[str, str]:  # noqa: ARG002 - the interface
        return {} if call.form is None else {"content-type": call.form.content_type}

    def url(self, config: ProviderConfig, call: Call, target: Target) -> str:  # noqa: ARG002 - the interface
        return _SCHEME + _PATHS[call.operation]

    def headers(self, credential: Credential | None) -> Mapping[str, str]:  # noqa: ARG002 - the interface
        return {}

    def prepare(self, config: ProviderConfig, call: Call, target: Target) -> Call:  # noqa: ARG002 - the interface
        changes: dict[str, Any] = {}
        if target.model not in {"*", call.model}:
            changes["model"] = target.model
        options = call.body.get("stream_options") or {}
        if call.is_stream and call.operation in _WITH_STREAM_OPTIONS and not options.get("include_usage"):
            changes["stream_options"] = {**options, "include_usage": True}
        if call.dialect not in _OWN_DIALECTS and call.operation is Operation.CHAT:
            changes = {**plain_changes(call.body), **changes}
        return call.replace(**changes) if changes else call

    def billing(self, config: ProviderConfig, model: str) -> Billing:  # noqa: ARG002 - the interface
        return Billing(stops_at_cancel=True, shows_output="reasoning" not in model)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return read_failure(status, headers, body)


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
