"""Puts the limits and budgets of the configuration file into the tables that keys are looked up with, and takes them out.

Every worker does so at its start and at each reload, one after the other; who finds everything as it should be writes
nothing. A rule about somebody who is not there yet is said once and tried again. PostgreSQL down: what is stored holds.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.windows import bounds
from tollkeeper.core import events
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import format_id, parse_id
from tollkeeper.db.models import ApiKey, Budget, Limit, Member, Project, Team, Tenant, User
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.budgets import service as budgets
from tollkeeper.domains.budgets.backfill import backfill_counters
from tollkeeper.domains.limits import service as limits
from tollkeeper.domains.limits.schemas import PREFIXES, DeclaredRule
from tollkeeper.domains.limits.service import COLUMNS, budget_of

log = structlog.get_logger(__name__)

_RETRY_SECONDS: Final = 30.0
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtext('tollkeeper file rules'))")
_TABLES: Final[dict[str, type[Limit] | type[Budget]]] = {"limits": Limit, "budgets": Budget}


class FileRules:
    """One per worker. `run` follows what `replace` was told, and looks for those that were not there."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._rules: tuple[DeclaredRule, ...] = ()
        self._changed = asyncio.Event()
        self._missing: frozenset[str] = frozenset()
        self._is_applied = False

    def replace(self, rules: Sequence[DeclaredRule]) -> None:
        """Another reading of the file; callable from any callback of the loop."""
        self._rules = tuple(rules)
        self._is_applied = False
        self._changed.set()

    async def run(self) -> None:
        """Ends when it is cancelled."""
        while True:
            if not self._is_applied:
                with suppress(DependencyUnavailable):
                    await self.apply()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._is_applied else _RETRY_SECONDS):
                    await self._changed.wait()
            self._changed.clear()

    async def apply(self) -> None:
        """Bring the tables up to the file. Raises `DependencyUnavailable`."""
        rules, missing = self._rules, set[str]()
        async with self._database.platform() as session:
            await session.execute(_LOCK)
            for section, table in _TABLES.items():
                wanted: dict[UUID, tuple[DeclaredRule, dict[str, Any]]] = {}
                for rule in rules:
                    if rule.section != section:
                        continue
                    columns = await _columns(session, rule)
                    if columns is None:
                        missing.add(rule.place)
                    else:
                        wanted[rule.id] = rule, columns
                found = await session.scalars(select(table).where(table.managed_by == "file"))
                stored: dict[UUID, Limit | Budget] = {row.id: row for row in found}  # type: ignore[attr-defined, misc]
                for rule_id in stored.keys() - wanted.keys():
                    await session.delete(stored[rule_id])
                    await session.flush()
                    await _record(session, stored[rule_id], "delete")
                for rule_id, (rule, columns) in wanted.items():
                    await self._put(session, table, stored.get(rule_id), rule, columns)
        for place in missing - self._missing:
            log.warning("file_rule_without_scope", place=place, note="whom it is about is not there; tried again")
        self._missing = frozenset(missing)
        self._is_applied = not missing and rules is self._rules

    async def _put(
        self,
        session: AsyncSession,
        table: type[Limit] | type[Budget],
        row: Limit | Budget | None,
        rule: DeclaredRule,
        columns: dict[str, Any],
    ) -> None:
        if row is not None:
            changed = {name: value for name, value in columns.items() if getattr(row, name) != value}
            for name, value in changed.items():
                setattr(row, name, value)
            await session.flush()
            if changed.keys() - {"place"}:
                await _record(session, row, "update")
            return
        row = table(id=rule.id, managed_by="file", **columns)
        now = self._clock.now()
        if isinstance(row, Budget):
            row.counts_from = int(now.timestamp())
            start, _ = bounds(budget_of(row).window, now.timestamp())
            if rule.backfill:
                row.counts_from = start
        session.add(row)
        await session.flush()
        if isinstance(row, Budget) and rule.backfill:
            await backfill_counters(session, budget_of(row), row.tenant_id, row.counts_from)
        await _record(session, row, "create")


async def _columns(session: AsyncSession, rule: DeclaredRule) -> dict[str, Any] | None:
    """What the row is to hold; None while the tenant, or what the rule is about, is not there."""
    tenant_id = None
    if rule.tenant is not None:
        tenant_id = await _tenant(session, rule.tenant)
        if tenant_id is None:
            return None
    # What is left out of the file goes back to what holds without it.
    values: dict[str, Any] = dict.fromkeys(COLUMNS.values())
    values |= {"tenant_id": tenant_id, "scope": rule.kind, "value": rule.value, "name": rule.name, "place": rule.place}
    if rule.named is not None:
        named = await _named(session, tenant_id, rule.kind, rule.named)
        if named is None or (rule.kind == "tenant" and tenant_id is not None and named != tenant_id):
            return None
        if rule.kind != "tenant" or tenant_id is None:
            values[COLUMNS[rule.kind]] = named
    return {**values, **rule.columns}


async def _tenant(session: AsyncSession, named: str) -> UUID | None:
    is_it = Tenant.id == parse_id("ten", named) if named.startswith("ten_") else Tenant.slug == named
    return await session.scalar(select(Tenant.id).where(is_it, Tenant.slug.not_like("~deleted-%")))


async def _named(session: AsyncSession, tenant_id: UUID | None, kind: str, named: str) -> UUID | None:
    if kind == "tenant":
        return await _tenant(session, named)
    prefix = f"{PREFIXES[kind]}_"
    identity = parse_id(PREFIXES[kind], named) if named.startswith(prefix) else None
    queries = {
        "key": select(ApiKey.id).where(ApiKey.tenant_id == tenant_id, ApiKey.id == identity),
        "team": select(Team.id).where(
            Team.tenant_id == tenant_id, Team.id == identity if identity else func.lower(Team.name) == named.lower()
        ),
        "project": select(Project.id).where(
            Project.tenant_id == tenant_id,
            Project.id == identity if identity else func.lower(Project.name) == named.lower(),
        ),
        "user": select(Member.user_id)
        .join(User, User.id == Member.user_id)
        .where(
            Member.tenant_id == tenant_id,
            Member.removed_at.is_(None),
            Member.user_id == identity if identity else func.lower(User.email) == named.lower(),
        ),
    }
    return await session.scalar(queries[kind])


async def _record(session: AsyncSession, row: Limit | Budget, verb: str) -> None:
    """In the tenant's trail; a platform's rule is in the history of its file."""
    await limits.announce_rule(session, row)
    if row.tenant_id is None:
        return
    is_limit = isinstance(row, Limit)
    noun, facts = ("limit", limits.facts(row)) if is_limit else ("budget", budgets.facts(row))  # type: ignore[arg-type]
    before, after = (facts, None) if verb == "delete" else (None, {**facts, "declared_at": row.place})
    public = format_id("lim" if is_limit else "bud", row.id)
    await audit.record(session, audit.SYSTEM, f"{noun}s.{verb}", noun, public, before, after, tenant_id=row.tenant_id)
    told: dict[tuple[bool, str], events.Event] = {
        (True, "create"): events.LimitCreated(row.id, row.scope),
        (True, "update"): events.LimitChanged(row.id, ["declared"]),
        (True, "delete"): events.LimitDeleted(row.id),
        (False, "create"): events.BudgetCreated(row.id, row.scope),
        (False, "update"): events.BudgetChanged(row.id, ["declared"]),
        (False, "delete"): events.BudgetDeleted(row.id),
    }
    await events.emit(session, row.tenant_id, told[is_limit, verb])
