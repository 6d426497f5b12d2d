"""Run keys: exchanging a key for a short-lived one that may do less, and ending a run before its time.

Nothing is kept of a run key but its audit record: the data plane proves it by its signature (`core.run_keys`) and holds
it to what its parent may do at each call. What is checked here is so that nobody is given more than they will have.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import Budget, ScopeKind
from tollkeeper.contracts.principal import KeyRecord, name_allowed
from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import MalformedPayload
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.money import format_usd, nano_from_usd
from tollkeeper.core.permissions import Scope
from tollkeeper.core.run_keys import LEEWAY_SECONDS, LONGEST_SECONDS, Run, RunKeys, RunKeyTooLong
from tollkeeper.db.models import EndedRun
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.keys import repository
from tollkeeper.domains.keys.errors import BeyondAuthority, KeyNotFound, KeyUnusable, RunIsEnded, TooManyEndedRuns
from tollkeeper.domains.keys.run_schemas import RunCreate, RunCreated
from tollkeeper.domains.keys.service import Keys
from tollkeeper.web.caller import Caller

_DEFAULT_SECONDS: Final = 3_600
MOST_ENDED: Final = 1_000
# Budgets of these count every call of the key.
_ALL_CALLS: Final = frozenset({ScopeKind.TENANT, ScopeKind.TEAM, ScopeKind.PROJECT, ScopeKind.USER, ScopeKind.KEY})


class KeyRecords(Protocol):
    async def find_by_id(self, key_id: UUID) -> KeyRecord | None: ...


class Runs:
    def __init__(self, keys: Keys, run_keys: RunKeys, records: KeyRecords, clock: Clock) -> None:
        self._keys = keys
        self._run_keys = run_keys
        self._records = records
        self._clock = clock

    async def issue(self, session: AsyncSession, caller: Caller, key_id: UUID, wanted: RunCreate) -> RunCreated:
        row = await self._keys.get_for_runs(session, caller, key_id)
        if Scope.INFERENCE.value not in row.scopes:
            raise KeyUnusable("This key may not call models: it lacks the scope 'inference'.")
        record = await self._records.find_by_id(row.id)
        if record is None:
            raise KeyNotFound("There is no such key.")
        run = self._run(caller, record, wanted)
        try:
            secret = self._run_keys.sign(run)
        except RunKeyTooLong:
            raise MalformedPayload(
                "The names of the models are too long for a run key; name fewer, or use a pattern.", param="models"
            ) from None
        made = RunCreated(
            run_id=run.run_id,
            key_id=row.id,
            key=secret,
            environment=record.principal.environment,
            expires_at=datetime.fromtimestamp(run.expires_at, tz=UTC),
            budget_usd=wanted.budget_usd,
            models=None if run.models is None else sorted(run.models),
        )
        run_id = format_id("run", run.run_id)
        facts = {"run_id": run_id, "name": wanted.name, **made.model_dump(mode="json", include=_FACTS)}
        key = format_id("key", row.id)
        await audit.record(session, caller, "keys.issue_run", "key", key, None, facts, tenant_id=row.tenant_id)
        await events.emit(session, row.tenant_id, events.KeyRunIssued(row.id, run_id, made.expires_at))
        return made

    async def end(self, session: AsyncSession, caller: Caller, key_id: UUID, run_id: UUID) -> None:
        """Whether there is such a run nobody knows; after this there is none. Twice changes nothing."""
        row = await self._keys.get_for_runs(session, caller, key_id)
        now = self._clock.now()
        if await repository.count_ended_runs(session, row, now) >= MOST_ENDED:
            raise TooManyEndedRuns(
                f"{MOST_ENDED} runs of this key were ended today. Rotate the key: that ends them all."
            )
        ended = EndedRun(
            tenant_id=row.tenant_id,
            key_id=row.id,
            run_id=run_id,
            ends_at=now,
            expires_at=now + timedelta(seconds=LONGEST_SECONDS + LEEWAY_SECONDS),
            created_by=caller.user_id,
        )
        if not await repository.end_runs(session, ended, now):
            return
        key, run = format_id("key", row.id), format_id("run", run_id)
        await audit.record(session, caller, "keys.end_run", "key", key, None, {"run_id": run}, tenant_id=row.tenant_id)
        await events.emit(session, row.tenant_id, events.KeyRunEnded(row.id, run))
        await announce(session, Topic.KEY, row.id)

    def _run(self, caller: Caller, record: KeyRecord, wanted: RunCreate) -> Run:
        principal, unix = record.principal, self._clock.unix()
        self._check_usable(record, unix)
        run_id = uuid7() if wanted.run_id is None else parse_id("run", wanted.run_id)
        if any(ended.run_id == run_id for ended in record.ended_runs):
            raise RunIsEnded("This run was ended; take another run_id.", param="run_id")
        for name in wanted.models or ():
            if not name_allowed(name, principal.allowed_models):
                raise BeyondAuthority(f"The key may not use the model `{name}`.", param="models")
        budget_nano = None if wanted.budget_usd is None else nano_from_usd(wanted.budget_usd)
        if budget_nano is not None:
            _check_budget(principal.budgets, budget_nano, unix)
        return Run(
            tenant_id=principal.tenant_id,
            key_id=principal.key_id,
            run_id=run_id,
            issued_unix_ms=int(unix * 1000),
            lifetime_seconds=_lifetime(caller, record, wanted.expires_in_seconds, unix),
            budget_nano=budget_nano,
            models=None if wanted.models is None else frozenset(wanted.models),
            is_named=wanted.run_id is not None,
        )

    def _check_usable(self, record: KeyRecord, unix: float) -> None:
        if record.refusal is not None:
            raise KeyUnusable(record.refusal)
        if record.expires_at is not None and record.expires_at <= unix:
            raise KeyUnusable("This API key has expired.")


_FACTS: Final = {"expires_at", "budget_usd", "models"}


def _lifetime(caller: Caller, record: KeyRecord, wanted: int | None, unix: float) -> int:
    """A run key outlives neither its parent nor the secret or key it is made with."""
    ends = [end for end in (record.expires_at, caller.key_expires_at) if end is not None]
    most = int(min(ends) - unix) if ends else LONGEST_SECONDS
    if most < 1:
        raise KeyUnusable("This API key expires in this moment.")
    if wanted is not None and wanted > most:
        raise BeyondAuthority(
            f"The run would outlive its key, which ends in {most} seconds.", param="expires_in_seconds"
        )
    return min(_DEFAULT_SECONDS, most) if wanted is None else wanted


def _check_budget(budgets: Sequence[Budget], amount_nano: int, unix: float) -> None:
    for budget in budgets:
        if not budget.is_hard or budget.is_platform or budget.models is not None or budget.is_per_model:
            continue
        if budget.scope.kind not in _ALL_CALLS:
            continue
        is_increased = budget.increase_until is None or budget.increase_until > unix
        most = budget.amount_nano + (budget.increase_nano if is_increased else 0)
        if amount_nano > most:
            raise BeyondAuthority(
                f"A budget above the key allows ${format_usd(most)} in all; the run cannot have more.",
                param="budget_usd",
            )
