"""Anthropic's whole answer → a canonical completion. What both ways of answering share stands here as well."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk, Usage
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.dialects.anthropic_messages.vendor_arguments import write_arguments
from tollkeeper.gateway.dialects.anthropic_messages.vendor_failures import raise_error
from tollkeeper.gateway.dialects.anthropic_messages.vendor_names import ANSWER_TOOL, own_names
from tollkeeper.gateway.dialects.anthropic_messages.vendor_request import answers_by_tool, is_native
from tollkeeper.gateway.dialects.anthropic_messages.vendor_thoughts import to_detail
from tollkeeper.gateway.openai_repair import new_id
from tollkeeper.gateway.openai_usage import write_usage
from tollkeeper.gateway.vendor_usage import read_anthropic_usage

_REASONS: Final[Mapping[object, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# Words that OpenAI has none for: told beside the ordinary one.
_TOLD: Final = frozenset({"pause_turn", "refusal", "model_context_window_exceeded"})


@dataclass(slots=True)
class _Message:
    """What has been gathered of an answer's content."""

    texts: list[str] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    length: int = 0

    def add(self, block: Mapping[str, Any], index: int, names: Mapping[str, str], *, by_tool: bool) -> None:
        kind = block.get("type")
        if kind == "text":
            text = block.get("text")
            if not isinstance(text, str):
                raise garbage("a text that is none")
            citations = block.get("citations")
            start = sum(map(len, self.texts))
            for citation in citations if isinstance(citations, list) else ():
                if (annotation := annotation_of(citation, start, len(text))) is not None:
                    self.annotations.append(annotation)
            self._write(text)
        elif kind == "tool_use":
            name, arguments = block.get("name"), write_arguments(block.get("input"))
            if not isinstance(name, str) or not name:
                raise garbage("a tool call without a name")
            if by_tool and name == ANSWER_TOOL:
                self._write(arguments)
                return
            call_id = block.get("id")
            self.calls.append(
                {
                    "id": call_id if isinstance(call_id, str) and call_id else new_id("toolu_"),
                    "type": "function",
                    "function": {"name": names.get(name, name), "arguments": arguments},
                }
            )
            self.length += len(arguments)
        elif (detail := to_detail(dict(block), index)) is not None:
            self.details.append(detail)
            self.length += len(detail.get("text") or "")

    def _write(self, text: str) -> None:
        self.texts.append(text)
        self.length += len(text)

    def write(self) -> dict[str, Any]:
        # A text that is empty beside calls is none.
        content = "".join(self.texts)
        message: dict[str, Any] = {"role": "assistant", "content": content if content or not self.calls else None}
        message["refusal"] = None
        thoughts = "".join(detail.get("text") or "" for detail in self.details)
        beside = {
            "reasoning_content": thoughts,
            "reasoning_details": self.details,
            "tool_calls": self.calls,
            "annotations": self.annotations,
        }
        return message | {name: value for name, value in beside.items() if value}


def read_message(body: bytes) -> dict[str, Any]:
    """A message with its list of blocks. Raises `UpstreamError` for errors and for everything else."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
    if not isinstance(data, dict):
        raise garbage("no message")
    raise_error(data)
    content = data.get("content")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise garbage("no message")
    return data


def read_whole(body: bytes, call: Call) -> Chunk:
    data = read_message(body)
    message, names, by_tool = _Message(), own_names(call.body), answers_by_tool(call.body)
    for index, block in enumerate(data["content"]):
        message.add(block, index, names, by_tool=by_tool)
    written = message.write()
    explain(data.get("stop_details"), written)
    usage = read_anthropic_usage(data.get("usage"))
    document = {
        "id": id_of(data),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model_of(data, call),
        "choices": [
            {
                "index": 0,
                "message": written,
                "logprobs": None,
                **finish_of(data.get("stop_reason"), has_calls=bool(message.calls), by_tool=by_tool),
            }
        ],
        **usage_fields(usage, data.get("usage")),
    }
    return Chunk(
        document,
        is_content=True,
        is_final=True,
        usage=usage,
        text_length=message.length,
        native=body if is_native(call) else None,
    )


def finish_of(reason: object, *, has_calls: bool, by_tool: bool) -> dict[str, Any]:
    """`finish_reason`, never a word that clients do not know, and Anthropic's own where that says more."""
    word = _REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"
    if word == "tool_calls" and by_tool and not has_calls:
        word = "stop"
    told = isinstance(reason, str) and (reason in _TOLD or reason not in _REASONS)
    return {"finish_reason": word, "native_finish_reason": reason} if told else {"finish_reason": word}


def usage_fields(usage: Usage | None, told: object) -> dict[str, Any]:
    """`usage` as a client expects it, and the tier that the answer was made in."""
    fields: dict[str, Any] = {}
    if usage is not None:
        fields["usage"] = write_usage(usage)
    elif told:
        # No count: whoever raises the alarm finds it there.
        fields["usage"] = told
    if isinstance(told, dict):
        tier = "fast" if told.get("speed") == "fast" else told.get("service_tier")
        if isinstance(tier, str):
            fields["service_tier"] = "default" if tier == "standard" else tier
    return fields


def explain(details: object, message: dict[str, Any]) -> None:
    """Why an answer was refused, where OpenAI's clients look for it."""
    said = details.get("explanation") if isinstance(details, dict) else None
    if isinstance(said, str) and said:
        message["refusal"] = said


def annotation_of(citation: object, start: int, length: int) -> dict[str, Any] | None:
    """A citation of a page; those of documents have no place in the canonical form."""
    if not isinstance(citation, dict) or not isinstance(citation.get("url"), str):
        return None
    title = citation.get("title")
    return {
        "type": "url_citation",
        "url_citation": {
            "url": citation["url"],
            "title": title if isinstance(title, str) else "",
            "start_index": start,
            "end_index": start + length,
        },
    }


def id_of(message: Mapping[str, Any]) -> str:
    found = message.get("id")
    return found if isinstance(found, str) and found else new_id("msg_")


def model_of(message: Mapping[str, Any], call: Call) -> str:
    found = message.get("model")
    return found if isinstance(found, str) and found else call.model


def garbage(what: str) -> UpstreamError:
    return UpstreamError(f"The provider's answer holds {what}.", code="upstream_garbage")
