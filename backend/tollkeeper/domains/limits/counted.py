"""Under which subject a rule counts what somebody asks about. Pure; the data plane's `gateway/money/terms` does the same."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tollkeeper.contracts.money import Budget, Limit, RuleScope, ScopeKind, shorten_subject
from tollkeeper.core.errors import Forbidden, MalformedPayload
from tollkeeper.core.ids import format_id, parse_id
from tollkeeper.domains.limits.schemas import PREFIXES

_BETWEEN: Final = "|"


def counts_apart(scope: RuleScope) -> bool:
    """Whether there is a counter for each value."""
    if scope.kind is ScopeKind.TAG:
        return (scope.subject or "").endswith("=*")
    return scope.subject is None


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose part of a rule that counts each value apart may be shown: None is everybody's, else these objects' alone."""

    own: frozenset[UUID] | None = None

    def sees_subject(self, counted: str) -> bool:
        return self.own is None or any(counted.startswith(identity.hex) for identity in self.own)

    def check(self, subject: str | None, counted: str | None) -> None:
        """Raises Forbidden for somebody else's."""
        if subject is not None and counted is not None and not self.sees_subject(counted):
            raise Forbidden("What others use and spend is shown with the permission 'tenants:view'.")


def counted_subject(rule: Limit | Budget, subject: str | None, model: str | None) -> str | None:
    """The subject of one counter of a rule; None where the question leaves open which. Raises MalformedPayload."""
    is_apart = counts_apart(rule.scope)
    if subject is not None and not is_apart:
        raise MalformedPayload("This rule has one counter for all it is about; leave out subject.", param="subject")
    if model is not None and not rule.is_per_model:
        raise MalformedPayload("This rule does not count each model apart; leave out model.", param="model")
    if (is_apart and subject is None) or (rule.is_per_model and model is None):
        return None
    counted = "" if subject is None else _plain(rule.scope.kind, subject)
    return shorten_subject(f"{counted}{_BETWEEN}{model}" if rule.is_per_model else counted)


def shown_subject(kind: ScopeKind, counted: str) -> str | None:
    """A counter's subject for people: ids in their public form. What was too long is a digest, from `~`."""
    first, separator, model = counted.partition(_BETWEEN)
    if kind in PREFIXES and len(first) == len(UUID(int=0).hex):
        first = format_id(PREFIXES[kind], UUID(hex=first))
    return f"{first}{separator}{model}" or None


def _plain(kind: ScopeKind, subject: str) -> str:
    if kind not in PREFIXES:
        return subject
    try:
        return parse_id(PREFIXES[kind], subject).hex
    except ValueError as error:
        raise MalformedPayload(f"subject: {error}.", param="subject") from error
