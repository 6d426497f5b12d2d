"""Pictures and documents of a canonical call as Anthropic's blocks.

What a picture is, its own bytes say: callers name types wrongly, and Anthropic refuses what does not match. Addresses are
passed on, because Anthropic fetches them itself.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from tollkeeper.core.errors import BadRequest

# As much base64 as holds the marks of every format here.
_HEAD: Final = 32
_PICTURES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_PDF: Final = "application/pdf"


def image_block(url: object, where: str) -> dict[str, Any]:
    """From the `image_url` of a part: a data URL, or an address."""
    if not isinstance(url, str) or not url:
        raise unsupported(where, "an image needs a `url`: http(s), or a data URL with base64")
    if url[:5].lower() != "data:":
        return {"type": "image", "source": {"type": "url", "url": url}}
    said, data = read_data_url(url, where)
    media_type = _type_of(data) or said
    if media_type not in _PICTURES:
        raise unsupported(where, "Anthropic takes images as JPEG, PNG, GIF or WebP")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def file_block(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    """From a `file` part: its data, its id at Anthropic, or its address; with the marks that documents may have."""
    inner = part.get("file")
    if not isinstance(inner, dict):
        raise unsupported(where, "a file part needs `file.file_data`, `file.file_id` or `file.file_url`")
    data, file_id, url = (inner.get(name, part.get(name)) for name in ("file_data", "file_id", "file_url"))
    block: dict[str, Any]
    if isinstance(data, str) and data:
        block = _from_data(data, where)
    elif isinstance(file_id, str) and file_id:
        block = {"type": "document", "source": {"type": "file", "file_id": file_id}}
    elif isinstance(url, str) and url:
        block = {"type": "document", "source": {"type": "url", "url": url}}
    else:
        raise unsupported(where, "a file part needs `file.file_data`, `file.file_id` or `file.file_url`")
    if block["type"] == "document":
        title = part.get("title") or inner.get("title") or inner.get("filename")
        for name, value in (("title", title), ("context", part.get("context")), ("citations", part.get("citations"))):
            if value is not None:
                block[name] = value
    return block


def _from_data(data: str, where: str) -> dict[str, Any]:
    said = ""
    if data[:5].lower() == "data:":
        said, data = read_data_url(data, where)
    media_type = _type_of(data) or said
    if media_type == _PDF:
        return {"type": "document", "source": {"type": "base64", "media_type": _PDF, "data": data}}
    if media_type in _PICTURES:
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if media_type.startswith("text/") or media_type == "application/json":
        try:
            text = b64decode(data).decode()
        except ValueError:  # neither base64 nor UTF-8
            raise unsupported(where, "the text of the file is not base64 of UTF-8") from None
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}
    raise unsupported(where, "Anthropic takes files as PDF, text or images")


def read_data_url(url: str, where: str) -> tuple[str, str]:
    """The media type it names, in small letters, and its data as base64."""
    comma = url.find(",", 0, 300)
    if comma < 0:
        raise unsupported(where, "the data URL has no data")
    head = url[5:comma].lower()
    data = url[comma + 1 :]
    media_type = head.partition(";")[0].strip()
    if not head.endswith(";base64"):
        data = b64encode(unquote_to_bytes(data)).decode()
    if not data:
        raise unsupported(where, "the data URL has no data")
    return media_type, data


def _type_of(data: str) -> str | None:
    """By the marks at the beginning of the bytes; None for what is none of these."""
    try:
        head = b64decode(data[:_HEAD])
    except ValueError:  # no base64, or no ASCII
        return None
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return _PDF if head.startswith(b"%PDF-") else None


def unsupported(where: str, why: str) -> BadRequest:
    return BadRequest(f"Invalid '{where}': {why}.", param=where, code="unsupported_input")
