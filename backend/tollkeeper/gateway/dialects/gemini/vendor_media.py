"""Parts of canonical messages as Gemini's parts: text, pictures, sounds, files; by value, or by an address that Google
fetches itself. What no part can hold is refused by its name.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.openai_fields import wrong_type

Part = dict[str, Any]

# How base64 of a picture begins, whatever its data URL says.
_MARKS: Final[Mapping[str, str]] = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}
_BY_ENDING: Final[Mapping[str, str]] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp4": "video/mp4",
    "mov": "video/mov",
    "webm": "video/webm",
}
_FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"


def write_part(part: Any, where: str) -> Part | None:
    """None for an empty text, which Gemini refuses. `where`: the part's place in the caller's call."""
    if not isinstance(part, dict):
        raise wrong_type(where, "an object", part)
    kind = part.get("type")
    kind = kind if isinstance(kind, str) else str(kind)
    if kind in {"text", "refusal"}:
        text = part.get(kind)
        if not isinstance(text, str):
            raise wrong_type(f"{where}.{kind}", "a string", text)
        return {"text": text} if text else None
    if kind in {"image_url", "video_url"}:
        inner = part.get(kind)
        url = inner.get("url") if isinstance(inner, dict) else inner
        name = f"{where}.{kind}.url"
        return _from_url(_text(url, name), name, is_image=kind == "image_url")
    if kind == "input_audio":
        return _sound(part.get("input_audio"), f"{where}.input_audio")
    if kind == "file":
        return _file(part.get("file"), f"{where}.file")
    raise BadRequest(
        f"Gemini has no place for a part of the type {kind[:64]!r}.",
        code="unsupported_input",
        param=f"{where}.type",
    )


def media_type_of(address: str) -> str | None:
    """By the ending of a path or a file's name."""
    path = urlsplit(address).path if "://" in address else address
    return _BY_ENDING.get(path.rpartition(".")[2].lower())


def _from_url(url: str, name: str, *, is_image: bool) -> Part:
    if url.startswith("data:"):
        return _inline(url, name, is_image=is_image)
    if not url.startswith(("https://", "http://", "gs://")):
        raise BadRequest(f"Invalid '{name}': expected an address or a data URL.", param=name, code="invalid_value")
    return _by_address(url)


def _by_address(address: str, media_type: str | None = None) -> Part:
    try:
        media_type = media_type or media_type_of(address)
    except ValueError:  # an address that is none; Google says so
        media_type = None
    return {"fileData": {"fileUri": address, **({"mimeType": media_type} if media_type else {})}}


def _inline(url: str, name: str, *, is_image: bool) -> Part:
    head, comma, data = url.partition(",")
    if not comma:
        raise BadRequest(f"Invalid '{name}': a data URL without data.", param=name, code="invalid_value")
    media_type, *parameters = head[5:].split(";")
    if "base64" not in parameters:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    media_type = media_type.strip().lower() or "text/plain"
    if is_image or media_type.startswith("image/"):
        media_type = next((known for mark, known in _MARKS.items() if data.startswith(mark)), media_type)
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _sound(inner: Any, where: str) -> Part:
    if not isinstance(inner, dict):
        raise wrong_type(where, "an object", inner)
    data = _text(inner.get("data"), f"{where}.data")
    if data.startswith("data:"):
        return _inline(data, f"{where}.data", is_image=False)
    return {"inlineData": {"mimeType": f"audio/{_text(inner.get('format', 'wav'), f'{where}.format')}", "data": data}}


def _file(inner: Any, where: str) -> Part:
    """A file's contents, Google's own file by its name, or an address."""
    if not isinstance(inner, dict):
        raise wrong_type(where, "an object", inner)
    filename = inner.get("filename")
    named = media_type_of(filename) if isinstance(filename, str) and "://" not in filename else None
    data = inner.get("file_data")
    if data is not None:
        data = _text(data, f"{where}.file_data")
        if data.startswith("data:"):
            return _inline(data, f"{where}.file_data", is_image=False)
        return {"inlineData": {"mimeType": named or "application/pdf", "data": data}}
    if inner.get("file_url") is not None:
        address = _text(inner["file_url"], f"{where}.file_url")
        return _from_url(address, f"{where}.file_url", is_image=False) if "://" in address else _known(address, where)
    return _known(_text(inner.get("file_id"), f"{where}.file_id"), where, named)


def _known(name: str, where: str, media_type: str | None = None) -> Part:
    """A file that Google keeps."""
    if name.startswith("files/"):
        return _by_address(_FILES + name, media_type)
    if name.startswith(("https://", "gs://")):
        return _by_address(name, media_type)
    raise BadRequest(
        "Gemini does not know this file. Send the file itself in 'file_data', or its address.",
        code="unsupported_input",
        param=f"{where}.file_id",
    )


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    return value
