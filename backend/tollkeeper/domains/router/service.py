"""How this worker's targets are, and the reset that every worker makes.

Health is each worker's own, and stays in its memory: nothing here reads the database but for who asks.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import ProviderConfig, Snapshot
from tollkeeper.contracts.target_health import TargetHealth, TargetsView, reset_subject
from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.router.schemas import BreakerReset, Position, State, TargetOut, position_of
from tollkeeper.web.caller import Caller

_PROVIDER: Final = "prv"
_CREDENTIAL: Final = "crd"


class TargetNotFound(NotFound):
    """No provider of that name, or it has no such credential."""


class Router:
    def __init__(self, targets: TargetsView, snapshot: Callable[[], Snapshot], clock: Clock) -> None:
        self._targets = targets
        self._snapshot = snapshot
        self._clock = clock

    @property
    def worker_id(self) -> UUID:
        return self._targets.worker_id

    def list_page(self, caller: Caller, provider: str | None, after: Position | None, limit: int) -> list[TargetHealth]:
        """A tenant is told of the targets its own models lead to."""
        tenant_id = None if caller.is_platform else caller.tenant_id
        found = [
            health
            for health in self._targets.report(self._clock.monotonic(), tenant_id)
            if (provider is None or health.provider == provider) and (after is None or position_of(health) > after)
        ]
        return sorted(found, key=position_of)[:limit]

    def show(self, caller: Caller, found: Sequence[TargetHealth]) -> list[TargetOut]:
        now = self._clock.now()
        return [_shown(health, now, is_whole=caller.is_platform) for health in found]

    async def reset(self, session: AsyncSession, caller: Caller, wanted: BreakerReset) -> int:
        """Here at once, in the other workers as soon as it is stored. Raises TargetNotFound."""
        config = self._snapshot().providers.get(wanted.provider)
        if config is None or not _has(config, wanted.credential_id):
            raise TargetNotFound("There is no such target.")
        model, credential_id = wanted.model, wanted.credential_id
        credential = None if credential_id is None else format_id(_CREDENTIAL, credential_id)
        await audit.record(
            session,
            caller,
            "router.reset",
            object_type="provider",
            object_id=format_id(_PROVIDER, config.id),
            before=None,
            after={"provider": config.name, "model": model, "credential_id": credential},
        )
        await events.emit(session, caller.tenant_id, events.TargetsReset(config.name, model))
        await announce(session, Topic.TARGETS, reset_subject(config.name, model, credential_id))
        return self._targets.reset(config.name, self._clock.monotonic(), model=model, credential_id=credential_id)


def _has(config: ProviderConfig, credential_id: UUID | None) -> bool:
    return credential_id is None or any(credential.id == credential_id for credential in config.credentials)


def _shown(health: TargetHealth, now: datetime, *, is_whole: bool) -> TargetOut:
    until = None if health.until_seconds is None else now + timedelta(seconds=health.until_seconds)
    return TargetOut(
        provider=health.provider,
        model=health.model,
        credential_id=health.credential_id if is_whole else None,
        state=cast(State, health.state),
        why=health.why if is_whole else None,
        since=now - timedelta(seconds=health.since_seconds),
        until=until,
        latency_ms=_milliseconds(health.latency_seconds),
        latency_ms_p50=_milliseconds(health.p50_seconds),
        latency_ms_p95=_milliseconds(health.p95_seconds),
        error_share=round(health.failures / health.calls, 4) if health.calls else None,
        in_flight=health.in_flight if is_whole else None,
        calls_per_minute=health.calls if is_whole else None,
        failures_per_minute=health.failures if is_whole else None,
        is_suspect=health.is_suspect,
    )


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
