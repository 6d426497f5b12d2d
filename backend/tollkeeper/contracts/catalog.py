"""The configuration a worker serves from: an immutable snapshot of providers, models and prices, swapped whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from tollkeeper.contracts.cache import CacheAttachment
from tollkeeper.contracts.cloud import DocumentFamily
from tollkeeper.contracts.guardrails import Attachment
from tollkeeper.contracts.parameters import NO_PARAMETERS, NOTHING, ModelParameters
from tollkeeper.contracts.passthrough import Passthrough
from tollkeeper.contracts.routing import RoutePolicy, Target


@dataclass(frozen=True, slots=True)
class Credential:
    """A provider's secret, bound to the origins (`scheme://host:port`) it may be sent to."""

    id: UUID
    secret: str = field(repr=False)
    origins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """A provider as configured. `kind` names the entry of the gateway's provider registry that knows how to talk to it."""

    id: UUID
    name: str
    kind: str
    base_url: str | None
    credentials: tuple[Credential, ...] = ()
    allow_private_address: bool = False
    proxy_url: str | None = field(default=None, repr=False)
    ca_bundle: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    # Seconds; None takes the setting of the process.
    connect_seconds: float | None = None
    first_byte_seconds: float | None = None
    idle_seconds: float | None = None
    total_seconds: float | None = None
    is_managed_by_file: bool = False
    # What is open beyond the operations the gateway knows, and what such a request costs; None: nothing.
    passthrough: Passthrough | None = None
    # What one fine-tuning job costs, in nano-dollars; None: nobody has said.
    fine_tuning_nano: int | None = None


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """A row of the gateway's provider registry as plain data: what the control plane checks against and lists."""

    kind: str
    title: str
    # Where the vendor usually answers; None with `needs_base_url` means that it has to be configured.
    base_url: str | None = None
    needs_base_url: bool = False
    # The variable the vendor's own tools read; set in the environment it configures the vendor without a file.
    env_var: str | None = None
    needs_credential: bool = True
    # Takes a document of this family beside a plain key, and makes tokens or signatures of it.
    document: DocumentFamily | None = None


# So that `openai/*` can lead to OpenAI's own names.
REST: Final = "{rest}"


class ServiceTier(StrEnum):
    """How a vendor serves a call, where it prices that differently."""

    STANDARD = "standard"
    BATCH = "batch"
    FLEX = "flex"
    PRIORITY = "priority"


@dataclass(frozen=True, slots=True)
class Price:
    """Pico-dollars per token of each class of `Usage`; `version` identifies the row that priced a call."""

    version: UUID
    input: int
    output: int
    cache_read: int | None = None  # None: charged as `input`
    cache_write: int | None = None
    cache_write_1h: int | None = None
    input_audio: int | None = None
    input_image: int | None = None
    reasoning: int | None = None  # None: charged as `output`
    output_audio: int | None = None
    output_image: int | None = None
    # Beside the tokens; None: not charged.
    image: int | None = None
    audio_second: int | None = None
    character: int | None = None
    request: int | None = None
    tiers: "tuple[PriceTier, ...]" = ()


@dataclass(frozen=True, slots=True)
class PriceTier:
    """What calls of a service tier cost, or those with more input tokens than `over_input_tokens`, or both.

    `rates` stand alone: nothing is taken from the price they belong to, whose version they have.
    """

    rates: Price
    service_tier: ServiceTier = ServiceTier.STANDARD
    over_input_tokens: int = 0


_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A margin or a discount: what a tenant is charged for what the vendor takes. Exact integers, rounded once.

    `factor_millionths`: 1,200,000 charges a fifth more. `request_nano` is added for every attempt that a vendor may take
    something for. `provider` and `model` None: any; a model is the name that callers use and may end in `*`.
    """

    id: UUID
    tenant_id: UUID
    factor_millionths: int
    request_nano: int = 0
    provider: str | None = None
    model: str | None = None

    def covers(self, provider: str, model: str) -> bool:
        if self.provider is not None and self.provider != provider:
            return False
        if self.model is None or self.model == model:
            return True
        return self.model[-1:] == "*" and model.startswith(self.model[:-1])

    def apply(self, cost_nano: int) -> int:
        """The charge at settlement, rounded half up."""
        return (cost_nano * self.factor_millionths + _MILLION // 2) // _MILLION + self.request_nano

    def apply_up(self, cost_nano: int) -> int:
        """The charge to hold: rounded up, so that it is never less than what `apply` makes of it."""
        return -(-cost_nano * self.factor_millionths // _MILLION) + self.request_nano

    def scale_pico(self, pico: int) -> int:
        """The charge of one more token, rounded up; what is added for the whole attempt is not in it."""
        return -(-pico * self.factor_millionths // _MILLION)


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """A model name and where it leads. A name may end in `*`; the exact name wins, then the longest prefix."""

    id: UUID
    name: str
    targets: tuple[Target, ...]
    strategy: str = "priority"
    # None: unpriced, an explicit state; `blocks_unpriced` says whether calls are refused then.
    price: Price | None = None
    blocks_unpriced: bool = False
    is_simulated: bool = False
    # None: every tenant sees it.
    tenant_id: UUID | None = None
    created_unix: int = 0
    owned_by: str = "tollkeeper"
    is_managed_by_file: bool = False
    # What the vendor's page says the model can do: output of one answer, and input and output together. None: unknown.
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    # What it can do, by the names of `CAPABILITIES`; a name that is not there is unknown, and allowed.
    capabilities: Mapping[str, bool] = field(default_factory=lambda: NOTHING)
    parameters: ModelParameters = NO_PARAMETERS
    # The route policy it refers to; a snapshot has resolved it into `policy`.
    policy_name: str | None = None
    # Leads to the policy's targets, by its rules; `targets` are all of those then. None: `strategy` over `targets`.
    policy: RoutePolicy | None = None
    # What the vendors take at the targets, where that is known, by provider and model; of routes with a policy alone.
    target_prices: Mapping[tuple[str, str], Price] = field(default_factory=lambda: MappingProxyType({}))
    # Whether an attempt is priced by its target; else all of them by `price`.
    is_priced_by_target: bool = False

    def price_of(self, target: Target) -> Price | None:
        """What an attempt at this target is charged by."""
        return self.price_at(target.provider, target.model)

    def price_at(self, provider: str, model: str) -> Price | None:
        if not self.is_priced_by_target:
            return self.price
        return self.target_prices.get((provider, model), self.price)


@dataclass(frozen=True, slots=True)
class DeclaredCatalog:
    """What stands outside the database; `places` says where (`tollkeeper.yaml:12`), by name or id."""

    providers: tuple[ProviderConfig, ...] = ()
    models: tuple[ModelRoute, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()
    provider_places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    model_places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    adjustment_places: Mapping[UUID, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a call needs to be routed and priced, consistent in itself. Loaded once per request."""

    version: int
    providers: Mapping[str, ProviderConfig]
    models: Mapping[tuple[UUID | None, str], ModelRoute]
    # Routes whose name ends in `*`, longest first.
    wildcards: tuple[ModelRoute, ...] = ()
    # Of a tenant, the most specific first.
    adjustments: Mapping[UUID, tuple[Adjustment, ...]] = field(default_factory=lambda: MappingProxyType({}))
    # By the tenant that they hold for; None: for all.
    guardrails: Mapping[UUID | None, tuple[Attachment, ...]] = field(default_factory=lambda: MappingProxyType({}))
    # As guardrails.
    caches: Mapping[UUID | None, tuple[CacheAttachment, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def is_only_simulated(self) -> bool:
        """Whether no shared name, `prefix*` included, leads to a real provider."""
        return all(route.is_simulated or route.tenant_id for route in (*self.models.values(), *self.wildcards))

    def unrouted(self) -> list[ModelRoute]:
        """Those that refer to a route policy which is not there, or not whole: they lead nowhere."""
        routes = (*self.models.values(), *self.wildcards)
        return [route for route in routes if route.policy_name is not None and route.policy is None]

    def find_model(self, tenant_id: UUID, name: str) -> ModelRoute | None:
        """The tenant's own route of that name, else the shared one, else the longest matching `prefix*`."""
        route = self.models.get((tenant_id, name)) or self.models.get((None, name))
        if route is not None:
            return route
        for candidate in self.wildcards:
            if candidate.tenant_id in {None, tenant_id} and name.startswith(candidate.name[:-1]):
                return candidate
        return None


EMPTY_SNAPSHOT = Snapshot(version=0, providers=MappingProxyType({}), models=MappingProxyType({}))
