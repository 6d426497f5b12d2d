"""Which pages of other origins may read the control plane: exactly the listed ones, and none by default."""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import ValidationError

from tests.domains.control_plane import ControlPlane, running_plane
from tollkeeper.core.config import Settings
from tollkeeper.core.permissions import Role

CONSOLE = "https://console.example.com"
PATH = "/api/v1/auth/login"
STRANGERS = [
    "https://evil.example",
    "null",
    "*",
    "https://console.example.com.evil.example",
    "https://evil.console.example.com",
    "http://console.example.com",
    "https://console.example.com:8443",
    "https://CONSOLE.example.com",
    "https://console.example.com/",
    "https://console.example.com, https://evil.example",
    "",
    "é",
]


@pytest.fixture(scope="module")
async def plane(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    async with running_plane(database_url, tmp_path_factory.mktemp("data")) as plane:
        yield plane


@pytest.fixture
def listed(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    settings = plane.services.settings
    wanted = Settings(_env_file=None, data_dir=settings.data_dir, cors_origins=f"{CONSOLE}, http://localhost:5173")
    monkeypatch.setattr(plane.services, "settings", wanted)
    return plane


def preflight(origin: str) -> dict[str, str]:
    return {"origin": origin, "access-control-request-method": "POST"}


def allowing(answer: httpx.Response) -> list[str]:
    return [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_listed_origin_may_ask_and_read(listed: ControlPlane) -> None:
    async with listed.client() as client:
        asked = await client.options(PATH, headers=preflight(CONSOLE))
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == CONSOLE
        assert asked.headers["access-control-allow-credentials"] == "true"
        assert "x-tollkeeper-csrf" in asked.headers["access-control-allow-headers"]
        refused = await client.get("/api/v1/me", headers={"origin": CONSOLE})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == CONSOLE
        assert "origin" in refused.headers["vary"].lower()


@pytest.mark.parametrize("origin", STRANGERS)
async def test_no_other_origin_is_ever_named(listed: ControlPlane, origin: str) -> None:
    async with listed.client() as client:
        sent = {name: value.encode() for name, value in preflight(origin).items()}
        asked = await client.options(PATH, headers=sent)
        assert asked.status_code >= 400
        assert allowing(asked) == []
        read = await client.get("/api/v1/me", headers={"origin": origin.encode()})
        assert allowing(read) == []
        assert "origin" in read.headers["vary"].lower()


@pytest.mark.parametrize("origin", [CONSOLE, *STRANGERS])
async def test_without_a_list_nothing_is_said(plane: ControlPlane, origin: str) -> None:
    async with plane.client() as client:
        assert allowing(await client.options(PATH, headers={k: v.encode() for k, v in preflight(origin).items()})) == []
        assert allowing(await client.get("/api/v1/me", headers={"origin": origin.encode()})) == []


async def test_the_inference_paths_and_health_are_not_concerned(listed: ControlPlane) -> None:
    async with listed.client() as client:
        for path in ("/v1/models", "/openapi.json", "/health/live", "/api/v10/me"):
            assert allowing(await client.get(path, headers={"origin": CONSOLE})) == []


async def test_a_listed_console_signs_in_by_cookie_and_still_needs_the_token(listed: ControlPlane) -> None:
    user_id = await listed.new_user(Role.DEVELOPER, password="correct horse battery")
    there = {"origin": CONSOLE, "sec-fetch-site": "same-site"}
    body = {"email": f"{user_id.hex}@example.com", "password": "correct horse battery"}
    async with listed.client(**there) as client:
        signed_in = await client.post(PATH, json=body)
        assert signed_in.status_code == 200, signed_in.text
        bare = await client.post("/api/v1/keys", json={"name": "x"})
        assert bare.json()["code"] == "csrf_token_missing"
        token = {"x-tollkeeper-csrf": signed_in.json()["csrf_token"]}
        assert (await client.post("/api/v1/keys", json={"name": "x"}, headers=token)).status_code == 201
        for foreign in ("https://evil.example", "null"):
            refused = await client.post("/api/v1/keys", json={"name": "x"}, headers={**token, "origin": foreign})
            assert refused.json()["code"] == "cross_site_request"


@pytest.mark.parametrize(
    "text",
    ["*", "null", "console.example.com", "https://*.example.com", "https://x/", "https://x/path", "https://a@x",
     "ftp://x", "https://X.example", "https://x, *", "https://x:port", "https://"],
)  # fmt: skip
def test_what_is_no_origin_cannot_be_listed(text: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        Settings(_env_file=None, cors_origins=text)
