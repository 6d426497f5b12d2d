"""What only a caller's own document says is counted like all else, or known to be unknown: no dialect has a way past a budget."""

from typing import Any

import orjson
import pytest

from tollkeeper.contracts.chat import Call
from tollkeeper.gateway.money.estimate import bound_input_tokens, survey
from tollkeeper.gateway.paths import Paths

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
GEMINI = "/v1beta/models/m:generateContent"
LONG = "word " * 20_000
USER = {"role": "user", "content": "x"}
SAID = {"role": "user", "parts": [{"text": "x"}]}
FILE = {"fileData": {"fileUri": "u", "mimeType": "application/pdf"}}


def read(path: str, document: dict[str, Any]) -> Call:
    found = Paths(64).find(path)
    assert found is not None
    return found[1].read_call(orjson.dumps(document), {}, path)


def responses(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": [USER, *items], **fields}


def picture(url: str) -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return {"model": "m", "messages": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (MESSAGES, {"model": "m", "max_tokens": 5, "messages": [USER], "novel": LONG}),
        (RESPONSES, responses({"type": "local_shell_call_output", "id": "a", "output": LONG})),
        (RESPONSES, responses({"type": "mcp_call", "id": "a", "name": "n", "arguments": "{}", "output": LONG})),
        (GEMINI, {"contents": [{"parts": [{"text": "x"}, {"toolResponse": {"response": LONG}}]}]}),
        (GEMINI, {"contents": [SAID], "safetySettings": [{"category": LONG}]}),
    ],
)
def test_text_that_other_vendors_do_not_get_is_counted(path: str, document: dict[str, Any]) -> None:
    assert bound_input_tokens(read(path, document)) >= len(LONG)


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (RESPONSES, responses(prompt={"id": "pmpt_1"})),
        (RESPONSES, {"model": "m", "prompt": {"id": "pmpt_1"}}),
        (GEMINI, {"contents": [SAID], "cached_content": "cachedContents/x"}),
        (GEMINI, {"contents": [SAID], "systemInstruction": {"parts": [{"text": "x"}, FILE]}}),
        (GEMINI, {"contents": [SAID, {"role": "model", "parts": [{"text": "x"}, FILE]}, SAID]}),
        (CHAT, {"model": "m", "messages": [USER], "extra_body": {"google": {"cached_content": "cachedContents/x"}}}),
        (CHAT, picture("data:application/pdf;base64,AAAA")),
        (CHAT, picture("https://files.test/a.PDF?x=1")),
    ],
)
def test_what_only_the_vendor_reads_has_no_known_length(path: str, document: dict[str, Any]) -> None:
    assert survey(read(path, document)).unseen is not None


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (CHAT, {"model": "m", "messages": [USER], "extra_body": {"google": {"thinking_config": {}}, "x": 1}}),
        (CHAT, picture("data:IMAGE/png;base64,AAAA")),
        (CHAT, picture("https://files.test/a.png")),
        (GEMINI, {"contents": [SAID], "systemInstruction": {"parts": [{"text": "x"}]}}),
        (RESPONSES, responses(instructions="x", metadata={"a": "b"})),
    ],
)
def test_what_is_all_there_is_no_secret(path: str, document: dict[str, Any]) -> None:
    assert survey(read(path, document)).unseen is None
