"""What each worker knows of the others' questions: a stream per tenant in Redis, followed by those that serve the tenant.

A record adds a question with its vector, takes one away, or takes away all of a model or an age; each has a MAC over the
tenant, so that one from another stream or hand is none (a counter says so). Reading a tenant begins with its first
question here and goes on while it asks. Failure policy: Redis away or slow: a worker finds what it has seen itself.
"""

import asyncio
import hmac
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import hiredis
import numpy as np
import orjson
import structlog

from tollkeeper.core.clock import Clock
from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import pack
from tollkeeper.gateway.cache.embedding_local import normalised
from tollkeeper.gateway.cache.guards import read, signature
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.vectors import Floats, Known, Vectors

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 0.25
# A tenant that has not asked for so long is not followed; it is read anew when it asks again.
_FOLLOWED_SECONDS: Final = 900.0
_PAGE: Final = 64
_PAGES_AT_ONCE: Final = 8
_LIFE_MS: Final = 40 * 86_400_000
_MAC_BYTES: Final = 32
_LENGTH_BYTES: Final = 4
_RECORD_BYTES: Final = 2_048
"""About what one takes up in Redis, to turn a bound in bytes into one in records."""


class NotARecord(Exception):
    """Not one of ours. The message is the reason, for a metric."""


class Records:
    """Writes records and reads them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, tenant_id: UUID, question: Known) -> bytes:
        answer = b"" if question.answer is None else question.answer.astype("<f2").tobytes()
        vector = question.vector.astype("<f2").tobytes()
        head = (
            "add",
            question.partition.hex(),
            question.fingerprint.hex(),
            question.turn,
            question.created_at,
            question.model,
            len(vector),
        )
        return self._seal(tenant_id, orjson.dumps(head), vector + answer)

    def write_drop(self, tenant_id: UUID, fingerprint: bytes) -> bytes:
        return self._seal(tenant_id, orjson.dumps(("drop", fingerprint.hex())), b"")

    def write_purge(self, tenant_id: UUID, model: str | None, before: float | None) -> bytes:
        return self._seal(tenant_id, orjson.dumps(("purge", model, before)), b"")

    def apply(self, vectors: Vectors, tenant_id: UUID, value: Any) -> None:
        """Raises `NotARecord`."""
        if not isinstance(value, bytes) or len(value) < _MAC_BYTES + _LENGTH_BYTES:
            raise NotARecord("form")
        payload = value[_MAC_BYTES:]
        if not hmac.compare_digest(value[:_MAC_BYTES], self._mac(tenant_id, payload)):
            raise NotARecord("mac")
        length = int.from_bytes(payload[:_LENGTH_BYTES], "big")
        kind, *said = orjson.loads(payload[_LENGTH_BYTES : _LENGTH_BYTES + length])
        if kind == "drop":
            vectors.drop(tenant_id, bytes.fromhex(said[0]))
        elif kind == "purge":
            vectors.drop_where(tenant_id, said[0], said[1])
        else:
            question = _known(said, payload[_LENGTH_BYTES + length :])
            if question is not None:
                vectors.add(tenant_id, question)

    def _seal(self, tenant_id: UUID, head: bytes, rest: bytes) -> bytes:
        payload = len(head).to_bytes(_LENGTH_BYTES, "big") + head + rest
        return self._mac(tenant_id, payload) + payload

    def _mac(self, tenant_id: UUID, payload: bytes) -> bytes:
        mac = hmac.new(self._key, tenant_id.bytes, "sha256")
        mac.update(payload)
        return mac.digest()


def _known(said: Sequence[Any], data: bytes) -> Known | None:
    partition, fingerprint, turn, created_at, model, length = said
    vector = _vector(data[:length])
    # Read here and not sent along: workers of two versions may read a question in two ways.
    sign = signature(read(turn))
    if vector is None or sign is None:
        return None
    answer = _vector(data[length:])
    return Known(bytes.fromhex(partition), bytes.fromhex(fingerprint), turn, vector, sign, created_at, model, answer)


def _vector(data: bytes) -> Floats | None:
    found: Floats = np.frombuffer(data, dtype="<f2").astype(np.float32)
    is_one = found.size > 0 and bool(np.isfinite(found).all()) and bool(found.any())
    made: Floats | None = normalised(found[None])[0] if is_one else None
    return made


class Mirror:
    """`start` and `close` frame its life. `link` None: this worker alone."""

    def __init__(
        self,
        vectors: Vectors,
        link: RedisLink | None,
        records: Records,
        metrics: CacheMetrics,
        clock: Clock,
        *,
        tenant_bytes: int,
    ) -> None:
        self._vectors = vectors
        self._link = link
        self._records = records
        self._metrics = metrics
        self._clock = clock
        # Half as much again as its answers may take up.
        self._most = max(1, tenant_bytes // (2 * _RECORD_BYTES))
        # By tenant: the last record that was read, and when it last asked.
        self._read: dict[UUID, bytes] = {}
        self._asked: dict[UUID, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._link is not None:
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def want(self, tenant_id: UUID) -> None:
        """It asks: from now on it is followed."""
        self._asked[tenant_id] = self._clock.monotonic()

    def add(self, tenant_id: UUID, question: Known) -> None:
        """Here and for all others. None of these waits."""
        self._vectors.add(tenant_id, question)
        self._send(tenant_id, self._records.write(tenant_id, question))

    def drop(self, tenant_id: UUID, fingerprint: bytes) -> None:
        self._vectors.drop(tenant_id, fingerprint)
        self._send(tenant_id, self._records.write_drop(tenant_id, fingerprint))

    def purge(self, tenant_id: UUID, model: str | None = None, before: float | None = None) -> None:
        self._vectors.drop_where(tenant_id, model, before)
        self._send(tenant_id, self._records.write_purge(tenant_id, model, before))

    async def catch_up(self, tenant_id: UUID) -> bool:
        """Read on; False where there may be more. Raises `RedisUnavailable`."""
        assert self._link is not None
        key = _key(tenant_id)
        for _ in range(_PAGES_AT_ONCE):
            after = self._read.get(tenant_id, b"-")
            start = b"-" if after == b"-" else b"(" + after
            rows = await self._link.call("XRANGE", key, start, "+", "COUNT", _PAGE)
            for name, fields in rows:
                self._read[tenant_id] = name
                self._apply(tenant_id, fields)
            if len(rows) < _PAGE:
                return True
            # Each record is read and its words are looked at: other calls go on meanwhile.
            await asyncio.sleep(0)
        return False

    def _apply(self, tenant_id: UUID, fields: Any) -> None:
        try:
            self._records.apply(self._vectors, tenant_id, fields[1])
        except NotARecord as problem:
            self._metrics.poisoned(f"vector_{problem}")
        except (ValueError, TypeError, IndexError, KeyError):
            self._metrics.poisoned("vector_form")

    async def _follow(self) -> None:
        while True:
            is_behind = False
            for tenant_id, asked_at in list(self._asked.items()):
                if self._clock.monotonic() - asked_at > _FOLLOWED_SECONDS:
                    # Nobody tells it any more what has gone, so it keeps nothing either.
                    del self._asked[tenant_id]
                    self._read.pop(tenant_id, None)
                    self._vectors.clear(tenant_id)
                    continue
                try:
                    is_behind = not await self.catch_up(tenant_id) or is_behind
                except RedisUnavailable:
                    break
                except hiredis.ReplyError:
                    self._metrics.poisoned("vector_type")
            await asyncio.sleep(0.01 if is_behind else POLL_SECONDS)

    def _send(self, tenant_id: UUID, record: bytes) -> None:
        if self._link is None:
            return
        key = _key(tenant_id)
        command = ("XADD", key, "MAXLEN", "~", self._most, "*", b"r", record)
        with suppress(RedisUnavailable):
            self._link.ask(pack(command) + pack(("PEXPIRE", key, _LIFE_MS)), 2, _nothing, key)


def _key(tenant_id: UUID) -> bytes:
    return f"tk:{{{tenant_id.hex}}}:cv".encode()


def _nothing(replies: object) -> None:
    """A lost record is a question that this worker alone can answer."""
