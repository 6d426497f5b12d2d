"""What the semantic cache has seen: how alike two questions were, what became of it, and whether the answers agreed.

Kept for the decision that learns per entry (DESIGN 8): a similarity and whether the model, asked anyway, said the same.
Each worker has the last ones in memory; all of a tenant's are a bounded stream in Redis. Texts are never in it.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import orjson

from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import pack
from tollkeeper.gateway.cache.similarity import wilson

_MOST_IN_MEMORY: Final = 2_000
_MOST_PER_TENANT: Final = 10_000
_LIFE_MS: Final = 40 * 86_400_000


@dataclass(frozen=True, slots=True)
class Observation:
    """`fingerprint`: the candidate's entry. `agreed`: whether both answers said the same; None: nobody can tell."""

    tenant_id: UUID
    fingerprint: bytes
    at: float
    embedder: str
    domain: str
    similarity: float
    refused_by: str = ""
    is_served: bool = False
    is_asked: bool = False
    agreed: bool | None = None

    def write(self) -> bytes:
        return orjson.dumps(
            (
                self.fingerprint.hex(),
                self.at,
                self.embedder,
                self.domain,
                round(self.similarity, 5),
                self.refused_by,
                self.is_served,
                self.is_asked,
                self.agreed,
            )
        )

    @classmethod
    def read(cls, tenant_id: UUID, value: bytes) -> "Observation":
        """Raises `ValueError`."""
        try:
            fingerprint, *rest = orjson.loads(value)
            return cls(tenant_id, bytes.fromhex(fingerprint), *rest)
        except (TypeError, AttributeError) as error:
            raise ValueError("not an observation") from error


class Decision(Protocol):
    """Whether a candidate may be served, given what is known of it: the measured threshold now, a learned one later."""

    def p_wrong(self, similarity: float, seen: Sequence[Observation]) -> float:
        """The upper bound of the chance that its answer is wrong. `seen`: of the same entry, asked anyway."""
        ...


class Asked:
    """A decision by counts alone: the upper bound of the share of disagreements at this similarity and above."""

    def p_wrong(self, similarity: float, seen: Sequence[Observation]) -> float:
        told = [each.agreed for each in seen if each.agreed is not None and each.similarity >= similarity]
        return wilson(told.count(False), len(told))[1]


class ObservationLog:
    """Adding never waits; without Redis a worker knows its own."""

    def __init__(self, link: RedisLink | None) -> None:
        self._link = link
        self._last: deque[Observation] = deque(maxlen=_MOST_IN_MEMORY)

    def add(self, observation: Observation) -> None:
        self._last.append(observation)
        if self._link is None:
            return
        key = _key(observation.tenant_id)
        command = ("XADD", key, "MAXLEN", "~", _MOST_PER_TENANT, "*", b"o", observation.write())
        with suppress(RedisUnavailable):
            self._link.ask(pack(command) + pack(("PEXPIRE", key, _LIFE_MS)), 2, _nothing, key)

    def of_entry(self, tenant_id: UUID, fingerprint: bytes) -> list[Observation]:
        """What this worker has seen of one entry."""
        return [each for each in self._last if each.fingerprint == fingerprint and each.tenant_id == tenant_id]

    async def recent(self, tenant_id: UUID, most: int) -> list[Observation]:
        """The newest first, of all workers; of this one where Redis is away."""
        mine = [each for each in reversed(self._last) if each.tenant_id == tenant_id][:most]
        if self._link is None:
            return mine
        try:
            rows = await self._link.call("XREVRANGE", _key(tenant_id), "+", "-", "COUNT", most)
        except RedisUnavailable:
            return mine
        found = []
        for _, fields in rows:
            try:
                found.append(Observation.read(tenant_id, fields[1]))
            except ValueError:
                continue
        return found


def _key(tenant_id: UUID) -> bytes:
    return f"tk:{{{tenant_id.hex}}}:co".encode()


def _nothing(replies: object) -> None:
    """A lost observation is lost."""
