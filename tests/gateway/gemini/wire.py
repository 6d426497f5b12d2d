"""Gemini's payloads as its reference writes them ("Generating content", "Function calling", "Thought signatures", 2026-09)."""

import json
from typing import Any

# A one-pixel PNG and JPEG's first bytes.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
JPEG = "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP"
SIGNATURE = "CrICAdHtim827fQ+signature/of=="
USAGE = {
    "promptTokenCount": 20,
    "candidatesTokenCount": 198,
    "thoughtsTokenCount": 405,
    "totalTokenCount": 623,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 20}],
}


def candidate(*parts: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **fields}
    if finish is not None:
        found["finishReason"] = finish
    return found


def response(*candidates: dict[str, Any], usage: Any = USAGE, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"candidates": list(candidates), "modelVersion": "gemini-2.5-flash", "responseId": "r-1"}
    if usage is not None:
        found["usageMetadata"] = usage
    return {**found, **fields}


def answer(text: str = "Hello.", finish: str = "STOP", **fields: Any) -> dict[str, Any]:
    return response(candidate({"text": text}, finish=finish), **fields)


def call(name: str = "weather", args: Any = None, signature: str | None = None, **fields: Any) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"name": name, "args": {} if args is None else args, **fields}}
    if signature is not None:
        part["thoughtSignature"] = signature
    return part


def event(document: Any) -> bytes:
    """As Google frames it."""
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\r\n\r\n"


def error(code: int, status: str, message: str = "Something.", *details: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        found["details"] = list(details)
    return {"error": found}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.074824224s"}
KEY_INVALID = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_INVALID",
    "domain": "googleapis.com",
    "metadata": {"service": "generativelanguage.googleapis.com"},
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
