"""What a refusal of Bedrock's means, under a status or as an exception in the middle of an answer.

The exceptions are those of "Converse" and "ConverseStream", Bedrock runtime reference, 2026-11.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.core.errors import BadRequest, RateLimited, UpstreamError, UpstreamTimeout
from tollkeeper.gateway.openai_errors import VendorError
from tollkeeper.gateway.openai_failures import account_error, read_retry_after
from tollkeeper.gateway.provider import Failure, FailureClass

_LONGEST_MESSAGE: Final = 2000
# Whatever status they come under: our keys, our rights, our account.
_ACCOUNT: Final = frozenset(
    {
        "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException",
        "IncompleteSignatureException", "InvalidClientTokenId", "MissingAuthenticationTokenException",
        "MissingAuthenticationToken", "SignatureDoesNotMatch", "NotAuthorized", "OptInRequired",
        "AccountProblemException", "InvalidAccessKeyId", "ExpiredToken",
    }
)  # fmt: skip
_RATE: Final = frozenset({"ThrottlingException", "ModelNotReadyException", "TooManyRequestsException"})
_TIMEOUT: Final = frozenset({"ModelTimeoutException", "RequestTimeoutException"})
_BUSY: Final = frozenset({"ServiceUnavailableException"})
_NOT_CALLERS: Final = _RATE | _TIMEOUT
# 4xx that are not about the request: timeouts, conflicts, a model that failed, rates.
_OUR_AFFAIR: Final = frozenset({404, 408, 409, 424, 425, 429})
_CONTEXT_WORDS: Final = (
    "input is too long", "too many input tokens", "prompt is too long", "maximum context length", "context window",
    "exceeds the maximum number of input tokens", "input length and `max_tokens` exceed context limit",
)  # fmt: skip
# A target that the vendor does not have: the configuration's fault, so another target may do.
_MODEL_WORDS: Final = (
    "model identifier is invalid",
    "on-demand throughput isn",
    "inference profile",
    "end of its life",
)
_POLICY_WORDS: Final = ("content filter", "content policy", "guardrail")


def read_failure(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Only sentences about the caller's own request are passed on."""
    name, message = _read(headers, body)
    if name in _ACCOUNT or status in {401, 402, 403}:
        # Amazon Bedrock API reference, Converse, 2026-10: AccessDeniedException is also a model without access.
        return Failure(FailureClass.CREDENTIAL, _account(is_quota=False), is_of_model=name == "AccessDeniedException")
    if name == "ServiceQuotaExceededException":
        return Failure(FailureClass.RATE, _account(is_quota=True))
    if (
        400 <= status < 500
        and status not in _OUR_AFFAIR
        and name not in _NOT_CALLERS
        and not _lacks(status, name, message)
    ):
        return _request_failure(status, message)
    return _vendors_failure(status, name, message, read_retry_after(headers))


def exception_error(name: str, payload: bytes) -> UpstreamError:
    """An exception inside a stream; its name begins with a small letter there."""
    name = name[:1].upper() + name[1:]
    _, message = _read({}, payload)
    if name in _ACCOUNT:
        return _account(is_quota=False)
    if name in _RATE:
        return UpstreamError("The provider is at its rate limit; try again later.", status=503)
    if name in _TIMEOUT:
        return UpstreamTimeout("The provider timed out.")
    if name in _BUSY:
        return UpstreamError("The provider is overloaded.", status=503, code="upstream_overloaded")
    if name == "ValidationException":
        return UpstreamError(message or "The provider refused the request.", status=400, code="invalid_request")
    return UpstreamError(message or "The provider broke its answer off with an error.")


def _lacks(status: int, name: str, message: str | None) -> bool:
    """Whether the model is none, or not here."""
    if name == "ResourceNotFoundException" or status == 404:
        return True
    return any(words in (message or "").lower() for words in _MODEL_WORDS)


def _vendors_failure(status: int, name: str, message: str | None, retry_after: float | None) -> Failure:
    """What another target, or the same one later, may do better."""
    if name in _RATE or status == 429:
        text = "The provider is at its rate limit; try again later."
        return Failure(FailureClass.RATE, RateLimited(text, retry_after_seconds=retry_after), retry_after)
    if name in _TIMEOUT or status in {408, 504}:
        return Failure(FailureClass.TIMEOUT, UpstreamTimeout("The provider timed out."), retry_after)
    if status < 500 and _lacks(status, name, message):
        # Not in the vendor's words: they may name our account.
        error = UpstreamError(
            "The provider does not know this model, or not here.",
            status=404,
            code="model_not_found",
            param="model",
            should_retry=False,
        )
        return Failure(FailureClass.SERVER, error)
    is_busy = name in _BUSY or status in {503, 529}
    text = "is overloaded" if is_busy else f"answered with status {status}"
    error = UpstreamError(f"The provider {text}.", status=503 if is_busy else 502, retry_after_seconds=retry_after)
    return Failure(FailureClass.SERVER, error, retry_after)


def _request_failure(status: int, message: str | None) -> Failure:
    text = message or "The provider refused the request."
    said = text.lower()
    if any(words in said for words in _CONTEXT_WORDS):
        error = BadRequest(text, code="context_length_exceeded", param="messages")
        return Failure(FailureClass.CONTEXT_WINDOW, error)
    if any(words in said for words in _POLICY_WORDS):
        return Failure(FailureClass.CONTENT_POLICY, BadRequest(text, code="content_filter"))
    return Failure(FailureClass.REQUEST, BadRequest(text, status=413 if status == 413 else 400))


def _account(*, is_quota: bool) -> UpstreamError:
    error = account_error(VendorError(code="insufficient_quota" if is_quota else "invalid_api_key"))
    assert error is not None
    return error


def _read(headers: Mapping[str, str], body: bytes) -> tuple[str, str | None]:
    """The exception's name without what stands around it (`com.amazon#Name`, `Name:http://…`), and its sentence."""
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    document = document if isinstance(document, dict) else {}
    told = headers.get("x-amzn-errortype") or document.get("__type") or document.get("code")
    name = told.partition(":")[0].rpartition("#")[2] if isinstance(told, str) else ""
    message = document.get("message") or document.get("Message") or document.get("originalMessage")
    return name, message[:_LONGEST_MESSAGE] if isinstance(message, str) and message else None
