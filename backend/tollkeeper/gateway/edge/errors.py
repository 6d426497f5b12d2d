"""An error as an HTTP answer: status, headers, and the body in the caller's dialect."""

import math

from tollkeeper.core.errors import TollkeeperError

Header = tuple[bytes, bytes]

# openai-python waits for up to this long and gives up on anything longer (COMPATIBILITY section 4).
_LONGEST_RETRY_SECONDS = 120.0


def error_headers(error: TollkeeperError) -> list[Header]:
    """What tells a client whether and when to try again."""
    headers: list[Header] = [
        (name.lower().encode("ascii"), value.encode("latin-1", "replace")) for name, value in error.headers.items()
    ]
    if error.retry_after_seconds is not None:
        seconds = min(max(error.retry_after_seconds, 0.0), _LONGEST_RETRY_SECONDS)
        headers.append((b"retry-after", str(math.ceil(seconds)).encode()))
        headers.append((b"retry-after-ms", str(math.ceil(seconds * 1000)).encode()))
    should_retry = error.should_retry
    if should_retry is None and (error.retry_after_seconds or 0.0) > _LONGEST_RETRY_SECONDS:
        # The SDKs would wait as long as they may, twice, for nothing.
        should_retry = False
    if should_retry is not None:
        headers.append((b"x-should-retry", b"true" if should_retry else b"false"))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def internal_error() -> TollkeeperError:
    """What the caller learns of a fault of ours."""
    return TollkeeperError("The gateway failed to serve this request. Quote the request id when you report it.")


def stopping_error() -> TollkeeperError:
    """For calls that outlast the drain of a process that was told to stop; another one takes them."""
    return TollkeeperError(
        "The gateway is being stopped and cannot finish this call. Send it again.",
        status=503,
        code="gateway_stopping",
        retry_after_seconds=1.0,
    )


def forget_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error that was answered: their frames hold the whole call, and the call the error."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
