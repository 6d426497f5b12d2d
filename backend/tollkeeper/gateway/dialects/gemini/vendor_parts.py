"""The parts of a candidate as fields of a canonical message or delta: the same for whole answers and streams."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.dialects.gemini.vendor_names import ToolNames
from tollkeeper.gateway.openai_repair import new_id

FORMAT: Final = "gemini"
# Gemini writes what its own code tool did beside the text; in a chat answer it is a part of the text.
_CODE: Final = "\n```{language}\n{code}\n```\n"
_OUTPUT: Final = "\n```\n{output}\n```\n"


@dataclass(slots=True)
class Seen:
    """What one candidate had so far, over all chunks of a stream."""

    calls: int = 0
    # Entries of `reasoning_details`; the thoughts are one entry, the signatures of texts one each.
    details: int = 0
    thoughts: int | None = None
    audio_id: str | None = None


@dataclass(slots=True)
class Parts:
    text: str = ""
    reasoning: str = ""
    details: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    audio: dict[str, Any] | None = None
    # Characters of text and arguments.
    length: int = 0

    def fields(self) -> dict[str, Any]:
        """Everything but the text, as far as it is there."""
        found: dict[str, Any] = {}
        if self.reasoning:
            found["reasoning_content"] = self.reasoning
        if self.details:
            found["reasoning_details"] = self.details
        if self.calls:
            found["tool_calls"] = self.calls
        if self.images:
            found["images"] = self.images
        if self.audio is not None:
            found["audio"] = self.audio
        return found


def read_parts(content: Any, seen: Seen, names: ToolNames) -> Parts:
    """A content without parts is an empty one."""
    found = Parts()
    parts = content.get("parts") if isinstance(content, dict) else None
    if parts is None:
        return found
    if not isinstance(parts, list):
        raise UpstreamError("The provider's answer has parts that are no list.", code="upstream_garbage")
    for part in parts:
        if not isinstance(part, dict):
            raise UpstreamError("The provider's answer has a part that is no object.", code="upstream_garbage")
        _read_part(part, found, seen, names)
    return found


def _read_part(part: Mapping[str, Any], found: Parts, seen: Seen, names: ToolNames) -> None:
    signature = part.get("thoughtSignature")
    signature = signature if isinstance(signature, str) and signature else None
    text = part.get("text")
    if isinstance(text, str):
        found.length += len(text)
        if part.get("thought") is True:
            found.reasoning += text
            _think(text, signature, found, seen)
            return
        found.text += text
    elif isinstance(call := part.get("functionCall"), dict):
        _call(call, signature, found, seen, names)
        return
    elif isinstance(data := part.get("inlineData"), dict):
        _media(data, found, seen)
    elif isinstance(code := part.get("executableCode"), dict):
        shown = _CODE.format(language=str(code.get("language") or "").lower(), code=code.get("code") or "")
        found.text += shown
        found.length += len(shown)
    elif isinstance(result := part.get("codeExecutionResult"), dict):
        shown = _OUTPUT.format(output=result.get("output") or "")
        found.text += shown
        found.length += len(shown)
    if signature is not None:
        entry = {"type": "reasoning.encrypted", "data": signature, "format": FORMAT, "index": seen.details}
        found.details.append(entry)
        seen.details += 1


def _think(text: str, signature: str | None, found: Parts, seen: Seen) -> None:
    """Pieces of one thought have one index; the format stands in the first of them, so that putting them together is
    joining them.
    """
    is_first = seen.thoughts is None
    if seen.thoughts is None:
        seen.thoughts = seen.details
        seen.details += 1
    entry: dict[str, Any] = {"type": "reasoning.text", "text": text, "index": seen.thoughts}
    if is_first:
        entry["format"] = FORMAT
    if signature is not None:
        entry["signature"] = signature
        # What is thought after a signature is another thought.
        seen.thoughts = None
    found.details.append(entry)


def _call(call: Mapping[str, Any], signature: str | None, found: Parts, seen: Seen, names: ToolNames) -> None:
    name = call.get("name")
    if not isinstance(name, str) or not name:
        return  # a piece of a call that is streamed in pieces, which nobody asked for
    args = call.get("args")
    call_id = call.get("id")
    made: dict[str, Any] = {
        "index": seen.calls,
        "id": call_id if isinstance(call_id, str) and call_id else new_id("call_"),
    }
    own = names.own(name)
    if names.is_custom(name):
        text = args.get("input") if isinstance(args, dict) else None
        text = text if isinstance(text, str) else _dumped(args)
        made |= {"type": "custom", "custom": {"name": own, "input": text}}
    else:
        text = _dumped(args) if args else "{}"
        made |= {"type": "function", "function": {"name": own, "arguments": text}}
    if signature is not None:
        made["extra_content"] = {"google": {"thought_signature": signature}}
    found.length += len(text) + len(own)
    found.calls.append(made)
    seen.calls += 1


def _dumped(args: Any) -> str:
    try:
        return orjson.dumps(args).decode()
    except orjson.JSONEncodeError as error:  # nested deeper than can be written
        raise UpstreamError("The provider sent arguments that are too deep.", code="upstream_garbage") from error


def _media(data: Mapping[str, Any], found: Parts, seen: Seen) -> None:
    media_type, content = data.get("mimeType"), data.get("data")
    if not isinstance(media_type, str) or not isinstance(content, str):
        return
    if media_type.startswith("audio/"):
        if seen.audio_id is None:
            seen.audio_id = new_id("audio_")
        before = found.audio["data"] if found.audio is not None else ""
        found.audio = {"id": seen.audio_id, "data": before + content, "transcript": "", "format": media_type}
    else:
        image = {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{content}"}}
        found.images.append(image)
