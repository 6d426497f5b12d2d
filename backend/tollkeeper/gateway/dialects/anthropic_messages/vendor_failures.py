"""What a refusal of Anthropic's means, under a status or as an event in the middle of an answer.

The types are those of "Errors", Claude API reference, 2026-11; what they say of our account is told by words alone.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.core.errors import BadRequest, UpstreamError, UpstreamTimeout
from tollkeeper.gateway.openai_errors import VendorError, read_error, read_error_body
from tollkeeper.gateway.openai_failures import account_error, blames_account, read_retry_after
from tollkeeper.gateway.openai_failures import read_failure as read_any_failure
from tollkeeper.gateway.provider import Failure, FailureClass

# Under 400 and `invalid_request_error`, like a caller's own mistake.
_QUOTA_WORDS: Final = (
    "credit balance is too low",
    "specified api usage limits",
    "specified workspace api usage limits",
)
_ACCOUNT_WORDS: Final = ("organization has been disabled", "account has been disabled")
_CONTEXT_WORDS: Final = ("prompt is too long", "exceed context limit", "exceeds the maximum context")
_POLICY_WORDS: Final = ("blocked by content filtering policy", "content policy", "usage policy")


def read_failure(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    vendor = read_error_body(body)
    if 400 <= status < 500 and (error := _account(vendor)) is not None:
        return Failure(FailureClass.CREDENTIAL, error, is_of_model=status == 403)
    if status in {400, 413, 422}:
        message = vendor.message or "The provider refused the request."
        said = message.lower()
        if any(words in said for words in _CONTEXT_WORDS):
            too_long = BadRequest(message, code="context_length_exceeded", param="messages")
            return Failure(FailureClass.CONTEXT_WINDOW, too_long)
        if any(words in said for words in _POLICY_WORDS):
            return Failure(FailureClass.CONTENT_POLICY, BadRequest(message, code="content_filter"))
        if status == 413:
            return Failure(FailureClass.REQUEST, BadRequest(message, code="request_too_large", status=413))
    if status == 529:
        wait = read_retry_after(headers)
        return Failure(FailureClass.SERVER, _overloaded(wait), wait)
    return read_any_failure(status, headers, body)


def raise_error(data: Mapping[str, Any]) -> None:
    """Raise when a document or event is an error: it comes under status 200."""
    if data.get("type") != "error" and data.get("error") is None:
        return
    raise embedded_error(read_error(data) or VendorError())


def embedded_error(error: VendorError) -> UpstreamError:
    if (about_us := _account(error)) is not None:
        return about_us
    message = error.message or "The provider broke its answer off with an error."
    match error.type:
        case "overloaded_error":
            return _overloaded()
        case "rate_limit_error":
            return UpstreamError("The provider is at its rate limit; try again later.", status=503)
        case "timeout_error":
            return UpstreamTimeout("The provider timed out.")
        case _:
            return UpstreamError(message)


def _overloaded(wait: float | None = None) -> UpstreamError:
    return UpstreamError(
        "The provider is overloaded.", status=503, code="upstream_overloaded", retry_after_seconds=wait
    )


def _account(vendor: VendorError) -> UpstreamError | None:
    if vendor.type == "billing_error" or blames_account(vendor.message, _QUOTA_WORDS):
        return account_error(VendorError(code="insufficient_quota"))
    if blames_account(vendor.message, _ACCOUNT_WORDS):
        return account_error(VendorError(code="account_deactivated"))
    return account_error(VendorError(code=vendor.code, type=vendor.type))
