"""The files of a fine-tuning job: the caller's own, kept here, uploaded to the vendor for the job alone.

A vendor's own file ids are not taken: all tenants of a gateway share its account there.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson

from tollkeeper.contracts.files import StoredFile, parse_file_id
from tollkeeper.contracts.ports import FileStore
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import BadRequest, DependencyUnavailable, UpstreamError
from tollkeeper.gateway.passed import Watch
from tollkeeper.gateway.provider import Channel, UpstreamRequest
from tollkeeper.gateway.tuning_paths import VENDOR_ID

FIELDS: Final = ("training_file", "validation_file")
_PURPOSE: Final = "fine-tune"


class TuningFiles:
    def __init__(self, files: FileStore | None, channel: Channel, max_bytes: int) -> None:
        """`max_bytes` of all files of one job: they are in memory while they are sent."""
        self._files = files
        self._channel = channel
        self._max_bytes = max_bytes

    async def find(self, principal: Principal, body: Mapping[str, Any]) -> dict[str, StoredFile]:
        """The job's files by the field that names them. Raises `BadRequest` for what is none of the caller's."""
        found: dict[str, StoredFile] = {}
        for field in FIELDS:
            name = body.get(field)
            if name is None and field != FIELDS[0]:
                continue
            if not isinstance(name, str):
                raise BadRequest(
                    f"Missing required parameter: '{field}'.", param=field, code="missing_required_parameter"
                )
            found[field] = await self._find(principal, field, name)
        if sum(stored.size for stored in found.values()) > self._max_bytes:
            raise BadRequest(
                f"The files of a job may have {self._max_bytes} bytes in all.", param=FIELDS[0], code="file_too_large"
            )
        return found

    async def _find(self, principal: Principal, field: str, name: str) -> StoredFile:
        if self._files is None:
            raise DependencyUnavailable("No files are kept here.")
        try:
            stored = await self._files.find(principal, parse_file_id(name))
        except ValueError:
            stored = None
        if stored is None:
            raise BadRequest(
                f"No such File object: {name[:100]}. Upload it with the purpose '{_PURPOSE}' at /v1/files first.",
                param=field,
                code="file_not_found",
            )
        if stored.purpose != _PURPOSE:
            raise BadRequest(
                f"The file {name[:100]} is for '{stored.purpose}'; upload it with the purpose '{_PURPOSE}'.",
                param=field,
                code="invalid_file_purpose",
            )
        return stored

    async def upload(
        self, principal: Principal, stored: StoredFile, request: UpstreamRequest, watch: Watch | None = None
    ) -> str:
        """The id that the vendor gives the file. `request` has everything but the body, which is written here.

        `watch` looks at what it says before it leaves.
        """
        assert self._files is not None
        parts = [part async for part in self._files.read(principal, stored.id)]
        if watch is not None:
            await watch.look_at_words([stored.filename])
            parts = [await watch.look_at_bytes(b"".join(parts))]
        boundary = f"tollkeeper-{secrets.token_hex(16)}"
        head = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{_PURPOSE}\r\n'
            f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{quote(stored.filename)}"\r\n'
            "content-type: application/octet-stream\r\n\r\n"
        )
        request.body = b"".join((head.encode(), *parts, f"\r\n--{boundary}--\r\n".encode()))
        request.headers = {**request.headers, "content-type": f"multipart/form-data; boundary={boundary}"}
        response = await self._channel.send(request)
        try:
            content = await response.read()
        finally:
            await response.aclose()
        vendor_id = _id_of(content) if response.status == 200 else None
        if vendor_id is None:
            raise UpstreamError(
                f"The provider did not take the file (status {response.status}).", code="upstream_file_refused"
            )
        return vendor_id


def _id_of(content: bytes) -> str | None:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    name = document.get("id") if isinstance(document, dict) else None
    return name if isinstance(name, str) and VENDOR_ID.fullmatch(name) else None
