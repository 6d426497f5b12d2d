"""Every error a caller can meet, with its HTTP status and its stable code.

    TollkeeperError                    500 internal_error
    ├── BadRequest                     400 invalid_request
    │   ├── PayloadTooLarge            413 payload_too_large
    │   ├── UnsupportedMediaType       415 unsupported_media_type
    │   ├── RequestTimeout             408 request_timeout
    │   └── MalformedPayload           422 malformed_payload (control plane only)
    ├── Unauthenticated                401 invalid_api_key
    ├── Forbidden                      403 permission_denied
    ├── NotFound                       404 not_found
    │   └── ModelNotFound              404 model_not_found
    ├── MethodNotAllowed               405 method_not_allowed
    ├── Conflict                       409 conflict
    │   └── PreconditionFailed         412 precondition_failed
    ├── RateLimited                    429 rate_limit_exceeded
    ├── InsufficientQuota              429 insufficient_quota (402 where a budget says so)
    ├── UpstreamError                  502 upstream_error (or the vendor's own 4xx)
    │   ├── UpstreamTimeout            504 upstream_timeout
    │   └── NoTargetAvailable          503 no_target_available
    ├── DependencyUnavailable          503 dependency_unavailable
    └── Overloaded                     503 overloaded

The message tells the caller what to do next and never holds a secret, an address, SQL or an upstream body that is not
meant for the caller. The two boundaries (`gateway/app.py`, `web/errors.py`) turn an error into bytes in the caller's
dialect; nobody else renders one.
"""

from collections.abc import Mapping
from typing import ClassVar


class TollkeeperError(Exception):
    """An error with a status and a code; `type` is OpenAI's word for its class."""

    status: int = 500
    code: str = "internal_error"
    type: ClassVar[str] = "server_error"
    message: str
    # A rule about one provider refused: another one may take the call.
    is_of_provider: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        should_retry: bool | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        self.retry_after_seconds = retry_after_seconds
        # Sent as `x-should-retry`, which OpenAI's SDKs obey over the status.
        self.should_retry = should_retry
        self.headers: Mapping[str, str] = headers or {}
        # Extra members of a control-plane problem document, and of an inference error in OpenAI's shape.
        self.details: Mapping[str, object] = details or {}


class BadRequest(TollkeeperError):
    status = 400
    code = "invalid_request"
    type = "invalid_request_error"


class PayloadTooLarge(BadRequest):
    status = 413
    code = "payload_too_large"


class UnsupportedMediaType(BadRequest):
    status = 415
    code = "unsupported_media_type"


class RequestTimeout(BadRequest):
    """The caller was too slow in sending, or its own deadline passed before work began."""

    status = 408
    code = "request_timeout"


class MalformedPayload(BadRequest):
    """A control-plane payload that does not fit its schema."""

    status = 422
    code = "malformed_payload"


class Unauthenticated(TollkeeperError):
    status = 401
    code = "invalid_api_key"
    type = "invalid_request_error"


class Forbidden(TollkeeperError):
    status = 403
    code = "permission_denied"
    type = "permission_error"


class NotFound(TollkeeperError):
    status = 404
    code = "not_found"
    type = "invalid_request_error"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(TollkeeperError):
    status = 405
    code = "method_not_allowed"
    type = "invalid_request_error"


class Conflict(TollkeeperError):
    status = 409
    code = "conflict"
    type = "invalid_request_error"


class PreconditionFailed(Conflict):
    """`If-Match` names a version that is no longer the current one."""

    status = 412
    code = "precondition_failed"


class RateLimited(TollkeeperError):
    status = 429
    code = "rate_limit_exceeded"
    type = "requests"


class InsufficientQuota(TollkeeperError):
    """A hard budget has no room for this call; trying again before its next window does not help."""

    status = 429
    code = "insufficient_quota"
    type = "insufficient_quota"

    def __init__(self, message: str, *, status: int = 429, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, status=status, headers=headers, should_retry=False)


class UpstreamError(TollkeeperError):
    """A vendor answered with an error, or with something that is no answer."""

    status = 502
    code = "upstream_error"
    type = "upstream_error"


class UpstreamTimeout(UpstreamError):
    status = 504
    code = "upstream_timeout"


class NoTargetAvailable(UpstreamError):
    """Every target of the plan was tried or is closed; the message names each one's reason."""

    status = 503
    code = "no_target_available"


class DependencyUnavailable(TollkeeperError):
    """PostgreSQL or Redis did not answer and the degraded mode does not cover this call."""

    status = 503
    code = "dependency_unavailable"
    type = "server_error"


class Overloaded(TollkeeperError):
    """More calls than the gateway, or a provider's bound, lets run and wait at once; `Retry-After` says when to come back."""

    status = 503
    code = "overloaded"
    type = "server_error"
