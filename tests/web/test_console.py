"""The built console as the gateway serves it: what is kept for ever, what is asked for anew, and what is no file."""

import gzip
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.domains.control_plane import ORIGIN
from tollkeeper.api.console import CONTENT_SECURITY_POLICY
from tollkeeper.core.config import Settings
from tollkeeper.main import create_app

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
INDEX = b'<!doctype html><script type="module" src="/console/assets/index-abc123.js"></script>'
SCRIPT = b"export const answer = 42;\n" * 100


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_bytes(INDEX)
    (tmp_path / "scheme.js").write_bytes(b"// before the first paint")
    (tmp_path / ".vite").mkdir()
    (tmp_path / ".vite" / "manifest.json").write_text("{}")
    (tmp_path / "assets" / "index-abc123.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "index-abc123.js.gz").write_bytes(gzip.compress(SCRIPT))
    (tmp_path / "assets" / "inter-abc123.woff2").write_bytes(b"wOF2")
    return tmp_path


@pytest.fixture
async def client(dist: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(Settings(_env_file=None), console=dist), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=BROWSER) as client:
        yield client


@pytest.mark.parametrize(
    "address", ["/console", "/console/", "/console/keys", "/console/requests?open=req_1", "/console/a/b"]
)
async def test_every_address_of_a_page_is_the_one_page_and_is_asked_for_anew(
    client: httpx.AsyncClient, address: str
) -> None:
    answer = await client.get(address)
    assert (answer.status_code, answer.content) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    again = await client.get(address, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_what_has_its_hash_in_its_name_is_kept_for_ever(client: httpx.AsyncClient) -> None:
    plain = await client.get("/console/assets/index-abc123.js", headers={"accept-encoding": "identity"})
    assert (plain.content, plain.headers["content-type"]) == (SCRIPT, "text/javascript; charset=utf-8")
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    small = await client.get("/console/assets/index-abc123.js", headers={"accept-encoding": "br, gzip"})
    assert (small.headers["content-encoding"], small.headers["vary"]) == ("gzip", "accept-encoding")
    assert (small.content, int(small.headers["content-length"]) < len(SCRIPT)) == (SCRIPT, True)
    font = await client.get("/console/assets/inter-abc123.woff2")
    assert (font.headers["content-type"], "content-encoding" in font.headers) == ("font/woff2", False)
    scheme = await client.get("/console/scheme.js")
    assert (scheme.status_code, scheme.headers["cache-control"]) == (200, "no-cache")


async def test_the_policy_lets_nothing_foreign_run_or_load(client: httpx.AsyncClient) -> None:
    for address in ("/console/keys", "/console/assets/index-abc123.js"):
        answer = await client.get(address)
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    directives = dict(directive.split(" ", 1) for directive in CONTENT_SECURITY_POLICY.split("; "))
    assert (directives["default-src"], directives["script-src"], directives["connect-src"]) == (
        "'none'",
        "'self'",
        "'self'",
    )
    assert directives["require-trusted-types-for"] == "'script'"
    assert [name for name, value in directives.items() if "unsafe" in value] == ["style-src"]
    assert not re.search(r"https?:|\*", CONTENT_SECURITY_POLICY)


@pytest.mark.parametrize(
    "address",
    ["/console/assets/index-old.js", "/console/assets/nothing", "/console/index.html", "/console/.vite/manifest.json",
     "/console/assets/index-abc123.js.gz", "/console/assets/../index.html", "/console/%2e%2e/__init__.py"],
)  # fmt: skip
async def test_a_file_that_is_gone_or_is_none_is_404_and_no_page(client: httpx.AsyncClient, address: str) -> None:
    problem = await client.get(address, headers={"accept": "*/*"})
    assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")
    assert (await client.get(address)).status_code == 404


async def test_a_script_that_a_new_build_took_away_is_404(client: httpx.AsyncClient, dist: Path) -> None:
    for path in (dist / "assets").iterdir():
        path.unlink()
    assert (await client.get("/console/assets/index-abc123.js")).status_code == 404


async def test_a_build_beneath_a_running_gateway_is_served_at_once(client: httpx.AsyncClient, dist: Path) -> None:
    assert (await client.get("/console/assets/index-new456.js")).status_code == 404
    (dist / "assets" / "index-new456.js").write_bytes(b"export {};")
    (dist / "index.html").write_bytes(INDEX.replace(b"abc123", b"new456"))
    os.utime(dist / "index.html", ns=(1, 1))
    assert b"index-new456.js" in (await client.get("/console/keys")).content
    assert (await client.get("/console/assets/index-new456.js")).content == b"export {};"


@pytest.mark.parametrize(
    "address", ["/console/sign-in", "/console/account", "/console/step-up", "/console/reset-password"]
)
async def test_the_built_in_pages_stay_where_links_lead(client: httpx.AsyncClient, address: str) -> None:
    answer = await client.get(address)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.content != INDEX


async def test_programs_get_no_page_for_an_address_that_is_none(client: httpx.AsyncClient) -> None:
    answer = await client.get("/console/keys", headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_without_a_build_the_console_says_what_to_type(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(create_app(Settings(_env_file=None), console=tmp_path / "dist"))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=BROWSER) as client:
        answer = await client.get("/console")
        assert (answer.status_code, "./tollkeeper console build" in answer.text) == (200, True)
        assert (await client.get("/console/keys")).status_code == 404
