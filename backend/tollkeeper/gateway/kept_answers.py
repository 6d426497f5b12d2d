"""Answers that are given again to whoever sends the same call under the same `Idempotency-Key`, for a day, byte for byte.

They lie sealed in the object store, each bound to its tenant and call, below the hour the call was made in, so that what
has expired is found without looking at the rest. Failure policy: a store that does not answer keeps nothing and gives
nothing; the call itself never waits for it.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import Aad, EnvelopeError, SecretBox
from tollkeeper.core.errors import DependencyUnavailable, NotFound
from tollkeeper.core.ids import uuid7_unix_ms
from tollkeeper.core.objects import Objects

log = structlog.get_logger(__name__)

KEPT_HOURS: Final = 24
# Hours that may have been missed by the sweep before.
_SWEPT_HOURS: Final = 72
_FOLDER: Final = "answers"
_FIELD: Final = "answer"
_VERSION: Final = 1
# Of the call that was made; giving its answer again costs nothing.
_COST_COMMENT: Final = re.compile(rb"(?m)^: x-tollkeeper-cost-usd [^\n]*\n\n?")


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """As it went out. `content_type` None: JSON, or the dialect's own of a stream."""

    is_stream: bool
    content_type: str | None
    body: bytes


@dataclass(slots=True)
class Copy:
    """Takes down what goes out to the caller, up to `most` bytes; None beyond that."""

    most: int
    is_stream: bool
    content_type: str | None = None
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    def __call__(self, data: bytes, content_type: str | None) -> None:
        self._size += len(data)
        if self._size > self.most:
            self._parts.clear()
            return
        self._parts.append(data)
        self.content_type = content_type or self.content_type

    def answer(self) -> KeptAnswer | None:
        if self._size > self.most:
            return None
        return KeptAnswer(self.is_stream, self.content_type, _COST_COMMENT.sub(b"", b"".join(self._parts)))


class KeptAnswers:
    def __init__(self, objects: Objects, box: SecretBox, clock: Clock, *, max_bytes: int) -> None:
        """`max_bytes` of the largest that is kept; 0: none is."""
        self._objects = objects
        self._box = box
        self._clock = clock
        self.max_bytes = max_bytes
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, tenant_id: UUID, request_id: UUID, answer: KeptAnswer, then: Callable[[bool], None]) -> None:
        """Does not wait; `then` is told whether it was kept."""
        self._spawn(self._keep(tenant_id, request_id, answer, then))

    async def find(self, tenant_id: UUID, request_id: UUID) -> KeptAnswer | None:
        try:
            envelope = await self._objects.get(_place(tenant_id, request_id))
            document = self._box.open(envelope, _bond(tenant_id, request_id))
        except (NotFound, DependencyUnavailable, EnvelopeError) as error:
            log.info("answer_not_found", request_id=str(request_id), reason=type(error).__name__)
            return None
        head, _, body = document.partition(b"\n")
        is_stream, content_type = orjson.loads(head)
        return KeptAnswer(is_stream, content_type, body)

    async def sweep(self) -> int:
        """Remove what has expired. Raises `DependencyUnavailable`."""
        swept = 0
        now = self._clock.now()
        # An hour more: a folder holds calls of a whole one.
        for hours in range(KEPT_HOURS + 1, KEPT_HOURS + 1 + _SWEPT_HOURS):
            async for key in self._objects.list(f"{_FOLDER}/{_hour(now - timedelta(hours=hours))}"):
                await self._objects.delete(key)
                swept += 1
        return swept

    async def close(self) -> None:
        """Whatever is being kept is kept first."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, tenant_id: UUID, request_id: UUID, answer: KeptAnswer, then: Callable[[bool], None]) -> None:
        is_kept = False
        try:
            document = orjson.dumps((answer.is_stream, answer.content_type)) + b"\n" + answer.body
            envelope = self._box.seal(document, _bond(tenant_id, request_id))
            await self._objects.put(_place(tenant_id, request_id), envelope)
            is_kept = True
        except DependencyUnavailable as error:
            log.warning("answer_not_kept", request_id=str(request_id), reason=error.message)
        finally:
            then(is_kept)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="keep-answer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _place(tenant_id: UUID, request_id: UUID) -> str:
    made = datetime.fromtimestamp(uuid7_unix_ms(request_id) / 1000, UTC)
    return f"{_FOLDER}/{_hour(made)}/{tenant_id.hex}/{request_id.hex}"


def _hour(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H")


def _bond(tenant_id: UUID, request_id: UUID) -> Aad:
    return Aad(tenant_id, request_id, _FIELD, _VERSION)
