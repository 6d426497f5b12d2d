"""The rules there are, by the name that policies call them. One file or folder each; none knows another."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tollkeeper.gateway.guardrails.pii import Pii
from tollkeeper.gateway.guardrails.secrets import Secrets
from tollkeeper.gateway.screen import RuleClass

RULES: Final[Mapping[str, RuleClass]] = MappingProxyType({rule.NAME: rule for rule in (Pii, Secrets)})
