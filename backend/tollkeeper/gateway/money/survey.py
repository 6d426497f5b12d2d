"""What a call has in it, as far as it can be seen: the sum of its text, and what is found beside it in messages.

Pictures, sounds and files stand where vendors' formats have them; their data is taken out of the text. `estimate` makes
tokens of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tollkeeper.contracts.chat import Amounts
from tollkeeper.gateway.money.media import picture_size, sound_ms

_SHORT: Final = 64
_TEXT_PARTS: Final = frozenset(
    {"text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking", "reasoning", "tool_use"}
)
# What stands behind an address of these is no picture, whatever the part says.
_NO_PICTURES: Final = (
    ".pdf",
    ".txt",
    ".md",
    ".csv",
    ".html",
    ".json",
    ".mp3",
    ".wav",
    ".flac",
    ".ogg",
    ".mp4",
    ".mov",
    ".webm",
)

Picture = tuple[tuple[int, int] | None, str]


@dataclass(slots=True)
class Survey:
    """What a call has in it, as far as it can be seen.

    `text_bytes` bound the tokens of all its text and definitions; `ids` are tokens given as numbers. `prompts`: how many
    are answered apart. `unseen`: something whose tokens only the vendor knows; the model's context bounds it. `open_cost`:
    something that nothing bounds. Both are words for the caller.
    """

    text_bytes: int
    ids: int = 0
    prompts: int = 1
    pictures: list[Picture] = field(default_factory=list)
    sound_ms: int = 0
    most_sound_ms: int = 0
    files: int = 0
    has_sound: bool = False
    has_tools: bool = False
    unseen: str | None = None
    open_cost: str | None = None
    # The strings of the body that are no text.
    data: list[str] = field(default_factory=list)
    # What is charged beside tokens at the most; None: what stands in a text call is counted from here.
    most: Amounts | None = None


def walk_messages(messages: list[Any], seen: Survey) -> None:
    """What is in them beside text."""
    for message in messages:
        if type(message) is dict:
            content = message.get("content")
            if type(content) is list:
                walk_parts(content, seen)
            if "audio" in message and message["audio"] is not None:
                seen.has_sound = True
                seen.unseen = "a sound that the vendor keeps"


def walk_parts(parts: list[Any], seen: Survey) -> None:
    for part in parts:
        if type(part) is not dict:
            continue
        kind = part.get("type")
        if type(kind) is not str:
            # A caller may send anything; the vendor refuses it.
            seen.unseen = "a part without a type"
        elif kind in _TEXT_PARTS:
            continue
        elif kind in {"image_url", "input_image", "image"}:
            take_picture(part, seen)
        elif kind == "input_audio":
            _sound(part, seen)
        elif kind == "tool_result":
            content = part.get("content")
            if type(content) is list:
                walk_parts(content, seen)
        elif kind in {"file", "input_file", "document"}:
            _file(part, seen)
        else:
            seen.unseen = "a part that is neither text nor picture nor sound"


def take_picture(part: Mapping[str, Any], seen: Survey) -> None:
    """Where a picture is at the vendors that call it so: `image_url.url`, `image_url`, `source.data`."""
    inner = part.get("image_url")
    detail = part.get("detail")
    url = inner
    if type(inner) is dict:
        url, detail = inner.get("url"), inner.get("detail")
    source = part.get("source")
    if type(source) is dict and type(source.get("data")) is str:
        take_out(source["data"], seen)
        size = picture_size("data:," + source["data"][:1_000_000])
    elif type(url) is str:
        take_out(url, seen)
        size = picture_size(url)
        if size is None and _is_no_picture(url):
            seen.unseen = "a file"
    else:
        size = None
    seen.pictures.append((size, detail if type(detail) is str else "auto"))


def _is_no_picture(url: str) -> bool:
    if url[:5].lower() == "data:":
        return url[5:11].lower() != "image/"
    return url.partition("?")[0].lower().endswith(_NO_PICTURES)


def _sound(part: Mapping[str, Any], seen: Survey) -> None:
    inner = part.get("input_audio")
    data = inner.get("data") if type(inner) is dict else None
    seen.has_sound = True
    if type(data) is not str or "://" in data[:16]:
        seen.unseen = "a sound given by its address"
        return
    usual, most = sound_ms(data)
    take_out(data, seen)
    seen.sound_ms += usual
    seen.most_sound_ms += most


def _file(part: Mapping[str, Any], seen: Survey) -> None:
    """Pages inside a compressed file cannot be counted without opening it."""
    seen.files += 1
    seen.unseen = "a file"
    for name, field_name in (("file", "file_data"), ("source", "data")):
        inner = part.get(name)
        data = inner.get(field_name) if type(inner) is dict else None
        if type(data) is str:
            take_out(data, seen)


def take_out(data: str, seen: Survey) -> None:
    """Data is no text."""
    # Short ones are text for all it matters, and may be the same object as another short string.
    if len(data) > _SHORT:
        seen.text_bytes -= len(data)
        seen.data.append(data)
