"""Converse's whole answer as a canonical completion, and what it shares with streams: stop reasons, thinking, citations."""

import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk, Usage
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.dialects.bedrock_converse.names import ANSWER_TOOL, answers_by_tool, own_names
from tollkeeper.gateway.openai_repair import new_id
from tollkeeper.gateway.openai_usage import write_usage
from tollkeeper.gateway.vendor_usage import read_bedrock_usage

# "StopReason", Bedrock runtime reference, 2026-11. Any other is an ordinary stop.
_STOPS: Final[Mapping[Any, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_MALFORMED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})


def read_whole(body: bytes, call: Call) -> Chunk:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
    output = data.get("output") if isinstance(data, dict) else None
    told = output.get("message") if isinstance(output, dict) else None
    blocks = told.get("content") if isinstance(told, dict) else None
    if not isinstance(blocks, list):
        raise UpstreamError("The provider's answer is no completion.", code="upstream_garbage")
    content = _Content(call)
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            raise UpstreamError("The provider's answer is no completion.", code="upstream_garbage")
        content.add(block, index)
    usage = read_bedrock_usage(data.get("usage"))
    reason = finish_reason(data.get("stopReason"), has_calls=bool(content.calls), is_answered=content.is_answered)
    document: dict[str, Any] = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": call.model,
        "choices": [{"index": 0, "message": content.message(), "logprobs": None, "finish_reason": reason}],
        "usage": data.get("usage") if usage is None else write_usage(usage),
    }
    if (tier := tier_of(data)) is not None:
        document["service_tier"] = tier
    if document["usage"] is None:
        del document["usage"]
    return Chunk(
        document,
        is_content=True,
        is_final=True,
        usage=usage,
        text_length=0 if usage is not None else content.text_length,
    )


def finish_reason(told: object, *, has_calls: bool, is_answered: bool = False) -> str:
    """One of OpenAI's words. An answer that was given by a tool is not a call of one."""
    if isinstance(told, str) and told in _MALFORMED and not has_calls:
        raise UpstreamError("The model's answer was malformed; try again.", code="upstream_garbage")
    reason = _STOPS.get(told, "stop") if isinstance(told, str) else "stop"
    if reason == "tool_calls" and is_answered and not has_calls:
        return "stop"
    return "tool_calls" if reason == "stop" and has_calls else reason


def text_detail(index: int, text: str, *, is_first: bool = True) -> dict[str, Any]:
    """A part of `reasoning_details`. Its format stands once in an entry, because parts of a stream are put together."""
    detail: dict[str, Any] = {"type": "reasoning.text", "text": text, "index": index}
    # Signatures of Anthropic's are good at Anthropic's own API and at its resellers alike.
    return {**detail, "format": "anthropic"} if is_first else detail


def redacted_detail(index: int, data: str) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": data, "format": "bedrock", "index": index}


def annotation_of(citation: object, start: int, end: int) -> dict[str, Any] | None:
    """A citation of the web as OpenAI has it; others have no place in the canonical form."""
    location = citation.get("location") if isinstance(citation, dict) else None
    web = location.get("web") if isinstance(location, dict) else None
    url = web.get("url") if isinstance(web, dict) else None
    if not isinstance(url, str):
        return None
    assert isinstance(citation, dict)
    title = citation.get("title")
    cited = {"url": url, "title": title if isinstance(title, str) else "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": cited}


def usage_of(data: Mapping[str, Any]) -> Usage | None:
    return read_bedrock_usage(data.get("usage"))


def tier_of(data: Mapping[str, Any]) -> str | None:
    tier = data.get("serviceTier")
    kind = tier.get("type") if isinstance(tier, dict) else None
    return kind if isinstance(kind, str) else None


class _Content:
    """The blocks of one answer as a message."""

    def __init__(self, call: Call) -> None:
        self._names = own_names(call.body)
        self._has_answer_tool = answers_by_tool(call.body)
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.is_answered = False
        self.text_length = 0

    def add(self, block: Mapping[str, Any], index: int) -> None:
        if isinstance(text := block.get("text"), str):
            self._say(text)
        elif isinstance(use := block.get("toolUse"), dict):
            self._call(use)
        elif isinstance(thought := block.get("reasoningContent"), dict):
            self._think(thought, index)
        elif isinstance(cited := block.get("citationsContent"), dict):
            self._cite(cited)

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._texts) if self._texts else None,
            "refusal": None,
        }
        if self._thoughts:
            message["reasoning_content"] = "".join(self._thoughts)
        if self._details:
            message["reasoning_details"] = self._details
        if self._annotations:
            message["annotations"] = self._annotations
        if self.calls:
            message["tool_calls"] = self.calls
        return message

    def _say(self, text: str) -> None:
        self._texts.append(text)
        self.text_length += len(text)

    def _call(self, use: Mapping[str, Any]) -> None:
        name, call_id = use.get("name"), use.get("toolUseId")
        if not isinstance(name, str) or not name:
            raise UpstreamError("The provider sent a tool call without a name.", code="upstream_garbage")
        arguments = orjson.dumps(use.get("input") or {}).decode()
        if name == ANSWER_TOOL and self._has_answer_tool:
            self.is_answered = True
            self._say(arguments)
            return
        self.text_length += len(arguments)
        self.calls.append(
            {
                "id": call_id if isinstance(call_id, str) and call_id else new_id("call_"),
                "type": "function",
                "function": {"name": self._names.get(name, name), "arguments": arguments},
            }
        )

    def _think(self, thought: Mapping[str, Any], index: int) -> None:
        told = thought.get("reasoningText")
        if isinstance(told, dict):
            text, signature = told.get("text"), told.get("signature")
            text = text if isinstance(text, str) else ""
            self._thoughts.append(text)
            self.text_length += len(text)
            detail = text_detail(index, text)
            if isinstance(signature, str):
                detail["signature"] = signature
            self._details.append(detail)
        elif isinstance(data := thought.get("redactedContent"), str):
            self._details.append(redacted_detail(index, data))

    def _cite(self, cited: Mapping[str, Any]) -> None:
        start = sum(map(len, self._texts))
        for part in cited.get("content") or ():
            if isinstance(part, dict) and isinstance(text := part.get("text"), str):
                self._say(text)
        end = sum(map(len, self._texts))
        found = (annotation_of(citation, start, end) for citation in cited.get("citations") or ())
        self._annotations += [annotation for annotation in found if annotation is not None]
