"""Gemini's API at the vendor's end: canonical calls out, its answers and streams back.

Another address is another provider's matter (Vertex has the same documents): `sends_ids` is what differs in them.
"""

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.dialects.gemini.name import CHAT, is_native
from tollkeeper.gateway.dialects.gemini.vendor_endings import is_blocked, read_ending, read_logprobs, read_sources
from tollkeeper.gateway.dialects.gemini.vendor_failures import raise_error
from tollkeeper.gateway.dialects.gemini.vendor_names import ToolNames
from tollkeeper.gateway.dialects.gemini.vendor_parts import Seen, read_parts
from tollkeeper.gateway.dialects.gemini.vendor_request import native_request, write_request
from tollkeeper.gateway.dialects.gemini.vendor_stream import GeminiChunks, head_of, unreadable
from tollkeeper.gateway.openai_stream import read_events
from tollkeeper.gateway.openai_usage import write_usage
from tollkeeper.gateway.vendor_usage import read_gemini_usage


class GeminiVendor:
    NAME: ClassVar[str] = CHAT

    def __init__(self, *, sends_ids: bool = True) -> None:
        """`sends_ids`: calls of functions and their answers carry their ids; without them their order tells."""
        self._sends_ids = sends_ids

    def write_call(self, call: Call) -> bytes:
        if is_native(call):
            return orjson.dumps(native_request(call))
        document = write_request(call, sends_ids=self._sends_ids)
        try:
            return orjson.dumps(document)
        except orjson.JSONEncodeError as error:
            raise BadRequest(
                "The arguments or the result of a tool nest too deep.", code="json_too_deep", param="messages"
            ) from error

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        data = _read_document(body)
        names = ToolNames(call.body)
        candidates = data.get("candidates")
        usage = read_gemini_usage(data.get("usageMetadata"))
        if candidates is not None and not isinstance(candidates, list):
            raise UpstreamError("The provider's answer has no candidates.", code="upstream_garbage")
        length = 0
        if candidates and not is_blocked(data):
            choices = []
            for position, candidate in enumerate(candidates):
                choice, more = _choice(candidate, position, names)
                choices.append(choice)
                length += more
        elif is_blocked(data) or data.get("usageMetadata"):
            choices = [_blocked()]
        else:
            raise UpstreamError("The provider's answer has no candidates.", code="upstream_garbage")
        document = {**head_of(data, call, "chat.completion"), "choices": choices}
        if usage is not None:
            document["usage"] = write_usage(usage)
        elif data.get("usageMetadata"):
            document["usage"] = unreadable(data["usageMetadata"])
        return Chunk(
            document,
            is_content=True,
            is_final=True,
            usage=usage,
            text_length=0 if usage is not None else length,
            native=body if is_native(call) else None,
        )

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        chunks = GeminiChunks(call)
        return read_events(reads, chunks, chunks.read_document)


def _read_document(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
    raise_error(data)
    if not isinstance(data, dict):
        raise UpstreamError("The provider's answer is no answer.", code="upstream_garbage")
    return data


def _choice(candidate: Any, position: int, names: ToolNames) -> tuple[dict[str, Any], int]:
    if not isinstance(candidate, dict):
        raise UpstreamError("The provider's answer has a candidate that is no object.", code="upstream_garbage")
    parts = read_parts(candidate.get("content"), Seen(), names)
    message: dict[str, Any] = {"role": "assistant", "content": parts.text or None, "refusal": None}
    message |= parts.fields()
    if parts.calls:
        message["tool_calls"] = [
            {name: value for name, value in call.items() if name != "index"} for call in parts.calls
        ]
    if sources := read_sources(candidate, parts.text):
        message["annotations"] = sources
    index = candidate.get("index")
    ending = read_ending(candidate.get("finishReason"), candidate.get("finishMessage"), has_calls=bool(parts.calls))
    choice = {
        "index": index if type(index) is int else position,
        "message": message,
        "logprobs": read_logprobs(candidate),
        **ending,
    }
    return choice, parts.length


def _blocked() -> dict[str, Any]:
    """The prompt was refused: nothing was written."""
    message = {"role": "assistant", "content": None, "refusal": None}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}
