"""What a refusal of Google's means: `google.rpc.Status` with its details, alone or in an array of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway import openai_failures
from tollkeeper.gateway.openai_errors import read_error_body
from tollkeeper.gateway.provider import Failure, FailureClass

# ErrorInfo.reason of the service, and what FAILED_PRECONDITION stands for: all about the gateway's own account.
_ACCOUNT_REASONS: Final = frozenset(
    {
        "API_KEY_INVALID",
        "API_KEY_EXPIRED",
        "API_KEY_SERVICE_BLOCKED",
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "SERVICE_DISABLED",
        "BILLING_DISABLED",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "ACCESS_TOKEN_EXPIRED",
        "CREDENTIALS_MISSING",
    }
)
_ACCOUNT_STATUSES: Final = frozenset({"FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED"})
_ACCOUNT_WORDS: Final = ("api key expired", "api key not found")
_CONTEXT_WORDS: Final = ("exceeds the maximum number of tokens", "input token count", "input context is too long")
# Codes of google.rpc.Status (code.proto) as the statuses that Google's HTTP mapping gives them.
_STATUSES: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_LONGEST_WAIT: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class _Said:
    status: str
    reasons: frozenset[str]
    retry_after: float | None


def read_failure(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """The class for routing and the caller's error; nothing that is said of our account is passed on."""
    said = _read(_document(body))
    message = (read_error_body(body).message or "").lower()
    if said.retry_after is not None and "retry-after" not in headers:
        headers = {**headers, "retry-after": f"{said.retry_after:g}"}
    is_account = said.status in _ACCOUNT_STATUSES or not said.reasons.isdisjoint(_ACCOUNT_REASONS)
    if (
        400 <= status < 500
        and status != 429
        and (is_account or openai_failures.blames_account(message, _ACCOUNT_WORDS))
    ):
        return openai_failures.read_failure(401, headers, b"")
    if status == 400 and any(words in message for words in _CONTEXT_WORDS):
        error = BadRequest(read_error_body(body).message or "", code="context_length_exceeded")
        return Failure(FailureClass.CONTEXT_WINDOW, error)
    return openai_failures.read_failure(500 if status == 499 else status, headers, body)


def raise_error(document: Any) -> None:
    """Raise when an answer of status 200, or an event of a stream, is an error after all."""
    if isinstance(document, list):
        document = next((one for one in document if isinstance(one, dict) and one.get("error")), None)
    inner = document.get("error") if isinstance(document, dict) else None
    if not inner:
        return
    said = _read(document)
    code = inner.get("code") if isinstance(inner, dict) else None
    status = code if type(code) is int and 400 <= code < 600 else _STATUSES.get(said.status, 502)
    error = read_failure(status, {}, orjson.dumps(document)).error
    if isinstance(error, UpstreamError):
        raise error
    raise UpstreamError(
        error.message,
        status=error.status,
        code=error.code,
        param=error.param,
        retry_after_seconds=error.retry_after_seconds,
    )


def _document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _read(document: Any) -> _Said:
    if isinstance(document, list) and document:
        document = document[0]
    inner = document.get("error") if isinstance(document, dict) else None
    if not isinstance(inner, dict):
        return _Said("", frozenset(), None)
    status, details = inner.get("status"), inner.get("details")
    reasons: set[str] = set()
    wait: float | None = None
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        if isinstance(reason := detail.get("reason"), str):
            reasons.add(reason)
        if str(detail.get("@type")).endswith("google.rpc.RetryInfo"):
            wait = read_duration(detail.get("retryDelay"))
    return _Said(status if isinstance(status, str) else "", frozenset(reasons), wait)


def read_duration(value: object) -> float | None:
    """`34.074824224s`, as protobuf's JSON writes a duration; in seconds."""
    if not isinstance(value, str) or not value.endswith("s") or len(value) > 24:
        return None
    number = value[:-1]
    if not number.isascii() or not number.replace(".", "", 1).isdigit():
        return None
    return min(float(number), _LONGEST_WAIT)
