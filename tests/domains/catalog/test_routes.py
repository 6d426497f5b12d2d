"""The catalog over HTTP: permissions, paging, tags, problem documents, reload."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from tests.domains.catalog.conftest import World, build_world, someone
from tests.domains.catalog.kinds import KINDS
from tests.domains.catalog.waiting import running, until
from tollkeeper.configuration import read_declared
from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.contracts.ports import ProbeResult
from tollkeeper.core.announcements import Announcement, Listener, Topic
from tollkeeper.core.config import Settings
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.core.redis import create_client
from tollkeeper.db.models import OutboxEvent
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.changes import CONFIGURATION
from tollkeeper.domains.catalog.loader import Declared
from tollkeeper.domains.catalog.prices import load_price_list
from tollkeeper.domains.catalog.routes import router
from tollkeeper.domains.catalog.schemas import ModelCreate
from tollkeeper.web.caller import Caller
from tollkeeper.web.deps import install_kernel

CANARY = "sk-canary-5e2d"
MODEL = {"name": "m", "targets": [{"provider": "simulated", "model": "simulated"}]}
PRICE = {"model": "m", "input_per_million": "1", "output_per_million": "2"}


@asynccontextmanager
async def closing(database: Database) -> AsyncIterator[Database]:
    try:
        yield database
    finally:
        await database.close()


class Signed:
    """Stands where proof of the caller stands: every request comes from `caller`."""

    def __init__(self, app: FastAPI, caller: Caller) -> None:
        self._app = app
        self.caller = caller

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app({**scope, "state": {"caller": self.caller}}, receive, send)


class CountingProbe:
    """A port's fake: answers for every provider, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.seen: list[ProviderConfig] = []

    async def probe(self, config: ProviderConfig) -> list[ProbeResult]:
        self.seen.append(config)
        return [
            ProbeResult(ok=True, message="3 models.", latency_ms=12, models=3, credential_id=config.credentials[0].id),
            ProbeResult(ok=False, message="Status 401: the key is not valid."),
        ]


class Site:
    def __init__(self, world: World, path: Path) -> None:
        app = FastAPI()
        self.probe = CountingProbe()
        app.state.services = SimpleNamespace(
            settings=Settings(), database=world.database, catalog=world.catalog, provider_probe=self.probe
        )
        install_kernel(app)
        app.include_router(router, prefix="/api/v1")
        self.world = world
        self.file = path
        self.signed = Signed(app, world.admin)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.signed), base_url="http://test/api/v1/catalog"
        )


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    path = tmp_path / "tollkeeper.yaml"
    path.write_text("models: [{name: filed, targets: [{provider: simulated, model: simulated}]}]\n", encoding="utf-8")

    def read() -> Declared:
        return read_declared(path, {}, kinds=KINDS, price_list=load_price_list())

    site = Site(await build_world(database, read(), read_declared=read), path)
    async with site.client:
        yield site


async def test_provider_lives_from_creation_to_deletion(site: Site) -> None:
    created = await site.client.post(
        "/providers",
        json={"name": "acme", "kind": "openai", "api_key": CANARY, "headers": {"x-team": CANARY}},
    )
    assert created.status_code == 201
    assert created.headers["etag"] == '"1"'
    provider = created.json()
    assert provider["managed_by"] == "api"
    assert provider["credentials"][0]["origins"] == ["https://api.openai.com:443"]
    at = f"/providers/{provider['id']}"
    changed = await site.client.patch(at, json={"timeouts": {"total": 5}}, headers={"if-match": '"1"'})
    assert changed.json()["timeouts"]["total"] == 5
    stale = await site.client.patch(at, json={"is_active": False}, headers={"if-match": '"1"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    added = await site.client.post(f"{at}/credentials", json={"name": "two", "secret": CANARY})
    assert added.status_code == 201
    credential = added.json()["credentials"][1]["id"]
    assert (await site.client.delete(f"{at}/credentials/{credential}")).status_code == 204
    shown = await site.client.get(at)
    assert shown.headers["etag"] == '"2"'
    assert CANARY not in created.text + changed.text + added.text + shown.text
    assert (await site.client.delete(at, headers={"if-match": '"2"'})).status_code == 204
    assert (await site.client.get(at)).status_code == 404


async def test_declared_objects_are_listed_and_answer_409_naming_the_file(site: Site) -> None:
    models = (await site.client.get("/models")).json()["data"]
    filed = next(model for model in models if model["name"] == "filed")
    assert (filed["managed_by"], filed["declared_at"]) == ("file", "tollkeeper.yaml:1")
    for answer in (
        await site.client.delete(f"/models/{filed['id']}"),
        await site.client.patch(f"/models/{filed['id']}", json={"is_active": False}),
        await site.client.post("/models", json={**MODEL, "name": "filed"}),
    ):
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["declared_at"]) == (
            409,
            "managed_elsewhere",
            "tollkeeper.yaml:1",
        )
        assert "tollkeeper.yaml:1" in problem["detail"]


async def test_provider_is_tried_with_its_own_credential_and_the_secret_stays(site: Site) -> None:
    made = await site.client.post("/providers", json={"name": "vendor", "kind": "openai", "api_key": CANARY})

    answer = await site.client.post(f"/providers/{made.json()['id']}/test")

    assert answer.status_code == 200
    assert answer.json()["ok"] is False
    assert "401" in answer.json()["message"]
    assert [one["ok"] for one in answer.json()["credentials"]] == [True, False]
    assert site.probe.seen[0].credentials[0].secret == CANARY
    assert CANARY not in answer.text


async def test_only_platform_administrators_try_providers(site: Site) -> None:
    site.signed.caller = someone(site.world.tenant_id, Role.TENANT_ADMIN)

    assert (await site.client.post(f"/providers/prv_{uuid7().hex}/test")).status_code == 403


async def test_provider_that_is_not_there_cannot_be_tried(site: Site) -> None:
    assert (await site.client.post(f"/providers/prv_{uuid7().hex}/test")).status_code == 404


async def test_pages_follow_each_other(site: Site) -> None:
    for name in ("a", "b", "zz"):
        assert (await site.client.post("/models", json={**MODEL, "name": name})).status_code == 201
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = (await site.client.get("/models", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        names += [model["name"] for model in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == ["a", "b", "filed", "simulated", "simulated-*", "simulated-embedding", "simulated-reasoning", "zz"]
    assert (await site.client.get("/models", params={"cursor": "nonsense"})).status_code == 400


async def test_prices_have_a_history(site: Site) -> None:
    await site.client.post("/models", json=MODEL)
    first = await site.client.post("/prices", json=PRICE)
    second = await site.client.post("/prices", json={**PRICE, "output_per_million": "3.5"})
    assert second.json()["output_per_million"] == "3.5"
    await site.world.catalog.loader.load()
    history = (await site.client.get("/prices", params={"model": "m", "limit": 1})).json()
    assert [price["id"] for price in history["data"]] == [second.json()["id"]]
    assert history["data"][0]["is_in_force"]
    rest = (await site.client.get("/prices", params={"model": "m", "cursor": history["next_cursor"]})).json()
    assert [price["id"] for price in rest["data"]] == [first.json()["id"]]
    assert (await site.client.get(f"/prices/{first.json()['id']}")).json()["is_in_force"] is False


@pytest.mark.parametrize(
    "body",
    [
        {**PRICE, "input_per_million": 0.1},
        {**PRICE, "input_per_million": "0.0000001"},
        {**PRICE, "id": "prc_00"},
        {**PRICE, "source": "builtin"},
        {**PRICE, "effective_at": "2030-01-01T00:00:00"},
        {**PRICE, "model": "a b"},
    ],
)
async def test_payload_that_does_not_fit_is_422(site: Site, body: dict[str, object]) -> None:
    assert (await site.client.post("/prices", json=body)).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {"name": "p", "kind": "openai", "base_url": "http://u:p@example.com"},
        {"name": "p", "kind": "openai", "base_url": "file:///etc/passwd"},
        {"name": "p", "kind": "openai", "headers": {"x": "a\r\nb: c"}},
        {"name": "p", "kind": "openai", "headers": {"Host": "x"}},
        {"name": "p", "kind": "openai", "api_key": "a\nb"},
        {"name": "p q", "kind": "openai"},
        {"name": "p", "kind": "openai", "tenant_id": None},
        {"name": "p", "kind": "openai", "version": 7},
        {"name": "p", "kind": "openai", "proxy": "socks5://x"},
        {"name": "p", "kind": "openai", "timeouts": {"total": 0}},
    ],
)
async def test_provider_payload_that_does_not_fit_is_refused_without_quoting_it(
    site: Site, body: dict[str, object]
) -> None:
    answer = await site.client.post("/providers", json=body)
    assert answer.status_code == 422
    assert "passwd" not in answer.text


async def test_only_platform_administrators_change_the_catalog(site: Site) -> None:
    provider = (await site.client.post("/providers", json={"name": "acme", "kind": "openai", "api_key": "k"})).json()
    writes = [
        ("POST", "/providers"),
        ("PATCH", f"/providers/{provider['id']}"),
        ("DELETE", f"/providers/{provider['id']}"),
        ("POST", f"/providers/{provider['id']}/credentials"),
        ("POST", "/models"),
        ("POST", "/prices"),
        ("POST", "/reload"),
    ]
    for role in (Role.TENANT_ADMIN, Role.DEVELOPER, Role.FINANCE, Role.AUDITOR, Role.VIEWER):
        site.signed.caller = someone(site.world.tenant_id, role)
        for method, path in writes:
            assert (await site.client.request(method, path, json={})).status_code == 403, (role, path)
        listed = (await site.client.get("/providers")).json()["data"]
        assert [one["name"] for one in listed] == ["acme", "simulated"]
        assert {one["base_url"] for one in listed} == {None}
        assert (await site.client.get("/providers/kinds")).status_code == 200
        assert (await site.client.get("/models")).status_code == 200
        assert (await site.client.get("/prices")).status_code == 200


async def test_reload_reads_the_file_again_or_lists_its_mistakes(site: Site) -> None:
    site.file.write_text(site.file.read_text("utf-8").replace("filed", "renamed"), "utf-8")
    answer = await site.client.post("/reload")
    assert answer.status_code == 200
    assert (None, "renamed") in site.world.catalog.holder.current().models
    site.file.write_text("models: [{nme: x}]\n", "utf-8")
    refused = await site.client.post("/reload")
    assert (refused.status_code, refused.json()["code"]) == (400, "configuration_rejected")
    assert any("models[0].nme" in problem for problem in refused.json()["problems"])
    assert (None, "renamed") in site.world.catalog.holder.current().models
    assert [one.action for one in await site.world.audited()] == ["catalog.reload"]


async def test_announcement_makes_a_worker_load_what_changed(site: Site) -> None:
    catalog = site.world.catalog
    async with running(catalog.loader), running(catalog.reloader):
        await site.client.post("/models", json=MODEL)
        catalog.announcements.heard(Announcement(uuid7(), Topic.CATALOG, uuid7()))
        await until(lambda: (None, "m") in catalog.holder.current().models)
        site.file.write_text(site.file.read_text("utf-8").replace("filed", "renamed"), "utf-8")
        catalog.announcements.heard(Announcement(uuid7(), Topic.CATALOG, CONFIGURATION))
        await until(lambda: (None, "renamed") in catalog.holder.current().models)


async def test_change_reaches_another_worker_within_a_second(new_database: Callable[[], str], valkey_url: str) -> None:
    url = new_database()
    async with closing(Database(url, pool_size=3)) as mine, closing(Database(url, pool_size=3)) as theirs:
        here, there = await build_world(mine), await build_world(theirs)
        catalog = there.catalog
        listener = Listener(
            url,
            create_client(valkey_url, operation_seconds=None),
            on_announcement=catalog.announcements.heard,
            on_resync=catalog.loader.changed,
        )
        await listener.start()
        try:
            async with running(catalog.loader):
                body = ModelCreate.model_validate(MODEL)
                async with mine.platform() as session:
                    await here.catalog.models.create(session, here.admin, body)
                async with asyncio.timeout(1):
                    await until(lambda: (None, "m") in catalog.holder.current().models)
        finally:
            await listener.close()
        async with mine.platform() as session:
            events = (await session.scalars(select(OutboxEvent.event))).all()
        assert len(events) == 1
