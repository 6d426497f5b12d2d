"""What a refusal in OpenAI's format means: for routing (its class) and for the caller (its error)."""

import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from tollkeeper.core.errors import BadRequest, RateLimited, UpstreamError, UpstreamTimeout
from tollkeeper.gateway.openai_errors import VendorError, read_error_body
from tollkeeper.gateway.provider import Failure, FailureClass

_CONTEXT_CODES: Final = frozenset({"context_length_exceeded", "string_above_max_length"})
_CONTEXT_TYPES: Final = frozenset({"exceed_context_size_error"})
_POLICY_CODES: Final = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
_QUOTA_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"})
# xAI and Google refuse our credential with 400, in words that hold a part of it.
_ACCOUNT_CODES: Final = frozenset(
    {"invalid_api_key", "invalid_authentication", "account_deactivated", "authentication_error", "permission_error"}
)
_ACCOUNT_WORDS: Final = ("incorrect api key", "invalid api key", "api key not valid")
# What comes after is the caller's own text, often enough.
_ECHO: Final = re.compile(r"[\"'`:\n\[{<(]")
_CONTEXT_WORDS: Final = ("maximum context length", "context window", "context length", "too many tokens")


def read_failure(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Only sentences about the caller's own request are passed on; whatever a vendor says of our account is not."""
    vendor = read_error_body(body)
    retry_after = read_retry_after(headers)
    if status in {401, 402, 403}:
        return Failure(FailureClass.CREDENTIAL, _account_error(is_quota=status == 402), is_of_model=status == 403)
    if 400 <= status < 500 and (error := account_error(vendor)) is not None:
        return Failure(FailureClass.CREDENTIAL, error)
    if status == 429:
        text = "The provider is at its rate limit; try again later."
        return Failure(FailureClass.RATE, RateLimited(text, retry_after_seconds=retry_after), retry_after)
    if status in {408, 504}:
        return Failure(FailureClass.TIMEOUT, UpstreamTimeout("The provider timed out."), retry_after)
    if 400 <= status < 500 and status not in {404, 409, 425}:
        return _request_failure(status, vendor)
    return Failure(FailureClass.SERVER, _server_error(status, vendor, retry_after), retry_after)


def account_error(vendor: VendorError) -> UpstreamError | None:
    """What the caller learns when a vendor speaks of our account there, under whatever status; None when it does not."""
    said = {vendor.code, vendor.type}
    if said & _QUOTA_CODES:
        return _account_error(is_quota=True)
    if said & _ACCOUNT_CODES or blames_account(vendor.message, _ACCOUNT_WORDS):
        return _account_error(is_quota=False)
    return None


def blames_account(message: str | None, words: Iterable[str]) -> bool:
    """Whether a vendor says one of these of our account, in its own words.

    It repeats what callers send as well, behind a colon or in quotation marks, and a field's name stands before a colon:
    nobody's text makes us take our credential for refused.
    """
    said = (message or "").lower()
    echo = _ECHO.search(said)
    if echo is not None:
        said, rest = said[: echo.start()], said[echo.start() :]
        if rest[0] == ":" and (not said.endswith("provided") or "not permitted" in rest):
            return False
    return any(phrase in said for phrase in words)


def _account_error(*, is_quota: bool) -> UpstreamError:
    if not is_quota:
        return UpstreamError(
            "The provider refused the gateway's own credential. Tell the operator; your key is fine.",
            code="upstream_authentication",
            should_retry=False,
        )
    return UpstreamError(
        "The gateway's account at the provider is out of credit. Tell the operator.",
        status=503,
        code="upstream_quota",
        should_retry=False,
    )


def _server_error(status: int, vendor: VendorError, retry_after: float | None) -> UpstreamError:
    if status == 404:
        return _not_found(vendor)
    is_busy = status in {503, 529}  # 529 = overloaded, Anthropic API errors page, 2026-08
    text = "is overloaded" if is_busy else f"answered with status {status}"
    return UpstreamError(f"The provider {text}.", status=503 if is_busy else 502, retry_after_seconds=retry_after)


def _request_failure(status: int, vendor: VendorError) -> Failure:
    """The caller's own mistake, in the vendor's words. OpenAI answers 400 where others answer 422."""
    kind, code = FailureClass.REQUEST, vendor.code or "invalid_request"
    message = vendor.message or "The provider refused the request."
    if vendor.code in _CONTEXT_CODES or vendor.type in _CONTEXT_TYPES or _speaks_of_context(message):
        kind, code = FailureClass.CONTEXT_WINDOW, "context_length_exceeded"
    elif vendor.code in _POLICY_CODES:
        kind = FailureClass.CONTENT_POLICY
    error = BadRequest(message, code=code, param=vendor.param, status=413 if status == 413 else 400)
    return Failure(kind, error)


def _not_found(vendor: VendorError) -> UpstreamError:
    """A target that the vendor does not have: the configuration's fault, so another target may do."""
    return UpstreamError(
        vendor.message or "The provider does not know this model or endpoint.",
        status=404,
        code=vendor.code or "model_not_found",
        param=vendor.param or "model",
        should_retry=False,
    )


def _speaks_of_context(message: str) -> bool:
    lowered = message.lower()
    return any(words in lowered for words in _CONTEXT_WORDS)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms`, `retry-after` in seconds or as a date; None for nonsense."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    if text is None or len(text) > 20 or not text.strip().replace(".", "", 1).isdigit():
        return None
    return float(text)
