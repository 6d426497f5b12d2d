"""The recordings themselves: vendors' SDKs read the answers, and vendors as strict as the simulator take the requests."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.providers.callers import CALLERS, CASES
from tests.providers.reading import read_stream, read_whole
from tests.providers.vendors import HERE, VENDORS
from tollkeeper.gateway.simulator.directed import Wire, direct
from tollkeeper.gateway.simulator.engine import OpenAIWire, Operation
from tollkeeper.gateway.simulator.vendors.anthropic import AnthropicWire
from tollkeeper.gateway.simulator.vendors.bedrock import BedrockWire
from tollkeeper.gateway.simulator.vendors.gemini import GeminiWire, Verb
from tollkeeper.gateway.simulator.vendors.responses import ResponsesWire

# As strict as the vendors.
WIRES: dict[str, Wire] = {
    "openai_chat": OpenAIWire(Operation.CHAT),
    "openai_responses": ResponsesWire(),
    "anthropic_messages": AnthropicWire("req_1"),
    "gemini": GeminiWire("simulated", Verb.GENERATE, is_sse=False),
    "bedrock_converse": BedrockWire("simulated", is_stream=False),
}


def taken(dialect: str, document: Any) -> bytes:
    """Empty, or what the vendor has against the request."""
    script = direct(WIRES[dialect], orjson.dumps(document), header="", tries=lambda _: 1, stands_in=True)
    return b"" if script.status == 200 else b"".join(part.data for part in script.parts)


def requests() -> list[tuple[str, Path]]:
    found = []
    for vendor in VENDORS.values():
        paths = sorted((HERE / "recorded" / vendor.name).glob("*.request*.json"))
        found += [(vendor.dialect, path) for path in paths]
    return found


@pytest.mark.parametrize(("dialect", "path"), requests(), ids=lambda value: getattr(value, "name", value))
def test_the_vendor_takes_what_it_receives(dialect: str, path: Path) -> None:
    assert taken(dialect, json.loads(path.read_text())) == b""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("caller", CALLERS)
def test_the_vendor_itself_would_take_what_callers_ask(caller: str, case: str) -> None:
    assert taken(caller, CALLERS[caller].document(case)) == b""


@pytest.mark.parametrize("vendor", [name for name, vendor in VENDORS.items() if vendor.dialect != "bedrock_converse"])
def test_the_vendors_own_types_read_its_answers(vendor: str) -> None:
    there = VENDORS[vendor]
    for path in sorted((HERE / "recorded" / vendor).glob("*.response.json")):
        if not path.with_name(path.name.replace("response", "status")).exists():
            read_whole(there.dialect, path.read_bytes())
    for case in CASES:
        streamed = there.stream(case)
        # Azure's first and last chunks are what its SDK is lenient about.
        if streamed is not None and vendor != "azure":
            read_stream(there.dialect, streamed.decode())


def test_every_vendor_has_every_case() -> None:
    for vendor in VENDORS.values():
        for case in CASES:
            assert vendor.find(f"{case}.response.json"), f"{vendor.name}: {case}"
            assert vendor.find(f"{case}.stream.txt") or vendor.find(f"{case}.status.json"), f"{vendor.name}: {case}"
