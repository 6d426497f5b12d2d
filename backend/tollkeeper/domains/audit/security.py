"""Security events: what was refused, for accounts and keys that exist, in the audit trail of their tenant.

Noted beside the answer, never before it, so that a refusal takes as long for a stranger as for an account. Bounded for
each object and each tenant, so that nobody floods a trail; what was left out is counted in the next record.
Failure policy: PostgreSQL away: logged and dropped; the refusal itself stands.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog

from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.ids import format_id
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service
from tollkeeper.domains.audit.schemas import Actor

log = structlog.get_logger(__name__)

_MOST_BUCKETS: Final = 10_000
_MOST_IN_FLIGHT: Final = 200


@dataclass(frozen=True, slots=True)
class _Bound:
    """`burst` at once, then one each `seconds`."""

    burst: int
    seconds: float


_PER_OBJECT: Final = _Bound(5, 12.0)
_PER_TENANT: Final = _Bound(120, 0.5)


class SecurityEvents:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # Name → the moment at which the bucket is full again (GCRA), least lately used first.
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._left_out: OrderedDict[str, int] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    def note(
        self,
        tenant_id: UUID,
        action: str,
        actor: Actor,
        object_type: str,
        object_id: str,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Returns at once; the record follows, with outcome `refused`. `details` hold no secret."""
        name = f"{tenant_id.hex} {action} {object_id}"
        buckets = ((name, _PER_OBJECT), (tenant_id.hex, _PER_TENANT))
        if len(self._running) >= _MOST_IN_FLIGHT or not self._charge(buckets):
            self._left_out[name] = self._left_out.pop(name, 0) + 1
            _trim(self._left_out)
            return
        left_out = self._left_out.pop(name, 0)
        after = {**(details or {}), **({"left_out": left_out} if left_out else {})}
        task = asyncio.create_task(self._record(tenant_id, action, actor, object_type, object_id, after))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def key_refused(self, principal: Principal, reason: str, address: str | None) -> None:
        """Somebody holds the secret of a key that may not be used, or not from there."""
        key = format_id("key", principal.key_id)
        actor = Actor("key", key, "API key", None, address)
        self.note(principal.tenant_id, "keys.refused", actor, "key", key, {"reason": reason})

    async def settled(self) -> None:
        """Everything noted so far is recorded or dropped; at the end of the process, and in tests."""
        await asyncio.gather(*self._running)

    async def _record(
        self,
        tenant_id: UUID,
        action: str,
        actor: Actor,
        object_type: str,
        object_id: str,
        after: Mapping[str, Any],
    ) -> None:
        try:
            async with self._database.tenant(tenant_id) as session:
                await service.record(
                    session, actor, action, object_type, object_id, None, after or None,
                    tenant_id=tenant_id, outcome="refused",
                )  # fmt: skip
        except TollkeeperError as error:
            log.warning("security_event_dropped", action=action, object_id=object_id, problem=error.code)

    def _charge(self, buckets: tuple[tuple[str, _Bound], ...]) -> bool:
        now = self._clock.monotonic()
        full_at = {name: max(self._full_at.get(name, now), now) + bound.seconds for name, bound in buckets}
        if any(full_at[name] - now > bound.burst * bound.seconds for name, bound in buckets):
            return False
        for name, moment in full_at.items():
            self._full_at[name] = moment
            self._full_at.move_to_end(name)
        _trim(self._full_at)
        return True


def _trim(buckets: OrderedDict[str, Any]) -> None:
    while len(buckets) > _MOST_BUCKETS:
        buckets.popitem(last=False)
