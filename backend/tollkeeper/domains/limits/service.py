"""Making, changing and removing limits, and what any rule's change takes: who sees and manages it, whom it is about.

A rule that stands behind a field of something else, or in the configuration file, is changed there alone. Every change
is announced, so that each worker looks its keys up again at their next use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import PLATFORM
from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Conflict, Forbidden, MalformedPayload, NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Permission
from tollkeeper.db.models import Budget, Limit
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.limits import repository
from tollkeeper.domains.limits.asking import Counters, ModelName, RuleListing, Subject, place_of_new
from tollkeeper.domains.limits.counted import Viewer, counted_subject, counts_apart, shown_subject
from tollkeeper.domains.limits.repository import COLUMNS, NOBODY, Filter, RuleRow
from tollkeeper.domains.limits.rules import BUDGET_RULES, LIMIT_RULES, budget_of, read_budgets, read_limits, scope_of
from tollkeeper.domains.limits.schemas import LimitCreate, LimitUpdate, LimitView, NewRule, Scope, show_scope
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match

# What the domains of keys and budgets use of this one beside the functions below.
__all__ = [
    "BUDGET_RULES",
    "COLUMNS",
    "LIMIT_RULES",
    "Counters",
    "Filter",
    "ModelName",
    "RuleListing",
    "RuleRow",
    "Subject",
    "Viewer",
    "budget_of",
    "counted_subject",
    "counts_apart",
    "place_of_new",
    "read_budgets",
    "read_limits",
    "shown_subject",
]

# Every call is held against all of them, so there may not be any number.
MOST_OF_ONE_HOLDER: Final = 50
_COLLECTIONS: Final = {"rate_limit": "tenants", "monthly_budget": "tenants", "rate_limit_override": "keys"}


class RuleNotFound(NotFound):
    """No rule of that id, or not one the caller may see."""


class ManagedElsewhere(Conflict):
    """The rule stands in a file, or behind a field of something else, which decides alone."""

    code = "managed_elsewhere"


class TooManyRules(Conflict):
    """Every call is held against all the rules of its key, user, project, team and tenant."""

    code = "too_many_rules"


class BoundsYou(Forbidden):
    """With a key, nobody widens what bounds that key."""

    code = "beyond_authority"


class Limits:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def create(self, session: AsyncSession, caller: Caller, tenant_id: UUID | None, wanted: LimitCreate) -> Limit:
        values = wanted.changes()
        self._check_override(values)
        row = Limit(**placed(tenant_id, wanted), is_per_model=wanted.is_per_model, **values)
        await add(session, tenant_id, row, wanted.scope)
        await audit.record(
            session, caller, "limits.create", "limit", _id(row), None, facts(row), tenant_id=audited(caller, row)
        )
        await events.emit(session, audited(caller, row), events.LimitCreated(row.id, row.scope))
        await announce_rule(session, row)
        return row

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        limit_id: UUID,
        changed: LimitUpdate,
        if_match: frozenset[int] | None,
    ) -> Limit:
        row = await get_for_change(session, caller, Limit, limit_id, if_match)
        before = facts(row)
        values = changed.changes()
        if row.unit == "parallel" and values.get("burst") is not None:
            raise MalformedPayload("A limit of parallel calls has no burst; leave it out.", param="burst")
        overrides = {"override_amount": row.override_amount, "override_until": row.override_until}
        if overrides.keys() & values.keys():
            self._check_override({**overrides, **values})
        for name, value in values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        old, new = audit.changes(before, facts(row))
        if not new:
            return row
        await session.flush()
        tenant_id = audited(caller, row)
        await audit.record(session, caller, "limits.update", "limit", _id(row), old, new, tenant_id=tenant_id)
        await events.emit(session, tenant_id, events.LimitChanged(row.id, sorted(new)))
        await announce_rule(session, row)
        return row

    async def delete(
        self, session: AsyncSession, caller: Caller, limit_id: UUID, if_match: frozenset[int] | None
    ) -> None:
        row = await get_for_change(session, caller, Limit, limit_id, if_match)
        await session.delete(row)
        await session.flush()
        tenant_id = audited(caller, row)
        await audit.record(session, caller, "limits.delete", "limit", _id(row), facts(row), None, tenant_id=tenant_id)
        await events.emit(session, tenant_id, events.LimitDeleted(row.id))
        await announce_rule(session, row)

    def _check_override(self, values: Mapping[str, Any]) -> None:
        amount, until = values.get("override_amount"), values.get("override_until")
        if (amount is None) != (until is None):
            raise MalformedPayload("Send override_amount together with override_until.", param="override_until")
        if until is not None and until <= self._clock.now():
            raise MalformedPayload("override_until lies in the past.", param="override_until")


def view(row: Limit) -> LimitView:
    return LimitView.model_validate({**facts(row), **common(row), "id": row.id})


def facts(row: Limit) -> dict[str, Any]:
    """What the audit trail keeps of a limit."""
    return {
        **rule_facts(row),
        "unit": row.unit,
        "amount": row.amount,
        "period": row.period,
        "burst": row.burst,
        "is_shadow": row.is_shadow,
        "override_amount": row.override_amount,
        "override_until": row.override_until,
    }


# ── Of every rule ──


def rule_facts(row: Limit | Budget) -> dict[str, Any]:
    return {
        "name": row.name,
        "description": row.description,
        "scope": show_scope(scope_of(row)).model_dump(),
        "models": row.models,
        "is_per_model": row.is_per_model,
    }


def common(row: Limit | Budget) -> dict[str, Any]:
    """What every view of a rule shows beside its terms."""
    return {
        "tenant_id": row.tenant_id,
        "is_platform": row.tenant_id is None,
        "managed_by": row.managed_by,
        "declared_at": row.place,
        "origin": row.origin,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "version": row.version,
    }


def placed(tenant_id: UUID | None, wanted: NewRule) -> dict[str, Any]:
    """The columns that say whom a new rule is about."""
    scope = wanted.scope
    values: dict[str, Any] = {"tenant_id": tenant_id, "scope": scope.kind, "value": scope.text}
    if scope.named is not None and (scope.kind != "tenant" or tenant_id is None):
        values[COLUMNS[scope.kind]] = scope.named
    return values


async def add(session: AsyncSession, tenant_id: UUID | None, row: Limit | Budget, scope: Scope) -> None:
    """Write a new rule. Raises NotFound for a scope that names what the tenant does not have."""
    await _check_scope(session, tenant_id, scope)
    session.add(row)
    await session.flush()
    if await repository.count_of_holder(session, row) > MOST_OF_ONE_HOLDER:
        raise TooManyRules(
            f"There are {MOST_OF_ONE_HOLDER} of them for the same {_holder_noun(row)} already, and every call is held "
            "against each. Remove some, or count each value apart with one rule."
        )


async def get(session: AsyncSession, caller: Caller, table: type[RuleRow], rule_id: UUID) -> RuleRow:
    holders = await visible_holders(session, caller, caller.tenant_id)
    row = await repository.find(session, table, rule_id, holders=holders)
    if row is None:
        raise _not_found(table)
    return row


async def list_page(
    session: AsyncSession, caller: Caller, table: type[RuleRow], wanted: Filter, *, after: UUID | None, limit: int
) -> Sequence[RuleRow]:
    if wanted.tenant_id is not None:
        wanted = replace(wanted, holders=await visible_holders(session, caller, wanted.tenant_id))
    return await repository.list_page(session, table, wanted, after=after, limit=limit)


async def visible_holders(session: AsyncSession, caller: Caller, tenant_id: UUID) -> frozenset[UUID] | None:
    """None for who sees the whole tenant; others see the rules that their own calls meet."""
    if sees_tenant(caller):
        return None
    only_key = None if caller.may(Permission.API_KEYS_VIEW) else caller.key_id
    return await repository.holders_of(session, tenant_id, caller.user_id, only_key)


async def viewer_of(session: AsyncSession, caller: Caller) -> Viewer:
    own = await visible_holders(session, caller, caller.tenant_id)
    return Viewer(None if own is None else own - {caller.tenant_id})


def sees_tenant(caller: Caller) -> bool:
    """Whether the caller may see what others of the tenant spend."""
    return caller.may(Permission.TENANTS_VIEW)


async def get_for_change(
    session: AsyncSession, caller: Caller, table: type[RuleRow], rule_id: UUID, if_match: frozenset[int] | None
) -> RuleRow:
    holders = await visible_holders(session, caller, caller.tenant_id)
    row = await repository.find(session, table, rule_id, holders=holders, is_locked=True)
    if row is None:
        raise _not_found(table)
    noun = _noun(table)
    if row.managed_by == "file":
        raise ManagedElsewhere(
            f"The {noun} is declared in {row.place}: change it there and reload.",
            details={"managed_by": "file", "declared_at": row.place},
        )
    if row.origin is not None:
        where = _COLLECTIONS[row.origin]
        holder = format_id("key" if where == "keys" else "ten", row.holder_id)
        raise ManagedElsewhere(
            f"The {noun} is the field {row.origin} of {holder}: change it there (PATCH /api/v1/{where}/{holder}).",
            details={"managed_by": "api", "origin": row.origin},
        )
    if caller.key_id is not None and row.key_id == caller.key_id:
        raise BoundsYou(f"This {noun} bounds the key you use; take a session or another key.")
    check_match(if_match, row)
    return row


async def announce_rule(session: AsyncSession, row: Limit | Budget) -> None:
    """Whose keys are to be looked up again: of teams and projects the whole tenant's."""
    named = row.key_id or row.user_id or row.tenant_id or row.only_tenant_id
    await announce(session, Topic.RULES, named or PLATFORM)


def audited(caller: Caller, row: Limit | Budget) -> UUID:
    """In whose trail a change stands: the platform's own in its administrator's."""
    return row.tenant_id or caller.tenant_id


async def _check_scope(session: AsyncSession, tenant_id: UUID | None, scope: Scope) -> None:
    named = scope.named
    if named is None:
        return
    if scope.kind == "tenant":
        is_there = await repository.has_tenant(session, named) if tenant_id is None else named == tenant_id
    else:
        assert tenant_id is not None, "a platform's rule names tenants alone"
        is_there = await repository.exists_in(session, tenant_id, scope.kind, named)
    if not is_there:
        raise NotFound(f"There is no such {scope.kind}.", param="scope.id")


def _not_found(table: type[Limit] | type[Budget]) -> RuleNotFound:
    return RuleNotFound(f"There is no such {_noun(table)}.")


def _noun(table: type[Limit] | type[Budget]) -> str:
    return "limit" if table is Limit else "budget"


def _holder_noun(row: Limit | Budget) -> str:
    named = [kind for kind, column in COLUMNS.items() if getattr(row, column) is not None]
    return named[0] if named else ("platform" if row.holder_id == NOBODY else "tenant")


def _id(row: Limit) -> str:
    return format_id("lim", row.id)
