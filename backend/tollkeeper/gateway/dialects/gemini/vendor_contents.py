"""Canonical messages as Gemini's `systemInstruction` and `contents`.

Gemini wants turns of user and model, all answers to the calls of one turn in one content right behind it and nothing
beside them, and its signatures where it put them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.gemini.vendor_media import Part, write_part
from tollkeeper.gateway.dialects.gemini.vendor_names import write_name
from tollkeeper.gateway.openai_fields import missing, wrong_type

Content = dict[str, Any]

# For calls that another model made: "Thought signatures", Gemini API documentation, 2026-08. Without any signature on the
# first call of a step Gemini 3 answers 400.
FOREIGN_SIGNATURE: Final = "skip_thought_signature_validator"
_BLANK: Final[Part] = {"text": " "}


@dataclass(slots=True)
class _Answers:
    """The place behind a turn that called functions: each call's name, in order, and its answer as it comes."""

    names: dict[str, str]
    content: Content = field(default_factory=lambda: {"role": "user", "parts": []})
    # What answers hold beside text.
    media: Content = field(default_factory=lambda: {"role": "user", "parts": []})
    parts: dict[str, Part] = field(default_factory=dict)


class Contents:
    """Collects the turns of one call. `sends_ids`: whether calls and answers carry their ids."""

    def __init__(self, *, needs_signatures: bool, sends_ids: bool) -> None:
        self._needs_signatures = needs_signatures
        self._sends_ids = sends_ids
        self._system: list[Part] = []
        self._contents: list[Content] = []
        self._places: list[_Answers] = []
        # Of each call's id the latest place.
        self._of_calls: dict[str, _Answers] = {}

    def add(self, messages: Sequence[Mapping[str, Any]]) -> None:
        for position, message in enumerate(messages):
            where, role = f"messages[{position}]", message.get("role")
            if role in {"system", "developer"}:
                parts = _parts(message, where)
                if self._contents:
                    # Its place in the conversation matters more than its rank.
                    self._put("user", parts)
                else:
                    self._system += parts
            elif role == "user":
                self._put("user", _parts(message, where))
            elif role == "assistant":
                self._add_assistant(message, where)
            elif role == "tool":
                self._add_answer(message, where)
            else:
                raise BadRequest(
                    f"Gemini has no place for a message of the role {str(role)[:64]!r}.",
                    code="unsupported_input",
                    param=f"{where}.role",
                )

    def write(self) -> dict[str, Any]:
        for place in self._places:
            place.content["parts"] = [place.parts[name] for name in place.names if name in place.parts]
        contents = [content for content in self._contents if content["parts"]]
        system = self._system
        if not contents:
            if not system:
                raise BadRequest("There is nothing to answer: all messages are empty.", param="messages")
            # An instruction alone is what is to be answered.
            contents, system = [{"role": "user", "parts": system}], []
        if contents[-1]["role"] == "model":
            raise BadRequest(
                "Gemini cannot continue an assistant's message: end with a message of the user or the result of a tool.",
                code="unsupported_input",
                param="messages",
            )
        if contents[0]["role"] == "model":
            contents.insert(0, {"role": "user", "parts": [_BLANK]})
        written: dict[str, Any] = {"contents": contents}
        if system:
            written["systemInstruction"] = {"parts": system}
        return written

    def _put(self, role: str, parts: list[Part]) -> None:
        """Behind the last turn, or into it when it is of the same role and no place of answers."""
        last = self._contents[-1] if self._contents else None
        is_place = bool(self._places) and (last is self._places[-1].content or last is self._places[-1].media)
        if last is not None and last["role"] == role and not is_place:
            last["parts"] += parts
        elif parts:
            self._contents.append({"role": role, "parts": parts})

    def _add_assistant(self, message: Mapping[str, Any], where: str) -> None:
        if message.get("function_call") is not None:
            raise BadRequest(
                "The deprecated 'function_call' cannot be sent to Gemini; use 'tool_calls'.",
                code="unsupported_input",
                param=f"{where}.function_call",
            )
        thoughts, loose = _signed(message)
        parts = thoughts + _parts(message, where)
        calls = message.get("tool_calls")
        if calls is not None and not isinstance(calls, list):
            raise wrong_type(f"{where}.tool_calls", "an array of objects", calls)
        signatures = {name: signature for name, signature in loose if name}
        _sign_texts(parts, parts[len(thoughts) :], [signature for name, signature in loose if not name])
        names: dict[str, str] = {}
        is_first = True
        for position, call in enumerate(calls or ()):
            part = self._call(call, f"{where}.tool_calls[{position}]", names, signatures)
            if is_first and self._needs_signatures and "thoughtSignature" not in part:
                part["thoughtSignature"] = FOREIGN_SIGNATURE
            is_first = False
            parts.append(part)
        self._put("model", parts)
        if names:
            place = _Answers(names)
            self._places.append(place)
            self._of_calls |= dict.fromkeys(names, place)
            self._contents += (place.content, place.media)

    def _call(self, call: Any, where: str, names: dict[str, str], signatures: Mapping[str, str]) -> Part:
        if not isinstance(call, dict):
            raise wrong_type(where, "an object", call)
        kind = "custom" if call.get("type") == "custom" else "function"
        inner = call.get(kind)
        if not isinstance(inner, dict):
            raise wrong_type(f"{where}.{kind}", "an object", inner)
        name = inner.get("name")
        if not isinstance(name, str) or not name:
            raise wrong_type(f"{where}.{kind}.name", "a string", name)
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id:
            raise missing(f"{where}.id")
        names[call_id] = written = write_name(name)
        args = {"input": inner.get("input") or ""} if kind == "custom" else _arguments(inner.get("arguments"))
        part: Part = {"functionCall": {"name": written, "args": args}}
        if self._sends_ids:
            part["functionCall"]["id"] = call_id
        signature = signature_of(call) or signatures.get(call_id)
        if signature:
            part["thoughtSignature"] = signature
        return part

    def _add_answer(self, message: Mapping[str, Any], where: str) -> None:
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str):
            raise missing(f"{where}.tool_call_id")
        place = self._of_calls.get(call_id)
        if place is None:
            raise BadRequest(
                f"Invalid '{where}.tool_call_id': no earlier message of the assistant made this call.",
                param=f"{where}.tool_call_id",
                code="invalid_value",
            )
        parts = _parts(message, where)
        text = "".join(part["text"] for part in parts if "text" in part)
        answer: Part = {"name": place.names[call_id], "response": _response(text, message.get("is_error"))}
        if self._sends_ids:
            answer["id"] = call_id
        # Answered twice: the later one holds.
        place.parts[call_id] = {"functionResponse": answer}
        place.media["parts"] += [part for part in parts if "text" not in part]


def signature_of(value: Mapping[str, Any]) -> str | None:
    """`extra_content.google.thought_signature` of a call or a message, as Google's own OpenAI layer has it."""
    extra = value.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def _parts(message: Mapping[str, Any], where: str) -> list[Part]:
    content = message.get("content")
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}] if content else []
    if not isinstance(content, list):
        raise wrong_type(f"{where}.content", "a string or an array of objects", content)
    written = (write_part(part, f"{where}.content[{position}]") for position, part in enumerate(content))
    return [part for part in written if part is not None]


def _signed(message: Mapping[str, Any]) -> tuple[list[Part], list[tuple[str | None, str]]]:
    """Gemini's own thoughts with their signatures, and the signatures that belong elsewhere: of a call, by its id, or of
    the text. What other vendors signed is theirs alone.
    """
    thoughts: list[Part] = []
    loose: list[tuple[str | None, str]] = []
    details = message.get("reasoning_details")
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict) or "gemini" not in str(detail.get("format")):
            continue
        signature, data, text = detail.get("signature"), detail.get("data"), detail.get("text")
        if isinstance(signature, str) and signature:
            shown = text if isinstance(text, str) else ""
            thoughts.append({"text": shown, "thought": True, "thoughtSignature": signature})
        elif isinstance(data, str) and data:
            owner = detail.get("id")
            loose.append((owner if isinstance(owner, str) else None, data))
    if own := signature_of(message):
        loose.append((None, own))
    return thoughts, loose


def _sign_texts(parts: list[Part], said: Sequence[Part], signatures: Sequence[str]) -> None:
    """On the last texts; Gemini itself sends an empty text where there is none."""
    texts = [part for part in said if "text" in part]
    for signature in signatures:
        if texts:
            texts.pop()["thoughtSignature"] = signature
        else:
            parts.append({"text": "", "thoughtSignature": signature})


def _arguments(value: Any) -> dict[str, Any]:
    """The object in the string. What is none travels on as text: the model wrote it, and must be able to go on."""
    if isinstance(value, dict):
        return value
    if value is None or value in ("", "null"):
        return {}
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"arguments": value}


def _response(text: str, is_error: object) -> dict[str, Any]:
    """An object as it is, anything else under the key that Gemini reads as the whole output."""
    if is_error:
        return {"error": text}
    if text.startswith("{"):
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            found = None
        if isinstance(found, dict):
            return found
    return {"output": text}
