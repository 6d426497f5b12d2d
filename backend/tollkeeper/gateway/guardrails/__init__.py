"""The rules there are, by the name that policies call them. One file or folder each; none knows another."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tollkeeper.gateway.guardrails.canaries import Canaries
from tollkeeper.gateway.guardrails.injection import Injection
from tollkeeper.gateway.guardrails.json_schema import JsonSchema
from tollkeeper.gateway.guardrails.keywords import Keywords
from tollkeeper.gateway.guardrails.language import Language
from tollkeeper.gateway.guardrails.length import Length
from tollkeeper.gateway.guardrails.moderation import Moderation
from tollkeeper.gateway.guardrails.pii import Pii
from tollkeeper.gateway.guardrails.regex import Regex
from tollkeeper.gateway.guardrails.secrets import Secrets
from tollkeeper.gateway.guardrails.tools import Tools
from tollkeeper.gateway.guardrails.urls import Urls
from tollkeeper.gateway.guardrails.webhook import Webhook
from tollkeeper.gateway.screen import RuleClass

# Settings that lead inside, or to a vendor's account: in the operator's own file alone.
OPERATORS: Final = frozenset({"allow_private_address", "provider"})
RULES: Final[Mapping[str, RuleClass]] = MappingProxyType(
    {
        rule.NAME: rule
        for rule in (
            Pii,
            Secrets,
            Injection,
            Keywords,
            Regex,
            Urls,
            Canaries,
            Length,
            Language,
            Tools,
            JsonSchema,
            Moderation,
            Webhook,
        )
    }
)
