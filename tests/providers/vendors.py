"""The vendors of the recordings: how each is configured, where it is asked, and how its streams are framed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tollkeeper.gateway.simulator.vendors import event_stream

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Vendor:
    """`paths` of whole and streamed calls. What is not recorded for it is taken from the vendor it `inherits`."""

    name: str
    kind: str
    dialect: str
    model: str
    paths: tuple[str, str]
    # Behind the fake vendor's address.
    base: str = ""
    secret: str = "secret-of-the-vendor"
    # What a streamed request has beside the whole one.
    stream_fields: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    inherits: str | None = None
    # Where the path names the model: what the body has instead of it.
    in_place_of_model: Mapping[str, str] | None = None
    # Whose callers get the very same.
    golden: str | None = None
    content_type: str = "text/event-stream; charset=utf-8"

    @property
    def model_name(self) -> str:
        return self.model.rpartition("/")[2]

    def find(self, name: str) -> Path | None:
        for folder in (self.name, self.inherits):
            if folder is not None and (path := HERE / "recorded" / folder / name).exists():
                return path
        return None

    def stream(self, case: str) -> bytes | None:
        path = self.find(f"{case}.stream.txt")
        if path is None:
            return None
        return b"".join(map(_frame, path.read_text().splitlines())) if self.kind == "bedrock" else path.read_bytes()


def _frame(line: str) -> bytes:
    """Bedrock's recordings have one event a line, by its name; an exception by `exception`."""
    document = json.loads(line)
    if "exception" in document:
        return event_stream.exception(document["exception"], json.dumps({"message": document["message"]}).encode())
    [(kind, data)] = document.items()
    return event_stream.event(kind, json.dumps(data).encode())


_VERTEX = "/v1/projects/p/locations/europe-west1"
_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            "openai",
            "openai",
            "openai_chat",
            "gpt-4o-mini",
            ("/v1/chat/completions", "/v1/chat/completions"),
            base="/v1",
            stream_fields=_USAGE,
            headers={"authorization": "Bearer secret-of-the-vendor"},
            options={"api": "chat"},
        ),
        Vendor(
            "vllm",
            "vllm",
            "openai_chat",
            "gpt-4o-mini",
            ("/v1/chat/completions", "/v1/chat/completions"),
            base="/v1",
            stream_fields=_USAGE,
            headers={"authorization": "Bearer secret-of-the-vendor"},
            options={"api": "chat"},
            inherits="openai",
        ),
        Vendor(
            "azure",
            "azure",
            "openai_chat",
            "gpt-4o-mini",
            ("/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21",) * 2,
            stream_fields=_USAGE,
            headers={"api-key": "secret-of-the-vendor"},
            options={"api_version": "2024-10-21"},
            inherits="openai",
        ),
        Vendor(
            "openai_responses",
            "openai",
            "openai_responses",
            "gpt-4o-mini",
            ("/v1/responses", "/v1/responses"),
            base="/v1",
            stream_fields={"stream": True},
            headers={"authorization": "Bearer secret-of-the-vendor"},
            options={"api": "responses"},
        ),
        Vendor(
            "anthropic",
            "anthropic",
            "anthropic_messages",
            "claude-opus-4-6",
            ("/v1/messages", "/v1/messages"),
            stream_fields={"stream": True},
            headers={"x-api-key": "secret-of-the-vendor", "anthropic-version": "2023-06-01"},
        ),
        Vendor(
            "gemini",
            "gemini",
            "gemini",
            "gemini-3-flash-preview",
            (
                "/v1beta/models/gemini-3-flash-preview:generateContent",
                "/v1beta/models/gemini-3-flash-preview:streamGenerateContent?alt=sse",
            ),
            headers={"x-goog-api-key": "secret-of-the-vendor"},
            content_type="text/event-stream",
        ),
        Vendor(
            "vertex",
            "vertex",
            "gemini",
            "gemini-3-flash-preview",
            (
                f"{_VERTEX}/publishers/google/models/gemini-3-flash-preview:generateContent",
                f"{_VERTEX}/publishers/google/models/gemini-3-flash-preview:streamGenerateContent?alt=sse",
            ),
            base=_VERTEX,
            headers={"x-goog-api-key": "secret-of-the-vendor"},
            inherits="gemini",
            golden="gemini",
            content_type="text/event-stream",
        ),
        Vendor(
            "vertex_claude",
            "vertex",
            "anthropic_messages",
            "anthropic/claude-opus-4-6",
            (
                f"{_VERTEX}/publishers/anthropic/models/claude-opus-4-6:rawPredict",
                f"{_VERTEX}/publishers/anthropic/models/claude-opus-4-6:streamRawPredict",
            ),
            base=_VERTEX,
            stream_fields={"stream": True},
            headers={"x-goog-api-key": "secret-of-the-vendor"},
            inherits="anthropic",
            in_place_of_model={"anthropic_version": "vertex-2023-10-16"},
            golden="anthropic",
        ),
        Vendor(
            "bedrock",
            "bedrock",
            "bedrock_converse",
            "anthropic.claude-opus-4-6-v1",
            (
                "/model/anthropic.claude-opus-4-6-v1/converse",
                "/model/anthropic.claude-opus-4-6-v1/converse-stream",
            ),
            headers={"authorization": "Bearer secret-of-the-vendor"},
            content_type="application/vnd.amazon.eventstream",
        ),
    )
}
