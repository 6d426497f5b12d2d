"""OpenAI's Responses API at a vendor's end: what came in it is handed on as it is, a chat call is put into its form."""

from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway import sse
from tollkeeper.gateway.batches import Batches
from tollkeeper.gateway.dialects.openai_responses import vendor_answer
from tollkeeper.gateway.dialects.openai_responses.vendor_events import ResponsesEvents
from tollkeeper.gateway.dialects.openai_responses.vendor_request import ENCRYPTED, write_request
from tollkeeper.gateway.openai_repair import raise_error
from tollkeeper.gateway.openai_usage import read_responses_usage, write_usage

# What would make the vendor keep state, or answer later: the gateway keeps its own.
_STATE: Final = ("previous_response_id", "conversation", "background")


def _never(model: str) -> bool:  # noqa: ARG001 - of a vendor that does not say
    return False


class OpenAIResponsesVendor:
    NAME: ClassVar[str] = "openai_responses"

    def __init__(
        self, hands_out_reasoning: Callable[[str], bool] = _never, *, takes_reasoning_text: bool = False
    ) -> None:
        """`hands_out_reasoning`: of which models the vendor encrypts the reasoning for us to send back; it refuses to be
        asked for that of others. `takes_reasoning_text`: it reads reasoning that is not encrypted.
        """
        self._hands_out_reasoning = hands_out_reasoning
        self._takes_reasoning_text = takes_reasoning_text

    def write_call(self, call: Call) -> bytes:
        asks = self._hands_out_reasoning(call.model)
        if call.native is None or call.dialect != self.NAME:
            return orjson.dumps(write_request(call, asks_encrypted=asks))
        request: dict[str, Any] = {**call.native, "model": call.model, "store": False}
        if call.is_stream:
            request["stream"] = True
        else:
            request.pop("stream", None)
            request.pop("stream_options", None)
        if call.applied_cap is not None:
            request["max_output_tokens"] = call.applied_cap
        for name in _STATE:
            request.pop(name, None)
        if isinstance(items := request.get("input"), list):
            request["input"] = [item for item in items if not self._is_lost(item)]
        include = request.get("include")
        if asks and ENCRYPTED not in (include or ()):
            request["include"] = [*(include or ()), ENCRYPTED]
        return orjson.dumps(request)

    def _is_lost(self, item: Any) -> bool:
        """Reasoning that the vendor would look for, by its id, among the responses that it keeps: none."""
        if not isinstance(item, dict) or item.get("type") != "reasoning" or item.get("encrypted_content"):
            return False
        return not (self._takes_reasoning_text and item.get("content"))

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        try:
            response = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
        if not isinstance(response, dict):
            raise UpstreamError("The provider's answer is no response.", code="upstream_garbage")
        raise_error(response)
        vendor_answer.check_status(response)
        data = vendor_answer.completion(response, call.model)
        usage = read_responses_usage(response.get("usage"))
        if usage is not None:
            data["usage"] = write_usage(usage)
        elif response.get("usage"):
            data["usage"] = response["usage"]
        return Chunk(
            data,
            is_content=True,
            is_final=True,
            usage=usage,
            # Only an estimate asks for it.
            text_length=0 if usage is not None else _text_length(data["choices"][0]["message"]),
            native=body if call.dialect == self.NAME else None,
        )

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        return _Batches(reads, ResponsesEvents(call, is_native=call.dialect == self.NAME), self, call)


class _Batches(Batches):
    __slots__ = ("_call", "_dialect", "_events", "_reader")

    def __init__(
        self, reads: AsyncIterator[bytes], events: ResponsesEvents, dialect: OpenAIResponsesVendor, call: Call
    ) -> None:
        super().__init__(reads)
        self._events = events
        self._dialect = dialect
        self._call = call
        self._reader = sse.EventReader()

    def _feed(self, data: bytes, batch: list[Chunk]) -> None:
        self._events.read(self._reader.feed(data), batch)
        self._is_over = self._events.is_over

    def _close(self, batch: list[Chunk]) -> None:
        """The end of the body: good only after the event that says so, or when it was a whole answer."""
        rest = self._reader.close()
        if not self._events.has_begun and rest.lstrip().startswith(b"{"):
            # A vendor that ignores `stream`, or refuses under status 200.
            batch += _as_stream(self._dialect.read_whole(rest, self._call), self._call)
            return
        event = sse.last_event(rest)
        if event is not None:
            self._events.read([event], batch)
        if not self._events.is_over:
            raise UpstreamError("The provider cut its answer off.", code="upstream_cut")


def _as_stream(whole: Chunk, call: Call) -> Batch:
    """A whole answer as the chunks of a stream, for the caller's own dialect to put into events."""
    head = {name: value for name, value in whole.data.items() if name not in {"usage", "choices"}}
    head["object"] = "chat.completion.chunk"
    choice = dict(whole.data["choices"][0])
    delta = choice.pop("message")
    if delta.get("tool_calls"):
        delta = {**delta, "tool_calls": [{**one, "index": index} for index, one in enumerate(delta["tool_calls"])]}
    chunks = [Chunk({**head, "choices": [{**choice, "delta": delta}]}, is_content=True, text_length=whole.text_length)]
    end = Chunk(data={}, is_hidden=True, is_final=True)
    shown = whole.data.get("usage")
    if whole.usage is not None:
        usage = {**head, "choices": [], "usage": shown}
        chunks.append(Chunk(usage, is_hidden=not call.wants_usage, usage=whole.usage))
    elif shown:
        end.data["usage"] = shown
    return [*chunks, end]


def _text_length(message: dict[str, Any]) -> int:
    length = sum(len(message.get(name) or "") for name in ("content", "reasoning_content", "refusal"))
    for call in message.get("tool_calls") or ():
        inner = call.get("function") or call.get("custom") or {}
        length += len(inner.get("arguments") or inner.get("input") or "") + len(inner.get("name") or "")
    return length
