"""Anthropic's content blocks of users and tools → the canonical form's parts.

Each reader gets the block's path in the caller's document, for the error that names it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.openai_fields import missing, wrong_type

Part = dict[str, Any]
_LONGEST_TYPE: Final = 100


def find_text(block: Mapping[str, Any], name: str, path: str) -> str | None:
    """A field that may be left out; null is leaving it out."""
    value = block.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong_type(within(path, name), "a string", value)
    return value


def find_flag(block: Mapping[str, Any], name: str, path: str) -> bool | None:
    value = block.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(within(path, name), "a boolean", value)
    return value


def find_object(block: Mapping[str, Any], name: str, path: str) -> dict[str, Any] | None:
    value = block.get(name)
    if value is not None and not isinstance(value, dict):
        raise wrong_type(within(path, name), "an object", value)
    return value


def read_text(block: Mapping[str, Any], name: str, path: str) -> str:
    value = find_text(block, name, path)
    if value is None:
        raise missing(within(path, name))
    return value


def read_inner(block: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    value = find_object(block, name, path)
    if value is None:
        raise missing(within(path, name))
    return value


def within(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def read_blocks(value: Any, path: str) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """Each block of a list with its type and its path. A string stands for one block of text."""
    if isinstance(value, str):
        yield {"type": "text", "text": value}, "text", path
        return
    if not isinstance(value, list):
        raise wrong_type(path, "a string or an array of objects", value)
    for position, block in enumerate(value):
        own = f"{path}[{position}]"
        if not isinstance(block, dict):
            raise wrong_type(own, "an object", block)
        kind = read_text(block, "type", own)
        if len(kind) > _LONGEST_TYPE:
            raise BadRequest(f"Invalid value for '{own}.type'.", param=f"{own}.type", code="invalid_value")
        yield block, kind, own


def read_parts(block: Mapping[str, Any], kind: str, path: str) -> list[Part] | None:
    """None for what only Anthropic knows. [] for a text without letters: others refuse it, and it says nothing."""
    read = _READERS.get(kind)
    parts = None if read is None else read(block, path)
    if parts is None:
        return None
    mark = find_object(block, "cache_control", path)
    if mark is not None and parts:
        parts[-1]["cache_control"] = mark
    return parts


def joined(parts: Sequence[Part]) -> str | list[Part]:
    """One text without marks as the plain string that every vendor takes."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        text: str = parts[0]["text"]
        return text
    return list(parts)


def _read_text(block: Mapping[str, Any], path: str) -> list[Part]:
    text = read_text(block, "text", path)
    return [{"type": "text", "text": text}] if text else []


def _read_image(block: Mapping[str, Any], path: str) -> list[Part] | None:
    source, kind, path = _source(block, path)
    if kind == "base64":
        media_type, data = read_text(source, "media_type", path), read_text(source, "data", path)
        return [_image(f"data:{_media_type(media_type, path)};base64,{data}")]
    if kind == "url":
        return [_image(read_text(source, "url", path))]
    if kind == "file":
        return [{"type": "file", "file": {"file_id": read_text(source, "file_id", path)}}]
    return None


def _image(url: str) -> Part:
    return {"type": "image_url", "image_url": {"url": url}}


def _read_document(block: Mapping[str, Any], path: str) -> list[Part] | None:
    about = _about(block, path)
    source, kind, path = _source(block, path)
    if kind == "text":
        find_text(source, "media_type", path)
        return [{"type": "text", "text": read_text(source, "data", path), **about}]
    if kind == "content":
        parts = _read_content(source.get("content"), f"{path}.content")
        if parts is None:
            return None
        if parts and parts[0]["type"] == "text":
            parts[0] |= about
        elif about:
            parts.insert(0, {"type": "text", "text": "", **about})
        return parts
    if kind == "base64":
        media_type, data = read_text(source, "media_type", path), read_text(source, "data", path)
        # OpenAI wants a name for what comes as data.
        name = about.get("title") or "document.pdf"
        file = {"file_data": f"data:{_media_type(media_type, path)};base64,{data}", "filename": name}
    elif kind == "url":
        file = {"file_url": read_text(source, "url", path)}
    elif kind == "file":
        file = {"file_id": read_text(source, "file_id", path)}
    else:
        return None
    return [{"type": "file", "file": file, **about}]


def _read_search_result(block: Mapping[str, Any], path: str) -> list[Part] | None:
    source = read_text(block, "source", path)
    about = _about({**block, "context": source}, path)
    parts = _read_content(block.get("content"), f"{path}.content")
    if parts is None:
        return None
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return [{"type": "text", "text": "\n\n".join(texts), **about}]


def _read_content(value: Any, path: str) -> list[Part] | None:
    parts: list[Part] = []
    for block, kind, own in read_blocks(value, path):
        # Documents inside documents there are none.
        read = read_parts(block, kind, own) if kind in {"text", "image"} else None
        if read is None:
            return None
        parts += read
    return parts


def _about(block: Mapping[str, Any], path: str) -> Part:
    about = {
        "title": find_text(block, "title", path),
        "context": find_text(block, "context", path),
        "citations": find_object(block, "citations", path),
    }
    return {name: value for name, value in about.items() if value is not None}


def _source(block: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any], str, str]:
    source = read_inner(block, "source", path)
    path = f"{path}.source"
    return source, read_text(source, "type", path), path


def _media_type(value: str, path: str) -> str:
    if (
        not value
        or len(value) > _LONGEST_TYPE
        or not value.isascii()
        or not value.isprintable()
        or set(value) & set(",; ")
    ):
        raise BadRequest(f"Invalid value for '{path}.media_type'.", param=f"{path}.media_type", code="invalid_value")
    return value


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], str], list[Part] | None]]] = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "search_result": _read_search_result,
}
