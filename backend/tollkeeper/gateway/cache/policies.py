"""Which cache policy holds for a call: the most specific one alone, found once for each caller and model."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from tollkeeper.contracts.cache import CacheAttachment, CachePolicy
from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.contracts.guardrails import Level
from tollkeeper.contracts.principal import Principal

_MOST_CALLERS: Final = 10_000
_ORDER: Final = {level: place for place, level in enumerate(Level)}


class Policies:
    def __init__(self) -> None:
        self._version = -1
        self._found: OrderedDict[tuple[UUID, UUID, str], CachePolicy | None] = OrderedDict()

    def find(self, snapshot: Snapshot, principal: Principal, model: str) -> CachePolicy | None:
        """None: no cache. A policy without rules is one that switches it off."""
        if not snapshot.caches:
            return None
        if snapshot.version != self._version:
            self._version = snapshot.version
            self._found.clear()
        key = (principal.key_id, principal.tenant_id, model)
        try:
            return self._found[key]
        except KeyError:
            policy = self._found[key] = policy_for(snapshot, principal, model)
            if len(self._found) > _MOST_CALLERS:
                self._found.popitem(last=False)
            return policy


def policy_for(snapshot: Snapshot, principal: Principal, model: str) -> CachePolicy | None:
    """The model's before the key's, the project's, the team's, the tenant's, the platform's; of patterns the longest.

    A tenant's own before the platform's of the same level.
    """
    attachments: Iterable[CacheAttachment] = (
        *snapshot.caches.get(principal.tenant_id, ()),
        *snapshot.caches.get(None, ()),
    )
    holding = [one for one in attachments if _holds(one, principal, model)]
    best = max(holding, key=_weight, default=None)
    if best is None:
        return None
    policy = best.policy
    is_off = policy.exact is None and policy.coalesce is None and policy.semantic is None and not policy.marks
    return None if is_off else policy


def _weight(attachment: CacheAttachment) -> tuple[int, int]:
    subject = attachment.subject
    # A name in full is longer than any pattern that takes it.
    return _ORDER[attachment.level], len(subject) if isinstance(subject, str) else 0


def _holds(attachment: CacheAttachment, principal: Principal, model: str) -> bool:
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
