"""Loading and reloading: swapped whole, kept on every error, quick when told, slow but sure when not."""

import asyncio
from pathlib import Path
from types import MappingProxyType

import pytest
import structlog

from tests.domains.catalog.kinds import KINDS
from tests.domains.catalog.waiting import running, until
from tollkeeper.configuration import load_configuration, read_declared
from tollkeeper.contracts.catalog import DeclaredCatalog, ModelRoute, ProviderConfig
from tollkeeper.contracts.routing import Target
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.domains.catalog.loader import (
    ConfigurationRejected,
    Declared,
    Reloader,
    SnapshotHolder,
    SnapshotLoader,
)
from tollkeeper.domains.catalog.prices import PriceList, stable_id
from tollkeeper.domains.catalog.snapshot import Sources, StoredCatalog


def stored_model(name: str) -> StoredCatalog:
    provider = ProviderConfig(stable_id("p"), "p", "openai_compatible", "https://example.com")
    return StoredCatalog((provider,), (ModelRoute(stable_id(name), name, (Target("p", name),)),))


class FakeStore:
    def __init__(self, stored: StoredCatalog) -> None:
        self.stored = stored
        self.is_down = False
        self.reads = 0

    async def read(self) -> StoredCatalog:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise DependencyUnavailable("PostgreSQL did not answer.")
        return self.stored

    async def remember(self, sources: Sources) -> None:
        pass


def new_loader(store: FakeStore) -> tuple[SnapshotHolder, SnapshotLoader]:
    holder = SnapshotHolder()
    return holder, SnapshotLoader(holder, store, Sources(), SystemClock())


async def test_version_grows_only_when_something_changed() -> None:
    store = FakeStore(stored_model("a"))
    holder, loader = new_loader(store)
    assert holder.current().version == 0
    await loader.load()
    first = holder.current()
    await loader.load()
    assert holder.current() is first
    store.stored = stored_model("b")
    await loader.load()
    assert holder.current().version == first.version + 1
    assert (None, "b") in holder.current().models
    assert (None, "a") not in holder.current().models


async def test_snapshot_of_a_running_call_never_changes() -> None:
    store = FakeStore(stored_model("a"))
    holder, loader = new_loader(store)
    await loader.load()
    mine = holder.current()
    store.stored = stored_model("b")
    await loader.load()
    assert (None, "a") in mine.models
    with pytest.raises(TypeError):
        mine.models[None, "x"] = mine.models[None, "a"]  # type: ignore[index]


async def test_database_gone_keeps_the_old_snapshot_and_warns_once() -> None:
    store = FakeStore(stored_model("a"))
    holder, loader = new_loader(store)
    await loader.load()
    before = holder.current()
    store.is_down = True
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await loader.load()
    assert holder.current() is before
    assert [entry["event"] for entry in logs] == ["catalog_not_read"]


async def test_database_gone_at_the_start_still_serves_what_is_declared_and_catches_up() -> None:
    store = FakeStore(stored_model("a"))
    store.is_down = True
    holder, loader = new_loader(store)
    await loader.load()
    assert (None, "simulated") in holder.current().models
    store.is_down = False
    async with running(loader):
        await until(lambda: (None, "a") in holder.current().models)


async def test_burst_of_announcements_is_one_load() -> None:
    store = FakeStore(stored_model("a"))
    holder, loader = new_loader(store)
    await loader.load()
    store.stored = stored_model("b")
    async with running(loader):
        for _ in range(100):
            loader.changed()
            await asyncio.sleep(0)
        await until(lambda: (None, "b") in holder.current().models)
    assert store.reads == 2


async def test_price_that_begins_later_is_loaded_when_it_begins() -> None:
    store = FakeStore(StoredCatalog(next_change_unix=SystemClock().unix() + 0.05))
    holder, loader = new_loader(store)
    await loader.load()
    store.stored = stored_model("b")
    async with running(loader):
        await until(lambda: (None, "b") in holder.current().models)


def write(path: Path, model: str) -> None:
    path.write_text(f"models: [{{name: {model}, targets: [{{provider: simulated, model: simulated}}]}}]\n", "utf-8")


async def test_reload_swaps_the_whole_file_or_keeps_the_old_one_and_names_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "tollkeeper.yaml"

    def read() -> Declared:
        return Declared(load_configuration(path, {}, kinds=KINDS).catalog, DeclaredCatalog())

    holder, loader = new_loader(FakeStore(stored_model("kept")))
    reloader = Reloader(loader, read)
    write(path, "one")
    assert await reloader.reload() == 1
    write(path, "two")
    assert await reloader.reload() == 2
    assert (None, "two") in holder.current().models
    assert (None, "one") not in holder.current().models
    assert (None, "kept") in holder.current().models
    path.write_text("models:\n  - {name: 'b a d', targets: []}\n  - nme: x\n", "utf-8")
    before = holder.current()
    with structlog.testing.capture_logs() as logs, pytest.raises(ConfigurationRejected) as caught:
        await reloader.reload()
    assert holder.current() is before
    assert (caught.value.status, caught.value.code) == (400, "configuration_rejected")
    problems = caught.value.details["problems"]
    assert isinstance(problems, list)
    assert problems == logs[0]["problems"]
    assert [problem.split(": ")[0] for problem in problems] == ["tollkeeper.yaml:2"] * 2 + ["tollkeeper.yaml:3"] * 2


def led_by(policy: str) -> StoredCatalog:
    return StoredCatalog((), (ModelRoute(stable_id("shop"), "shop", (), policy_name=policy),))


def declared_in(path: Path) -> Declared:
    return read_declared(path, {}, kinds=KINDS, price_list=PriceList(MappingProxyType({})))


def policy_file(path: Path, *names: str) -> None:
    lines = [f"  - {{name: {name}, branches: [{{provider: simulated, model: simulated}}]}}\n" for name in names]
    path.write_text("route_policies:\n" + "".join(lines) if names else "models: []\n", "utf-8")


async def test_a_reload_that_takes_a_stored_model_its_policy_is_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "tollkeeper.yaml"
    holder, loader = new_loader(FakeStore(led_by("fast")))
    reloader = Reloader(loader, lambda: declared_in(path))
    policy_file(path, "other", "fast")
    await reloader.reload()
    route = holder.current().models[None, "shop"]
    assert route.policy is not None
    before = holder.current()
    policy_file(path, "other")

    with structlog.testing.capture_logs() as logs, pytest.raises(ConfigurationRejected) as caught:
        await reloader.reload()

    assert holder.current() is before
    problems = caught.value.details["problems"]
    assert [entry["problems"] for entry in logs if entry["event"] == "configuration_rejected"] == [problems]
    assert isinstance(problems, list)
    (problem,) = problems
    assert problem.startswith("tollkeeper.yaml:3: fast: the stored model 'shop' leads by this policy")


async def test_a_start_without_the_policy_says_so_and_refuses_no_later_reload(tmp_path: Path) -> None:
    path = tmp_path / "tollkeeper.yaml"
    holder, loader = new_loader(FakeStore(led_by("fast")))
    with structlog.testing.capture_logs() as logs:
        await loader.load()
    assert [route.name for route in holder.current().unrouted()] == ["shop"]
    assert [entry["policy"] for entry in logs if entry["event"] == "route_policy_unusable"] == ["fast"]

    policy_file(path)
    await Reloader(loader, lambda: declared_in(path)).reload()

    policy_file(path, "fast")
    await Reloader(loader, lambda: declared_in(path)).reload()
    assert holder.current().unrouted() == []
