"""The rules under measurement, as functions from an item to what they find at the policies' usual score."""

from collections.abc import Sequence
from typing import Final

from bench.guardrails.items import Item, Span
from tollkeeper.contracts.guardrails import RuleUse
from tollkeeper.gateway.guardrail import Finding, Part, PartKind
from tollkeeper.gateway.guardrails.injection import Injection, InjectionSettings
from tollkeeper.gateway.guardrails.pii import Pii
from tollkeeper.gateway.guardrails.pii import labels as pii_labels
from tollkeeper.gateway.guardrails.secrets import LABELS, Secrets
from tollkeeper.gateway.shapes import Shapes

LEAST_SCORE: Final = RuleUse("any", "any").least_score
# Numbers of people and accounts that have check digits; the rest of personal data is found by form and by name alone.
UNCHECKED: Final = frozenset({
    "email", "phone", "ip_address", "mac_address", "date_of_birth", "address", "passport", "driving_licence", "licence_plate",
    "us_ssn", "us_itin", "uk_nino", "in_pan", "bic", "dk_cpr", "lt_asmens_kodas",
})  # fmt: skip
PERSONAL: Final = frozenset(pii_labels())
CHECKED: Final = PERSONAL - UNCHECKED
SECRETS: Final = frozenset(LABELS)
INJECTION: Final = "injection"
_KINDS: Final = {"text": PartKind.TEXT, "document": PartKind.DOCUMENT, "tool_result": PartKind.TOOL_RESULT}


class Rules:
    """Made once. `find_personal(item)` and the others give the places; `labels` choose what of it counts."""

    def __init__(self) -> None:
        self._personal = Shapes([("pii", Pii().shapes())])
        self._secrets = Shapes([("secrets", Secrets().shapes())])
        self._injection = Injection(InjectionSettings())

    def find_personal(self, item: Item, labels: frozenset[str] = PERSONAL) -> Sequence[Span]:
        return _spans(self._personal.find(item.text), labels)

    def find_secrets(self, item: Item) -> Sequence[Span]:
        return _spans(self._secrets.find(item.text), SECRETS)

    def find_injection(self, item: Item) -> Sequence[Span]:
        found = self._injection.check(Part(item.text, _KINDS[item.place]))
        return [Span(one.start, one.end, INJECTION) for one in found if one.score >= LEAST_SCORE]


def _spans(findings: Sequence[Finding], labels: frozenset[str]) -> list[Span]:
    return [Span(one.start, one.end, one.label) for one in findings if one.score >= LEAST_SCORE and one.label in labels]
