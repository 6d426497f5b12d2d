"""A gateway under guardrails: policies made in a line, and the same words said in every dialect."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.gateway.serving import TENANT, Serving, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, running_upstream
from tollkeeper.contracts.guardrails import Action, Attachment, GuardrailPolicy, Level, RuleUse
from tollkeeper.core.ids import uuid7

CARD: Final = "4111 1111 1111 1111"
MAIL: Final = "bob@example.com"
SAID: Final = f"My card is {CARD} and my mail {MAIL}, thanks."


def policy(*rules: RuleUse, **fields: Any) -> GuardrailPolicy:
    return GuardrailPolicy(uuid7(), fields.pop("name", "house"), 1, rules, tenant_id=TENANT, **fields)


def pii(action: Action, **fields: Any) -> RuleUse:
    return RuleUse("personal", "pii", action, **fields)


@asynccontextmanager
async def guarded(
    folder: Path, *policies: GuardrailPolicy, **options: Any
) -> AsyncIterator[tuple[Serving, FakeUpstream]]:
    """All of them hold for the tenant."""
    async with running_upstream() as vendor:
        routes = [
            route("gpt-4o-mini", ("one", "gpt-4o-mini")),
            route("claude", ("anthropic", "claude-sonnet-4-5")),
            route("gemini", ("gemini", "gemini-2.5-flash")),
        ]
        providers = [
            provider("one", vendor.base_url),
            provider("anthropic", vendor.base_url.removesuffix("/v1"), kind="anthropic"),
            provider("gemini", vendor.base_url.removesuffix("/v1"), kind="gemini"),
        ]
        attached = {TENANT: tuple(Attachment(one, Level.TENANT, TENANT) for one in policies)}
        async with serving(folder, replace(snapshot(providers, routes), guardrails=attached), **options) as gateway:
            yield gateway, vendor


def bodies(text: str, *, stream: bool = False) -> dict[str, tuple[str, dict[str, Any]]]:
    """By where the text stands: a path and a body, of each dialect and endpoint."""
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "mail", "arguments": '{"to": {"who": ["' + text + '"]}}'},
    }
    chat = {"model": "gpt-4o-mini", "stream": stream}
    messages = {"model": "gpt-4o-mini", "max_tokens": 50, "stream": stream}
    gemini = f"/v1beta/models/gpt-4o-mini:{'streamGenerateContent' if stream else 'generateContent'}"
    responses = {"model": "gpt-4o-mini", "stream": stream, "store": False}
    hello = {"role": "user", "content": "hello"}
    return {
        "chat user": ("/v1/chat/completions", {**chat, "messages": [{"role": "user", "content": text}]}),
        "chat system": ("/v1/chat/completions", {**chat, "messages": [{"role": "system", "content": text}, hello]}),
        "chat parts": (
            "/v1/chat/completions",
            {
                **chat,
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": text[:20]}, {"type": "text", "text": text[20:]}],
                    }
                ],
            },
        ),
        "chat tool arguments": (
            "/v1/chat/completions",
            {
                **chat,
                "messages": [
                    hello,
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "sent"},
                ],
            },
        ),
        "chat tool result": (
            "/v1/chat/completions",
            {
                **chat,
                "messages": [
                    hello,
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{**call, "function": {"name": "mail", "arguments": "{}"}}],
                    },
                    {"role": "tool", "tool_call_id": "call_1", "content": text},
                ],
            },
        ),
        "chat unknown field": ("/v1/chat/completions", {**chat, "messages": [hello], "house_notes": {"deep": [text]}}),
        "completions": ("/v1/completions", {"model": "gpt-4o-mini", "stream": stream, "prompt": text}),
        "messages user": ("/v1/messages", {**messages, "messages": [{"role": "user", "content": text}]}),
        "messages system": ("/v1/messages", {**messages, "system": text, "messages": [hello]}),
        "messages document": (
            "/v1/messages",
            {
                **messages,
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}},
                            {"type": "text", "text": "sum it up"},
                        ],
                    }
                ],
            },
        ),
        "messages tool use": (
            "/v1/messages",
            {
                **messages,
                "messages": [
                    hello,
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "toolu_1", "name": "mail", "input": {"to": [text]}}],
                    },
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok then"}],
                    },
                ],
            },
        ),
        "messages tool result": (
            "/v1/messages",
            {
                **messages,
                "messages": [
                    hello,
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "toolu_1", "name": "mail", "input": {}}],
                    },
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "toolu_1",
                                "content": [{"type": "text", "text": text}],
                            }
                        ],
                    },
                ],
            },
        ),
        "gemini user": (gemini, {"contents": [{"role": "user", "parts": [{"text": text}]}]}),
        "gemini system": (
            gemini,
            {
                "systemInstruction": {"parts": [{"text": text}]},
                "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
            },
        ),
        "responses input": ("/v1/responses", {**responses, "input": text}),
        "responses instructions": ("/v1/responses", {**responses, "instructions": text, "input": "hello"}),
        "responses items": (
            "/v1/responses",
            {**responses, "input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}]},
        ),
        "embeddings": ("/v1/embeddings", {"model": "gpt-4o-mini", "input": ["fine", text]}),
        "moderations": ("/v1/moderations", {"model": "gpt-4o-mini", "input": text}),
        "images": ("/v1/images/generations", {"model": "gpt-4o-mini", "prompt": text}),
        "speech": ("/v1/audio/speech", {"model": "gpt-4o-mini", "voice": "alloy", "input": text}),
        "rerank": ("/v1/rerank", {"model": "gpt-4o-mini", "query": "what", "documents": ["a", text]}),
    }
