"""`/files` and what lies below it: upload, list, look at, read and delete files, as OpenAI's Files API does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from tollkeeper.contracts.files import (
    BATCH_OUTPUT,
    LONGEST_LIFE_SECONDS,
    PURPOSES,
    SHORTEST_LIFE_SECONDS,
    StoredFile,
    format_file_id,
    parse_file_id,
)
from tollkeeper.contracts.ports import FileStore
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import BadRequest, DependencyUnavailable, NotFound
from tollkeeper.gateway.edge.answer import Content
from tollkeeper.gateway.edge.limits import Body
from tollkeeper.gateway.paged import invalid_value, read_page, read_query, write_page
from tollkeeper.gateway.uploads import FILE, read_upload

_PATH: Final = re.compile(r"/(?:api/)?v1/files(?:/([^/]{1,100})(/content)?)?")
_ALLOW: Final = {"files": "GET, HEAD, POST", "file": "GET, HEAD, DELETE", "content": "GET"}
_LONGEST_NAME: Final = 255
_PAGE: Final = 10_000


@dataclass(frozen=True, slots=True)
class FilePlace:
    """One of the paths: all files, one file, or its bytes."""

    part: str
    name: str = ""

    @property
    def allow(self) -> str:
        return _ALLOW[self.part]


def find_file_place(path: str) -> FilePlace | None:
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    if found[1] is None:
        return FilePlace("files")
    return FilePlace("file" if found[2] is None else "content", found[1])


class StoredFiles:
    def __init__(self, files: FileStore | None) -> None:
        self._files = files

    async def serve(
        self,
        place: FilePlace,
        method: str,
        query: bytes,
        principal: Principal,
        headers: Mapping[bytes, bytes],
        body: Body,
    ) -> bytes | Content:
        """What another tenant or project has is unknown, in the very same words."""
        if self._files is None:
            raise DependencyUnavailable("No files are kept here.")
        if place.part == "files":
            if method == "POST":
                return await self._upload(self._files, principal, headers, body)
            return await self._list(self._files, principal, query)
        file_id = _read_id(place)
        if method == "DELETE":
            if not await self._files.delete(principal, file_id):
                raise _not_found(place)
            return orjson.dumps({"id": place.name, "object": "file", "deleted": True})
        stored = await self._files.find(principal, file_id)
        if stored is None:
            raise _not_found(place)
        if place.part == "file":
            return orjson.dumps(write_file(stored))
        return Content("application/octet-stream", stored.size, self._files.read(principal, file_id))

    async def _upload(
        self, files: FileStore, principal: Principal, headers: Mapping[bytes, bytes], body: Body
    ) -> bytes:
        upload = await files.begin(principal)
        try:
            form = await read_upload(body.parts(), headers, upload.write)
            stored = await upload.finish(
                filename=_read_name(form.filename),
                purpose=_read_purpose(form.texts),
                seconds=_read_life(form.texts),
            )
        except BaseException:
            await upload.discard()
            raise
        return orjson.dumps(write_file(stored))

    async def _list(self, files: FileStore, principal: Principal, query: bytes) -> bytes:
        told = read_query(query)
        asked = read_page(told, parse_file_id, usual=_PAGE, most=_PAGE)
        purpose = told.get("purpose") or None
        if purpose is not None and purpose not in {*PURPOSES, BATCH_OUTPUT}:
            raise invalid_value("purpose", _one_of((*PURPOSES, BATCH_OUTPUT)))
        found, has_more = await files.list(principal, asked, purpose)
        return orjson.dumps(write_page([write_file(stored) for stored in found], has_more=has_more))


def write_file(stored: StoredFile) -> dict[str, Any]:
    return {
        "id": format_file_id(stored.id),
        "object": "file",
        "bytes": stored.size,
        "created_at": stored.created_at,
        "expires_at": stored.expires_at,
        "filename": stored.filename,
        "purpose": stored.purpose,
        "status": "processed",
        "status_details": None,
    }


def read_life(anchor: object, seconds: object, name: str = "expires_after") -> int:
    """Of `expires_after` and its like: how long a file is kept from its creation."""
    if anchor != "created_at":
        raise invalid_value(f"{name}[anchor]", "'created_at'")
    if type(seconds) is not int or not SHORTEST_LIFE_SECONDS <= seconds <= LONGEST_LIFE_SECONDS:
        raise invalid_value(
            f"{name}[seconds]", f"a whole number from {SHORTEST_LIFE_SECONDS} to {LONGEST_LIFE_SECONDS}"
        )
    return seconds


def _read_life(texts: Mapping[str, str]) -> int | None:
    anchor, seconds = texts.get("expires_after[anchor]"), texts.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    is_number = seconds is not None and seconds.isascii() and seconds.isdigit() and len(seconds) < 10
    return read_life(anchor, int(seconds or "") if is_number else seconds)


def _read_purpose(texts: Mapping[str, str]) -> str:
    purpose = texts.get("purpose")
    if purpose is None:
        raise BadRequest("Say what the file is for.", code="missing_required_parameter", param="purpose")
    if purpose not in PURPOSES:
        raise invalid_value("purpose", _one_of(PURPOSES))
    return purpose


def _read_name(name: str | None) -> str:
    if name is None:
        raise BadRequest("Send the file in the field 'file'.", code="missing_required_parameter", param=FILE)
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise invalid_value("filename", f"1 to {_LONGEST_NAME} printable characters")
    return name


def _read_id(place: FilePlace) -> UUID:
    try:
        return parse_file_id(place.name)
    except ValueError:
        raise _not_found(place) from None


def _not_found(place: FilePlace) -> NotFound:
    return NotFound(f"No such File object: {place.name}", code="file_not_found", param="id")


def _one_of(words: tuple[str, ...]) -> str:
    return "one of " + ", ".join(f"'{word}'" for word in words)
