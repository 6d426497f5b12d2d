"""OpenAI's error shape: writing ours, and reading what vendors put in its place."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from tollkeeper.core.errors import TollkeeperError

_LONGEST_MESSAGE: Final = 2000


def write_error_body(error: TollkeeperError, request_id: str) -> bytes:
    """All four keys are there, null where empty: OpenAI's schema requires them."""
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
                "request_id": request_id,
                # Of a vendor's own clients, where it has such (Azure's `innererror`).
                **error.details,
            }
        }
    )


@dataclass(frozen=True, slots=True)
class VendorError:
    """What could be made out of a vendor's error body; None where it said nothing."""

    message: str | None = None
    type: str | None = None
    code: str | None = None
    param: str | None = None


def read_error_body(body: bytes) -> VendorError:
    try:
        return read_error(orjson.loads(body)) or VendorError()
    except orjson.JSONDecodeError:
        return VendorError()


def read_error(value: Any) -> VendorError | None:
    """The error inside a document or chunk: OpenAI's object, a string, an array around it (Google), a top-level
    `object: error` (vLLM), FastAPI's `detail`. None when there is none.
    """
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    inner = value.get("error")
    if isinstance(inner, dict):
        return _from_object(inner)
    if isinstance(inner, str):
        return VendorError(message=_text(value.get("message")) or _text(inner))
    if "detail" in value:
        return VendorError(message=_text(value["detail"]) or _detail(value["detail"]))
    is_bare = "choices" not in value and "data" not in value and isinstance(value.get("message"), str)
    return _from_object(value) if is_bare or value.get("object") == "error" or value.get("type") == "error" else None


def _from_object(inner: dict[str, Any]) -> VendorError:
    code = inner.get("code")
    return VendorError(
        message=_text(inner.get("message")),
        type=_text(inner.get("type")),
        # llama.cpp and vLLM send the status as an integer code, which says nothing new.
        code=code if isinstance(code, str) and code and not code.isdigit() else None,
        param=_text(inner.get("param")),
    )


def _detail(value: object) -> str | None:
    """FastAPI's validation list: the first entry's sentence."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _text(value[0].get("msg"))
    return None


def _text(value: object) -> str | None:
    return value[:_LONGEST_MESSAGE] if isinstance(value, str) and value else None
