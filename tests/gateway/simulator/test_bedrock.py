"""The simulator speaks Bedrock's Converse: frames with right checksums, blocks in AWS's order, exceptions by name.

The frames are read here by the published layout alone, so that writer and reader agree by the specification only.
"""

import binascii
import json
import struct
from typing import Any

import httpx
import pytest

from tests.e2e.processes import Upstream
from tests.gateway.simulator.server import QUESTION, SCHEMA, last

SIGNED = {
    "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/bedrock/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
    "x-amz-date": "20261121T120000Z",
}
ASKED: Any = {"messages": [{"role": "user", "content": [{"text": QUESTION}]}], "inferenceConfig": {"maxTokens": 200}}
TOOLS: Any = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}]}
FORMAT: Any = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA)}}}}


def post(server: Upstream, body: Any, model: str = "simulated", verb: str = "converse") -> httpx.Response:
    return httpx.post(f"{server.origin}/model/{model}/{verb}", json=body, headers=SIGNED, timeout=10)


def frames(data: bytes) -> list[tuple[dict[str, str], Any]]:
    found = []
    while data:
        total, headers_length, checksum = struct.unpack_from(">III", data)
        assert binascii.crc32(data[:8]) == checksum
        message, data = data[:total], data[total:]
        assert binascii.crc32(message[:-4]) == struct.unpack(">I", message[-4:])[0]
        headers, at = {}, 12
        while at < 12 + headers_length:
            name_length = message[at]
            name = message[at + 1 : at + 1 + name_length].decode()
            at += 1 + name_length
            kind, length = struct.unpack_from(">BH", message, at)
            assert kind == 7
            headers[name] = message[at + 3 : at + 3 + length].decode()
            at += 3 + length
        found.append((headers, json.loads(message[12 + headers_length : -4])))
    return found


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("simulated", {}),
        ("simulated", {"system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}]}),
        ("simulated", {"toolConfig": TOOLS}),
        ("simulated-parallel", {"toolConfig": TOOLS}),
        ("simulated", {"outputConfig": FORMAT}),
        ("simulated", {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}),
        ("simulated", {"inferenceConfig": {"maxTokens": 3}}),
        ("simulated-cached-3", {}),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", {}),
    ],
    ids=str,
)
def test_streams_say_what_whole_answers_say(server: Upstream, model: str, fields: Any) -> None:
    whole = post(server, {**ASKED, **fields}, model).json()
    answer = post(server, {**ASKED, **fields}, model, "converse-stream")
    assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
    events = [(headers[":event-type"], data) for headers, data in frames(answer.content)]
    assert [kind for kind, _ in events][:1] + [kind for kind, _ in events][-2:] == [
        "messageStart",
        "messageStop",
        "metadata",
    ]
    blocks: dict[int, str] = {}
    for kind, data in events:
        if kind == "contentBlockDelta":
            delta = data["delta"]
            said = delta.get("text") or delta.get("toolUse", {}).get("input")
            said = said or delta.get("reasoningContent", {}).get("text") or ""
            blocks[data["contentBlockIndex"]] = blocks.get(data["contentBlockIndex"], "") + said
    expected = []
    for block in whole["output"]["message"]["content"]:
        [(kind, value)] = block.items()
        expected.append(
            value
            if kind == "text"
            else value["reasoningText"]["text"]
            if kind == "reasoningContent"
            else value["input"]
        )
    assert [
        blocks[n] if isinstance(value, str) else json.loads(blocks[n]) for n, value in enumerate(expected)
    ] == expected
    assert events[-2][1]["stopReason"] == whole["stopReason"]
    usage = whole["usage"]
    assert events[-1][1]["usage"] == usage
    record = last(server, model)
    assert (record["vendor"], record["completion_tokens"], record["tokens_sent"]) == (
        "bedrock",
        usage["outputTokens"],
        usage["outputTokens"],
    )
    assert record["prompt_tokens"] == usage["inputTokens"] + usage["cacheReadInputTokens"]
    assert record["headers"]["authorization"].startswith("sha256:")


def test_tools_go_round(server: Upstream) -> None:
    first = post(server, {**ASKED, "toolConfig": TOOLS}).json()
    assert first["stopReason"] == "tool_use"
    message = first["output"]["message"]
    result = {"toolUseId": message["content"][0]["toolUse"]["toolUseId"], "content": [{"json": {"degrees": 18}}]}
    turns = [*ASKED["messages"], message, {"role": "user", "content": [{"toolResult": result}]}]
    after = post(server, {"messages": turns, "toolConfig": TOOLS}).json()
    assert '{"degrees":18}' in after["output"]["message"]["content"][0]["text"]
    untold = post(server, {"messages": turns})
    assert (untold.status_code, "toolConfig field must be defined" in untold.text) == (400, True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "start with a user message"),
        ({"messages": [{"role": "user", "content": "text"}]}, "list"),
        ({"messages": [{"role": "user", "content": [{"text": " "}]}]}, "is blank"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "extraneous key"),
        ({"messages": ASKED["messages"] * 2}, "alternate"),
        ({"max_tokens": 5}, "extraneous key"),
        ({"outputConfig": {"format": {}}}, "extraneous key"),
        ({"inferenceConfig": {"maxTokens": 0}}, "at least 1"),
        ({"toolConfig": {"tools": [{"toolSpec": {"name": "a.b", "inputSchema": {"json": SCHEMA}}}]}}, "name"),
        ({"toolConfig": {**TOOLS, "toolChoice": "auto"}}, "toolChoice"),
    ],
    ids=str,
)
def test_what_bedrock_refuses_is_refused(server: Upstream, fields: Any, words: str) -> None:
    answer = post(server, {**ASKED, **fields})
    assert answer.status_code == 400
    assert answer.headers["x-amzn-errortype"] == "ValidationException"
    assert words in answer.json()["message"]


def test_a_signature_has_to_be_there(server: Upstream) -> None:
    answer = httpx.post(f"{server.origin}/model/simulated/converse", json=ASKED)
    assert (answer.status_code, answer.json()["message"]) == (403, "Missing Authentication Token")


def test_faults_are_awss(server: Upstream) -> None:
    throttled = post(server, ASKED, "simulated-status-429")
    assert (throttled.status_code, throttled.headers["x-amzn-errortype"]) == (429, "ThrottlingException")
    broken = frames(post(server, ASKED, "simulated-error-after-2", "converse-stream").content)
    assert broken[-1][0][":message-type"] == "exception"
    assert broken[-1][0][":exception-type"] == "modelStreamErrorException"
    ended = frames(post(server, ASKED, "simulated-no-done", "converse-stream").content)
    assert ended[-1][0][":event-type"] == "contentBlockStop"
    with pytest.raises(httpx.RemoteProtocolError):
        post(server, ASKED, "simulated-cut-after-2", "converse-stream")
