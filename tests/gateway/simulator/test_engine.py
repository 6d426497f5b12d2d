import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion

from tests.gateway.simulator.asking import CHAT, COMPLETIONS, EMBEDDINGS, ask, chunks, document
from tollkeeper.gateway.simulator.counting import count, pieces
from tollkeeper.gateway.simulator.engine import Operation, answer


@pytest.mark.parametrize("body", [b"", b"nothing", b"[1]", b"null", b'"x"', b'{"model":"simulated"', b"\x00", b"\xff"])
def test_bodies_that_are_no_object_are_refused(body: bytes) -> None:
    script = answer(CHAT, body)
    assert script.status == 400
    assert document(script)["error"]["code"] == "invalid_json"


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "messages", "prompt", "input", "n", "stop", "max_tokens", "max_completion_tokens", "stream", "stream_options", "tools",
    "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format", "logprobs", "top_logprobs",
    "reasoning_effort", "dimensions", "encoding_format", "echo", "suffix", "user",
)  # fmt: skip
VALID: dict[Operation, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "x"}]},
    COMPLETIONS: {"prompt": "x"},
    EMBEDDINGS: {"input": "x"},
}


@settings(deadline=None, max_examples=600)
@given(
    st.sampled_from(list(Operation)),
    st.sampled_from(["simulated", "simulated-reasoning", "simulated-embedding"]),
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4),
)
def test_no_request_breaks_the_engine(operation: Operation, model: str, fields: dict[str, Any]) -> None:
    body = json.dumps({"model": model, **VALID[operation], **fields}).encode()
    script = answer(operation, body)
    assert script.status in {200, 400}
    assert all(part.data for part in script.parts)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id"]), anything | st.sampled_from(["user", "tool", "assistant"]), max_size=5), max_size=3))  # fmt: skip
def test_no_messages_break_the_engine(messages: list[Any]) -> None:
    script = answer(CHAT, json.dumps({"model": "simulated", "messages": messages}).encode())
    assert script.status in {200, 400}


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert count(text) == len(pieces(text))


def test_completions_answer_every_prompt_n_times() -> None:
    whole = document(ask(COMPLETIONS, prompt=["one", "two"], n=2, max_tokens=20))
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3]
    assert len({choice["text"] for choice in whole["choices"]}) == 4
    assert whole["usage"] == {
        "prompt_tokens": 2,
        "completion_tokens": 80,
        "total_tokens": 82,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


@pytest.mark.parametrize("fields", [{"prompt": "hi"}, {"prompt": ["a", "b"], "n": 2}, {"prompt": [1, 2, 3], "logprobs": 2}, {"prompt": "hi you", "echo": True, "logprobs": 0}])  # fmt: skip
def test_streamed_completions_say_what_whole_ones_say(fields: dict[str, Any]) -> None:
    whole = document(ask(COMPLETIONS, **fields))
    Completion.model_validate_json(json.dumps(whole), strict=True)
    said: dict[int, str] = {}
    ends: dict[int, str] = {}
    for chunk in chunks(ask(COMPLETIONS, stream=True, **fields)):
        assert chunk["object"] == "text_completion"
        for choice in chunk["choices"]:
            said[choice["index"]] = said.get(choice["index"], "") + choice["text"]
            ends[choice["index"]] = choice["finish_reason"]
    assert [(said[c["index"]], ends[c["index"]]) for c in whole["choices"]] == [
        (c["text"], c["finish_reason"]) for c in whole["choices"]
    ]
