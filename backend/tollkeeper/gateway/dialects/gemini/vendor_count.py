"""What Google is asked and says when it counts a call that is not made: `countTokens` of a whole request, for nothing."""

import orjson

from tollkeeper.contracts.chat import Call
from tollkeeper.gateway.dialects.gemini.name import is_native
from tollkeeper.gateway.dialects.gemini.vendor_prepare import model_path
from tollkeeper.gateway.dialects.gemini.vendor_request import native_request, write_request
from tollkeeper.gateway.usage_counts import read_count as read_number


def write_count(call: Call) -> bytes:
    document = native_request(call) if is_native(call) else write_request(call, sends_ids=True)
    return orjson.dumps({"generateContentRequest": {**document, "model": model_path(call.model)}})


def read_count(body: bytes) -> int | None:
    """None for what is no count."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return read_number(document.get("totalTokens")) if isinstance(document, dict) else None
