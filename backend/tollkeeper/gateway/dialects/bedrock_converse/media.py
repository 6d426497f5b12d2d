"""Pictures, documents and sound of a canonical call as Converse's blocks.

Bedrock fetches nothing but S3 objects: other addresses are refused rather than fetched by us. What a picture is, its own
bytes say.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from tollkeeper.core.errors import BadRequest

# As much base64 as holds the marks of every format here.
_HEAD: Final = 32
_PICTURES: Final = {
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "application/json": "txt",
}
_FORMATS: Final = frozenset(_DOCUMENTS.values())
_SOUNDS: Final = ("aac", "flac", "m4a", "mp3", "ogg", "opus", "pcm", "wav", "webm")
_S3: Final = "s3://"
# What a document's name may hold ("DocumentBlock", Bedrock runtime reference).
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-()[]")
_LONGEST_NAME: Final = 200


def unsupported(where: str, text: str) -> BadRequest:
    return BadRequest(f"Invalid '{where}': {text}.", param=where, code="unsupported_input")


def image_block(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    """From an `image_url` part."""
    inner = part.get("image_url")
    url = inner.get("url") if isinstance(inner, dict) else inner
    if not isinstance(url, str) or not url:
        raise unsupported(where, "an image needs a `url`: a data URL with base64, or an s3:// address")
    if url.startswith(_S3):
        suffix = url.rpartition(".")[2].lower()
        kind = _PICTURES.get(f"image/{suffix}")
        if kind is None:
            raise unsupported(where, "the S3 object's name has to end in its format: jpeg, png, gif or webp")
        return {"image": {"format": kind, "source": {"s3Location": {"uri": url}}}}
    said, data = _read_data_url(url, where)
    kind = _PICTURES.get(_type_of(data) or said)
    if kind is None:
        raise unsupported(where, "Bedrock takes images as JPEG, PNG, GIF or WebP")
    return {"image": {"format": kind, "source": {"bytes": data}}}


def file_block(part: Mapping[str, Any], where: str, number: int) -> dict[str, Any]:
    """From a `file` part. `number` tells documents without a name apart."""
    inner = part.get("file")
    if not isinstance(inner, dict):
        raise unsupported(where, "a file part needs `file.file_data`")
    data, url = (inner.get(name) or part.get(name) for name in ("file_data", "file_url"))
    filename = inner.get("filename") or part.get("filename")
    title = part.get("title") or inner.get("title") or filename
    suffix = filename.rpartition(".")[2].lower() if isinstance(filename, str) else ""
    if isinstance(data, str) and data:
        said, encoded = _read_data_url(data, where) if data[:5].lower() == "data:" else ("", data)
        found = _type_of(encoded) or said
        if found in _PICTURES:
            return {"image": {"format": _PICTURES[found], "source": {"bytes": encoded}}}
        source: dict[str, Any] = {"bytes": encoded}
        kind = _DOCUMENTS.get(found) or (suffix if suffix in _FORMATS else None)
    elif isinstance(url, str) and url.startswith(_S3):
        source = {"s3Location": {"uri": url}}
        suffix = url.rpartition(".")[2].lower()
        kind = suffix if suffix in _FORMATS else None
    else:
        raise unsupported(where, "Bedrock takes files as `file_data` or from an s3:// address")
    if kind is None:
        raise unsupported(where, f"Bedrock takes documents as {', '.join(sorted(_FORMATS))}")
    return _document(part, title, number, {"format": kind, "source": source})


def text_document(part: Mapping[str, Any], number: int) -> dict[str, Any]:
    """From a text part with a title: a document in words."""
    return _document(part, part.get("title"), number, {"format": "txt", "source": {"text": part["text"]}})


def audio_block(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    inner = part.get("input_audio")
    data, kind = (inner.get("data"), inner.get("format")) if isinstance(inner, dict) else (None, None)
    if not isinstance(data, str) or not data or kind not in _SOUNDS:
        raise unsupported(where, f"sound needs `data` and a `format`: {', '.join(_SOUNDS)}")
    return {"audio": {"format": kind, "source": {"bytes": data}}}


def _document(part: Mapping[str, Any], title: object, number: int, document: dict[str, Any]) -> dict[str, Any]:
    document["name"] = _name(title) if isinstance(title, str) and title.strip() else f"document {number}"
    context, citations = part.get("context"), part.get("citations")
    if isinstance(context, str) and context:
        document["context"] = context
    if isinstance(citations, dict) and isinstance(citations.get("enabled"), bool):
        document["citations"] = {"enabled": citations["enabled"]}
    return {"document": document}


def _name(title: str) -> str:
    fitted = "".join(letter if letter in _NAME else " " for letter in title)
    return " ".join(fitted.split())[:_LONGEST_NAME].strip() or "document"


def _read_data_url(url: str, where: str) -> tuple[str, str]:
    """The media type it names, in small letters, and its data as base64."""
    if url[:5].lower() != "data:":
        raise unsupported(where, "Bedrock fetches no addresses: send a data URL with base64, or an s3:// address")
    comma = url.find(",", 0, 300)
    if comma < 0:
        raise unsupported(where, "the data URL has no data")
    head = url[5:comma].lower()
    data = url[comma + 1 :]
    media_type, *flags = head.split(";")
    if "base64" not in (flag.strip() for flag in flags):
        data = b64encode(unquote_to_bytes(data)).decode("ascii")
    return media_type.strip(), data


def _type_of(data: str) -> str | None:
    """What the first bytes say, by the formats' own marks."""
    try:
        head = b64decode(data[:_HEAD] + "=" * (-len(data[:_HEAD]) % 4))
    except ValueError:  # no base64, or no ASCII
        return None
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return "application/pdf" if head.startswith(b"%PDF-") else None
