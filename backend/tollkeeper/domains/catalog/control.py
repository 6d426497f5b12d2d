"""The catalog's part of the process's services, put together from what wiring hands over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tollkeeper.contracts.catalog import ProviderKind
from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import SecretBox
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.adjustments import PriceAdjustments
from tollkeeper.domains.catalog.changes import CatalogAnnouncements, ConfigurationReload
from tollkeeper.domains.catalog.kept import CatalogFile, KeptCatalog
from tollkeeper.domains.catalog.kept_policies import PolicyDesk
from tollkeeper.domains.catalog.loader import (
    Declared,
    ReadDeclared,
    Reloader,
    SnapshotHolder,
    SnapshotLoader,
    StoredCatalogSource,
)
from tollkeeper.domains.catalog.models import Models
from tollkeeper.domains.catalog.price_history import PriceHistory
from tollkeeper.domains.catalog.price_list import PublicPrices
from tollkeeper.domains.catalog.price_update import PriceUpdate
from tollkeeper.domains.catalog.prices import PriceList
from tollkeeper.domains.catalog.providers import Providers
from tollkeeper.domains.catalog.sealing import ProviderSecrets
from tollkeeper.domains.catalog.service import Catalog
from tollkeeper.domains.catalog.snapshot import Sources
from tollkeeper.domains.catalog.stored import ReadGuardrails, StoredCatalogReader
from tollkeeper.domains.limits.schemas import DeclaredRule


@dataclass(frozen=True, slots=True)
class CatalogControl:
    """One per process. `holder` is the data plane's `SnapshotSource`; `loader` and `reloader` each have a `run` task."""

    policies: PolicyDesk
    holder: SnapshotHolder
    loader: SnapshotLoader
    reloader: Reloader
    announcements: CatalogAnnouncements
    providers: Providers
    models: Models
    prices: PriceHistory
    price_update: PriceUpdate
    price_adjustments: PriceAdjustments
    price_list: PublicPrices
    reload: ConfigurationReload


def build_catalog(
    *,
    database: Database,
    box: SecretBox,
    kinds: tuple[ProviderKind, ...],
    price_list: PriceList,
    declared: Declared,
    read_declared: ReadDeclared,
    clock: Clock,
    kept: CatalogFile | None = None,
    on_rules: Callable[[Sequence[DeclaredRule]], None] | None = None,
    guardrails: ReadGuardrails | None = None,
) -> CatalogControl:
    """`declared` is what was read at the start; `read_declared` reads it again at each reload, `on_rules` hears its rules.

    `guardrails` reads where stored guardrail policies hold. `kept` is where the stored catalog is kept for a start without PostgreSQL.
    """
    secrets = ProviderSecrets(box)
    holder = SnapshotHolder()
    base_urls = {kind.kind: kind.base_url for kind in kinds}
    stored: StoredCatalogSource = StoredCatalogReader(database, secrets, base_urls, guardrails)
    if kept is not None:
        stored = KeptCatalog(stored, kept)
    sources = Sources(
        file=declared.file,
        policies=declared.policies,
        policy_places=declared.policy_places,
        guardrails=declared.guardrails,
        guardrail_policies=declared.guardrail_policies,
        caches=declared.caches,
        environment=declared.environment,
        price_list=price_list,
    )
    loader = SnapshotLoader(holder, stored, sources, clock)
    reloader = Reloader(loader, read_declared, on_rules)
    catalog = Catalog(kinds=kinds, secrets=secrets, holder=holder, loader=loader)
    prices = PriceHistory(catalog, clock)
    return CatalogControl(
        policies=PolicyDesk(catalog),
        holder=holder,
        loader=loader,
        reloader=reloader,
        announcements=CatalogAnnouncements(loader, reloader),
        providers=Providers(catalog),
        models=Models(catalog, prices),
        prices=prices,
        price_update=PriceUpdate(catalog),
        price_adjustments=PriceAdjustments(catalog, clock),
        price_list=PublicPrices(catalog),
        reload=ConfigurationReload(reloader),
    )
