"""The snapshot: who wins when several sources declare, and which price a route gets."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any
from uuid import UUID

from tests.domains.catalog.kinds import KINDS
from tollkeeper.contracts.catalog import REST, DeclaredCatalog, ModelRoute, Price, ProviderConfig, Snapshot
from tollkeeper.contracts.parameters import ModelParameters
from tollkeeper.contracts.routing import Target
from tollkeeper.domains.catalog.environment import environment_catalog
from tollkeeper.domains.catalog.prices import FREE, Figures, PriceList, load_price_list, stable_id
from tollkeeper.domains.catalog.snapshot import Sources, StoredCatalog, StoredPrice, build_snapshot

TENANT = UUID(int=1)
OTHER = UUID(int=2)


def price(amount: int) -> Price:
    return Price(version=stable_id(str(amount)), input=amount, output=amount)


def provider(name: str, kind: str = "openai_compatible", base_url: str = "https://a.example") -> ProviderConfig:
    return ProviderConfig(stable_id(name, base_url), name, kind, base_url)


def route(
    name: str, *targets: tuple[str, str], tenant_id: UUID | None = None, priced: Price | None = None
) -> ModelRoute:
    return ModelRoute(
        stable_id(name, str(tenant_id)), name, tuple(Target(*t) for t in targets), price=priced, tenant_id=tenant_id
    )


LIST = PriceList(
    MappingProxyType(
        {
            ("openai", "gpt-a"): price(10),
            ("openai", "gpt-b"): price(20),
            ("groq", "llama"): price(3),
            ("groq", "gpt-a"): price(4),
        }
    )
)


def found(snapshot: Snapshot, name: str, tenant: UUID = TENANT) -> ModelRoute:
    model = snapshot.find_model(tenant, name)
    assert model is not None
    return model


def test_simulated_models_are_always_there_and_free_not_unpriced() -> None:
    snapshot = build_snapshot(1, Sources())
    for name in ("simulated", "simulated-embedding", "simulated-reasoning", "simulated-slow-fail503"):
        model = found(snapshot, name)
        assert model.is_simulated
        assert model.price == FREE
        assert model.targets[0].provider == "simulated"
    assert snapshot.providers["simulated"].kind == "simulated"
    assert snapshot.find_model(TENANT, "gpt-a") is None


def test_file_wins_over_database_over_environment() -> None:
    sources = Sources(
        file=DeclaredCatalog((provider("p", base_url="https://file"),), (route("m", ("p", "file")),)),
        stored=StoredCatalog(
            (provider("p", base_url="https://db"), provider("openai", "openai", "https://db")),
            (route("m", ("p", "db")), route("n", ("p", "db"))),
        ),
        environment=environment_catalog({"OPENAI_API_KEY": "k"}, KINDS, LIST),
    )
    snapshot = build_snapshot(1, sources)
    assert snapshot.providers["p"].base_url == "https://file"
    assert snapshot.providers["openai"].base_url == "https://db"
    assert found(snapshot, "m").targets[0].model == "file"
    assert found(snapshot, "n").targets[0].model == "db"
    assert found(snapshot, "gpt-a").targets[0].model == "gpt-a"


def test_environment_serves_priced_models_under_both_names_and_the_first_vendor_wins() -> None:
    catalog = environment_catalog({"GROQ_API_KEY": "g", "OPENAI_API_KEY": " o ", "X": "y"}, KINDS, LIST)
    snapshot = build_snapshot(1, Sources(environment=catalog, price_list=LIST))
    assert found(snapshot, "gpt-a").targets == (Target("openai", "gpt-a"),)
    assert found(snapshot, "groq/gpt-a").targets == (Target("groq", "gpt-a"),)
    assert found(snapshot, "llama").price == price(3)
    assert found(snapshot, "openai/gpt-b").price == price(20)
    assert snapshot.providers["openai"].credentials[0].secret == "o"
    assert snapshot.providers["openai"].credentials[0].origins == {"https://api.openai.com:443"}


def test_empty_environment_configures_nothing() -> None:
    assert environment_catalog({"OPENAI_API_KEY": "  "}, KINDS, LIST) == DeclaredCatalog()


def test_route_without_a_price_takes_the_dearest_public_price_of_its_targets() -> None:
    providers = (provider("o", "openai"), provider("g", "groq"))
    models = (route("mixed", ("g", "llama"), ("o", "gpt-b")), route("partly", ("g", "llama"), ("o", "unknown")))
    snapshot = build_snapshot(1, Sources(file=DeclaredCatalog(providers, models), price_list=LIST))
    assert found(snapshot, "mixed").price == price(20)
    assert found(snapshot, "partly").price is None


def test_declared_price_beats_the_database_beats_the_public_list() -> None:
    stored = StoredCatalog(
        prices=(
            StoredPrice(None, None, "declared", price(1)),
            StoredPrice(None, None, "named", price(2)),
            StoredPrice(None, "o", "gpt-a", price(5)),
        )
    )
    models = (
        route("declared", ("o", "gpt-b"), priced=price(7)),
        route("named", ("o", "gpt-b")),
        route("by-target", ("o", "gpt-a")),
        route("listed", ("o", "gpt-b")),
    )
    sources = Sources(file=DeclaredCatalog((provider("o", "openai"),), models), stored=stored, price_list=LIST)
    snapshot = build_snapshot(1, sources)
    assert [found(snapshot, name).price for name in ("declared", "named", "by-target", "listed")] == [
        price(7),
        price(2),
        price(5),
        price(20),
    ]


def test_price_of_one_tenant_touches_no_other() -> None:
    stored = StoredCatalog(models=(route("m", ("o", "gpt-b")),), prices=(StoredPrice(TENANT, None, "m", price(1)),))
    sources = Sources(stored=stored, environment=DeclaredCatalog((provider("o", "openai"),)), price_list=LIST)
    snapshot = build_snapshot(1, sources)
    assert found(snapshot, "m", TENANT).price == price(1)
    assert found(snapshot, "m", OTHER).price == price(20)


def test_model_of_one_tenant_is_invisible_to_others_and_shadows_the_shared_one() -> None:
    stored = StoredCatalog(
        models=(
            route("m", ("p", "shared")),
            route("m", ("p", "own"), tenant_id=TENANT),
            route("secret", ("p", "own"), tenant_id=TENANT),
            route("w-*", ("p", "*"), tenant_id=TENANT),
        )
    )
    snapshot = build_snapshot(1, Sources(stored=stored))
    assert found(snapshot, "m", TENANT).targets[0].model == "own"
    assert found(snapshot, "m", OTHER).targets[0].model == "shared"
    assert snapshot.find_model(OTHER, "secret") is None
    assert snapshot.find_model(OTHER, "w-1") is None
    assert snapshot.find_model(TENANT, "w-1") is not None


def test_longest_wildcard_wins_and_the_exact_name_before_it() -> None:
    models = (
        route("*", ("p", "all")),
        route("gpt-*", ("p", "gpt")),
        route("gpt-4*", ("p", "four")),
        route("gpt-4o", ("p", "o")),
    )
    snapshot = build_snapshot(1, Sources(file=DeclaredCatalog((), models)))
    assert [found(snapshot, name).targets[0].model for name in ("gpt-4o", "gpt-41", "gpt-5", "x")] == [
        "o",
        "four",
        "gpt",
        "all",
    ]


def test_names_under_a_wildcard_get_their_public_price() -> None:
    models = (route("gpt-*", ("o", "*")),)
    snapshot = build_snapshot(1, Sources(file=DeclaredCatalog((provider("o", "openai"),), models), price_list=LIST))
    assert found(snapshot, "gpt-a").price == price(10)
    assert found(snapshot, "gpt-a").targets == (Target("o", "gpt-a"),)
    assert found(snapshot, "gpt-unknown").price is None


def test_route_that_leads_only_to_simulated_providers_is_simulated_and_free() -> None:
    providers = (provider("sim", "simulated"), provider("o", "openai"))
    models = (route("toy", ("sim", "simulated")), route("half", ("sim", "simulated"), ("o", "gpt-a")))
    snapshot = build_snapshot(1, Sources(file=DeclaredCatalog(providers, models), price_list=LIST))
    assert found(snapshot, "toy").is_simulated
    assert found(snapshot, "toy").price == FREE
    assert not found(snapshot, "half").is_simulated


def test_a_model_has_the_largest_figures_of_its_targets_where_all_have_some() -> None:
    def figures(name: str, *targets: tuple[str, str], **own: Any) -> tuple[int | None, int | None]:
        listed = replace(
            LIST,
            figures=MappingProxyType(
                {("openai", "gpt-a"): Figures(100, 1_000), ("openai", "gpt-b"): Figures(900, None)}
            ),
        )
        one = replace(route(name, *targets), **own)
        declared = DeclaredCatalog(providers=(provider("o", "openai"), provider("g", "groq")), models=(one,))
        served = found(build_snapshot(1, Sources(file=declared, price_list=listed)), name)
        return served.max_output_tokens, served.context_tokens

    assert figures("one", ("o", "gpt-a")) == (100, 1_000)
    assert figures("both", ("o", "gpt-a"), ("o", "gpt-b")) == (900, None)
    assert figures("unknown", ("o", "gpt-a"), ("g", "llama")) == (None, None)
    assert figures("own", ("g", "llama"), max_output_tokens=50) == (50, None)
    assert figures("other", ("o", "gpt-a"), max_output_tokens=50) == (50, 1_000)


def test_a_model_can_do_what_one_of_its_targets_can_and_lacks_what_all_lack() -> None:
    sees, blind, unknown = {"vision": True}, {"vision": False, "audio": False}, {"audio": False}
    listed = replace(
        LIST,
        figures=MappingProxyType(
            {
                ("openai", "gpt-a"): Figures(capabilities=sees),
                ("openai", "gpt-b"): Figures(capabilities=blind),
                ("openai", "gpt-c"): Figures(capabilities=unknown),
            }
        ),
    )

    def capabilities(*targets: str, **own: bool) -> dict[str, bool]:
        one = replace(route("m", *(("o", target) for target in targets)), capabilities=own)
        declared = DeclaredCatalog(providers=(provider("o", "openai"),), models=(one,))
        return dict(found(build_snapshot(1, Sources(file=declared, price_list=listed)), "m").capabilities)

    assert capabilities("gpt-b") == {"vision": False, "audio": False}
    assert capabilities("gpt-a", "gpt-b") == {"vision": True}
    assert capabilities("gpt-b", "gpt-c") == {"audio": False}
    assert capabilities("gpt-d") == {}
    # The operator's own word counts.
    assert capabilities("gpt-b", vision=True) == {"vision": True, "audio": False}


def test_wildcard_hands_its_parameters_to_the_names_it_covers() -> None:
    given = ModelParameters(overrides=MappingProxyType({"temperature": 0}))
    models = (replace(route("o/*", ("o", "*")), parameters=given), replace(route("*", ("o", "*")), parameters=given))
    snapshot = build_snapshot(
        1, Sources(file=DeclaredCatalog((provider("o", "openai"),), models), price_list=load_price_list())
    )
    assert found(snapshot, "gpt-4o").parameters is given
    assert found(snapshot, "gpt-4o").capabilities["audio"] is False
    assert found(snapshot, "o/anything").parameters is given


def test_shipped_list_says_what_well_known_models_lack() -> None:
    figures = load_price_list().figures
    assert figures["openai", "gpt-4o"].capabilities["vision"] is True
    assert figures["openai", "gpt-4o"].capabilities["audio"] is False
    assert figures["openai", "gpt-3.5-turbo"].capabilities["json_schema"] is False
    assert not figures["openai", "text-embedding-3-small"].capabilities


def test_wildcard_that_passes_on_the_rest_prices_the_names_it_covers() -> None:
    models = (route("mine/*", ("o", REST)),)
    snapshot = build_snapshot(
        1, Sources(file=DeclaredCatalog((provider("o", "openai"),), models), price_list=load_price_list())
    )
    priced = found(snapshot, "mine/gpt-4o")
    assert (priced.name, priced.targets[0].model) == ("mine/gpt-4o", "gpt-4o")
    assert priced.price == load_price_list().find("openai", "gpt-4o")
    assert found(snapshot, "mine/unheard-of").targets[0].model == REST
