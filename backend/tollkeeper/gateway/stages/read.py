"""Reads the body into a `Call`, once the caller is known (RULING 17)."""

from collections.abc import Awaitable, Mapping

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.same_call import HEADER as ONCE
from tollkeeper.gateway.same_call import digest_of
from tollkeeper.gateway.stage import Exchange, FunctionStep


@FunctionStep
def read(exchange: Exchange) -> Awaitable[None] | None:
    body = exchange.read_body()
    if not isinstance(body, bytes):
        return _wait(exchange, body)
    _read(exchange, body)
    return None


async def _wait(exchange: Exchange, body: Awaitable[bytes]) -> None:
    _read(exchange, await body)


def _read(exchange: Exchange, body: bytes) -> None:
    call = exchange.call = exchange.dialect.read_call(body, exchange.headers, exchange.path)
    if ONCE in exchange.headers and call.form is None:
        exchange.digest = digest_of(exchange, body)
    # The call has what it needs of it: a picture of 20 MB is there often enough.
    del body
    seconds = timeout_seconds(exchange.headers, is_stream=call.is_stream)
    if seconds is not None:
        exchange.patience = exchange.started + seconds
        exchange.deadline = min(exchange.deadline, exchange.patience)


def timeout_seconds(headers: Mapping[bytes, bytes], *, is_stream: bool) -> float | None:
    """How long the caller will wait, by its own word.

    `x-stainless-read-timeout` (OpenAI's SDKs) bounds the silence between two reads: for a whole answer that is all of
    it, for a stream it says nothing about the total.
    """
    ours = headers.get(b"x-tollkeeper-timeout-ms")
    if ours is not None:
        if not ours.isdigit() or len(ours) > 9 or int(ours) == 0:
            raise BadRequest(
                "Invalid 'x-tollkeeper-timeout-ms': expected a whole number of milliseconds above 0.",
                param="x-tollkeeper-timeout-ms",
                code="invalid_value",
            )
        return int(ours) / 1000
    if is_stream:
        return None
    theirs = headers.get(b"x-stainless-read-timeout")
    if theirs is None or len(theirs) > 12 or not theirs.replace(b".", b"", 1).isdigit():
        return None
    return float(theirs) or None
