"""A stream for a caller of the Responses API: canonical chunks as its events, or a vendor's own events handed on."""

import time
from collections.abc import Mapping
from typing import Any

from tollkeeper.contracts.chat import Batch, Call, Chunk, Usage
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway import sse
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.dialects.openai_responses.write_events import Events
from tollkeeper.gateway.dialects.openai_responses.write_native import Relay
from tollkeeper.gateway.dialects.openai_responses.write_output import Output
from tollkeeper.gateway.dialects.openai_responses.write_response import (
    begin_response,
    end_response,
    shown,
    shows_encrypted,
    summarises,
)


class ResponsesWriter(Writer):
    """Of one stream. Once the last event is made, the turn has its answer."""

    def __init__(self, call: Call) -> None:
        assert call.turn is not None
        self._call = call
        self._turn = call.turn
        self._events = Events()
        self._encrypted = shows_encrypted(call.turn)
        self._output = Output(self._events, summarises=summarises(call.turn), shows_encrypted=self._encrypted)
        self._relay: Relay | None = None
        self._begun: dict[str, Any] | None = None
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._service_tier: object = None

    def batch(self, batch: Batch) -> bytes:
        for chunk in batch:
            if chunk.native is not None:
                self._hand_on(chunk)
            else:
                self._read(chunk)
        return self._events.take()

    def end(self, comment: str | None) -> bytes:
        head = b"" if comment is None else sse.comment(comment)
        relay = self._relay
        if relay is not None and relay.response is not None:
            self._turn.answer = relay.response
            return head
        response = self._ended()
        self._turn.answer = response
        told = shown(response, encrypted=self._encrypted)
        self._events.emit(f"response.{response['status']}", response=told)
        return head + self._events.take()

    def error(self, error: TollkeeperError, request_id: str) -> bytes:
        """The response's own failure, then the event at which OpenAI's SDKs raise."""
        failure = {"code": error.code, "message": error.message}
        begun = self._begin() if self._relay is None else self._relay.begun or begin_response(self._turn, "")
        if self._relay is not None:
            self._events.number = self._relay.next_number
        self._events.emit("response.failed", response={**begun, "status": "failed", "error": failure})
        beside = {**failure, "param": error.param}
        # Both places: the older readers look at the top, the newer ones and OpenAI itself have it inside.
        inner = {"type": error.type, **beside, "request_id": request_id}
        self._events.emit("error", **beside, error=inner)
        return self._events.take()

    def _hand_on(self, chunk: Chunk) -> None:
        if self._relay is None:
            self._relay = Relay(self._turn)
        native = chunk.native
        if native:
            self._events.relay(self._relay.read(native, chunk.data))
        self._note(chunk)

    def _read(self, chunk: Chunk) -> None:
        data = chunk.data
        choices = data.get("choices")
        if choices and self._begun is not None and len(choices) == 1 and chunk.usage is None:
            choice = choices[0]
            delta = choice.get("delta")
            # Most of what ever comes: a piece of text and nothing else.
            if delta and len(delta) == 1 and choice.get("finish_reason") is None and not choice.get("logprobs"):
                text = delta.get("content")
                if text and isinstance(text, str) and choice.get("index") == 0:
                    self._output.text(text)
                    return
        self._note(chunk)
        if not choices or self._relay is not None:
            return
        if self._begun is None:
            self._begin(data)
        for choice in choices:
            if choice.get("index", 0) == 0:
                delta = choice.get("delta")
                if delta:
                    self._output.feed(delta, choice.get("logprobs"))

    def _note(self, chunk: Chunk) -> None:
        self._usage = chunk.usage or self._usage
        data = chunk.data
        self._service_tier = data.get("service_tier") or self._service_tier
        for choice in data.get("choices") or ():
            if choice.get("index", 0) == 0:
                self._finish = choice.get("finish_reason") or self._finish

    def _begin(self, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if self._begun is None:
            model = (data or {}).get("model") or self._call.model
            self._begun = begin_response(self._turn, model)
            self._events.emit("response.created", response=self._begun)
            self._events.emit("response.in_progress", response=self._begun)
        return self._begun

    def _ended(self) -> dict[str, Any]:
        """The Response of a stream that no vendor closed: it was translated, or it was cut here."""
        if self._relay is None:
            begun = self._begin()
            output = self._output.close("incomplete" if self._finish in {"length", "content_filter"} else "completed")
        else:
            begun = dict(self._relay.begun or begin_response(self._turn, self._call.model))
            output = self._relay.output()
            self._events.number = self._relay.next_number
        return end_response(
            begun,
            output,
            self._finish,
            self._usage,
            completed_at=int(time.time()),
            service_tier=self._service_tier,
        )
