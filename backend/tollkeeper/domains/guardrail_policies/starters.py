"""Policies to begin with. Each is an opinion that can be read in a minute; the page of figures says what each rule finds."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tollkeeper.contracts.guardrails import Action, Direction
from tollkeeper.domains.guardrail_policies.schemas import RuleFields, StarterName

_INPUT: Final = frozenset({Direction.INPUT})
# Found by check digits or by a form of their own.
_NUMBERS: Final = ["card", "iban", "us_ssn", "us_itin"]

STARTERS: Final[Mapping[StarterName, tuple[RuleFields, ...]]] = MappingProxyType(
    {
        # What nobody wants to send: credentials, cards, accounts, numbers of the state; attacks are told.
        "baseline": (
            RuleFields(rule="secrets", action=Action.REDACT),
            RuleFields(rule="pii", name="numbers", action=Action.REDACT, settings={"only": [*_NUMBERS]}),
            RuleFields(rule="injection", action=Action.FLAG, directions=_INPUT),
        ),
        # All personal data with a form goes out as placeholders and comes back in the answer.
        "strict-pii": (
            RuleFields(rule="pii", name="personal-data", action=Action.REVERSIBLE, directions=_INPUT),
            RuleFields(
                rule="pii", name="personal-data-out", action=Action.REDACT, directions=frozenset({Direction.OUTPUT})
            ),
            RuleFields(rule="secrets", action=Action.BLOCK),
            RuleFields(rule="injection", action=Action.FLAG, directions=_INPUT),
        ),
        "finance": (
            RuleFields(
                rule="pii",
                name="accounts",
                action=Action.BLOCK,
                settings={"only": ["card", "iban", "us_routing_number", "bic", "us_ssn", "us_itin"]},
            ),
            RuleFields(
                rule="pii",
                name="people",
                action=Action.REVERSIBLE,
                directions=_INPUT,
                settings={
                    "ignore": [
                        "card",
                        "iban",
                        "us_routing_number",
                        "bic",
                        "us_ssn",
                        "us_itin",
                        "ip_address",
                        "mac_address",
                    ]
                },
            ),
            RuleFields(rule="secrets", action=Action.BLOCK),
            RuleFields(rule="injection", action=Action.BLOCK, directions=_INPUT, least_score=0.7),
        ),
        "health": (
            RuleFields(rule="pii", name="people", action=Action.REVERSIBLE, directions=_INPUT),
            RuleFields(rule="pii", name="people-out", action=Action.REDACT, directions=frozenset({Direction.OUTPUT})),
            RuleFields(rule="secrets", action=Action.BLOCK),
        ),
        # For those who write code: addresses of machines are their daily bread, keys are not.
        "developer": (
            RuleFields(rule="secrets", action=Action.BLOCK),
            RuleFields(rule="pii", name="numbers", action=Action.FLAG, settings={"only": [*_NUMBERS]}),
            RuleFields(rule="injection", action=Action.FLAG, directions=_INPUT),
        ),
    }
)
