"""The providers this gateway ships: this list is the registry."""

from collections.abc import Mapping
from typing import Final

from tollkeeper.contracts.catalog import ProviderKind
from tollkeeper.gateway.provider import Provider
from tollkeeper.gateway.providers.anthropic import KIND as ANTHROPIC
from tollkeeper.gateway.providers.anthropic import Anthropic
from tollkeeper.gateway.providers.azure import KIND as AZURE
from tollkeeper.gateway.providers.azure import Azure
from tollkeeper.gateway.providers.bedrock import KIND as BEDROCK
from tollkeeper.gateway.providers.bedrock import Bedrock
from tollkeeper.gateway.providers.compatible import Compatible
from tollkeeper.gateway.providers.gemini import KIND as GEMINI
from tollkeeper.gateway.providers.gemini import Gemini
from tollkeeper.gateway.providers.simulated import Simulated
from tollkeeper.gateway.providers.vendors import VENDORS
from tollkeeper.gateway.providers.vertex import KIND as VERTEX
from tollkeeper.gateway.providers.vertex import Vertex

_ALL: Final[tuple[Provider, ...]] = (
    *(Compatible(vendor) for vendor in VENDORS),
    Anthropic(),
    Gemini(),
    Azure(),
    Bedrock(),
    Vertex(),
    Simulated(),
)
PROVIDERS: Final[Mapping[str, Provider]] = {provider.kind: provider for provider in _ALL}


def provider_kinds() -> tuple[ProviderKind, ...]:
    """The registry as plain data for the control plane, in its order."""
    vendors = tuple(
        ProviderKind(
            kind=vendor.kind,
            title=vendor.title,
            base_url=vendor.base_url,
            needs_base_url=vendor.base_url is None,
            env_var=vendor.env_var,
            needs_credential=vendor.needs_credential,
        )
        for vendor in VENDORS
    )
    return (
        *vendors,
        ANTHROPIC,
        GEMINI,
        AZURE,
        BEDROCK,
        VERTEX,
        ProviderKind("simulated", "Simulated", needs_credential=False),
    )
