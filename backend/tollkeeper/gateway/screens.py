"""Which policies hold for a call, compiled: found by who calls and what is called, made once and kept while they last."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from uuid import UUID

import structlog

from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.contracts.guardrails import Attachment, GuardrailPolicy, Level
from tollkeeper.contracts.principal import Principal
from tollkeeper.gateway.screen import RuleClass, Screen

log = structlog.get_logger(__name__)

_MOST_CALLERS: Final = 10_000
_MOST_SCREENS: Final = 256


class Screens:
    """Levels add: the platform's policies, the tenant's, the team's, the project's, the key's, the model's."""

    def __init__(self, rules: Mapping[str, RuleClass]) -> None:
        self._rules = rules
        self._version = -1
        # By caller and model; None: nothing holds.
        self._found: OrderedDict[tuple[UUID, UUID, str], Screen | None] = OrderedDict()
        self._compiled: OrderedDict[tuple[tuple[UUID, int], ...], Screen] = OrderedDict()

    def find(self, snapshot: Snapshot, principal: Principal, model: str) -> Screen | None:
        if not snapshot.guardrails:
            return None
        if snapshot.version != self._version:
            self._version = snapshot.version
            self._found.clear()
        key = (principal.key_id, principal.tenant_id, model)
        try:
            screen = self._found[key]
        except KeyError:
            screen = self._found[key] = self._compile(tuple(policies_for(snapshot, principal, model)))
            if len(self._found) > _MOST_CALLERS:
                self._found.popitem(last=False)
        return screen

    def _compile(self, policies: tuple[GuardrailPolicy, ...]) -> Screen | None:
        if not policies:
            return None
        key = tuple((policy.id, policy.version) for policy in policies)
        screen = self._compiled.get(key)
        if screen is None:
            screen = self._compiled[key] = Screen(policies, self._rules)
            if len(self._compiled) > _MOST_SCREENS:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(key)
        return screen


def policies_for(snapshot: Snapshot, principal: Principal, model: str) -> Iterator[GuardrailPolicy]:
    """Each once, the highest level first."""
    seen: set[UUID] = set()
    attachments: Iterable[Attachment] = (
        *snapshot.guardrails.get(None, ()),
        *snapshot.guardrails.get(principal.tenant_id, ()),
    )
    for attachment in sorted(attachments, key=lambda one: _ORDER[one.level]):
        if attachment.policy.id not in seen and _holds(attachment, principal, model):
            seen.add(attachment.policy.id)
            yield attachment.policy


_ORDER: Final = {level: place for place, level in enumerate(Level)}


def _holds(attachment: Attachment, principal: Principal, model: str) -> bool:
    subject = attachment.subject
    match attachment.level:
        case Level.PLATFORM:
            return True
        case Level.TENANT:
            return subject == principal.tenant_id
        case Level.TEAM:
            return subject is not None and subject == principal.team_id
        case Level.PROJECT:
            return subject is not None and subject == principal.project_id
        case Level.KEY:
            return subject == principal.key_id
        case Level.MODEL:
            assert isinstance(subject, str)
            return subject == model or (subject.endswith("*") and model.startswith(subject[:-1]))
