"""Where the callers' own dialects keep the fields that an operator may set, so that a document need not be translated for
them. By the names of the canonical form; what is not here takes the long way.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import ABSENT

Path = tuple[str, ...]


def _at(*names: str, inside: str = "") -> dict[str, Path]:
    return {name: (inside, name) if inside else (name,) for name in names}


_PATHS: Final[Mapping[str, Mapping[str, Path]]] = {
    "openai_responses": {
        **_at("temperature", "top_p", "top_logprobs", "service_tier", "parallel_tool_calls", "safety_identifier"),
        **_at("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
        "max_tokens": ("max_output_tokens",),
        "max_completion_tokens": ("max_output_tokens",),
        "reasoning_effort": ("reasoning", "effort"),
        "verbosity": ("text", "verbosity"),
    },
    "anthropic_messages": {
        **_at("temperature", "top_p", "top_k", "max_tokens", "thinking"),
        "max_completion_tokens": ("max_tokens",),
    },
    "gemini": {
        **_at("temperature", "seed", inside="generationConfig"),
        "top_p": ("generationConfig", "topP"),
        "top_k": ("generationConfig", "topK"),
        "presence_penalty": ("generationConfig", "presencePenalty"),
        "frequency_penalty": ("generationConfig", "frequencyPenalty"),
        "max_tokens": ("generationConfig", "maxOutputTokens"),
        "max_completion_tokens": ("generationConfig", "maxOutputTokens"),
    },
}


def with_native(dialect: str, document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The caller's document with these canonical fields changed; None where one of them has no single place in it."""
    paths = _PATHS.get(dialect)
    if paths is None or not changes.keys() <= paths.keys():
        return None
    changed = dict(document)
    # What is taken out goes first: two names may share one place.
    for name, value in sorted(changes.items(), key=lambda change: change[1] is not ABSENT):
        *outer, last = paths[name]
        inner = changed
        for step in outer:
            held = inner.get(step)
            inner[step] = inner = dict(held) if isinstance(held, dict) else {}
        if value is ABSENT:
            inner.pop(last, None)
        else:
            inner[last] = value
    return changed
