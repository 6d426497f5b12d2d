"""Settings that are secrets (a webhook's key): sealed beside the document, which only marks where they stand.

Which ones are, each kind of rule says itself by the schema of its settings. Whoever sends the mark keeps what is stored.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

import orjson

from tollkeeper.contracts.guardrails import RuleKind
from tollkeeper.core.crypto import Aad, SecretBox
from tollkeeper.db.models import GuardrailPolicyVersion

MARK: Final = "********"
_FIELD, _VERSION = "guardrail_secrets", 1
# By the rule's name in the policy, then by the setting's.
Secrets = Mapping[str, Mapping[str, str]]
NONE: Final[Secrets] = {}


class SecretSettings:
    def __init__(self, kinds: Iterable[RuleKind], box: SecretBox) -> None:
        self._box = box
        self._names = {
            kind.name: frozenset(
                name
                for name, schema in kind.settings_schema.get("properties", {}).items()
                if any(one.get("writeOnly") for one in (schema, *schema.get("anyOf", ())))
            )
            for kind in kinds
        }

    def part(self, document: dict[str, Any], known: Secrets = NONE) -> tuple[dict[str, Any], Secrets]:
        """The document with marks, and what they stand for. Raises `KeyError` with the path of a mark for nothing."""
        found: dict[str, dict[str, str]] = {}
        rules = []
        for place, rule in enumerate(document.get("rules", ())):
            name, settings = rule.get("name") or rule["rule"], dict(rule.get("settings") or {})
            for secret in self._names.get(rule["rule"], frozenset()) & settings.keys():
                value = settings[secret]
                if value == MARK:
                    value = known.get(name, {}).get(secret)
                    if value is None:
                        raise KeyError(f"rules[{place}].settings.{secret}")
                if isinstance(value, str):
                    found.setdefault(name, {})[secret] = value
                    settings[secret] = MARK
            rules.append({**rule, "settings": settings})
        return {**document, "rules": rules}, found

    def marked(self, document: dict[str, Any]) -> dict[str, Any]:
        return self.part(document)[0]

    def seal(self, tenant_id: UUID | None, version_id: UUID, secrets: Secrets) -> bytes | None:
        if not secrets:
            return None
        return self._box.seal(orjson.dumps(secrets), Aad(tenant_id, version_id, _FIELD, _VERSION))

    def open(self, version: GuardrailPolicyVersion) -> Secrets:
        return open_secrets(version, self._box)

    def whole(self, version: GuardrailPolicyVersion) -> dict[str, Any]:
        return joined(version.document, self.open(version))


def open_secrets(version: GuardrailPolicyVersion, box: SecretBox) -> Secrets:
    """Raises `EnvelopeError` for what this master key does not open."""
    if version.secrets is None:
        return NONE
    opened: Secrets = orjson.loads(box.open(version.secrets, Aad(version.tenant_id, version.id, _FIELD, _VERSION)))
    return opened


def joined(document: dict[str, Any], secrets: Secrets) -> dict[str, Any]:
    """With what the marks stand for."""
    if not secrets:
        return document
    rules = [
        {**rule, "settings": {**rule["settings"], **secrets.get(rule.get("name") or rule["rule"], {})}}
        for rule in document["rules"]
    ]
    return {**document, "rules": rules}
