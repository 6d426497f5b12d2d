"""Every field of the wrong type is the caller's mistake, told by its path, and never ours."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.anthropic.callers import TOOL, Json, assistant, read, talk, text, tool_result, tool_use, user
from tollkeeper.contracts.chat import Call
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicTokenCount
from tollkeeper.gateway.plain_chat import plain_changes

MARK = {"type": "ephemeral"}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
FULL: Json = talk(
    user(
        text("a", cache_control=MARK),
        PICTURE,
        {"type": "image", "source": {"type": "url", "url": "https://x.test"}},
        {
            "type": "document",
            "title": "t",
            "context": "c",
            "citations": {"enabled": True},
            "source": {"type": "text", "media_type": "text/plain", "data": "d"},
        },
        {"type": "document", "source": {"type": "content", "content": [text("x"), PICTURE]}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "d"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "search_result", "source": "s", "title": "t", "content": [text("x")]},
    ),
    assistant(
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        text("b"),
        tool_use(city="Rome"),
    ),
    user(tool_result(content=[text("x"), PICTURE], is_error=True, cache_control=MARK), text("c")),
    {"role": "system", "content": "s"},
    system=[text("s")],
    stream=True,
    temperature=1,
    top_p=1,
    top_k=1,
    stop_sequences=["a"],
    tools=[{**TOOL, "strict": True, "cache_control": MARK}],
    tool_choice={"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
    thinking={"type": "enabled", "budget_tokens": 1024},
    output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    metadata={"user_id": "u"},
    service_tier="auto",
    speed="standard",
    inference_geo="eu",
    cache_control=MARK,
    context_management={"edits": []},
)
# What only the vendor looks into.
_OPEN = ("thinking.", "cache_control.", "context_management.", "input_schema.", "input.", "schema.", "citations.")

Path = tuple[str | int, ...]


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    if at:
        yield at
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(inner, (*at, key))


def changed(path: Path, value: Any) -> Json:
    document = json.loads(json.dumps(FULL))
    inner: Any = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return document


def shown(path: Path) -> str:
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name


def is_open(path: Path) -> bool:
    return any(f"{step}." in _OPEN for step in path[:-1]) or path[-2:] == ("input", "city")


CHECKED = [path for path in paths(FULL) if not is_open(path)]


@pytest.mark.parametrize("path", CHECKED, ids=shown)
def test_wrong_type_is_refused_with_its_path(path: Path) -> None:
    for wrong in (5.5, {"no": "such"}, ["x", 5], "no such", True):
        original: Any = FULL
        for step in path:
            original = original[step]
        if type(wrong) is type(original) or (isinstance(original, int) and isinstance(wrong, float)):
            continue
        if _is_another_form(path, wrong):
            continue
        with pytest.raises(BadRequest) as refusal:
            read(changed(path, wrong))
        param = refusal.value.param or ""
        assert refusal.value.code in {"invalid_type", "invalid_value", "missing_required_parameter"}
        assert param.startswith(shown(path)), (param, wrong)


def _is_another_form(path: Path, wrong: object) -> bool:
    """Where a string may stand for a list, or the other way round."""
    last = path[-1]
    return (last in {"content", "system"} and isinstance(wrong, str)) or (last == "temperature" and wrong == 5.5)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        (("model",), "model"),
        (("max_tokens",), "max_tokens"),
        (("messages",), "messages"),
        (("messages", 0, "role"), "messages[0].role"),
        (("messages", 0, "content"), "messages[0].content"),
        (("messages", 0, "content", 0, "type"), "messages[0].content[0].type"),
        (("messages", 0, "content", 0, "text"), "messages[0].content[0].text"),
        (("messages", 0, "content", 1, "source"), "messages[0].content[1].source"),
        (("messages", 1, "content", 0, "thinking"), "messages[1].content[0].thinking"),
        (("messages", 1, "content", 3, "id"), "messages[1].content[3].id"),
        (("messages", 1, "content", 3, "input"), "messages[1].content[3].input"),
        (("messages", 2, "content", 0, "tool_use_id"), "messages[2].content[0].tool_use_id"),
        (("tools", 0, "name"), "tools[0].name"),
        (("tools", 0, "input_schema"), "tools[0].input_schema"),
        (("tool_choice", "type"), "tool_choice.type"),
    ],
)
def test_what_is_missing_is_named(path: Path, param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        read(changed(path, None))
    assert (refusal.value.param, refusal.value.code) == (param, "missing_required_parameter")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'{"model":', "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"model":"a","model":"b"}', "duplicate_key"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "json_too_deep"),
    ],
)
def test_body_that_is_no_object_is_refused(document: bytes, code: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        read(document)
    assert refusal.value.code == code


def test_empty_list_of_messages_is_refused() -> None:
    with pytest.raises(BadRequest) as refusal:
        read(talk())
    assert refusal.value.param == "messages"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(paths(FULL), key=str)), JSON), min_size=1, max_size=4))
def test_whatever_a_document_says_it_is_a_call_or_a_mistake(changes: list[tuple[Path, Any]]) -> None:
    document = json.loads(json.dumps(FULL))
    for path, value in changes:
        inner: Any = document
        try:
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    body = json.dumps(document).encode()
    for reader in (read, lambda sent: AnthropicTokenCount().read_call(sent, {}, "")):
        with suppress(BadRequest):
            call = reader(body)
            assert isinstance(call, Call)
            assert isinstance(call.replace(**plain_changes(call.body)), Call)
