"""Content of a Responses item → content of a canonical message."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.gateway.openai_fields import missing, wrong_type

_TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text"})
# Marks of a part that the canonical form has under the same names.
_MARKS: Final = ("prompt_cache_breakpoint", "cache_control")
_FILE_FIELDS: Final = ("file_data", "file_id", "file_url", "filename", "detail")

Content = str | list[dict[str, Any]]


def read_content(content: object, name: str) -> tuple[Content, str | None]:
    """A string or parts; and the path of the first part that only a vendor of this dialect has."""
    if isinstance(content, str):
        return content, None
    if content is None:
        raise missing(name)
    if not isinstance(content, list):
        raise wrong_type(name, "a string or an array of objects", content)
    needs: str | None = None
    parts: list[dict[str, Any]] = []
    for position, part in enumerate(content):
        where = f"{name}[{position}]"
        if not isinstance(part, dict):
            raise wrong_type(where, "an object", part)
        read = _part(part, where)
        if read is None:
            needs = needs or f"{where}.type"
            read = part
        parts.append(read)
    if not parts:
        return "", needs
    if len(parts) == 1 and parts[0].keys() == {"type", "text"} and parts[0]["type"] == "text":
        return parts[0]["text"], needs
    return parts, needs


def _part(part: dict[str, Any], name: str) -> dict[str, Any] | None:
    kind = part.get("type")
    if kind is None:
        raise missing(f"{name}.type")
    if not isinstance(kind, str):
        raise wrong_type(f"{name}.type", "a string", kind)
    if kind in _TEXTS:
        return {"type": "text", "text": _text(part, "text", name), **_marks(part)}
    if kind == "refusal":
        return {"type": "refusal", "refusal": _text(part, "refusal", name)}
    if kind == "input_image":
        return _image(part, name)
    if kind == "input_file":
        return _file(part, name)
    if kind == "input_audio":
        return _audio(part, name)
    return None


def _image(part: Mapping[str, Any], name: str) -> dict[str, Any]:
    url, file_id = part.get("image_url"), part.get("file_id")
    if isinstance(url, dict):
        # The chat API's form, which clients mix in.
        url = url.get("url")
    if url is None and file_id is None:
        raise missing(f"{name}.image_url")
    if url is None:
        if not isinstance(file_id, str):
            raise wrong_type(f"{name}.file_id", "a string", file_id)
        return {"type": "file", "file": {"file_id": file_id}, **_marks(part)}
    if not isinstance(url, str):
        raise wrong_type(f"{name}.image_url", "a string", url)
    image = {"url": url}
    detail = part.get("detail")
    if detail is not None:
        if not isinstance(detail, str):
            raise wrong_type(f"{name}.detail", "a string", detail)
        image["detail"] = detail
    return {"type": "image_url", "image_url": image, **_marks(part)}


def _file(part: Mapping[str, Any], name: str) -> dict[str, Any]:
    file: dict[str, Any] = {}
    for field in _FILE_FIELDS:
        value = part.get(field)
        if value is None:
            continue
        if not isinstance(value, str):
            raise wrong_type(f"{name}.{field}", "a string", value)
        file[field] = value
    if file.keys().isdisjoint(_FILE_FIELDS[:3]):
        raise missing(f"{name}.file_data")
    file.pop("detail", None)
    return {"type": "file", "file": file, **_marks(part)}


def _audio(part: Mapping[str, Any], name: str) -> dict[str, Any]:
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        raise wrong_type(f"{name}.input_audio", "an object", audio)
    for field in ("data", "format"):
        if not isinstance(audio.get(field), str):
            raise wrong_type(f"{name}.input_audio.{field}", "a string", audio.get(field))
    return {"type": "input_audio", "input_audio": audio, **_marks(part)}


def _marks(part: Mapping[str, Any]) -> dict[str, Any]:
    return {mark: part[mark] for mark in _MARKS if part.get(mark) is not None}


def _text(part: Mapping[str, Any], field: str, name: str) -> str:
    text = part.get(field)
    if text is None:
        raise missing(f"{name}.{field}")
    if not isinstance(text, str):
        raise wrong_type(f"{name}.{field}", "a string", text)
    return text
