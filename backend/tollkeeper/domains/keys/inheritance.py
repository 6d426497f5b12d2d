"""How the levels of the tree (tenant, team, project, owner, key) become what holds for one key.

Pure: the data plane's look-up and the explanation at `/keys/{id}/effective` call the same functions with the same rows.
A level narrows what the levels above it allow and never widens it; the order of the levels matters to tags and flags
alone, where the nearest wins.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal
from uuid import UUID

from tollkeeper.contracts.principal import narrow
from tollkeeper.core.flags import resolve_flags

# `narrow` is handed on: it is one of the rules of the tree, and run keys follow it as well.
__all__ = ["LOGGING_POLICIES", "Inherited", "Kind", "Level", "inherit", "narrow", "nearest", "refusal", "strictest"]

Kind = Literal["tenant", "team", "project", "user", "key"]

# From the strictest to the laxest.
LOGGING_POLICIES: Final = ("none", "metadata", "redacted", "full")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Level:
    """What one level says. None and empty leave it to the levels above."""

    kind: Kind
    id: UUID
    name: str
    is_active: bool = True
    allowed_models: Collection[str] | None = None
    allowed_providers: Collection[str] | None = None
    logging_policy: str | None = None
    tags: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    flags: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Inherited:
    """What holds below all levels. `stopped_by` is the outermost level that is switched off."""

    allowed_models: frozenset[str] | None
    allowed_providers: frozenset[str] | None
    logging_policy: str
    tags: Mapping[str, str]
    flags: Mapping[str, bool]
    stopped_by: Level | None


def inherit(levels: Sequence[Level]) -> Inherited:
    """The levels stand outermost first; the first is the tenant."""
    return Inherited(
        allowed_models=narrow(level.allowed_models for level in levels),
        allowed_providers=narrow(level.allowed_providers for level in levels),
        logging_policy=strictest(level.logging_policy for level in levels),
        tags=MappingProxyType(nearest(level.tags for level in levels)),
        flags=MappingProxyType(resolve_flags(level.flags for level in levels)),
        stopped_by=next((level for level in levels if not level.is_active), None),
    )


def strictest(policies: Iterable[str | None]) -> str:
    """The policy that keeps least of a call. A policy we do not know keeps nothing."""
    ranks = [LOGGING_POLICIES.index(policy) if policy in LOGGING_POLICIES else 0 for policy in policies if policy]
    return LOGGING_POLICIES[min(ranks, default=1)]


def nearest(maps: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for entries in maps:
        merged.update({str(name): str(value) for name, value in entries.items()})
    return merged


def refusal(stopped_by: Level | None, reason: str | None = None) -> str | None:
    """The sentence for who calls with a key below a level that is switched off; `reason` is of a suspended tenant."""
    if stopped_by is None:
        return None
    match stopped_by.kind:
        case "tenant":
            why = f": {reason.rstrip('.')}" if reason else ""
            return f"The organisation of this API key is suspended{why}. Ask an administrator."
        case "team" | "project":
            return f"The {stopped_by.kind} of this API key is archived. Ask an administrator."
        case "user":
            return "The owner of this API key is disabled. Ask an administrator."
        case "key":
            return "This API key has been revoked. Create a new one or ask an administrator."
