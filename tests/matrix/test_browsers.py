"""What a browser can be made to do by another site: nothing is changed by a cookie alone, and nothing may be read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import httpx
import orjson
import pytest

from tests.matrix.calls import unknown_ids
from tests.matrix.operations import Operation, operations
from tests.matrix.recipes import RECIPES, path_of
from tests.matrix.world import ORIGIN, Person, World
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import User
from tollkeeper.web.caller import CSRF_HEADER

_KNOWN: Final = [op for op in operations() if op.name in RECIPES]
_WRITES: Final = [op for op in _KNOWN if op.permission is not None and op.is_write]
# Those who take a browser's cookie, or give one.
_BY_COOKIE: Final = [op for op in _KNOWN if op.path in {"/api/v1/auth/login", "/api/v1/auth/refresh"}]
_FOREIGN_ORIGINS: Final = (
    "null", "http://evil.example", "http://localhost.evil.example", "http://evil.example#localhost",
    "http://localhost:81", "http://evillocalhost", "http://localhost@evil.example", "file://", "http://[::1", "http://",
    "chrome-extension://abcdef", "http://127.0.0.1", "*", "http://localhost, http://evil.example", "",
)  # fmt: skip
_LISTED: Final = "https://console.example.com"


@dataclass(frozen=True)
class Browser:
    """A cookie as a sign-in sets it, and the token that our own pages learn."""

    person: Person
    cookie: str
    csrf: str


async def sign_in(world: World, person: Person) -> Browser:
    password = await world.set_password(person.user_id)
    async with world.rows() as session:
        user = await session.get(User, person.user_id)
        assert user is not None
        email = user.email
    content = orjson.dumps({"email": email, "password": password})
    answer = await world.ask(
        "POST", "/api/v1/auth/login", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    cookies = [value.partition(";")[0] for name, value in answer.headers.multi_items() if name == "set-cookie"]
    return Browser(person, "; ".join(cookies), answer.json()["csrf_token"])


@pytest.fixture(scope="module")
async def browser(world: World) -> Browser:
    return await sign_in(world, await world.person(Role.PLATFORM_ADMIN))


async def ask(
    world: World, operation: Operation, browser: Browser, headers: dict[str, str], content: bytes | None = b"{}"
) -> httpx.Response:
    """Who may not make the call is refused before its body and its objects count."""
    ids = unknown_ids(operation)
    sent = {"cookie": browser.cookie, **({"content-type": "application/json"} if content else {}), **headers}
    path = path_of(operation.path, operation.path_ids, ids)
    return await world.ask(operation.method, path, content=content, headers=sent)


@pytest.mark.parametrize("operation", _WRITES, ids=str)
async def test_a_cookie_alone_changes_nothing(world: World, browser: Browser, operation: Operation) -> None:
    forged: dict[str, dict[str, str]] = {
        "csrf_token_missing": {},
        "csrf_token_wrong": {CSRF_HEADER: "0" * len(browser.csrf)},
    }
    for code, headers in forged.items():
        answer = await ask(world, operation, browser, headers)
        assert (answer.status_code, answer.json()["code"]) == (403, code), f"{operation}: {answer.text}"
    # Even who knows the token does not come from another site.
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        answer = await ask(world, operation, browser, {CSRF_HEADER: browser.csrf, **headers})
        told = (answer.status_code, answer.json()["code"])
        assert told == (403, "cross_site_request"), f"{operation} {headers}: {answer.text}"


async def test_our_own_pages_change_things_by_cookie(world: World, browser: Browser) -> None:
    """The negative control."""
    operation = next(op for op in _WRITES if op.name == "POST /api/v1/keys")
    for headers in ({}, {"origin": ORIGIN, "sec-fetch-site": "same-origin"}):
        body = b'{"name": "a key"}'
        answer = await ask(world, operation, browser, {CSRF_HEADER: browser.csrf, **headers}, body)
        assert answer.status_code == 201, answer.text


async def test_another_sessions_token_is_a_wrong_one(world: World, browser: Browser) -> None:
    other = await sign_in(world, await world.new_person(Role.PLATFORM_ADMIN))
    operation = next(op for op in _WRITES if op.name == "POST /api/v1/keys")
    answer = await ask(world, operation, replace(browser, csrf=other.csrf), {CSRF_HEADER: other.csrf})
    assert answer.json()["code"] == "csrf_token_wrong"


@pytest.mark.parametrize("operation", _BY_COOKIE, ids=str)
async def test_nobody_is_signed_in_or_out_from_another_site(
    world: World, browser: Browser, operation: Operation
) -> None:
    for origin in _FOREIGN_ORIGINS:
        answer = await ask(
            world, operation, browser, {"origin": origin}, b'{"email": "a@example.com", "password": "x"}'
        )
        assert answer.status_code == 403, f"{operation} from {origin!r}: {answer.text}"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("origins", ["", _LISTED], ids=["no origin listed", "one origin listed"])
async def test_no_other_origin_may_read_an_answer(world: World, browser: Browser, origins: str) -> None:
    async with listing(world, origins):
        for path in (
            "/api/v1/me",
            "/api/v1/users",
            "/api/v1/auth/login",
            "/openapi.json",
            "/v1/models",
            "/api/v1/nothing",
        ):
            for origin in (
                *_FOREIGN_ORIGINS,
                f"{_LISTED}.evil.example",
                f"{_LISTED}:444",
                _LISTED.upper(),
                "http://console.example.com",
            ):
                for method, headers in (
                    ("GET", {"origin": origin, "cookie": browser.cookie}),
                    ("OPTIONS", {"origin": origin, "access-control-request-method": "POST"}),
                    (
                        "OPTIONS",
                        {
                            "origin": origin,
                            "access-control-request-method": "DELETE",
                            "access-control-request-headers": "authorization",
                        },
                    ),
                ):
                    answer = await world.ask(method, path, headers=headers)
                    told = [name for name in answer.headers if name.startswith("access-control-allow")]
                    assert not told, f"{method} {path} from {origin!r} with {origins!r}: {told}"
                    assert answer.status_code < 500


async def test_a_listed_origin_may_read_and_ask(world: World, browser: Browser) -> None:
    """The negative control, and the exact words."""
    async with listing(world, _LISTED):
        answer = await world.ask("GET", "/api/v1/me", headers={"origin": _LISTED, "cookie": browser.cookie})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == _LISTED
        assert answer.headers["access-control-allow-credentials"] == "true"
        preflight = {"origin": _LISTED, "access-control-request-method": "POST"}
        answer = await world.ask("OPTIONS", "/api/v1/keys", headers=preflight)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == _LISTED


@asynccontextmanager
async def listing(world: World, origins: str) -> AsyncIterator[None]:
    """The setting is read at each request; a started gateway never changes it."""
    services = world.services
    before = services.settings
    services.settings = before.model_copy(update={"cors_origins": origins})
    try:
        yield
    finally:
        services.settings = before
