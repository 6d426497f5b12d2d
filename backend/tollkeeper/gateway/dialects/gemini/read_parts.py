"""Parts of a Gemini content as canonical content parts, and what of them other vendors have no place for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tollkeeper.gateway.dialects.gemini.read_fields import Json, read_fields, read_text

_MOST_TOLD: Final = 32
_LONGEST_TOLD: Final = 96
_SOUNDS: Final[Mapping[str, str]] = {"mpeg": "mp3", "mp3": "mp3", "wav": "wav", "x-wav": "wav", "wave": "wav"}
# Beside what a part holds.
BESIDE: Final = frozenset({"thought", "thoughtSignature"})
_TOLD_BESIDE: Final = ("videoMetadata", "mediaResolution", "partMetadata", "mediaProcessing", "speechMetadata")


@dataclass(slots=True)
class Told:
    """What the canonical form has no place for, by its place in the document."""

    unexpressed: list[str] = field(default_factory=list)
    # The first thing that no other dialect has.
    needs_native: str | None = None
    # A signature in it is none of Gemini's: it must not go there as it is.
    has_foreign: bool = False
    # A file that stays behind where other vendors are asked, and that Google reads.
    has_hidden_file: bool = False

    def leave_out(self, name: str) -> None:
        shown = name[:_LONGEST_TOLD]
        if shown not in self.unexpressed and len(self.unexpressed) < _MOST_TOLD:
            self.unexpressed.append(shown)

    def need(self, name: str) -> None:
        self.needs_native = self.needs_native or name[:_LONGEST_TOLD]


def read_media(part: Mapping[str, Any], where: str, told: Told) -> Json | None:
    """A part that is neither text nor a call. What no dialect but this one has is needed by its name."""
    for name in _TOLD_BESIDE:
        if part.get(name) is not None:
            told.leave_out(f"contents.parts.{name}")
    if part.get("inlineData") is not None:
        return _inline(read_fields(part["inlineData"], f"{where}.inlineData"), f"{where}.inlineData")
    if part.get("fileData") is not None:
        return _by_address(read_fields(part["fileData"], f"{where}.fileData"), f"{where}.fileData")
    if (text := read_code(part, where)) is not None:
        return {"type": "text", "text": text}
    unknown = next((name for name, value in part.items() if value is not None and name not in BESIDE), None)
    if unknown is not None and unknown not in _TOLD_BESIDE:
        told.need(f"{where}.{unknown}")
    return None


def read_code(part: Mapping[str, Any], where: str) -> str | None:
    """What Gemini's own code tool did, as text."""
    if part.get("executableCode") is not None:
        code = read_fields(part["executableCode"], f"{where}.executableCode")
        language = str(code.get("language") or "").lower()[:32]
        return f"```{language}\n{read_text(code.get('code', ''), f'{where}.executableCode.code')}\n```\n"
    if part.get("codeExecutionResult") is not None:
        result = read_fields(part["codeExecutionResult"], f"{where}.codeExecutionResult")
        return f"```\n{read_text(result.get('output', ''), f'{where}.codeExecutionResult.output')}\n```\n"
    return None


def _inline(blob: Mapping[str, Any], where: str) -> Json:
    media_type = read_text(blob.get("mimeType"), f"{where}.mimeType")
    data = read_text(blob.get("data"), f"{where}.data")
    kind, _, detail = media_type.partition("/")
    if kind == "audio":
        name = detail.partition(";")[0].lower()
        return {"type": "input_audio", "input_audio": {"data": data, "format": _SOUNDS.get(name, name)}}
    url = f"data:{media_type};base64,{data}"
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    file: Json = {"file_data": url}
    if isinstance(blob.get("displayName"), str):
        file["filename"] = blob["displayName"]
    return {"type": "file", "file": file}


def _by_address(data: Mapping[str, Any], where: str) -> Json:
    address = read_text(data.get("fileUri"), f"{where}.fileUri")
    media_type = data.get("mimeType")
    if media_type is not None and read_text(media_type, f"{where}.mimeType").startswith("image/"):
        return {"type": "image_url", "image_url": {"url": address}}
    return {"type": "file", "file": {"file_url": address}}
