"""A call as Claude Code makes it, before a vendor that is strict about OpenAI's form."""

from typing import Any

from tests.gateway.anthropic.callers import Json, blocks_of, events_of
from tests.gateway.serving import Serving
from tests.gateway.upstream import FakeUpstream, good_stream, stream

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MARK = {"type": "ephemeral", "ttl": "1h"}
HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,effort-2025-11-24",
    "x-app": "cli",
    "user-agent": "claude-cli/3.0.0 (external, cli)",
    "x-stainless-timeout": "600",
}


def tool(name: str, **properties: Any) -> Json:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"name": name, "description": f"Does {name}.", "input_schema": schema}


CALL: Json = {
    "model": "gpt-4o-mini",
    "max_tokens": 32_000,
    "stream": True,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=3.0.0; cc_entrypoint=cli;"},
        {"type": "text", "text": "You are Claude Code.", "cache_control": MARK},
        {"type": "text", "text": "Be brief.", "cache_control": {**MARK, "scope": "global"}},
    ],
    "tools": [
        tool("Bash", command={"type": "string"}),
        tool("Read", file_path={"type": "string"}, limit={"type": "number"}),
        tool("mcp__a_server_with_a_long_name__a_tool_with_a_name_that_is_longer_than_others_take"),
    ],
    "metadata": {"user_id": '{"device_id":"d","account_uuid":"","session_id":"s"}'},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "temperature": 1,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>Today is Saturday.</system-reminder>"},
                {"type": "text", "text": "What is here?", "cache_control": MARK},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "", "signature": "EpwC"},
                {"type": "text", "text": "I look."},
                {
                    "type": "tool_use",
                    "id": "toolu_1",
                    "name": "Bash",
                    "input": {"command": "ls"},
                    "caller": {"type": "direct"},
                },
                {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {"file_path": "a.png", "limit": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"tool_use_id": "toolu_1", "type": "tool_result", "content": "a.png", "is_error": False},
                {
                    "tool_use_id": "toolu_2",
                    "type": "tool_result",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        }
                    ],
                },
                {"type": "text", "text": "<system-reminder>Go on.</system-reminder>", "cache_control": MARK},
            ],
        },
    ],
}


async def test_vendor_gets_openais_form_and_nothing_else(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("A ", "picture."))
    response = await gateway.post("/v1/messages?beta=true", CALL, headers=HEADERS)
    assert blocks_of(events_of(response.text)) == [{"type": "text", "text": "A picture."}]
    assert set(response.headers["x-tollkeeper-dropped"].split(",")) == {"context_management"}
    seen = vendor.seen[0]
    assert not [name for name, _ in seen.headers if name.startswith(("anthropic", "x-stainless", "x-app"))]
    sent = seen.json()
    assert set(sent) == {
        "model",
        "max_tokens",
        "messages",
        "stream",
        "stream_options",
        "tools",
        "temperature",
        "reasoning_effort",
        "user",
    }
    assert b"cache_control" not in seen.body
    assert b"EpwC" not in seen.body
    roles = [message["role"] for message in sent["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user", "user"]
    assert [call["function"]["arguments"] for call in sent["messages"][2]["tool_calls"]] == [
        '{"command":"ls"}',
        '{"file_path":"a.png","limit":1}',
    ]
    assert sent["messages"][5]["content"][1]["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    assert all(set(entry) == {"type", "function"} for entry in sent["tools"])
    assert all(len(entry["function"]["name"]) <= 64 for entry in sent["tools"])
    assert sent["tools"][0]["function"]["parameters"] == CALL["tools"][0]["input_schema"]


async def test_its_tokens_are_counted(gateway: Serving) -> None:
    counted = {name: CALL[name] for name in ("model", "messages", "system", "tools")}
    response = await gateway.post("/v1/messages/count_tokens?beta=true", counted, headers=HEADERS)
    assert response.status_code == 200
    assert 300 < response.json()["input_tokens"] < 15_000
