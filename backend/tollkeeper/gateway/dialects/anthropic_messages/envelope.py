"""Other vendors' signatures inside Anthropic's blocks, so that a client that knows nothing of them brings them back.

A client returns `thinking.signature` and `redacted_thinking.data` as it got them. What is not Anthropic's own stands
there behind a mark: which format it is of, its ids, and the signature of a tool call where the vendor signs those.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.core.errors import BadRequest
from tollkeeper.core.strict_json import read_object

MARK: Final = "tk1."
_DEPTH: Final = 32


def wrap(content: Mapping[str, Any]) -> str:
    return MARK + base64.urlsafe_b64encode(orjson.dumps(content)).decode("ascii").rstrip("=")


def is_wrapped(text: str) -> bool:
    return text.startswith(MARK)


def unwrap(text: str, param: str) -> dict[str, Any]:
    """Of a text that `is_wrapped`. Raises `BadRequest` for what we cannot have made."""
    encoded = text[len(MARK) :].encode("ascii", "replace")
    try:
        return read_object(base64.b64decode(encoded + b"=" * (-len(encoded) % 4), b"-_", validate=True), _DEPTH)
    except (binascii.Error, BadRequest) as error:
        raise BadRequest(
            f"Invalid '{param}': it is not as it was given. Send thinking blocks back unchanged, or leave them out.",
            param=param,
            code="invalid_value",
        ) from error
