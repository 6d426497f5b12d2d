"""Anthropic Messages at the caller's end: `POST /v1/messages`, and the count of its tokens."""

from collections.abc import Mapping
from typing import ClassVar

import orjson

from tollkeeper.contracts.chat import Call, Chunk
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.dialects.anthropic_messages import names
from tollkeeper.gateway.dialects.anthropic_messages.read_request import read_request
from tollkeeper.gateway.dialects.anthropic_messages.write_errors import status_of, write_error_body
from tollkeeper.gateway.dialects.anthropic_messages.write_headers import headers_of
from tollkeeper.gateway.dialects.anthropic_messages.write_message import write_message
from tollkeeper.gateway.dialects.anthropic_messages.write_stream import MessageWriter


class AnthropicCaller:
    """Any `anthropic-version` is taken: what it changes is in the document as well."""

    NAME: ClassVar[str] = names.NAME

    def __init__(self, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        return read_request(read_object(body, self._max_json_depth))

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:
        return chunk.native if chunk.native is not None else write_message(chunk, call)

    def writer(self, call: Call) -> Writer:
        return MessageWriter(call)

    def write_error(self, error: TollkeeperError, request_id: str) -> bytes:
        return write_error_body(error, request_id)

    def status(self, error: TollkeeperError) -> int:
        return status_of(error)

    def headers(self, request_id: str, shown: Mapping[str, str]) -> Mapping[str, str]:
        return headers_of(request_id, shown)


class AnthropicTokenCount(AnthropicCaller):
    """`POST /v1/messages/count_tokens`: a message that nobody will answer."""

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        call = read_request(read_object(body, self._max_json_depth), is_count=True)
        call.is_stream = False
        return call

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        return orjson.dumps({"input_tokens": chunk.data["input_tokens"]})
