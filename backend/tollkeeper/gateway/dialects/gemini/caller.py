"""Gemini at the caller's end: `POST …/models/{model}:{method}`. Each method is a dialect of its own name here; they share
their errors.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.dialects.gemini.name import CHAT
from tollkeeper.gateway.dialects.gemini.read_fields import read_fields
from tollkeeper.gateway.dialects.gemini.read_request import read_model, read_request
from tollkeeper.gateway.dialects.gemini.write_answer import write_answer
from tollkeeper.gateway.dialects.gemini.write_errors import write_error_body
from tollkeeper.gateway.dialects.gemini.write_stream import AnswerWriter, ArrayWriter

_NOTHING: Final[Mapping[str, str]] = {}


class GeminiCaller:
    """`:generateContent`, and the errors of all that lies beneath `/v1beta`."""

    NAME: ClassVar[str] = CHAT
    IS_STREAM: ClassVar[bool] = False

    def __init__(self, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        model = read_model(path)
        return read_request(read_object(body, self._max_json_depth), model, is_stream=self.IS_STREAM)

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:
        return chunk.native if chunk.native is not None else write_answer(chunk, call)

    def writer(self, call: Call) -> Writer:
        return AnswerWriter(call)

    def write_error(self, error: TollkeeperError, request_id: str) -> bytes:
        return write_error_body(error, request_id)

    def status(self, error: TollkeeperError) -> int:
        return error.status

    def headers(self, request_id: str, shown: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002 - the interface
        return _NOTHING


class GeminiStream(GeminiCaller):
    """`:streamGenerateContent?alt=sse`."""

    IS_STREAM: ClassVar[bool] = True


class GeminiArray(GeminiStream):
    """`:streamGenerateContent` as one JSON array."""

    def writer(self, call: Call) -> Writer:
        return ArrayWriter(call)


class GeminiTokenCount(GeminiCaller):
    """`:countTokens`: contents that nobody will answer, or a whole request that holds them."""

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        model = read_model(path)
        document = read_object(body, self._max_json_depth)
        inner = read_fields(document, "body").get("generateContentRequest")
        if inner is not None:
            read_fields(inner, "generateContentRequest")
            document = inner
        return read_request(document, model, is_stream=False)

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        return orjson.dumps({"totalTokens": chunk.data["input_tokens"]})
