"""Errors in Google's shape: `google.rpc.Status` with the details that Google's own services send."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.core.errors import TollkeeperError

# google.rpc.Code by HTTP status ("HTTP mapping", google/rpc/code.proto).
_STATUSES: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE: Final = "type.googleapis.com/google.rpc."
_LONGEST_RETRY_SECONDS: Final = 120.0


def write_error_body(error: TollkeeperError, request_id: str) -> bytes:
    """Our stable code stands in `ErrorInfo.reason`, in capitals as Google writes them, and as it is beside it."""
    metadata = {"code": error.code}
    if error.param is not None:
        metadata["param"] = error.param
    details: list[dict[str, Any]] = [
        {
            "@type": _TYPE + "ErrorInfo",
            "reason": error.code.upper().replace("-", "_").replace(".", "_"),
            "domain": "tollkeeper",
            "metadata": metadata,
        },
        {"@type": _TYPE + "RequestInfo", "requestId": request_id},
    ]
    if error.status == 400 and error.param is not None:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": _TYPE + "BadRequest", "fieldViolations": [violation]})
    if error.retry_after_seconds is not None:
        seconds = min(max(error.retry_after_seconds, 0.0), _LONGEST_RETRY_SECONDS)
        details.append({"@type": _TYPE + "RetryInfo", "retryDelay": f"{round(seconds, 3):g}s"})
    return orjson.dumps(
        {
            "error": {
                "code": error.status,
                "message": error.message,
                "status": _STATUSES.get(error.status, "INTERNAL" if error.status >= 500 else "INVALID_ARGUMENT"),
                "details": details,
            }
        }
    )
