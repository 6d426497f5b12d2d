"""The calls that providers are given: one sample of each field and each kind of content of a chat call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_PIXEL: Final = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
_TOOL: Final = {"type": "function", "function": {"name": "get_weather", "description": "…", "parameters": _SCHEMA}}
_USER: Final = {"role": "user", "content": "Hello"}
# A call of every provider's; the cap is always there because some vendors want one.
BASE: Final[Mapping[str, Any]] = {"messages": [_USER], "max_completion_tokens": 4096}
_CALLS: Final = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"x"}'}}
    ],
}


@dataclass(frozen=True, slots=True)
class Sample:
    """`fields` beside those of `BASE`, `beside` what they need themselves to mean something."""

    label: str
    fields: Mapping[str, Any]
    beside: Mapping[str, Any]


def _field(label: str, *, beside: Mapping[str, Any] | None = None, **fields: Any) -> Sample:
    return Sample(label, fields, beside or {})


def _content(label: str, *parts: Any) -> Sample:
    text = {"type": "text", "text": "Look"}
    return Sample(label, {"messages": [{"role": "user", "content": [text, *parts]}]}, {})


_WITH_TOOLS: Final = {"tools": [_TOOL]}
FIELDS: Final[tuple[Sample, ...]] = (
    _field("`temperature`", temperature=0.5),
    _field("`top_p`", top_p=0.9),
    _field("`top_k` (Anthropic's, Gemini's)", top_k=5),
    _field("`stop`", stop=["END"]),
    _field("`seed`", seed=7),
    _field("`n` above 1", n=2),
    _field("`frequency_penalty`, `presence_penalty`", frequency_penalty=0.5, presence_penalty=0.5),
    _field("`logit_bias`", logit_bias={"50256": -100}),
    _field("`logprobs`, `top_logprobs`", logprobs=True, top_logprobs=2),
    _field("`tools`: functions", tools=[_TOOL]),
    _field("`tools`: custom", tools=[{"type": "custom", "custom": {"name": "run", "description": "…"}}]),
    _field("`tool_choice`: required", beside=_WITH_TOOLS, tool_choice="required"),
    _field("`tool_choice`: none", beside=_WITH_TOOLS, tool_choice="none"),
    _field(
        "`tool_choice`: by name",
        beside=_WITH_TOOLS,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    ),
    _field("`parallel_tool_calls: false`", beside=_WITH_TOOLS, parallel_tool_calls=False),
    _field("`functions` (deprecated)", functions=[_TOOL["function"]]),
    _field("`response_format`: json_object", response_format={"type": "json_object"}),
    _field(
        "`response_format`: json_schema",
        response_format={"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": _SCHEMA}},
    ),
    _field("`reasoning_effort`", reasoning_effort="low"),
    _field("`thinking` (Anthropic's)", thinking={"type": "enabled", "budget_tokens": 2048}),
    _field("`verbosity`", verbosity="low"),
    _field("`service_tier`: flex", service_tier="flex"),
    _field("`user`", user="someone"),
    _field("`safety_identifier`", safety_identifier="someone"),
    _field("`metadata`", metadata={"order": "7"}),
    _field("`store`", store=True),
    _field("`prompt_cache_key`", prompt_cache_key="page"),
    _field("`prediction`", prediction={"type": "content", "content": "Hello"}),
    _field("`modalities`, `audio`", modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}),
    _field("`web_search_options`", web_search_options={"search_context_size": "low"}),
    _field("a field nobody knows", never_heard_of=1),
)
CONTENTS: Final[tuple[Sample, ...]] = (
    Sample("system and developer messages", {"messages": [{"role": "developer", "content": "Be brief"}, _USER]}, {}),
    _content("pictures, in the call", {"type": "image_url", "image_url": {"url": _PIXEL}}),
    _content("pictures, by URL", {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
    _content("audio", {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
    _content(
        "documents (PDF), in the call",
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQ="}},
    ),
    _content("files, by id", {"type": "file", "file": {"file_id": "file-abc"}}),
    Sample(
        "tool calls and their results",
        {"messages": [_USER, _CALLS, {"role": "tool", "tool_call_id": "call_1", "content": "18"}]},
        _WITH_TOOLS,
    ),
    Sample("a beginning of the answer (prefill)", {"messages": [_USER, {"role": "assistant", "content": "Well,"}]}, {}),
)
