"""OpenAI's Responses API at the caller's end."""

import time
from collections.abc import Mapping
from typing import ClassVar

import orjson

from tollkeeper.contracts.chat import Call, Chunk
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.dialects.openai_responses.read_call import NAME, read_document
from tollkeeper.gateway.dialects.openai_responses.write_events import Events
from tollkeeper.gateway.dialects.openai_responses.write_native import ours
from tollkeeper.gateway.dialects.openai_responses.write_output import Output
from tollkeeper.gateway.dialects.openai_responses.write_response import (
    begin_response,
    end_response,
    shown,
    shows_encrypted,
    summarises,
)
from tollkeeper.gateway.dialects.openai_responses.write_stream import ResponsesWriter
from tollkeeper.gateway.openai_edge import OpenAIEdge


class ResponsesCaller(OpenAIEdge):
    NAME: ClassVar[str] = NAME

    def __init__(self, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        return read_document(read_object(body, self._max_json_depth))

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:
        turn = call.turn
        assert turn is not None
        if chunk.native is not None:
            response = ours(orjson.loads(chunk.native), turn)
            turn.answer = response
            return orjson.dumps(response)
        encrypted = shows_encrypted(turn)
        output = Output(Events(is_silent=True), summarises=summarises(turn), shows_encrypted=encrypted)
        data = chunk.data
        choice = data["choices"][0]
        output.feed(choice["message"], choice.get("logprobs"))
        reason = choice.get("finish_reason")
        response = end_response(
            begin_response(turn, data.get("model") or call.model),
            output.close("incomplete" if reason in {"length", "content_filter"} else "completed"),
            reason,
            chunk.usage,
            completed_at=int(time.time()),
            service_tier=data.get("service_tier"),
        )
        turn.answer = response
        return orjson.dumps(shown(response, encrypted=encrypted))

    def writer(self, call: Call) -> Writer:
        return ResponsesWriter(call)


class ResponsesTokenCount(ResponsesCaller):
    """`POST /v1/responses/input_tokens`: a call that nobody will answer."""

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:
        call = super().read_call(body, headers, path)
        assert call.turn is not None
        call.is_stream = call.turn.is_stored = False
        return call

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        return orjson.dumps({"object": "response.input_tokens", "input_tokens": chunk.data["input_tokens"]})
