"""Anthropic Messages at a vendor's end: canonical chat out as a request, answers and streams back as canonical chunks.

Calls that came in this dialect go out as they came, and what is answered to them carries Anthropic's own bytes beside
the canonical form.
"""

from collections.abc import AsyncIterator
from typing import ClassVar

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.gateway.dialects.anthropic_messages.names import NAME
from tollkeeper.gateway.dialects.anthropic_messages.vendor_answer import read_whole
from tollkeeper.gateway.dialects.anthropic_messages.vendor_request import request_of
from tollkeeper.gateway.dialects.anthropic_messages.vendor_stream import MessageStream


class AnthropicVendor:
    NAME: ClassVar[str] = NAME
    TAKES_MARKS: ClassVar[bool] = True

    def write_call(self, call: Call) -> bytes:
        return orjson.dumps(request_of(call))

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        return read_whole(body, call)

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        return MessageStream(reads, call)
