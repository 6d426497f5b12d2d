"""Whatever a caller writes into path, host and forwarding headers, the permission is the one of the route that runs."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.matrix.calls import unknown_ids
from tests.matrix.operations import Operation, operations
from tests.matrix.recipes import path_of
from tests.matrix.wire import Wire
from tests.matrix.world import NOBODY, World
from tollkeeper.core.permissions import Permission, Role, Scope

_GUARDED: Final = [op for op in operations() if op.permission is not None]
# What takes a permission away never becomes a success, nor our fault.
_REFUSED: Final = frozenset({0, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 421, 422, 431})


def spellings(path: str) -> Iterator[bytes]:
    """Other ways to write a path, each of which some server somewhere took for the same one."""
    tail = path.removeprefix("/api/v1")
    for text in (
        f"/{path}", f"{path}/", f"{path}//", f"{path}/.", f"{path}/..", f"{path};x=1", f"{path}.json", f"{path}%20", f"{path}%00",
        f"{path}%2f", f"{path}?", f"{path}%3f", f"{path}%23", f"{path}/%2e%2e", f"/api//v1{tail}", f"/api/./v1{tail}",
        f"/api/v1/.{tail}", f"/api/v1/health/..{tail}", f"/api/v1/%2e%2e/v1{tail}", f"/api%2fv1{tail}", f"/%61pi/v1{tail}",
        f"/api/v1%2f{tail[1:]}", f"/API/V1{tail}", f"/v1/../api/v1{tail}", f"/v1/..%2fapi/v1{tail}", f"/v1/%2e%2e/api/v1{tail}",
        f"/health/live/..{path}", f"/health/live/%2e%2e/%2e%2e{path}", f"/openapi.json/..{path}", f"/metrics/../{path}",
        f"\\api\\v1{tail}", f"/api/v1\\{tail[1:]}", f"/api/v1{tail.upper()}", f"/console/..{path}",
        f"/api/v1/auth/login/../..{tail}", f"/api/v1/auth/login;{tail}", f"//localhost{path}", f"/api/v1{tail}/../../auth/login",
    ):  # fmt: skip
        yield text.encode()
    yield f"http://localhost{path}".encode()
    yield f"http://evil.example{path}".encode()
    yield f"http://localhost/health/live?{path}".encode()
    yield path.encode() + b"/\xc0\xae\xc0\xae/"
    yield path.encode() + b"\xff"


@pytest.mark.parametrize("operation", _GUARDED, ids=str)
async def test_no_spelling_of_a_path_gets_past_its_permission(world: World, operation: Operation) -> None:
    path = path_of(operation.path, operation.path_ids, unknown_ids(operation))
    nobody = await world.person(NOBODY)
    bearer = (b"authorization", b"Bearer " + nobody.token.encode())
    body = b"{}" if operation.is_write else b""
    async with Wire(world.port) as wire:
        for target in (path.encode(), *spellings(path)):
            for headers in ([], [bearer]):
                status, _, answer = await wire.ask(operation.method, target, headers, body=body)
                # What does run under the other spelling is open to everybody.
                is_open = status == 200 and target.startswith((b"http://localhost/health/live?",))
                assert status in _REFUSED or is_open, f"{operation.method} {target!r}: {status} {answer[:200]!r}"


_HOSTS: Final = (
    b"evil.example", b"localhost:80@evil.example", b"localhost/api/v1/auth/login", b"localhost/health/live?", b"/health/live",
    b"localhost#", b"localhost\\health\\live", b"[::1", b"localhost:99999999", b"a" * 3000, b"\xff\xfe", b"localhost, evil", b"",
    b"localhost:8000/api/v1/auth/login?x=", b"127.0.0.1", b"api.v1.auth.login", b"localhost/openapi.json#",
)  # fmt: skip


@pytest.mark.parametrize("path", ["/api/v1/users", "/api/v1/keys", "/api/v1/tenants", "/v1/models"])
async def test_the_host_decides_nothing(world: World, path: str) -> None:
    nobody = await world.person(NOBODY)
    inference = await world.credential(await world.person(Role.DEVELOPER), Scope.INFERENCE)
    credentials = [[], [(b"authorization", b"Bearer " + nobody.token.encode())]]
    if path != "/v1/models":
        credentials.append([(b"authorization", b"Bearer " + inference.encode())])
    async with Wire(world.port) as wire:
        for host in _HOSTS:
            for headers in credentials:
                for target in (path.encode(), b"http://" + b"localhost" + path.encode()):
                    status, _, answer = await wire.ask("GET", target, headers, host=[host])
                    assert status in _REFUSED, f"{path} at {host!r}: {status} {answer[:200]!r}"
        status, _, _ = await wire.ask("GET", path.encode(), host=[b"localhost", b"evil.example"])
        assert status in {0, 400}
        status, _, _ = await wire.ask("GET", path.encode(), host=[])
        assert status in {0, 400}


_FORWARDED: Final = tuple(
    (name, value)
    for name, values in {
        b"x-original-url": (b"/health/live", b"/api/v1/auth/login"),
        b"x-rewrite-url": (b"/health/live", b"/openapi.json"),
        b"x-forwarded-prefix": (b"/health/live", b"/..", b"/api/v1/auth/login?"),
        b"x-forwarded-path": (b"/health/live",),
        b"x-forwarded-host": (b"localhost/health/live?",),
        b"x-forwarded-uri": (b"/health/live",),
        b"x-forwarded-for": (b"127.0.0.1", b"::1", b"'; DROP TABLE users; --"),
        b"x-forwarded-proto": (b"https",),
        b"forwarded": (b"for=127.0.0.1;host=localhost",),
        b"x-real-ip": (b"127.0.0.1",),
        b"x-http-method-override": (b"OPTIONS", b"GET"),
        b"x-http-method": (b"OPTIONS",),
        b"x-method-override": (b"HEAD",),
        b"x-forwarded-user": (b"admin@example.com",),
        b"x-user-id": (b"1",),
        b"x-user-role": (b"platform_admin",),
        b"x-tenant-id": (b"ten_" + b"0" * 32,),
        b"x-tollkeeper-user": (b"admin@example.com",),
        b"x-tollkeeper-role": (b"platform_admin",),
        b"remote-user": (b"admin",),
        b"x-remote-user": (b"admin",),
        b"x-authenticated-user": (b"admin",),
        b"x-goog-authenticated-user-email": (b"accounts.google.com:admin@example.com",),
        b"x-ms-client-principal": (b"eyJ1c2VySWQiOiJhZG1pbiJ9",),
        b"cf-access-jwt-assertion": (b"eyJhbGciOiJub25lIn0.e30.",),
    }.items()
    for value in values
)


async def test_no_header_speaks_for_a_caller(world: World) -> None:
    nobody = await world.person(NOBODY)
    bearer = (b"authorization", b"Bearer " + nobody.token.encode())
    async with Wire(world.port) as wire:
        for forged in _FORWARDED:
            for method, path in (("GET", b"/api/v1/users"), ("POST", b"/api/v1/users"), ("GET", b"/v1/models")):
                body = b"{}" if method == "POST" else b""
                status, _, answer = await wire.ask(method, path, [forged], body=body)
                assert status == 401, f"{forged} without a credential: {status} {answer[:200]!r}"
                status, _, answer = await wire.ask(method, path, [forged, bearer], body=body)
                # A session opens the data plane with one of its keys alone.
                assert status == (401 if path == b"/v1/models" else 403), (
                    f"{forged} with nobody's: {status} {answer[:200]!r}"
                )


async def test_no_header_moves_a_caller_into_another_tenant(world: World) -> None:
    person = await world.person(frozenset({Permission.USERS_VIEW.value}))
    theirs = world.theirs.tenant_id
    async with Wire(world.port) as wire:
        for name in (
            b"x-tenant-id",
            b"x-tollkeeper-tenant",
            b"x-tollkeeper-tenant-id",
            b"openai-organization",
            b"openai-project",
        ):
            for value in (b"ten_" + theirs.hex.encode(), str(theirs).encode(), world.theirs.canary.encode()):
                headers = [(b"authorization", b"Bearer " + person.token.encode()), (name, value)]
                status, _, answer = await wire.ask("GET", b"/api/v1/users", headers)
                assert status == 200
                assert world.theirs.canary.encode() not in answer
                assert theirs.hex.encode() not in answer
