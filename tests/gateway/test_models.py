"""`/v1/models`: what a key may name, by names with slashes and colons too."""

from pathlib import Path

import pytest

from tests.gateway.serving import KEY, TENANT, provider, route, serving, snapshot
from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.core.ids import uuid7

AUTH = {"authorization": f"Bearer {KEY}"}


def catalogue() -> Snapshot:
    return snapshot(
        [provider("one", None)],
        [
            route("zeta", ("one", "z"), created_unix=7, owned_by="acme"),
            route("openai/gpt-x:free", ("one", "x")),
            route("mine", ("one", "x"), tenant_id=TENANT),
            route("foreign", ("one", "x"), tenant_id=uuid7()),
            route("any-*", ("one", "*")),
        ],
    )


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
async def test_list_shows_what_the_key_may_use(tmp_path: Path, prefix: str) -> None:
    async with serving(tmp_path, catalogue()) as gateway:
        response = await gateway.client.get(f"{prefix}/models", headers=AUTH)
    assert response.status_code == 200
    body = response.json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["mine", "openai/gpt-x:free", "zeta"]
    assert body["data"][-1] == {"id": "zeta", "object": "model", "created": 7, "owned_by": "acme"}
    assert response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("name", ["zeta", "openai/gpt-x:free", "openai%2Fgpt-x%3Afree", "any-thing"])
async def test_model_is_retrieved_by_its_name(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path, catalogue()) as gateway:
        response = await gateway.client.get(f"/v1/models/{name}", headers=AUTH)
    assert response.status_code == 200
    assert response.json()["id"] == name.replace("%2F", "/").replace("%3A", ":")


@pytest.mark.parametrize("name", ["nope", "foreign", "", "%00", "a%0d%0ab"])
async def test_unknown_or_foreign_model_is_404(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path, catalogue()) as gateway:
        response = await gateway.client.get(f"/v1/models/{name}", headers=AUTH)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


async def test_models_need_a_key_and_get(tmp_path: Path) -> None:
    async with serving(tmp_path, catalogue()) as gateway:
        assert (await gateway.client.get("/v1/models")).status_code == 401
        refused = await gateway.client.post("/v1/models", headers=AUTH)
        headed = await gateway.client.head("/v1/models", headers=AUTH)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert (headed.status_code, headed.content) == (200, b"")
