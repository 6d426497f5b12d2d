"""Rows of the database → the values a snapshot is built from.

A row that cannot be used (a secret that does not open, a value that no longer fits) is logged once with its id; the
last good reading of it stays in force, so a bad edit never takes a working provider away.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

import structlog
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import Adjustment, Credential, ModelRoute, Price, ProviderConfig
from tollkeeper.contracts.guardrails import Attachment
from tollkeeper.contracts.routing import Target as RouteTarget
from tollkeeper.db.models.catalog import Model, PriceAdjustment, Provider, ProviderCredential
from tollkeeper.db.models.catalog import Price as PriceRow
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog import repository
from tollkeeper.domains.catalog.beyond import read_stored_fine_tuning, read_stored_passthrough
from tollkeeper.domains.catalog.fields import (
    Target,
    TierFields,
    Timeouts,
    is_private_host,
    read_base_url,
    read_proxy_url,
)
from tollkeeper.domains.catalog.parameters import Capabilities, read_capabilities, read_stored_parameters
from tollkeeper.domains.catalog.policies import PolicySource
from tollkeeper.domains.catalog.policy_fields import PolicyFields
from tollkeeper.domains.catalog.prices import PRICE_CLASSES, UNITS, Figures, Origin, price_of, write_price, write_tiers
from tollkeeper.domains.catalog.repository import PublishedPolicy
from tollkeeper.domains.catalog.sealing import ProviderSecrets, SecretUnreadable
from tollkeeper.domains.catalog.snapshot import Sources, StoredCatalog, StoredPrice

log = structlog.get_logger(__name__)

# Reading is off the request path: it may take longer than a lookup, but a database that hangs must not hold it up.
READ_SECONDS: Final = 5.0
_TARGETS: Final = TypeAdapter(tuple[Target, ...])
_TIERS: Final = TypeAdapter(tuple[TierFields, ...])
# Columns of integers: the classes of tokens, then what is charged beside them.
_AMOUNTS: Final = (*PRICE_CLASSES.values(), *(target for target, _ in UNITS.values()))


class _Row(Protocol):
    id: UUID


# Where guardrail policies hold, read beside the catalogue.
ReadGuardrails = Callable[[AsyncSession], Awaitable[tuple[Attachment, ...]]]
Row = TypeVar("Row", bound=_Row)
Value = TypeVar("Value")


class StoredCatalogReader:
    """Reads the whole catalog. Keeps the last good reading of each row."""

    def __init__(
        self,
        database: Database,
        secrets: ProviderSecrets,
        base_urls: Mapping[str, str | None],
        guardrails: ReadGuardrails | None = None,
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._guardrails = guardrails
        # The usual address of each kind, for providers that name none.
        self._base_urls = base_urls
        self._good: dict[UUID, object] = {}
        self._told: set[tuple[UUID, str]] = set()
        self._remembered: set[UUID] = set()

    async def read(self) -> StoredCatalog:
        """Raises `DependencyUnavailable` when PostgreSQL does not answer in time."""
        async with self._database.lookup(deadline_seconds=READ_SECONDS) as session:
            rows = await repository.read_catalog(session)
            guardrails = () if self._guardrails is None else await self._guardrails(session)
        credentials: dict[UUID, list[ProviderCredential]] = defaultdict(list)
        for credential in rows.credentials:
            credentials[credential.provider_id].append(credential)
        # Forget rows that are gone, so that a later row of the same id is told about again.
        present = {
            row.id
            for group in (rows.providers, rows.models, rows.prices, rows.adjustments, rows.policies)
            for row in group
        }
        self._good = {row_id: value for row_id, value in self._good.items() if row_id in present}
        return StoredCatalog(
            providers=tuple(self._each(rows.providers, lambda row: self._provider(row, credentials[row.id]))),
            models=tuple(self._each(rows.models, read_model)),
            prices=tuple(self._each(rows.prices, read_stored_price)),
            adjustments=tuple(self._each(rows.adjustments, read_adjustment)),
            policies=tuple(self._each(rows.policies, read_policy)),
            guardrails=guardrails,
            next_change_unix=rows.next_change.timestamp() if rows.next_change else None,
        )

    async def remember(self, sources: Sources) -> None:
        """Enter declared prices into the history, so that the ledger's price versions can be looked up later.

        Raises `DependencyUnavailable`; what was not entered is entered the next time.
        """
        rows = [row for row in declared_prices(sources) if row["id"] not in self._remembered]
        if rows:
            async with self._database.platform() as session:
                await repository.remember_prices(session, rows)
            self._remembered.update(row["id"] for row in rows)

    def _each(self, rows: Iterable[Row], read: Callable[[Row], Value]) -> Iterable[Value]:
        for row in rows:
            try:
                value = read(row)
            except (ValueError, KeyError, SecretUnreadable) as error:
                self._tell(row, error)
                good = self._good.get(row.id)
                if good is None:
                    continue
                # Only `read` of the same kind of row ever stored under this id.
                value = good  # type: ignore[assignment]
            self._good[row.id] = value
            yield value

    def _tell(self, row: _Row, error: Exception) -> None:
        # The reason's class only: a pydantic message could quote the value.
        reason = str(error) if isinstance(error, SecretUnreadable) else type(error).__name__
        if (row.id, reason) not in self._told:
            self._told.add((row.id, reason))
            log.error("catalog_row_unusable", table=type(row).__name__, id=str(row.id), reason=reason)

    def _provider(self, row: Provider, credentials: Iterable[ProviderCredential]) -> ProviderConfig:
        base_url = row.base_url or self._base_urls.get(row.kind)
        timeouts = Timeouts.model_validate(row.timeouts)
        proxy_url = self._secrets.open_proxy(row)
        return ProviderConfig(
            id=row.id,
            name=row.name,
            kind=row.kind,
            base_url=read_base_url(base_url) if base_url else None,
            credentials=tuple(
                Credential(credential.id, self._secrets.open_credential(credential), frozenset(credential.origins))
                for credential in credentials
            ),
            # A kind that usually runs beside us is reached there without further ado.
            allow_private_address=row.allow_private_address
            or (row.base_url is None and base_url is not None and is_private_host(base_url)),
            proxy_url=read_proxy_url(proxy_url) if proxy_url else None,
            ca_bundle=row.ca_bundle,
            headers=MappingProxyType(self._secrets.open_headers(row)),
            options=MappingProxyType(row.options),
            connect_seconds=timeouts.connect,
            first_byte_seconds=timeouts.first_byte,
            idle_seconds=timeouts.idle,
            total_seconds=timeouts.total,
            passthrough=read_stored_passthrough(row.passthrough),
            fine_tuning_nano=read_stored_fine_tuning(row.fine_tuning),
        )


def read_model(row: Model) -> ModelRoute:
    return ModelRoute(
        id=row.id,
        name=row.name,
        targets=tuple(RouteTarget(t.provider, t.model, t.weight) for t in _TARGETS.validate_python(row.targets)),
        strategy=row.strategy,
        policy_name=row.policy,
        blocks_unpriced=row.unpriced_policy == "block",
        tenant_id=row.tenant_id,
        created_unix=int(row.created_at.timestamp()),
        owned_by=row.owned_by,
        max_output_tokens=row.max_output_tokens,
        context_tokens=row.context_tokens,
        capabilities=read_capabilities(Capabilities.model_validate(row.capabilities)),
        parameters=read_stored_parameters(row.parameters),
    )


def read_policy(row: PublishedPolicy) -> PolicySource:
    fields = PolicyFields.model_validate(row.document)
    return PolicySource(row.name, fields, row.id, row.tenant_id, row.number)


def read_price_row(row: PriceRow) -> Price:
    price = Price(version=row.id, **{name: getattr(row, f"{name}_pico") for name in _AMOUNTS})
    if not row.tiers:
        return price
    return price_of(row.id, write_price(price).model_copy(update={"tiers": _TIERS.validate_python(row.tiers)}))


def price_columns(price: Price) -> dict[str, Any]:
    """The inverse of `read_price_row`: the columns that say how much."""
    amounts: dict[str, Any] = {f"{name}_pico": getattr(price, name) for name in _AMOUNTS}
    return {**amounts, "tiers": [tier.model_dump(exclude_none=True) for tier in write_tiers(price)]}


def declared_prices(sources: Sources) -> Iterable[dict[str, Any]]:
    """The prices that stand in the file, and those of the public list that vendors from the environment are served at."""
    for route in sources.file.models:
        if route.price is not None:
            yield _price_values(route.price, None, model=route.name, provider=None, source="file")
    seen: set[UUID] = set()
    for route in sources.environment.models:
        target, price = route.targets[0], route.price
        if price is not None and price.version not in seen:
            seen.add(price.version)
            origin = sources.price_list.origins.get(price.version)
            yield _price_values(price, origin, model=target.model, provider=target.provider, source="builtin")


def _price_values(
    price: Price, origin: Origin | None, *, model: str, provider: str | None, source: str
) -> dict[str, Any]:
    return {
        "id": price.version,
        "model": model,
        "provider": provider,
        "source": source,
        "reference": None if origin is None else origin.reference,
        "checked_on": None if origin is None else origin.checked,
        **price_columns(price),
    }


def read_stored_price(row: PriceRow) -> StoredPrice:
    return StoredPrice(
        row.tenant_id, row.provider, row.model, read_price_row(row), row.vendor, row.checked_on, read_figures(row)
    )


def read_figures(row: PriceRow) -> Figures:
    capabilities = read_capabilities(Capabilities.model_validate(row.capabilities))
    return Figures(row.max_output_tokens, row.context_tokens, capabilities)


def read_adjustment(row: PriceAdjustment) -> Adjustment:
    return Adjustment(
        id=row.id,
        tenant_id=row.tenant_id,
        factor_millionths=int(row.factor * 1_000_000),
        request_nano=row.request_nano,
        provider=row.provider,
        model=row.model,
    )
