"""Why a candidate ended, its log-probabilities and its sources, in the canonical form's words."""

from collections.abc import Mapping
from typing import Any, Final

# FinishReason, Gemini API reference and SDK types, 2026-09. What begins with IMAGE_ is a filter's word as well.
_FILTERED: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
    }
)
_CUT: Final = frozenset({"MAX_TOKENS", "CONTINUATION"})
# The model's own failures: asking again may help.
_FAILED: Final[Mapping[str, str]] = {
    "MALFORMED_FUNCTION_CALL": "The model wrote a function call that cannot be read.",
    "UNEXPECTED_TOOL_CALL": "The model called a function that it was not given.",
    "TOO_MANY_TOOL_CALLS": "The model called its tools too often.",
    "MALFORMED_RESPONSE": "The model wrote an answer that cannot be read.",
    "MISSING_THOUGHT_SIGNATURE": "The history of the call lacks a thought signature.",
}


def read_ending(reason: object, message: object, *, has_calls: bool) -> dict[str, Any]:
    """`finish_reason`, with a notice in `error` where the model failed: then another attempt may do."""
    word = reason if isinstance(reason, str) else ""
    if word in _FILTERED or word.startswith("IMAGE_"):
        return {"finish_reason": "content_filter"}
    if word in _CUT:
        return {"finish_reason": "length"}
    if word in _FAILED:
        told = message if isinstance(message, str) and message else _FAILED[word]
        notice = {"code": word.lower(), "message": told[:2000], "retryable": word != "MISSING_THOUGHT_SIGNATURE"}
        return {"finish_reason": "tool_calls" if has_calls else "stop", "error": notice}
    return {"finish_reason": "tool_calls" if has_calls else "stop"}


def is_blocked(document: Mapping[str, Any]) -> bool:
    """Whether the prompt was refused. An empty reason is none."""
    feedback = document.get("promptFeedback")
    return isinstance(feedback, dict) and bool(feedback.get("blockReason"))


def read_logprobs(candidate: Mapping[str, Any]) -> dict[str, Any] | None:
    result = candidate.get("logprobsResult")
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(chosen, list):
        return None
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    content = []
    for position, token in enumerate(chosen):
        if not isinstance(token, dict):
            continue
        top = tops[position].get("candidates") if position < len(tops) and isinstance(tops[position], dict) else None
        others = [_logprob(one) for one in top if isinstance(one, dict)] if isinstance(top, list) else []
        content.append({**_logprob(token), "top_logprobs": others})
    return {"content": content, "refusal": None}


def read_sources(candidate: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    """`annotations`: the web pages an answer rests on. `text`: all of the answer, to count places in it as we do."""
    found: list[dict[str, Any]] = []
    if isinstance(grounding := candidate.get("groundingMetadata"), dict):
        pages = [_page(chunk) for chunk in _objects(grounding.get("groundingChunks"))]
        for support in _objects(grounding.get("groundingSupports")):
            segment, indices = support.get("segment"), support.get("groundingChunkIndices")
            place = segment if isinstance(segment, dict) else {}
            known = indices if isinstance(indices, list) else []
            shown = (pages[index] for index in known if type(index) is int and 0 <= index < len(pages))
            found += [_citation(page, place, text) for page in shown if page is not None]
    if isinstance(citations := candidate.get("citationMetadata"), dict):
        for source in _objects(citations.get("citationSources", citations.get("citations"))):
            if isinstance(uri := source.get("uri"), str):
                found += [_citation({"url": uri, "title": source.get("title") or ""}, source, text)]
    return found


def _objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; what is none keeps its place."""
    return [one if isinstance(one, dict) else {} for one in value] if isinstance(value, list) else []


def _logprob(token: Mapping[str, Any]) -> dict[str, Any]:
    text = token.get("token")
    text = text if isinstance(text, str) else ""
    return {"token": text, "logprob": token.get("logProbability", 0.0), "bytes": list(text.encode())}


def _page(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    web = chunk.get("web")
    if not isinstance(web, dict) or not isinstance(web.get("uri"), str):
        return None
    return {"url": web["uri"], "title": web.get("title") or ""}


def _citation(page: Mapping[str, Any], segment: Mapping[str, Any], text: str) -> dict[str, Any]:
    start, end = _place(segment.get("startIndex"), text), _place(segment.get("endIndex"), text)
    return {"type": "url_citation", "url_citation": {**page, "start_index": start, "end_index": end}}


def _place(index: object, text: str) -> int:
    """Google counts bytes, the canonical form characters."""
    if type(index) is not int or index <= 0:
        return 0
    return index if text.isascii() else len(text.encode()[:index].decode(errors="ignore"))
