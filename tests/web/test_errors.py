"""Every error of the control plane is a problem document with a request id, and tells nothing internal."""

from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from tollkeeper.core.config import Settings
from tollkeeper.core.errors import Conflict, DependencyUnavailable, NotFound, RateLimited
from tollkeeper.web.deps import control_router, install_kernel, public
from tollkeeper.web.schemas import Email, Name, Rate, Schema

router = control_router("things")
SECRET = "postgresql://user:hunter2@db.internal"


class Thing(Schema):
    name: Name
    email: Email | None = None
    rate: Rate | None = None


@router.post("", dependencies=[public()])
async def make_thing(body: Thing) -> Thing:
    return body


@router.get("/{kind}", dependencies=[public()])
async def fail(kind: str) -> Thing:
    match kind:
        case "missing":
            raise NotFound("There is no such thing.")
        case "conflict":
            raise Conflict("Two things.", code="two_things", details={"object_id": "thing_1", "status": 200})
        case "away":
            raise DependencyUnavailable("The database does not answer; try again.")
        case "slow":
            raise RateLimited("Too fast.", retry_after_seconds=1.2)
        case _:
            raise RuntimeError(SECRET)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(redirect_slashes=False)
    app.state.services = SimpleNamespace(settings=Settings(_env_file=None, max_control_body_bytes=4096))
    install_kernel(app)
    app.include_router(router, prefix="/api/v1")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        yield client


def check_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:tollkeeper:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["request_id"].startswith("req_")
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_named_error_keeps_its_status_code_and_details(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/api/v1/things/missing"), 404, "not_found")
    answer = await client.get("/api/v1/things/conflict")
    check_problem(answer, 409, "two_things")
    assert answer.json()["object_id"] == "thing_1"


async def test_unknown_paths_and_wrong_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/api/v1/nothing"), 404, "not_found")
    answer = await client.put("/api/v1/things")
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_an_unknown_exception_is_logged_once_and_tells_nothing(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        answer = await client.get("/api/v1/things/crash")
    check_problem(answer, 500, "internal_error")
    assert "hunter2" not in answer.text
    assert [line["event"] for line in lines] == ["request_failed"]


async def test_a_dependency_that_is_away_is_503_with_a_time_to_retry(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/things/away")
    check_problem(answer, 503, "dependency_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    slow = await client.get("/api/v1/things/slow")
    assert slow.headers["retry-after"] == "2"


async def test_an_unknown_field_is_refused_and_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/things", json={"name": "a", "is_admin": True})
    check_problem(answer, 422, "malformed_payload")
    assert answer.json()["errors"] == [
        {"loc": ["body", "is_admin"], "message": "Extra inputs are not permitted", "code": "extra_forbidden"}
    ]


async def test_a_refused_value_is_never_repeated(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/things", json={"name": {"password": "hunter2"}})
    check_problem(answer, 422, "malformed_payload")
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe{}", 400, "invalid_json"),
        (b'{"name": NaN}', 400, "invalid_json"),
        (b'{"name": "\\ud800"}', 400, "invalid_json"),
        (b'{"name": "a", "name": "b"}', 400, "invalid_json"),
        (b"[" * 1000 + b"]" * 1000, 400, "invalid_json"),
        (b"[" * 200 + b"]" * 200, 400, "invalid_json"),
        (b'{"name": "a\\u0000b"}', 422, "malformed_payload"),
        (b'{"na\\u0000me": "a"}', 422, "malformed_payload"),
        (b'{"name": "a\\nb"}', 422, "malformed_payload"),
        (b'{"name": "\\u202egnp.exe"}', 422, "malformed_payload"),
        (b'{"name": "   "}', 422, "malformed_payload"),
        (b'{"name": 5}', 422, "malformed_payload"),
        (b'{"name": "a", "rate": true}', 422, "malformed_payload"),
        (b'{"name": "a", "rate": 1e3}', 422, "malformed_payload"),
        (b'{"name": "a", "rate": 99999999999999999999999}', 422, "malformed_payload"),
        (b'{"name": "a", "email": "no address"}', 422, "malformed_payload"),
        (b'"name"', 422, "malformed_payload"),
        (b"", 422, "malformed_payload"),
        (b'{"name": "' + b"a" * 5000 + b'"}', 413, "payload_too_large"),
    ],
)
async def test_bad_bodies_are_refused(client: httpx.AsyncClient, body: bytes, status: int, code: str) -> None:
    answer = await client.post("/api/v1/things", content=body, headers={"content-type": "application/json"})
    check_problem(answer, status, code)


async def test_a_chunked_body_is_counted_while_it_is_read(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    answer = await client.post("/api/v1/things", content=endless(), headers={"content-type": "application/json"})
    check_problem(answer, 413, "payload_too_large")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_only_json_is_taken(client: httpx.AsyncClient, media_type: str) -> None:
    answer = await client.post("/api/v1/things", content=b'{"name": "a"}', headers={"content-type": media_type})
    check_problem(answer, 415, "unsupported_media_type")


async def test_json_by_another_name_is_taken(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/merge-patch+json; charset=utf-8"}
    answer = await client.post("/api/v1/things", content='{"name": "Zoë"}'.encode(), headers=headers)
    assert answer.json()["name"] == "Zoë"


async def test_a_nul_in_the_address_is_refused(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/api/v1/things/a%00b"), 400, "invalid_url")
    check_problem(await client.get("/api/v1/things/missing?q=%00"), 400, "invalid_url")
