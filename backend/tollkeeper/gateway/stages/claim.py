"""Serves a call with an `Idempotency-Key` at most once: whoever comes second is told so, and nothing is asked for twice.

The key is given back when the call failed before it could cost anything. Answers are not kept, so none is given again.
"""

from collections.abc import Awaitable
from functools import partial
from hashlib import sha256
from typing import Final, NoReturn

import orjson

from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.form import Form
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest, Conflict
from tollkeeper.core.ids import format_id
from tollkeeper.gateway.claims import Claimed, Claims, Known
from tollkeeper.gateway.stage import Ending, Exchange, Outcome, Step

HEADER: Final = b"idempotency-key"
ORIGINAL: Final = "x-tollkeeper-original-request-id"
_LONGEST_KEY: Final = 255
_RETRY_SECONDS: Final = 1.0


class Claim(Step):
    def __init__(self, claims: Claims | None, clock: Clock) -> None:
        """Without `claims` the header means nothing."""
        self._claims = claims
        self._clock = clock

    def enter(self, exchange: Exchange) -> Awaitable[None] | None:
        key = exchange.headers.get(HEADER)
        if key is None or self._claims is None:
            return None
        return self._claim(self._claims, exchange, key)

    async def _claim(self, claims: Claims, exchange: Exchange, key: bytes) -> None:
        if not 0 < len(key) <= _LONGEST_KEY or not key.isascii() or not key.decode("ascii").isprintable():
            raise BadRequest(
                f"Idempotency-Key is 1 to {_LONGEST_KEY} printable ASCII characters.",
                code="invalid_idempotency_key",
                param="Idempotency-Key",
            )
        principal = exchange.principal
        # Programs that run on behalf of one key at the same time name their steps alike.
        name = b"%b %b %b" % (principal.key_id.bytes, (principal.run_id or "").encode(), key)
        left = max(0.0, exchange.deadline - self._clock.monotonic())
        taken = await claims.take(principal.tenant_id, name, _digest(exchange), exchange.request_id, left)
        if isinstance(taken, Known):
            _refuse(taken)
        exchange.on_finish(partial(_finish, claims, taken, exchange))


def _finish(claims: Claims, claimed: Claimed, exchange: Exchange, outcome: Outcome) -> None:
    is_billed = outcome.ending is Ending.DONE or any(attempt.may_cost for attempt in exchange.tries)
    if is_billed:
        claims.complete(claimed)
    else:
        claims.give_back(claimed)


def _digest(exchange: Exchange) -> bytes:
    call = exchange.call
    if call.form is not None:
        return _digest_of_form(exchange.operation, call.form)
    body = call.raw if call.raw is not None else orjson.dumps(call.body)
    return sha256(exchange.operation.value.encode() + b"\0" + body).digest()


def _digest_of_form(operation: Operation, form: Form) -> bytes:
    """By its fields: clients draw a new boundary for each attempt."""
    digest = sha256(operation.value.encode())
    for part in form.parts:
        digest.update(orjson.dumps([part.name, part.filename, part.content_type, part.end - part.start]))
        digest.update(form.view(part))
    return digest.digest()


def _refuse(known: Known) -> NoReturn:
    original = format_id("req", known.request_id)
    headers = {ORIGINAL: original}
    if not known.is_same:
        raise Conflict(
            f"This Idempotency-Key was used for another call ({original}); take a new key.",
            code="idempotency_key_reused",
            should_retry=False,
            headers=headers,
        )
    if known.is_over:
        raise Conflict(
            f"This call was made already ({original}), and its answer is not kept.",
            code="already_done",
            should_retry=False,
            headers=headers,
        )
    raise Conflict(
        f"This call is being served ({original}).",
        code="in_progress",
        retry_after_seconds=_RETRY_SECONDS,
        headers=headers,
    )
