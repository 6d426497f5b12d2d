"""OpenAI's Files API by its own SDK: what goes in comes out, for whom, for how long, how much, and sealed."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, RateLimitError
from sqlalchemy import text

from tests.domains.files.keeping import Keeping, keeping
from tollkeeper.contracts.files import parse_file_id
from tollkeeper.contracts.principal import Environment
from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database
from tollkeeper.domains.files import service
from tollkeeper.domains.files.service import PIECE_BYTES

SECRET = b"what nobody may read "


async def _rows(database: Database) -> dict[UUID, Any]:
    async with database.platform() as session:
        return {row.id: row for row in await session.execute(text("SELECT * FROM files"))}


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
async def test_a_file_comes_back_as_it_went_in(kept: Keeping, prefix: str) -> None:
    content = SECRET * 5_000 + b"\r\n--not a boundary\r\n" + bytes(range(256)) * (2 * PIECE_BYTES // 256)
    async with kept.client(prefix=prefix) as client:
        made = await client.files.create(file=("in put.jsonl", content), purpose="batch")
        assert (made.filename, made.bytes, made.purpose, made.status) == (
            "in put.jsonl",
            len(content),
            "batch",
            "processed",
        )
        assert made.id.startswith("file-")
        assert made.expires_at is not None
        assert made.expires_at - made.created_at == 30 * 86_400
        assert await client.files.retrieve(made.id) == made
        answer = await client.files.content(made.id)
        assert answer.content == content
        assert answer.response.headers["x-request-id"].startswith("req_")
        deleted = await client.files.delete(made.id)
        assert (deleted.id, deleted.deleted) == (made.id, True)
        with pytest.raises(NotFoundError):
            await client.files.retrieve(made.id)
    assert parse_file_id(made.id) not in await _rows(kept.database)
    assert not [path for path in (kept.folder / "objects").rglob("*") if path.is_file()]


async def test_an_empty_file_is_a_file(kept: Keeping) -> None:
    async with kept.client() as client:
        made = await client.files.create(file=("empty", b""), purpose="user_data")
        assert (made.bytes, made.expires_at) == (0, None)
        assert (await client.files.content(made.id)).content == b""


async def test_its_bytes_are_sealed(kept: Keeping) -> None:
    async with kept.client() as client:
        await client.files.create(file=("a", SECRET * 100), purpose="assistants")
    stored = [path.read_bytes() for path in (kept.folder / "objects").rglob("*") if path.is_file()]
    assert stored
    assert not any(SECRET in data for data in stored)


async def test_lists_are_paged_ordered_and_filtered(kept: Keeping) -> None:
    async with kept.client() as client:
        made = [await client.files.create(file=(f"f{n}", b"x"), purpose="batch") for n in range(4)]
        other = await client.files.create(file=("other", b"x"), purpose="vision")
        ids = [one.id for one in made]
        assert [one.id async for one in client.files.list(limit=2)] == [other.id, *reversed(ids)]
        assert [one.id async for one in client.files.list(order="asc", purpose="batch", limit=3)] == ids
        page = await client.files.list(limit=2, order="asc", after=ids[1])
        assert ([one.id for one in page.data], page.has_more) == (ids[2:], True)
        with pytest.raises(NotFoundError):
            await client.files.list(after=f"file-{uuid7().hex}")
        for wrong in ({"limit": 0}, {"limit": 10_001}, {"order": "up"}, {"purpose": "fun"}):
            with pytest.raises(BadRequestError):
                await client.files.list(**wrong)  # type: ignore[arg-type]


async def test_a_life_of_its_own_ends_at_once_and_is_cleared_away(kept: Keeping) -> None:
    async with kept.client() as client:
        made = await client.files.create(
            file=("a", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3_600}
        )
        stays = await client.files.create(file=("b", b"x"), purpose="user_data")
        assert made.expires_at == made.created_at + 3_600
        async with kept.database.platform() as session:
            await session.execute(
                text("UPDATE files SET expires_at = now() - interval '1 second' WHERE id = :id"),
                {"id": parse_file_id(made.id)},
            )
        with pytest.raises(NotFoundError):
            await client.files.content(made.id)
    assert await kept.files.sweep() >= 1
    rows = await _rows(kept.database)
    assert parse_file_id(made.id) not in rows
    assert parse_file_id(stays.id) in rows


@pytest.mark.parametrize("path", ["", "/content"])
async def test_what_others_have_is_unknown_in_the_same_words(kept: Keeping, path: str) -> None:
    keys = {
        "other tenant": kept.key(tenant_id=await kept.tenant()),
        "other project": kept.key(project_id=uuid7()),
        "test key": kept.key(environment=Environment.TEST),
    }
    async with kept.client() as client:
        made = await client.files.create(file=("a", SECRET), purpose="user_data")
    async with httpx.AsyncClient(base_url=kept.serving.origin) as http:
        for name, key in keys.items():
            headers = {"authorization": f"Bearer {key}"}
            for method in ["GET"] + ["DELETE"] * (path == ""):
                unknown = f"file-{uuid7().hex}"
                answers = [
                    await http.request(method, f"/v1/files/{file_id}{path}", headers=headers)
                    for file_id in (made.id, unknown)
                ]
                assert [answer.status_code for answer in answers] == [404, 404], name
                bodies = [answer.json()["error"] | {"request_id": ""} for answer in answers]
                assert bodies[0] == json.loads(json.dumps(bodies[1]).replace(unknown, made.id))
            listed = await http.get("/v1/files", headers=headers)
            assert listed.json()["data"] == []
    async with kept.client() as client:
        assert (await client.files.content(made.id)).content == SECRET


async def test_no_secret_no_file(kept: Keeping) -> None:
    async with httpx.AsyncClient(base_url=kept.serving.origin) as http:
        for method, path in (("GET", "/v1/files"), ("POST", "/v1/files"), ("GET", "/v1/files/file-1/content")):
            answer = await http.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        wrong = await http.put("/v1/files", headers={"authorization": f"Bearer {kept.token}"})
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_a_key_for_other_endpoints_has_no_files(kept: Keeping) -> None:
    key = kept.key(allowed_endpoints=frozenset({"chat/completions"}))
    async with kept.client(key) as client:
        with pytest.raises(APIStatusError) as refused:
            await client.files.list()
    assert (refused.value.status_code, refused.value.code) == (403, "endpoint_not_allowed")


BOUNDARY = "b0"


def form(*fields: tuple[str, bytes], end: bytes = b"--b0--\r\n") -> bytes:
    return b"".join(b"--b0\r\ncontent-disposition: form-data; " + head.encode() + b"\r\n\r\n" + value + b"\r\n" for head, value in fields) + end  # fmt: skip


FILE = ('name="file"; filename="a"', b"x")
PURPOSE = ('name="purpose"', b"batch")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (form(FILE, PURPOSE), 200, None),
        (form(PURPOSE, FILE), 200, None),
        (form(PURPOSE), 400, "file"),
        (form(FILE), 400, "purpose"),
        (form(FILE, ('name="purpose"', b"fun")), 400, "purpose"),
        (form(FILE, ('name="purpose"', b"batch_output")), 400, "purpose"),
        (form(FILE, FILE, PURPOSE), 400, "file"),
        (form(FILE, PURPOSE, PURPOSE), 400, "purpose"),
        (form(('name="data"; filename="a"', b"x"), PURPOSE), 400, "data"),
        (form(('name="file"; filename=""', b"x"), PURPOSE), 400, "filename"),
        (form(('name="file"; filename="' + "n" * 300 + '"', b"x"), PURPOSE), 400, "filename"),
        (form(FILE, ('name="purpose"', b"\xff")), 400, "purpose"),
        (form(FILE, PURPOSE, ('name="expires_after[seconds]"', b"7200")), 400, "expires_after[anchor]"),
        (form(FILE, PURPOSE, ('name="expires_after[anchor]"', b"created_at")), 400, "expires_after[seconds]"),
        (form(FILE, PURPOSE, ('name="expires_after[anchor]"', b"created_at"), ('name="expires_after[seconds]"', b"60")), 400, "expires_after[seconds]"),
        (form(FILE, PURPOSE, end=b""), 400, None),
        (form(FILE, PURPOSE, end=b"--b0--\r\nmore"), 400, None),
        (form(FILE, PURPOSE)[:20], 400, None),
        (b"before" + form(FILE, PURPOSE), 400, None),
        (b"", 400, None),
        (form(('name="purpose"', b"batch" + b"h" * 2_000_000), FILE), 400, None),
        (b"--b0\r\n" + b"h" * 20_000, 400, None),
    ],
)  # fmt: skip
async def test_forms_are_read_strictly(kept: Keeping, body: bytes, status: int, param: str | None) -> None:
    headers = {"authorization": f"Bearer {kept.token}", "content-type": f"multipart/form-data; boundary={BOUNDARY}"}

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7 if len(body) < 5_000 else 60_000):
            yield body[start : start + (7 if len(body) < 5_000 else 60_000)]

    async with httpx.AsyncClient(base_url=kept.serving.origin) as http:
        answer = await http.post("/v1/files", headers=headers, content=in_pieces())
    assert answer.status_code == status, answer.text
    if status != 200:
        error = answer.json()["error"]
        assert error["request_id"] == answer.headers["x-request-id"]
        assert error["param"] == param
        assert not [row for row in (await _rows(kept.database)).values() if row.tenant_id == kept.ours.tenant_id]


async def test_json_is_no_upload(kept: Keeping) -> None:
    async with httpx.AsyncClient(base_url=kept.serving.origin) as http:
        answer = await http.post("/v1/files", headers={"authorization": f"Bearer {kept.token}"}, json={"file": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


async def test_what_is_too_large_is_refused_and_leaves_nothing(database: Database, tmp_path: Path) -> None:
    async with keeping(database, tmp_path, file_max_bytes=3 * PIECE_BYTES) as kept, kept.client() as client:
        await client.files.create(file=("just", b"x" * 3 * PIECE_BYTES), purpose="batch")
        with pytest.raises(APIStatusError) as refused:
            await client.files.create(file=("more", b"x" * (3 * PIECE_BYTES + 1)), purpose="batch")
        assert (refused.value.status_code, refused.value.param) == (413, "file")
        assert [one.filename async for one in client.files.list()] == ["just"]
        assert len([path for path in (tmp_path / "objects").rglob("*") if path.is_file()]) == 3


async def test_a_tenant_fills_its_quota_and_no_more(database: Database, tmp_path: Path) -> None:
    async with keeping(database, tmp_path, file_quota_bytes=2_000) as kept, kept.client() as client:
        first = await client.files.create(file=("a", b"x" * 1_900), purpose="batch")
        with pytest.raises(RateLimitError) as refused:
            await client.files.create(file=("b", b"x" * 101), purpose="batch")
        assert refused.value.code == "insufficient_quota"
        async with kept.client(kept.key(tenant_id=await kept.tenant())) as other:
            await other.files.create(file=("b", b"x" * 1_900), purpose="batch")
        await client.files.delete(first.id)
        await client.files.create(file=("b", b"x" * 2_000), purpose="batch")


async def test_a_tenant_has_so_many_files_and_no_more(kept: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those without a byte as well: each is a row and an object all the same."""
    monkeypatch.setattr(service, "MOST_FILES", 2)
    async with kept.client() as client:
        first = await client.files.create(file=("a", b"x"), purpose="batch")
        await client.files.create(file=("b", b""), purpose="batch")
        with pytest.raises(RateLimitError) as refused:
            await client.files.create(file=("c", b"x"), purpose="batch")
        assert refused.value.code == "insufficient_quota"
        await client.files.delete(first.id)
        await client.files.create(file=("c", b"x"), purpose="batch")


async def test_an_upload_that_breaks_off_leaves_nothing(kept: Keeping) -> None:
    headers = {"authorization": f"Bearer {kept.token}", "content-type": f"multipart/form-data; boundary={BOUNDARY}"}

    async def broken() -> AsyncIterator[bytes]:
        yield form(FILE, end=b"")[:-2] + b"x" * (PIECE_BYTES + 10)
        raise RuntimeError("the caller goes away")

    async with httpx.AsyncClient(base_url=kept.serving.origin) as http:
        with pytest.raises(RuntimeError):
            await http.post("/v1/files", headers=headers, content=broken())

    def ours(rows: dict[UUID, Any]) -> list[Any]:
        return [row for row in rows.values() if row.tenant_id == kept.ours.tenant_id]

    async with asyncio.timeout(20):
        while ours(await _rows(kept.database)):
            await asyncio.sleep(0.02)


async def test_what_a_dead_process_left_is_cleared_away(kept: Keeping) -> None:
    upload = await kept.files.begin(kept.ours)
    await upload.write(b"x" * (PIECE_BYTES + 1))
    assert await kept.files.sweep() == 0
    async with kept.database.platform() as session:
        await session.execute(
            text("UPDATE files SET created_at = now() - interval '3 hours' WHERE status = 'uploading'")
        )
    assert await kept.files.sweep() == 1
    assert not [path for path in (kept.folder / "objects").rglob("*") if path.is_file()]


async def test_bytes_that_were_changed_or_moved_are_not_served(kept: Keeping) -> None:
    async with kept.client() as client:
        made = await client.files.create(file=("a", b"1" * PIECE_BYTES + b"2" * PIECE_BYTES), purpose="user_data")
        one, two = sorted(path for path in (kept.folder / "objects").rglob("*") if path.is_file())
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)
        async with httpx.AsyncClient(base_url=kept.serving.origin) as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get(f"/v1/files/{made.id}/content", headers={"authorization": f"Bearer {kept.token}"})
