"""Who calls is proven before anything is read, every route declares its permission, and no lost commit is a success."""

import base64
import re
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import select, text

from tests.callers import someone
from tests.domains.control_plane import ControlPlane, running_plane
from tollkeeper.api.v1 import PREFIX
from tollkeeper.api.v1 import router as api
from tollkeeper.contracts.key_proof import KeyProof
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Permission, Role, permissions_of
from tollkeeper.db.models import Tenant, User
from tollkeeper.db.session import Database
from tollkeeper.domains.keys.lookup import SqlKeyLookup
from tollkeeper.web.deps import (
    CurrentCaller,
    ObjectSession,
    PlatformSession,
    TargetTenant,
    TenantSession,
    control_router,
    install_kernel,
    public,
    requires,
)
from tollkeeper.web.routing import UndeclaredRoute, declarations_of
from tollkeeper.web.schemas import Schema

router = control_router("things")


class Seen(Schema):
    tenant_id: str
    user_id: str
    key_id: str | None


class Renamed(Schema):
    name: str


@router.get("", dependencies=[requires(Permission.ME_VIEW)])
async def show(caller: CurrentCaller, tenant_id: TargetTenant) -> Seen:
    key_id = None if caller.key_id is None else format_id("key", caller.key_id)
    return Seen(tenant_id=format_id("ten", tenant_id), user_id=format_id("usr", caller.user_id), key_id=key_id)


@router.get("/tenants", dependencies=[requires(Permission.TENANTS_VIEW)])
async def tenants(session: ObjectSession) -> list[str]:
    return [tenant_id.hex for tenant_id in await session.scalars(select(Tenant.id))]


@router.get("/platform", dependencies=[requires(Permission.ME_VIEW)])
async def platform(session: PlatformSession) -> list[str]:
    return [tenant_id.hex for tenant_id in await session.scalars(select(Tenant.id))]


@router.post("/rename", dependencies=[requires(Permission.ME_VIEW)])
async def rename(body: Renamed, caller: CurrentCaller, session: TenantSession) -> Renamed:
    row = await session.get(User, caller.user_id)
    assert row is not None
    row.name = body.name
    await session.flush()
    if body.name == "lost":
        # A constraint checked at the commit: the route is done by then.
        await session.execute(
            text("CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP")
        )
        await session.execute(text("INSERT INTO late VALUES (1), (1)"))
    if body.name == "killed":
        await session.execute(text("SELECT set_config('statement_timeout', '0', true)"))
        connection = await session.connection()
        raw = await connection.get_raw_connection()
        raw.driver_connection.terminate()
    return body


@pytest.fixture(scope="module")
async def plane(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    async with running_plane(database_url, tmp_path_factory.mktemp("data")) as plane:
        app = FastAPI(redirect_slashes=False)
        app.state.services = plane.services
        install_kernel(app)
        app.include_router(router, prefix="/api/v1")
        plane.app = app  # type: ignore[misc]
        yield plane


async def ask(plane: ControlPlane, path: str = "/api/v1/things", **headers: str) -> httpx.Response:
    async with plane.client(**headers) as client:
        return await client.get(path)


def test_every_route_declares_exactly_one_permission() -> None:
    app = FastAPI()
    app.include_router(api, prefix=PREFIX)
    contexts = [context for context in iter_route_contexts(app.routes) if context.path.startswith("/api/")]
    assert len(contexts) > 20
    for context in contexts:
        assert len(declarations_of(context.original_route.dependant)) == 1, context.path  # type: ignore[union-attr]


# Each proves its caller by what is sent: a password, a cookie, a link's token, a provider's answer; or tells next to nothing.
PUBLIC = {
    "/api/v1/auth/login",
    "/api/v1/auth/refresh",
    "/api/v1/auth/register",
    "/api/v1/auth/verify-email",
    "/api/v1/auth/password-reset",
    "/api/v1/auth/password-reset/complete",
    "/api/v1/auth/oidc",
    "/api/v1/auth/oidc/{provider_id}/start",
    "/api/v1/auth/oidc/callback",
    "/api/v1/invitations/accept",
}


def test_public_routes_are_these_few() -> None:
    app = FastAPI()
    app.include_router(api, prefix=PREFIX)
    open_paths = {
        context.path
        for context in iter_route_contexts(app.routes)
        if context.path.startswith("/api/") and declarations_of(context.original_route.dependant)[0].permission is None  # type: ignore[union-attr]
    }
    assert open_paths == PUBLIC


async def test_every_route_refuses_strangers_before_anything_else(plane: ControlPlane) -> None:
    _, revoked = await plane.new_key(await plane.user(Role.PLATFORM_ADMIN), "admin", status="revoked")
    app = FastAPI(redirect_slashes=False)
    app.state.services = plane.services
    install_kernel(app)
    app.include_router(api, prefix=PREFIX)
    asked = 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        for context in iter_route_contexts(app.routes):
            if not context.path.startswith("/api/") or context.path in PUBLIC:
                continue
            path = re.sub(r"\{[^}]*\}", "x", context.path)
            for method in context.methods:
                for headers in ({}, {"authorization": "Bearer nonsense"}, {"x-api-key": revoked}):
                    answer = await client.request(method, path, headers=headers, content=b"{")
                    assert answer.status_code == 401, (method, path, answer.text)
                    asked += 1
    assert asked > 100


def test_a_route_without_a_permission_cannot_be_made() -> None:
    with pytest.raises(UndeclaredRoute):
        control_router("a").get("")(show)
    with pytest.raises(UndeclaredRoute):
        control_router("b").get("", dependencies=[requires(Permission.ME_VIEW), public()])(show)


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
async def test_a_key_is_taken_from_each_of_the_four_headers(plane: ControlPlane, header: str) -> None:
    key_id, secret = await plane.new_key(await plane.user(Role.DEVELOPER), "admin")
    answer = await ask(plane, **{header: f"Bearer {secret}" if header == "authorization" else secret})
    assert answer.status_code == 200, answer.text
    assert answer.json()["key_id"] == key_id


async def test_a_query_parameter_that_is_none_is_refused_not_ignored(plane: ControlPlane) -> None:
    _, secret = await plane.new_key(await plane.user(Role.DEVELOPER), "admin")
    answer = await ask(plane, "/api/v1/things?tenant=ten_1", authorization=f"Bearer {secret}")
    assert answer.status_code == 422
    assert answer.json()["code"] == "unknown_parameter"
    assert "tenant_id" in answer.json()["detail"]


async def test_two_different_credentials_are_refused_and_two_equal_ones_are_not(plane: ControlPlane) -> None:
    _, first = await plane.new_key(await plane.user(Role.DEVELOPER), "admin")
    _, second = await plane.new_key(await plane.user(Role.DEVELOPER), "admin")
    both = await ask(plane, **{"authorization": f"Bearer {first}", "x-api-key": second})
    assert both.status_code == 400
    assert both.json()["code"] == "conflicting_credentials"
    same = await ask(plane, **{"authorization": f"Bearer {first}", "x-api-key": first})
    assert same.status_code == 200


async def test_every_bad_credential_is_401(plane: ControlPlane) -> None:
    key_id, secret = await plane.new_key(await plane.user(Role.DEVELOPER), "admin")
    token = await plane.session_token(await plane.user(Role.DEVELOPER))
    expired = await plane.new_key(await plane.user(Role.DEVELOPER), "admin", expires_at=plane.clock.now())
    revoked = await plane.new_key(await plane.user(Role.DEVELOPER), "admin", status="revoked")
    wrong_end = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    head, body, signature = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    bad = ["", "x", wrong_end, secret[:20], secret + secret, key_id, expired[1], revoked[1], "tk-" + "a" * 60, "a" * 9000,
           f"{head}.{body}.{signature[:-2]}AA", f"{none}.{body}.", "eyJ.eyJ.x", "' OR 1=1 --" + "a" * 40]  # fmt: skip
    for credential in bad:
        answer = await ask(plane, authorization=f"Bearer {credential}")
        assert answer.status_code == 401, (credential, answer.text)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await ask(plane, authorization=f"Basic {secret}")).status_code == 401
    assert (await ask(plane)).json()["code"] == "missing_credential"


async def test_the_body_is_not_read_for_a_stranger(plane: ControlPlane) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b" " * 100

    async with plane.client(**{"content-type": "application/json"}) as client:
        answer = await client.post("/api/v1/things/rename", content=body())
    assert answer.status_code == 401
    assert read <= 1


async def test_an_inference_key_may_not_administer(plane: ControlPlane) -> None:
    _, secret = await plane.new_key(await plane.user(Role.PLATFORM_ADMIN), "inference")
    answer = await ask(plane, "/api/v1/things/tenants", authorization=f"Bearer {secret}")
    assert answer.status_code == 403
    assert answer.json()["code"] == "permission_denied"


async def test_demoting_the_owner_demotes_the_key_and_the_session_at_once(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.TENANT_ADMIN)
    _, secret = await plane.new_key(user_id, "admin")
    token = await plane.session_token(user_id)
    for credential in (secret, token):
        assert (await ask(plane, "/api/v1/things/tenants", authorization=f"Bearer {credential}")).status_code == 200
    await plane.set_role(user_id, Role.DEVELOPER)
    for credential in (secret, token):
        assert (await ask(plane, "/api/v1/things/tenants", authorization=f"Bearer {credential}")).status_code == 403


async def test_a_disabled_user_and_a_suspended_tenant_are_out_at_once(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER, plane.other_tenant_id)
    credentials = [(await plane.new_key(user_id, "admin"))[1], await plane.session_token(user_id)]
    for model, object_id in ((User, user_id), (Tenant, plane.other_tenant_id)):
        for is_active, status in ((False, 401), (True, 200)):
            async with plane.database.platform() as session:
                row = await session.get(model, object_id)
                assert row is not None
                row.is_active = is_active  # type: ignore[attr-defined]
            for credential in credentials:
                assert (await ask(plane, authorization=f"Bearer {credential}")).status_code == status


async def test_a_raised_epoch_ends_the_session(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    token = await plane.session_token(user_id)
    async with plane.database.platform() as session:
        user = await session.get(User, user_id)
        assert user is not None
        user.session_epoch += 1
    answer = await ask(plane, authorization=f"Bearer {token}")
    assert answer.status_code == 401
    assert answer.json()["code"] == "session_ended"


async def test_only_the_platform_names_another_tenant(plane: ControlPlane) -> None:
    path = f"/api/v1/things?tenant_id={format_id('ten', plane.other_tenant_id)}"
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        assert (await admin.get(path)).json()["tenant_id"] == format_id("ten", plane.other_tenant_id)
        assert (await admin.get("/api/v1/things?tenant_id=ten_1")).status_code == 422
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        refused = await client.get(path)
        unknown = await client.get(f"/api/v1/things?tenant_id={format_id('ten', uuid7())}")
    assert refused.status_code == unknown.status_code == 404
    assert refused.json()["detail"] == unknown.json()["detail"]


async def test_sessions_show_what_the_caller_may_see(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        assert (await client.get("/api/v1/things/tenants")).json() == [plane.tenant_id.hex]
        assert (await client.get("/api/v1/things/platform")).status_code == 403
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        assert plane.other_tenant_id.hex in (await admin.get("/api/v1/things/tenants")).json()
        assert plane.other_tenant_id.hex in (await admin.get("/api/v1/things/platform")).json()


async def name_of(plane: ControlPlane, user_id: UUID) -> str | None:
    async with plane.database.platform() as session:
        return await session.scalar(select(User.name).where(User.id == user_id))


async def test_the_change_is_there_when_the_answer_is(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    async with plane.as_user(user_id) as client:
        assert (await client.post("/api/v1/things/rename", json={"name": "kept"})).status_code == 200
    assert await name_of(plane, user_id) == "kept"


@pytest.mark.parametrize(("name", "status"), [("lost", 500), ("killed", 503)])
async def test_a_commit_that_fails_is_never_answered_with_success(plane: ControlPlane, name: str, status: int) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    async with plane.as_user(user_id) as client:
        answer = await client.post("/api/v1/things/rename", json={"name": name})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await name_of(plane, user_id) == Role.DEVELOPER.value


async def test_a_database_that_is_away_is_503_never_401(plane: ControlPlane) -> None:
    _, secret = await plane.new_key(await plane.user(Role.DEVELOPER), "admin")
    token = await plane.session_token(await plane.user(Role.DEVELOPER))
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    services = plane.services
    proof, identities = services.key_proof, services.identities
    services.key_proof = KeyProof(SqlKeyLookup(away), services.key_hasher)
    services.identities = type(identities)(away, plane.clock)
    try:
        for credential in (secret, token):
            answer = await ask(plane, authorization=f"Bearer {credential}")
            assert answer.status_code == 503, answer.text
            assert answer.json()["code"] == DependencyUnavailable.code
            assert answer.headers["retry-after"]
    finally:
        services.key_proof, services.identities = proof, identities
        await away.close()


def test_a_caller_covers_roles_up_to_their_own() -> None:
    admin = someone(uuid7(), Role.TENANT_ADMIN)
    assert admin.covers(permissions_of(Role.TENANT_ADMIN))
    assert admin.covers(permissions_of(Role.DEVELOPER))
    assert not admin.covers(permissions_of(Role.PLATFORM_ADMIN))
    assert not someone(uuid7(), Role.DEVELOPER).covers(permissions_of(Role.VIEWER))
