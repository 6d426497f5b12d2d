"""Whatever a request holds, each vendor's format answers it or refuses it in the vendor's words; nothing falls over."""

import copy
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.gateway.simulator.directed import Wire, direct
from tollkeeper.gateway.simulator.vendors.anthropic import AnthropicWire
from tollkeeper.gateway.simulator.vendors.bedrock import BedrockWire
from tollkeeper.gateway.simulator.vendors.gemini import GeminiWire, Verb

_PROVIDERS = Path(__file__).parents[2] / "providers"
_ODD: list[Any] = [None, True, 0, -1, 1.5, "", "x", [], {}, [None], [1], ["x"], [{}], {"type": "x"}, {"x": {}}]
WIRES: dict[str, tuple[Wire, str]] = {
    "anthropic": (AnthropicWire("req_1"), "callers/anthropic_messages/*.json"),
    "gemini": (GeminiWire("simulated-reasoning", Verb.STREAM, is_sse=True), "callers/gemini/*.json"),
    "bedrock": (BedrockWire("simulated", is_stream=True), "recorded/bedrock/*.request.json"),
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        found += places(item, (*path, key))
    return found


def changed(document: Any, path: tuple[Any, ...], odd: Any) -> Any:
    document = copy.deepcopy(document)
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = odd
    return document


@pytest.mark.parametrize("name", WIRES)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_nothing_falls_over(name: str, data: st.DataObject) -> None:
    wire, pattern = WIRES[name]
    documents = [json.loads(path.read_text()) for path in sorted(_PROVIDERS.glob(pattern))]
    document = data.draw(st.sampled_from(documents))
    for _ in range(data.draw(st.integers(1, 2))):
        spots = places(document)
        if spots:
            document = changed(document, data.draw(st.sampled_from(spots)), data.draw(st.sampled_from(_ODD)))
    script = direct(wire, orjson.dumps(document), header="", tries=lambda _: 1, stands_in=True)
    sent = b"".join(part.data for part in script.parts)
    assert script.status in {200, 400, 404}
    if script.status != 200:
        assert json.loads(sent)
