"""Explains what holds for a key, or for a member without one: each value with the level that decided it.

The values are not computed here: they come from the look-up of the data plane and from `inheritance`, which it uses, so
that the explanation cannot say anything else than what a call meets. Failure policy: PostgreSQL gone:
`DependencyUnavailable`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Row, and_

from tollkeeper.contracts.money import Limit, ScopeKind
from tollkeeper.contracts.principal import EXPIRED, Environment, Principal
from tollkeeper.core.flags import FLAGS
from tollkeeper.core.permissions import SCOPE_PERMISSIONS, Permission, Scope, permissions_of
from tollkeeper.db.models import ApiKey, Role, Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.keys.applying import applying_budgets, applying_limits, source_of
from tollkeeper.domains.keys.effective_schemas import Attribute, Effective, Named, Source, Step
from tollkeeper.domains.keys.inheritance import Inherited, Level, inherit, narrow, strictest
from tollkeeper.domains.keys.record import KEY_QUERY, levels_of, record_from_row
from tollkeeper.domains.limits.service import read_limits
from tollkeeper.web.caller import Caller

T = TypeVar("T")

# The control plane has time; the 100 ms of the data plane's look-ups would refuse administrators under load.
_DEADLINE_SECONDS: Final = 2.0
_DEFAULT: Final = Source(kind="default", id=None, name=None)


class Explanations:
    def __init__(self, database: Database, *, default_requests_per_minute: int = 0) -> None:
        self._database = database
        self._default_rate = default_requests_per_minute

    async def of_key(self, tenant_id: UUID, key_id: UUID, now: datetime) -> Effective:
        """Of a key that the caller was found to see."""
        query = KEY_QUERY.add_columns(Role.name.label("role_name")).where(
            and_(ApiKey.tenant_id == tenant_id, ApiKey.id == key_id)
        )
        async with self._database.lookup(deadline_seconds=_DEADLINE_SECONDS) as session:
            return self._of_row((await session.execute(query)).one(), now)

    def _of_row(self, row: Row[*tuple[Any, ...]], now: datetime) -> Effective:
        record = record_from_row(row, default_requests_per_minute=self._default_rate)
        # A record outlives the moment; whether a key has expired is told by the clock of whoever looks.
        is_over = row.expires_at is not None and row.expires_at <= now
        *above, key = levels_of(row)
        key = replace(key, is_active=key.is_active and not is_over)
        levels = [*above, key]
        scopes = [Scope(scope) for scope in row.scopes]
        written = read_limits(row.limits)
        granted = frozenset[Permission]().union(*(SCOPE_PERMISSIONS[scope] for scope in scopes))
        return Effective(
            **_inherited(levels, inherit(levels)),
            refusal=record.refusal or (EXPIRED if is_over else None),
            requests_per_minute=_lowest(_rates(levels, record.principal, written)),
            permissions=_permissions(
                row.role_name or row.role, permissions_of(row.role, row.role_permissions), source_of(key), granted
            ),
            scopes=_own(key, scopes),
            allowed_endpoints=_own(key, row.allowed_endpoints),
            allowed_addresses=_own(key, row.allowed_addresses),
            allowed_origins=_own(key, row.allowed_origins),
            environment=_own(key, Environment(row.environment)),
            expires_at=_own(key, row.expires_at),
            limits=applying_limits(levels, record.principal, written, now.timestamp()),
            budgets=applying_budgets(levels, record.principal, now.timestamp()),
        )


def of_member(caller: Caller, tenant: Tenant) -> Effective:
    """For a session: what the tenant says to all its members, and the caller's role."""
    levels = [
        Level(
            "tenant",
            tenant.id,
            tenant.name,
            tenant.is_active,
            tenant.allowed_models,
            tenant.allowed_providers,
            tenant.logging_policy,
            flags=tenant.flags,
        ),
        Level("user", caller.user_id, caller.name),
    ]
    return Effective(
        **_inherited(levels, inherit(levels)),
        refusal=None,
        requests_per_minute=_lowest([(source_of(levels[0]), tenant.rate_limit)]),
        # The duty of a second factor cuts what the role grants, until there is one.
        permissions=_permissions(caller.role, caller.role_permissions, source_of(levels[0]), caller.permissions),
        scopes=_unset(),
        allowed_endpoints=_unset(),
        allowed_addresses=_unset(),
        allowed_origins=_unset(),
        environment=_unset(),
        expires_at=_unset(),
    )


def _inherited(levels: Sequence[Level], inherited: Inherited) -> dict[str, Any]:
    """The attributes that every level may say something about."""
    stopped_by = inherited.stopped_by
    return {
        "levels": [source_of(level) for level in levels],
        "is_active": Attribute[bool](
            value=stopped_by is None,
            source=source_of(stopped_by or levels[-1]),
            chain=[_step(level, level.is_active) for level in levels],
        ),
        "allowed_models": _narrowed(levels, lambda level: level.allowed_models, inherited.allowed_models),
        "allowed_providers": _narrowed(levels, lambda level: level.allowed_providers, inherited.allowed_providers),
        "logging_policy": _strictest(levels, inherited.logging_policy),
        "tags": Named[str](
            value=dict(inherited.tags),
            source=_nearest(levels, lambda level: bool(level.tags)),
            chain=[
                _step(level, {name: str(value) for name, value in level.tags.items()}) for level in levels if level.tags
            ],
            sources={name: _nearest(levels, partial(_has_tag, name)) for name in inherited.tags},
        ),
        "flags": _flags(levels, inherited.flags),
    }


def _narrowed(
    levels: Sequence[Level], read: Callable[[Level], Collection[str] | None], value: frozenset[str] | None
) -> Attribute[list[str] | None]:
    """Decided by the nearest level that took something away."""
    said = [(level, names) for level in levels if (names := read(level)) is not None]
    source, before = _DEFAULT, None
    for index, (level, _) in enumerate(said):
        after = narrow(names for _, names in said[: index + 1])
        if after != before:
            source, before = source_of(level), after
    return Attribute(
        value=None if value is None else sorted(value),
        source=source,
        chain=[_step(level, sorted(names)) for level, names in said],
    )


def _strictest(levels: Sequence[Level], value: str) -> Attribute[Any]:
    """Decided by the outermost level that is as strict."""
    said = [(level, strictest([level.logging_policy])) for level in levels if level.logging_policy]
    return Attribute(
        value=value,
        source=next((source_of(level) for level, policy in said if policy == value), _DEFAULT),
        chain=[_step(level, policy) for level, policy in said],
    )


def _flags(levels: Sequence[Level], values: Mapping[str, bool]) -> Named[bool]:
    """Only what counts is shown: known flags, and those of the platform from the tenant alone."""
    said = [
        {
            name: value
            for name, value in level.flags.items()
            if isinstance(value, bool) and name in FLAGS and (index == 0 or FLAGS[name].is_self_service)
        }
        for index, level in enumerate(levels)
    ]
    pairs = list(zip(levels, said, strict=True))
    sources = {
        name: next((source_of(level) for level, flags in reversed(pairs) if name in flags), _DEFAULT) for name in values
    }
    return Named(
        value=dict(values),
        source=next((source_of(level) for level, flags in reversed(pairs) if flags), _DEFAULT),
        chain=[_step(level, flags) for level, flags in pairs if flags],
        sources=sources,
    )


def _permissions(
    role: str, granted: frozenset[Permission], bound: Source, bounds: frozenset[Permission]
) -> Attribute[list[Permission]]:
    """Of the role, bounded by the key's scopes or by the tenant. Decided by the bound where it takes something away."""
    by_role = Source(kind="role", id=None, name=role)
    value = granted & bounds
    return Attribute(
        value=sorted(value),
        source=by_role if value == granted else bound,
        chain=[Step(**dict(by_role), value=sorted(granted)), Step(**dict(bound), value=sorted(bounds))],
    )


def _rates(levels: Sequence[Level], principal: Principal, written: Collection[Limit]) -> Iterable[tuple[Source, int]]:
    """The requests a minute of each level; the default is none that anybody has written."""
    for level in levels:
        kind = ScopeKind(level.kind)
        rate = principal.requests_per_minute(kind)
        if rate is not None:
            is_written = any(limit.scope.kind is kind and limit.amount == rate for limit in written)
            yield source_of(level) if is_written else _DEFAULT, rate


def _lowest(rates: Iterable[tuple[Source, int | None]]) -> Attribute[int | None]:
    said = [(source, rate) for source, rate in rates if rate is not None]
    source, value = min(said, key=lambda pair: pair[1], default=(_DEFAULT, None))
    return Attribute(value=value, source=source, chain=[Step(**dict(by), value=rate) for by, rate in said])


def _own(key: Level, value: T) -> Attribute[Any]:
    """What a key alone says."""
    if value is None:
        return _unset()
    return Attribute(value=value, source=source_of(key), chain=[_step(key, value)])


def _unset() -> Attribute[Any]:
    return Attribute(value=None, source=_DEFAULT, chain=[])


def _nearest(levels: Sequence[Level], says: Callable[[Level], bool]) -> Source:
    return next((source_of(level) for level in reversed(levels) if says(level)), _DEFAULT)


def _has_tag(name: str, level: Level) -> bool:
    return name in level.tags


def _step(level: Level, value: T) -> Step[T]:
    return Step(**dict(source_of(level)), value=value)
