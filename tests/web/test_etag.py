"""`If-Match` is honoured when it is sent."""

from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI, Response

from tollkeeper.core.config import Settings
from tollkeeper.web.deps import control_router, install_kernel, public
from tollkeeper.web.etag import IfMatch, check_match, write_etag
from tollkeeper.web.schemas import Schema

router = control_router("things")


class Row(Schema):
    version: int


@router.patch("", dependencies=[public()])
async def change(if_match: IfMatch, response: Response) -> Row:
    row = Row(version=3)
    check_match(if_match, row)
    write_etag(response, row)
    return row


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (None, 200),
        ('"3"', 200),
        ('W/"3"', 200),
        ('"2", "3"', 200),
        ("*", 200),
        ('"2"', 412),
        ('"03"', 200),
        ("3", 400),
        ('"x"', 400),
        ("", 400),
        ('"3", nonsense', 400),
        ('"99999999999999999999"', 400),
    ],
)
async def test_if_match_decides(sent: str | None, status: int) -> None:
    app = FastAPI()
    app.state.services = SimpleNamespace(settings=Settings(_env_file=None))
    install_kernel(app)
    app.include_router(router, prefix="/api/v1")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        answer = await client.patch("/api/v1/things", headers={} if sent is None else {"if-match": sent})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.headers["etag"] == '"3"'
    if status == 412:
        assert answer.json()["code"] == "precondition_failed"
        assert answer.json()["current_version"] == 3
