"""Canonical answers as Gemini's `GenerateContentResponse`: candidates, why they ended, what they rest on, what they cost."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk, Usage
from tollkeeper.gateway.dialects.gemini.write_parts import (
    Part,
    Unreadable,
    shows_thoughts,
    sign,
    write_call,
    write_media,
    write_text,
    write_thought,
)
from tollkeeper.gateway.openai_usage import read_usage

Json = dict[str, Any]

_ENDINGS: Final[Mapping[str, str]] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "function_call": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}
_MALFORMED: Final = "MALFORMED_FUNCTION_CALL"


def write_answer(chunk: Chunk, call: Call) -> bytes:
    data = chunk.data
    with_thoughts = shows_thoughts(call)
    document: Json = {"candidates": [_candidate(choice, shows=with_thoughts) for choice in data.get("choices") or ()]}
    if (usage := usage_of(chunk)) is not None:
        document["usageMetadata"] = write_usage(usage)
    return orjson.dumps(document | head_of(data))


def head_of(data: Mapping[str, Any]) -> Json:
    return {"modelVersion": data.get("model") or "", "responseId": data.get("id") or ""}


def usage_of(chunk: Chunk) -> Usage | None:
    return chunk.usage or read_usage(chunk.data.get("usage"))


def write_usage(usage: Usage) -> Json:
    """Thoughts stand beside the candidates, the cached part within the prompt."""
    thoughts = usage.reasoning
    found: Json = {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": usage.completion_tokens - thoughts,
        "totalTokenCount": usage.prompt_tokens + usage.completion_tokens,
        "promptTokensDetails": _modalities(usage.prompt_tokens, usage.input_audio, usage.input_image),
    }
    if thoughts:
        found["thoughtsTokenCount"] = thoughts
    if usage.cache_read:
        found["cachedContentTokenCount"] = usage.cache_read
    if usage.output_audio or usage.output_image:
        made = usage.completion_tokens - thoughts
        found["candidatesTokensDetails"] = _modalities(made, usage.output_audio, usage.output_image)
    return found


def write_ending(choice: Mapping[str, Any], unreadable: str | None) -> Json:
    """`finishReason`, and in words why where the model failed."""
    notice = choice.get("error")
    if unreadable is not None:
        return {"finishReason": _MALFORMED, "finishMessage": unreadable}
    if isinstance(notice, dict) and isinstance(notice.get("code"), str) and choice.get("finish_reason") == "stop":
        return {"finishReason": notice["code"].upper(), "finishMessage": str(notice.get("message") or "")}
    return {"finishReason": _ENDINGS.get(str(choice.get("finish_reason")), "OTHER")}


def write_sources(annotations: Any, text: str) -> Json | None:
    """`groundingMetadata` of citations; places in the text are counted in bytes."""
    pages: dict[tuple[str, str], int] = {}
    supports: list[Json] = []
    for annotation in annotations if isinstance(annotations, list) else ():
        inner = annotation.get("url_citation") if isinstance(annotation, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("url"), str):
            continue
        number = pages.setdefault((inner["url"], str(inner.get("title") or "")), len(pages))
        start, end = _bytes(inner.get("start_index"), text), _bytes(inner.get("end_index"), text)
        segment = {"startIndex": start, "endIndex": end}
        supports.append({"segment": segment, "groundingChunkIndices": [number]})
    if not pages:
        return None
    chunks = [{"web": {"uri": uri, "title": title}} for uri, title in pages]
    return {"groundingChunks": chunks, "groundingSupports": supports}


def write_logprobs(logprobs: Any) -> Json | None:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content:
        return None
    tokens = _objects(content)
    return {
        "chosenCandidates": [_logprob(token) for token in tokens],
        "topCandidates": [{"candidates": list(map(_logprob, _objects(token.get("top_logprobs"))))} for token in tokens],
    }


def _objects(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _candidate(choice: Mapping[str, Any], *, shows: bool) -> Json:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    parts: list[Part] = []
    if shows and (thought := write_thought(message)):
        parts.append({"text": thought, "thought": True})
    if text := write_text(message):
        parts.append({"text": text})
    parts += write_media(message)
    unreadable: str | None = None
    for call in _objects(message.get("tool_calls")):
        try:
            parts.append(write_call(call))
        except Unreadable as error:
            unreadable = str(error)
    sign(parts, _objects(message.get("reasoning_details")))
    candidate: Json = {"content": {"parts": parts, "role": "model"}, **write_ending(choice, unreadable)}
    candidate["index"] = choice.get("index", 0)
    if (sources := write_sources(message.get("annotations"), text)) is not None:
        candidate["groundingMetadata"] = sources
    if (logprobs := write_logprobs(choice.get("logprobs"))) is not None:
        candidate["logprobsResult"] = logprobs
    return candidate


def _modalities(total: int, audio: int, image: int) -> list[Json]:
    counts = {"TEXT": total - audio - image, "AUDIO": audio, "IMAGE": image}
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count > 0]


def _logprob(token: Mapping[str, Any]) -> Json:
    return {"token": token.get("token") or "", "logProbability": token.get("logprob") or 0.0}


def _bytes(index: Any, text: str) -> int:
    if type(index) is not int or index <= 0:
        return 0
    return index if text.isascii() else len(text[:index].encode())
