"""Feature flags: what the platform, or a tenant itself, switches on and off for a tenant and what lies below it.

A flag is listed here with what it does, or it does not exist: names that are stored and no longer listed mean nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Flag:
    """`is_self_service`: the tenant sets it itself, also for a team or a project. Others are the platform's alone."""

    name: str
    default: bool
    is_self_service: bool
    sentence: str


PROVIDER_HEADERS: Final = Flag(
    "provider_headers",
    default=True,
    is_self_service=True,
    sentence="Answers name the provider, its model and the number of attempts in `x-tollkeeper-*` headers.",
)
MAINTAINERS_MAKE_PROJECTS: Final = Flag(
    "maintainers_make_projects",
    default=True,
    is_self_service=True,
    sentence="Maintainers of a team make and change its projects; else only who manages all projects does.",
)
KEY_IMPORT: Final = Flag(
    "key_import",
    default=True,
    is_self_service=False,
    sentence="The tenant's administrators may import keys of another gateway.",
)
PRIORITY_CALLS: Final = Flag(
    "priority_calls",
    default=False,
    is_self_service=False,
    sentence="Calls may ask to be served before others while calls wait (`x-tollkeeper-priority: high`).",
)

FLAGS: Final[Mapping[str, Flag]] = MappingProxyType(
    {flag.name: flag for flag in (PROVIDER_HEADERS, MAINTAINERS_MAKE_PROJECTS, KEY_IMPORT, PRIORITY_CALLS)}
)


def resolve_flags(levels: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Every flag's value for what lies below these levels, outermost first: the nearest level that sets one wins.

    What is not self-service is read of the outermost level, the tenant, alone.
    """
    outermost, *inner = levels
    values = {name: _own(outermost, flag, flag.default) for name, flag in FLAGS.items()}
    for level in inner:
        for name, flag in FLAGS.items():
            if flag.is_self_service:
                values[name] = _own(level, flag, values[name])
    return values


def is_on(flag: Flag, *levels: Mapping[str, Any]) -> bool:
    """One flag below these levels, outermost first: `is_on(KEY_IMPORT, tenant.flags)`."""
    return resolve_flags(levels)[flag.name]


def _own(stored: Mapping[str, Any], flag: Flag, otherwise: bool) -> bool:
    value = stored.get(flag.name)
    return value if isinstance(value, bool) else otherwise
