"""Bedrock's Converse at a vendor's end: canonical chat out as a request, answers and streams back as canonical chunks."""

from collections.abc import AsyncIterator
from typing import ClassVar

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.gateway.dialects.bedrock_converse.answer import read_whole
from tollkeeper.gateway.dialects.bedrock_converse.names import NAME
from tollkeeper.gateway.dialects.bedrock_converse.request import request_of
from tollkeeper.gateway.dialects.bedrock_converse.stream import ConverseStream


class ConverseVendor:
    NAME: ClassVar[str] = NAME
    TAKES_MARKS: ClassVar[bool] = True

    def write_call(self, call: Call) -> bytes:
        """The model and whether it streams stand in the address."""
        return orjson.dumps(request_of(call))

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        return read_whole(body, call)

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        return ConverseStream(reads, call)
