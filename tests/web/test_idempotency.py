"""The same write twice is done once; what holds a secret is never stored."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from tests.domains.control_plane import ControlPlane, running_plane
from tollkeeper.core.errors import Conflict
from tollkeeper.core.permissions import Permission, Role
from tollkeeper.db.models import IdempotencyKey, Job
from tollkeeper.web.deps import CurrentCaller, TenantSession, control_router, install_kernel, requires, withhold_answer
from tollkeeper.web.schemas import Schema

router = control_router("things")
gates: dict[str, asyncio.Event] = {}


class Thing(Schema):
    name: str
    secret: str | None = None


@router.post("", status_code=201, dependencies=[requires(Permission.ME_VIEW)])
async def make(body: Thing, caller: CurrentCaller, session: TenantSession) -> Thing:
    session.add(Job(tenant_id=caller.tenant_id, kind=body.name))
    await session.flush()
    if body.name == "slow":
        gates["begun"].set()
        await gates["go on"].wait()
    if body.name == "refused":
        raise Conflict("Not this one.", code="refused")
    if body.secret is not None:
        withhold_answer(session, "thing_1")
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


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[httpx.AsyncClient]:
    async with plane.as_user(await plane.new_user(Role.DEVELOPER)) as client:
        yield client


async def made(plane: ControlPlane, name: str) -> int:
    async with plane.database.platform() as session:
        return await session.scalar(select(func.count()).where(Job.kind == name)) or 0


async def post(client: httpx.AsyncClient, key: str | None, **body: str) -> httpx.Response:
    return await client.post("/api/v1/things", json=body, headers={} if key is None else {"idempotency-key": key})


async def test_a_repetition_gets_the_first_answer(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    first = await post(client, "k1", name="once")
    again = await post(client, "k1", name="once")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert await made(plane, "once") == 1
    assert (await post(client, None, name="once")).status_code == 201
    assert await made(plane, "once") == 2


async def test_another_body_under_the_same_key_is_a_conflict(client: httpx.AsyncClient) -> None:
    await post(client, "k2", name="a")
    answer = await post(client, "k2", name="b")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")


async def test_another_caller_of_the_tenant_has_keys_of_their_own(
    plane: ControlPlane, client: httpx.AsyncClient
) -> None:
    await post(client, "k3", name="mine")
    async with plane.as_user(await plane.new_user(Role.DEVELOPER)) as other:
        answer = await post(other, "k3", name="theirs")
    assert answer.status_code == 201
    assert answer.json()["name"] == "theirs"


async def test_a_failed_write_may_be_tried_again(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    for _ in range(2):
        answer = await post(client, "k4", name="refused")
        assert (answer.status_code, answer.json()["code"]) == (409, "refused")
    assert await made(plane, "refused") == 0


async def test_a_secret_is_not_stored_and_its_repetition_names_the_object(
    plane: ControlPlane, client: httpx.AsyncClient
) -> None:
    assert (await post(client, "k5", name="secret", secret="tk-hidden")).status_code == 201
    answer = await post(client, "k5", name="secret", secret="tk-hidden")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_done")
    assert answer.json()["object_id"] == "thing_1"
    async with plane.database.platform() as session:
        rows = (await session.scalars(select(IdempotencyKey).where(IdempotencyKey.key == "k5"))).all()
    assert [row.response for row in rows] == [None]


async def test_a_second_request_while_the_first_is_at_work_is_a_conflict(
    plane: ControlPlane, client: httpx.AsyncClient
) -> None:
    gates.update({"begun": asyncio.Event(), "go on": asyncio.Event()})
    first = asyncio.create_task(post(client, "k6", name="slow"))
    async with asyncio.timeout(10):
        await gates["begun"].wait()
    second = await post(client, "k6", name="slow")
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_in_flight")
    gates["go on"].set()
    assert (await first).status_code == 201
    assert await made(plane, "slow") == 1


async def test_at_most_one_of_many_at_once_is_done(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(post(client, "k7", name="race") for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert await made(plane, "race") == 1


async def test_a_key_is_forgotten_after_a_day(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    await post(client, "k8", name="daily")
    async with plane.database.platform() as session:
        row = (await session.scalars(select(IdempotencyKey).where(IdempotencyKey.key == "k8"))).one()
        row.created_at = row.created_at.replace(year=2020)
    assert (await post(client, "k8", name="another")).status_code == 201
    assert (await post(client, "k8", name="another")).headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "a" * 256, "tab\there"])
async def test_an_odd_key_is_refused(client: httpx.AsyncClient, key: str) -> None:
    answer = await post(client, key, name="odd")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")
