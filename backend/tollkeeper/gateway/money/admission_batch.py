"""Calls that wait together become commands: one script call per tenant (one slot), at most 64 calls each. Pure.

Indices count from one, as Lua does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from tollkeeper.contracts.money import Period, Unit
from tollkeeper.contracts.principal import Principal
from tollkeeper.gateway.money.gcra import Rate, Verdict, per_minute

MAX_CALLS: Final = 64


@dataclass(frozen=True, slots=True)
class Scope:
    """One limit: where its state lives, what it allows, and what to call it in front of the caller."""

    key: bytes
    rate: Rate
    noun: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit a principal is under; all scopes of a tenant share the tenant's slot."""

    tenant_id: UUID
    scopes: tuple[Scope, ...]


@dataclass(slots=True)
class Group:
    """What goes to the script in one call: operations of one tenant and the scopes they name."""

    keys: dict[bytes, int] = field(default_factory=dict)
    rates: list[Rate] = field(default_factory=list)
    operations: list[bytes | int] = field(default_factory=list)
    admitted: list[int] = field(default_factory=list)

    def add(self, operation: bytes, limits: Limits) -> None:
        self.operations += (operation, len(limits.scopes))
        for scope in limits.scopes:
            index = self.keys.get(scope.key)
            if index is None:
                index = self.keys[scope.key] = len(self.rates) + 1
                self.rates.append(scope.rate)
            self.operations.append(index)

    def command(self, verb: bytes, script: bytes, now_us: int) -> tuple[bytes | str | int, ...]:
        arguments: list[bytes | str | int] = [verb, script, len(self.keys), *self.keys, now_us]
        for rate in self.rates:
            arguments += (rate.interval_us, rate.burst)
        arguments += self.operations
        return tuple(arguments)

    def verdicts(self, reply: Sequence[int], limits: Sequence[Limits]) -> Iterator[tuple[int, Verdict]]:
        """The batch's index of each admitted or refused call with its verdict, scopes renumbered to the call's own."""
        keys = list(self.keys)
        for order, index in enumerate(self.admitted):
            refused_by, wait_us, scope, remaining, reset_us = reply[order * 5 : order * 5 + 5]
            own = [entry.key for entry in limits[index].scopes].index(keys[scope - 1]) + 1
            yield index, Verdict(own if refused_by else 0, wait_us, own, remaining, reset_us)


def limits_of(principal: Principal) -> Limits | None:
    """None when nothing limits the principal: such calls do not ask Redis at all."""
    tenant = principal.tenant_id.hex
    scopes: list[Scope] = []
    for limit in principal.limits:
        if limit.unit is Unit.REQUESTS and limit.period is Period.MINUTE:
            key = f"tk:{{{tenant}}}:r:{limit.id.hex}".encode()
            scopes.append(Scope(key, per_minute(limit.amount), limit.scope.kind))
    return Limits(principal.tenant_id, tuple(scopes)) if scopes else None


def group(voids: Iterable[Limits], admits: Sequence[Limits]) -> list[Group]:
    """By tenant, voids first; a tenant with more than `MAX_CALLS` operations gets several groups."""
    groups: list[Group] = []
    current: dict[UUID, tuple[Group, int]] = {}

    def place(operation: bytes, limits: Limits) -> Group:
        entry = current.get(limits.tenant_id)
        if entry is None or entry[1] == MAX_CALLS:
            entry = (Group(), 0)
            groups.append(entry[0])
        current[limits.tenant_id] = (entry[0], entry[1] + 1)
        entry[0].add(operation, limits)
        return entry[0]

    for limits in voids:
        place(b"v", limits)
    for index, limits in enumerate(admits):
        place(b"a", limits).admitted.append(index)
    return groups
