"""Serves a call with an `Idempotency-Key` at most once: nothing is asked for twice, whoever asks and whichever worker.

Whoever comes second gets the first one's answer again where the tenant lets answers be kept, and is told so elsewhere. The
key is given back when the call failed before it could cost anything.
"""

from collections.abc import Awaitable
from functools import partial
from typing import Final, NoReturn

from tollkeeper.contracts.chat import Reply
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest, Conflict
from tollkeeper.core.ids import format_id
from tollkeeper.gateway.claims import Claimed, Claims, Known
from tollkeeper.gateway.kept_answers import Copy, KeptAnswers
from tollkeeper.gateway.same_call import HEADER, digest_of_form
from tollkeeper.gateway.stage import Ending, Exchange, Outcome, Step

ORIGINAL: Final = "x-tollkeeper-original-request-id"
REPLAYED: Final = "x-tollkeeper-replayed"
_KEEPS_ALL: Final = "full"
_LONGEST_KEY: Final = 255
_RETRY_SECONDS: Final = 1.0


class Claim(Step):
    def __init__(self, claims: Claims | None, clock: Clock, answers: KeptAnswers | None = None) -> None:
        """Without `claims` the header means nothing; without `answers` none is given again."""
        self._claims = claims
        self._clock = clock
        self._answers = answers

    def enter(self, exchange: Exchange) -> Awaitable[Reply | None] | None:
        key = exchange.headers.get(HEADER)
        if key is None or self._claims is None:
            return None
        return self._claim(self._claims, exchange, key)

    async def _claim(self, claims: Claims, exchange: Exchange, key: bytes) -> Reply | None:
        """The answer that was given before; None: this call is the first, and to be made."""
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
        answers = self._answers if principal.logging_policy == _KEEPS_ALL else None
        if isinstance(taken, Known):
            if answers is None or not (taken.is_same and taken.is_kept):
                _refuse(taken)
            return await _again(answers, exchange, taken)
        copy = None
        if answers is not None and answers.max_bytes:
            copy = exchange.copy = Copy(answers.max_bytes, exchange.call.is_stream)
        exchange.on_finish(partial(self._finish, claims, taken, exchange, copy))
        return None

    def _finish(
        self, claims: Claims, claimed: Claimed, exchange: Exchange, copy: Copy | None, outcome: Outcome
    ) -> None:
        exchange.copy = None
        is_done = outcome.ending is Ending.DONE
        if not is_done and not any(attempt.may_cost for attempt in exchange.tries):
            claims.give_back(claimed)
            return
        answer = copy.answer() if is_done and copy is not None else None
        if answer is None or self._answers is None:
            claims.complete(claimed)
            return
        # Until it is kept the call counts as being served, so that nobody is told that there is nothing to be had.
        self._answers.keep(
            exchange.principal.tenant_id,
            exchange.request_id,
            answer,
            lambda is_kept: claims.complete(claimed, is_kept=is_kept),
        )


async def _again(answers: KeptAnswers, exchange: Exchange, known: Known) -> Reply:
    kept = await answers.find(exchange.principal.tenant_id, known.request_id)
    if kept is None:
        _refuse(known)
    exchange.response_headers[REPLAYED] = "true"
    exchange.response_headers[ORIGINAL] = format_id("req", known.request_id)
    return Reply(kept.is_stream, (), verbatim=kept.body, content_type=kept.content_type)


def _digest(exchange: Exchange) -> bytes:
    form = exchange.call.form
    return exchange.digest if form is None else digest_of_form(exchange.operation, form)


def _refuse(known: Known) -> NoReturn:
    original = format_id("req", known.request_id)
    headers = {ORIGINAL: original}
    if not known.is_same:
        raise BadRequest(
            f"This Idempotency-Key was used for another call ({original}); take a new key.",
            code="idempotency_mismatch",
            param="Idempotency-Key",
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
