"""What other vendors' thoughts become for a Gemini client: a `thoughtSignature`, which its SDKs play back as it is.

Read again, the thoughts go back to the vendor that made them; Gemini never sees such a signature.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import orjson

from tollkeeper.core.errors import BadRequest
from tollkeeper.core.strict_json import read_object

# base64 of it ends with it, and reads the same in both alphabets.
_MARK: Final = base64.b64encode(b"tollkeeper1:").decode()
_DEPTH: Final = 32
_URL_SAFE: Final = str.maketrans("-_", "+/")


def wrap(details: Sequence[dict[str, Any]]) -> str:
    return _MARK + base64.b64encode(orjson.dumps({"details": list(details)})).decode()


def is_wrapped(signature: str) -> bool:
    return signature.startswith(_MARK)


def unwrap(signature: str) -> list[dict[str, Any]]:
    """[] for what was changed on its way."""
    packed = signature[len(_MARK) :].translate(_URL_SAFE)
    try:
        kept = read_object(base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True), _DEPTH)
    except (binascii.Error, ValueError, BadRequest):
        return []
    details = kept.get("details")
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []
