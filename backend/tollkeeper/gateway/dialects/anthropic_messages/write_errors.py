"""Our errors in Anthropic's words: the shape, the types, the statuses that its SDK raises by."""

from collections.abc import Mapping
from typing import Final

import orjson

from tollkeeper.core.errors import NoTargetAvailable, Overloaded, TollkeeperError, UpstreamError

# "Errors", Claude docs, 2026-10. Others: by their hundred.
_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OVERLOADED: Final = 529


def status_of(error: TollkeeperError) -> int:
    """529 where a vendor or the gateway has no room: clients wait for that, and look into nothing."""
    if (
        error.status == 503
        and error.should_retry is not False
        and isinstance(error, (UpstreamError, NoTargetAvailable, Overloaded))
    ):
        return _OVERLOADED
    return error.status


def write_error_body(error: TollkeeperError, request_id: str) -> bytes:
    """`details` is where Anthropic's SDK looks for a stable code."""
    status = status_of(error)
    details: dict[str, object] = {**error.details, "error_code": error.code}
    if error.param is not None:
        details["param"] = error.param
    return orjson.dumps(
        {
            "type": "error",
            "error": {
                "type": _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error"),
                "message": error.message,
                "details": details,
            },
            "request_id": request_id,
        }
    )
