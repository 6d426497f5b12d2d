"""Limits and budgets of `tollkeeper.yaml`: what must hold of one, and what it is called inside."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from tollkeeper.configuration_schema import FileBudget, FileLimit, FileScope
from tollkeeper.core.money import nano_from_usd
from tollkeeper.domains.catalog.prices import stable_id
from tollkeeper.domains.limits.schemas import PLATFORM_KINDS, PREFIXES, DeclaredRule, Scope

_NAMED: Final[Mapping[str, str]] = MappingProxyType(
    {"team": "name", "project": "name", "user": "email", "tenant": "slug"}
)
# Of a row that says nothing about them.
_LIMIT: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "description": "",
        "models": None,
        "burst": None,
        "is_shadow": False,
        "override_amount": None,
        "override_until": None,
    }
)
_BUDGET: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "description": "",
        "models": None,
        "is_hard": True,
        "increase_nano": 0,
        "increase_until": None,
        "rolls_over": False,
        "refusal_status": 429,
        "thresholds": [80, 100],
    }
)


def faults_of(rule: FileLimit | FileBudget) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with a rule whose single values are right, each with its place inside the rule."""
    scope = rule.scope
    if scope.name is not None and (scope.id is not None or scope.value is not None):
        yield ("scope",), "use one of id, name and value"
        return
    if scope.name is not None and scope.kind not in _NAMED:
        yield ("scope", "name"), f"only {', '.join(_NAMED)} have names: use {'id' if scope.kind == 'key' else 'value'}"
    elif scope.name is None:
        try:
            _checked(scope)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                yield ("scope",), details["msg"].removeprefix("Value error, ")
    if rule.tenant is None and scope.kind not in PLATFORM_KINDS:
        yield ("scope", "kind"), f"add tenant: a rule of the platform is about {', '.join(sorted(PLATFORM_KINDS))}"


def declared_limit(rule: FileLimit, place: str) -> DeclaredRule:
    terms = {
        **_LIMIT,
        **_given(rule.changes()),
        "is_per_model": rule.is_per_model,
        "unit": rule.unit,
        "period": rule.period,
    }
    terms.pop("name", None)
    named, value = _subject(rule.scope)
    # Another unit or period is another counter.
    identity = _identity("limit", rule, rule.unit, rule.period or "")
    return DeclaredRule("limits", identity, str(rule.name), place, rule.tenant, rule.scope.kind, named, value, terms)


def declared_budget(rule: FileBudget, place: str) -> DeclaredRule:
    terms = {**_BUDGET, **_given(rule.columns()), "is_per_model": rule.is_per_model, "anchor": rule.terms.anchor}
    terms |= {
        "seconds": rule.window_seconds,
        "increase_nano": nano_from_usd(rule.increase_usd) if rule.increase_usd else 0,
    }
    terms.pop("name", None)
    named, value = _subject(rule.scope)
    window = (rule.window, rule.time_zone, str(rule.terms.anchor), str(rule.window_seconds))
    return DeclaredRule(
        "budgets",
        _identity("budget", rule, *window),
        str(rule.name),
        place,
        rule.tenant,
        rule.scope.kind,
        named,
        value,
        terms,
        rule.backfill,
    )


def _identity(noun: str, rule: FileLimit | FileBudget, *terms: str) -> UUID:
    """The same in every process, and another one where other counters begin."""
    scope = rule.scope
    about = (scope.kind, scope.id or "", scope.name or "", scope.value or "", str(rule.is_per_model))
    return stable_id(noun, rule.tenant or "", str(rule.name), *about, *terms)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _subject(scope: FileScope) -> tuple[str | None, str | None]:
    """(named, value)"""
    if scope.name is not None:
        return scope.name, None
    checked = _checked(scope)
    return (checked.subject, None) if scope.kind in PREFIXES else (None, checked.subject)


def _checked(scope: FileScope) -> Scope:
    return Scope(kind=scope.kind, id=scope.id, value=scope.value)
