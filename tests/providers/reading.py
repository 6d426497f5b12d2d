"""Reads what a caller got with the types of its vendor's own SDK, strictly: a field too few or of a wrong type fails."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from anthropic.types import Message, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

_WHOLE: Mapping[str, Any] = {
    "openai_chat": TypeAdapter(ChatCompletion),
    "openai_responses": TypeAdapter(Response),
    "anthropic_messages": TypeAdapter(Message),
    "gemini": TypeAdapter(GenerateContentResponse),
}
_EVENT: Mapping[str, Any] = {
    "openai_chat": TypeAdapter(ChatCompletionChunk),
    "openai_responses": TypeAdapter(ResponseStreamEvent),
    "anthropic_messages": TypeAdapter(RawMessageStreamEvent),
    "gemini": TypeAdapter(GenerateContentResponse),
}


def read_answer(dialect: str, answer: httpx.Response) -> None:
    if answer.status_code != 200:
        _ERRORS[dialect](answer)
    elif answer.headers["content-type"].startswith("text/event-stream"):
        read_stream(dialect, answer.text)
    else:
        read_whole(dialect, answer.content)


def read_whole(dialect: str, body: bytes) -> None:
    # Google's types turn words into members of enumerations, which strictness forbids.
    _WHOLE[dialect].validate_json(body, strict=dialect != "gemini")


def read_stream(dialect: str, text: str) -> None:
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        data = fields.get("data")
        if data is None or data == "[DONE]":
            assert not fields or data
            continue
        document = json.loads(data)
        if dialect in ("anthropic_messages", "openai_responses"):
            assert fields.get("event") == document["type"]
        else:
            assert "event" not in fields
        if "error" in document and document.get("type") in (None, "error"):
            continue
        if document.get("type") == "ping":
            continue
        if document.get("type") == "response.failed":
            # Our codes are ours; OpenAI's type lists its own.
            document["response"]["error"]["code"] = "server_error"
        _EVENT[dialect].validate_json(json.dumps(document), strict=dialect != "gemini")


def _openai_error(answer: httpx.Response) -> None:
    error = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert answer.headers["x-request-id"]


def _anthropic_error(answer: httpx.Response) -> None:
    document = answer.json()
    assert document.keys() == {"type", "error", "request_id"}
    assert document["error"].keys() >= {"type", "message"}
    assert answer.headers["request-id"] == document["request_id"]


def _gemini_error(answer: httpx.Response) -> None:
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    assert error["status"].isupper()


_ERRORS: Mapping[str, Callable[[httpx.Response], None]] = {
    "openai_chat": _openai_error,
    "openai_responses": _openai_error,
    "anthropic_messages": _anthropic_error,
    "gemini": _gemini_error,
}
