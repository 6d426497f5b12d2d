"""Which policies hold for a call, compiled: found by who calls and what is called, made once and kept while they last.

What cannot be compiled here any more (a kind of rule that this release lacks) does not fall silent: the last version of
the policy that could be holds on, and without one each of its broken rules is a rule that cannot say.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, Final
from uuid import UUID

import structlog
from pydantic import BaseModel

from tollkeeper.contracts.catalog import REST, Snapshot
from tollkeeper.contracts.guardrails import Attachment, Exemption, GuardrailPolicy, Level, RuleUse
from tollkeeper.contracts.principal import Principal
from tollkeeper.gateway.guardrail import Finding, Part
from tollkeeper.gateway.screen import RuleClass, Screen

log = structlog.get_logger(__name__)

_MOST_CALLERS: Final = 10_000
_MOST_SCREENS: Final = 256
_MOST_GOOD: Final = 1_000

# Of a policy all that its compiled form depends on.
_Sign = tuple[UUID, int, tuple[Exemption, ...]]


class Screens:
    """Levels add: the platform's policies, the tenant's, the team's, the project's, the key's, the model's."""

    def __init__(self, rules: Mapping[str, RuleClass]) -> None:
        self._rules = rules
        self._version = -1
        # By caller and model; None: nothing holds.
        self._found: OrderedDict[tuple[UUID, UUID, str], Screen | None] = OrderedDict()
        self._compiled: OrderedDict[tuple[_Sign, ...], Screen] = OrderedDict()
        # Of each policy the last version that could be compiled.
        self._good: OrderedDict[UUID, GuardrailPolicy] = OrderedDict()

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
        key = tuple((policy.id, policy.version, policy.exemptions) for policy in policies)
        screen = self._compiled.get(key)
        if screen is None:
            screen = self._compiled[key] = self._make(policies)
            if len(self._compiled) > _MOST_SCREENS:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(key)
        return screen

    def _make(self, policies: Sequence[GuardrailPolicy]) -> Screen:
        try:
            screen = Screen(policies, self._rules)
        except (ValueError, KeyError):
            usable = [self._usable(policy) for policy in policies]
            return Screen(usable, {**self._rules, _Broken.NAME: _Broken})
        for policy in policies:
            self._good[policy.id] = policy
            if len(self._good) > _MOST_GOOD:
                self._good.popitem(last=False)
        return screen

    def _usable(self, policy: GuardrailPolicy) -> GuardrailPolicy:
        broken = {use.name: reason for use in policy.rules if (reason := self._fault(policy, use)) is not None}
        if not broken:
            return policy
        good = self._good.get(policy.id)
        log.error(
            "guardrail_policy_unusable",
            policy=policy.name,
            version=policy.version,
            rules=broken,
            holds_version=None if good is None else good.version,
        )
        if good is not None:
            return replace(good, exemptions=policy.exemptions)
        rules = (
            replace(use, rule=_Broken.NAME, settings=MappingProxyType({})) if use.name in broken else use
            for use in policy.rules
        )
        return replace(policy, rules=tuple(rules))

    def _fault(self, policy: GuardrailPolicy, use: RuleUse) -> str | None:
        try:
            Screen([replace(policy, rules=(use,))], self._rules)
        except (ValueError, KeyError) as error:
            # The reason's class only: a message may quote the settings.
            return type(error).__name__
        return None


class _NoSettings(BaseModel):
    pass


class _Broken:
    """Stands in for a rule that this process cannot make: it never can say."""

    NAME: ClassVar[str] = "broken"
    TITLE: ClassVar[str] = "A rule that cannot be made here"
    Settings: ClassVar[type[BaseModel]] = _NoSettings
    WINDOW: ClassVar[int] = 1

    def __init__(self, settings: BaseModel) -> None:
        pass

    def check(self, _part: Part) -> Sequence[Finding]:
        raise LookupError("this rule could not be made")


def policies_for(snapshot: Snapshot, principal: Principal, model: str) -> Iterator[GuardrailPolicy]:
    """Each once, the highest level first."""
    seen: set[UUID] = set()
    attachments: Iterable[Attachment] = (
        *snapshot.guardrails.get(None, ()),
        *snapshot.guardrails.get(principal.tenant_id, ()),
    )
    names = reached(snapshot, principal.tenant_id, model)
    for attachment in sorted(attachments, key=lambda one: _ORDER[one.level]):
        if attachment.policy.id not in seen and _holds(attachment, principal, names):
            seen.add(attachment.policy.id)
            yield attachment.policy


def reached(snapshot: Snapshot, tenant_id: UUID, model: str) -> frozenset[str]:
    """Every name that a call of `model` may be answered under: its own, those its route leads through, the vendors'.

    A fallback is no way around a policy: what holds for any model that may answer holds for the call from the start.
    """
    route = snapshot.find_model(tenant_id, model)
    if route is None:
        return frozenset({model})
    rest = model.removeprefix(route.name[:-1]) if route.name.endswith("*") else model
    names = {model, *(route.policy.models if route.policy is not None else ())}
    for target in route.targets:
        upstream = {"*": model, REST: rest}.get(target.model, target.model)
        names |= {upstream, f"{target.provider}/{upstream}"}
    return frozenset(names)


_ORDER: Final = {level: place for place, level in enumerate(Level)}


def _holds(attachment: Attachment, principal: Principal, names: frozenset[str]) -> bool:
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
            return subject in names or (subject[-1:] == "*" and any(name.startswith(subject[:-1]) for name in names))
