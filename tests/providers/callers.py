"""The dialects in which the cases are asked: their paths, and the same question as each would put it."""

import json
from dataclasses import dataclass
from typing import Any

from tests.providers.vendors import HERE

CASES = (
    "plain",
    "system",
    "multi_turn",
    "image",
    "tools",
    "parallel_tools",
    "tool_results",
    "json_schema",
    "reasoning",
    "refusal",
    "length",
    "cached",
    "error",
    "overflow",
    "broken",
)


@dataclass(frozen=True)
class Caller:
    """`paths` of whole and streamed calls; Gemini's have the model in them."""

    dialect: str
    paths: tuple[str, str]
    has_switch: bool = True

    def document(self, case: str) -> Any:
        return json.loads((HERE / "callers" / self.dialect / f"{case}.json").read_text())

    def ask(self, case: str, *, is_stream: bool) -> tuple[str, Any]:
        """The path and the body of one call."""
        document = self.document(case)
        if is_stream and self.has_switch:
            document["stream"] = True
        return self.paths[is_stream], document


CALLERS = {
    caller.dialect: caller
    for caller in (
        Caller("openai_chat", ("/v1/chat/completions",) * 2),
        Caller("openai_responses", ("/v1/responses",) * 2),
        Caller("anthropic_messages", ("/v1/messages",) * 2),
        Caller(
            "gemini",
            (
                "/v1beta/models/the-model:generateContent",
                "/v1beta/models/the-model:streamGenerateContent?alt=sse",
            ),
            has_switch=False,
        ),
    )
}
