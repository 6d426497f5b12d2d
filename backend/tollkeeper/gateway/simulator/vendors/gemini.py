"""Gemini's `generateContent`, streamed as SSE or as one JSON array, `countTokens`, `embedContent` and its errors."""

import base64
import dataclasses
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import orjson

from tollkeeper.gateway.simulator.chat import Choice, ToolCall
from tollkeeper.gateway.simulator.counting import count, count_prompt
from tollkeeper.gateway.simulator.directed import Refused, Wire
from tollkeeper.gateway.simulator.directives import Directives, Family
from tollkeeper.gateway.simulator.embeddings import embed
from tollkeeper.gateway.simulator.frames import JSON, Event, Frames, stream, whole
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.script import Script
from tollkeeper.gateway.simulator.vendors.gemini_request import read_question, thoughts_of
from tollkeeper.gateway.simulator.vendors.question import Json, Told, raw_digest, reading, reject, sign, tell

# google.rpc.Code by HTTP status.
_STATUSES: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_SAID: Final = {
    "insufficient_quota": (429, "You exceeded your current quota, please check your plan and billing details."),
    "context_length_exceeded": (
        400,
        "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
    ),
}
_FINISHES: Final = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
_DIMENSIONS = 3072


class Verb(StrEnum):
    """What stands behind the colon of the path."""

    GENERATE = "generateContent"
    STREAM = "streamGenerateContent"
    COUNT = "countTokens"
    EMBED = "embedContent"
    EMBED_MANY = "batchEmbedContents"


def _error(code: int, message: str, details: list[Json] | None = None) -> Json:
    status = _STATUSES.get(code, "INTERNAL" if code >= 500 else "INVALID_ARGUMENT")
    error: Json = {"code": code, "message": message, "status": status}
    return {"error": {**error, "details": details} if details else error}


def _frames(*, is_sse: bool) -> Frames:
    error = orjson.dumps(_error(500, "An internal error has occurred."))
    if is_sse:
        return Frames(
            "text/event-stream",
            b'data: {"candidates": [{"con',
            b"data: {not json}\r\n\r\n",
            b"data: %b\r\n\r\n" % error,
        )
    return Frames("application/json; charset=UTF-8", b'{"candidates": [{"con', b"{not json}\n", b",\r\n%b" % error)


class GeminiWire(Wire):
    """The model and the verb stand in the path; `is_sse`: with `alt=sse`."""

    def __init__(self, model: str, verb: Verb, *, is_sse: bool) -> None:
        self._model = model
        self._verb = verb
        self._is_sse = is_sse

    def model(self, request: Mapping[str, Any]) -> str:  # noqa: ARG002 - the interface
        return self._model

    def digest(self, request: Mapping[str, Any]) -> bytes:
        return raw_digest(request, self._verb)

    def answer(self, request: dict[str, Any], model: str, family: Family, wish: Directives, digest: bytes) -> Script:  # noqa: ARG002 - the interface
        if self._verb in (Verb.EMBED, Verb.EMBED_MANY):
            with reading():
                return self._embed(request, model, wish)
        if self._verb is Verb.COUNT:
            with reading():
                tokens = count_prompt(read_question(request.get("generateContentRequest") or request))
            return whole(orjson.dumps({"totalTokens": tokens}), wish, Script(200, {}, (), model=model))
        with reading():
            question = read_question(request, needs_signatures=family is Family.REASONING)
            shows, thinks = thoughts_of(request)
        if thinks is not None:
            family = Family.REASONING if thinks else Family.TEXT
        told = tell(question, model, family, wish)
        if wish.is_refusal:
            blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **_tail(told, 0)}
            script = dataclasses.replace(told.script(), completion_tokens=0)
            if self._verb is Verb.STREAM:
                return stream((), self._close(self._open(blocked, 0)), _frames(is_sse=self._is_sse), wish, script)
            return whole(orjson.dumps(blocked), wish, script)
        if self._verb is Verb.STREAM:
            return self._stream(told, wish, shows=shows)
        return whole(orjson.dumps(_document(told, shows=shows)), wish, told.script())

    def refused(self, refusal: Refusal) -> Refused:
        status, message = _SAID.get(refusal.code or "", (refusal.status, refusal.message))
        kept = {name: value for name, value in refusal.headers.items() if not name.startswith("retry-after")}
        details: list[Json] = []
        if "retry-after-ms" in refusal.headers:
            seconds = int(refusal.headers["retry-after-ms"]) / 1000
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds:g}s"})
        return Refused(status, {"content-type": JSON, **kept}, orjson.dumps(_error(status, message, details)))

    def _stream(self, told: Told, wish: Directives, *, shows: bool) -> Script:
        documents = list(_documents(told, shows=shows))
        *before, (last, _) = documents
        events: list[Event] = [(self._open(document, n), tokens) for n, (document, tokens) in enumerate(before)]
        end = self._close(self._open(last, len(before)))
        return stream(events, end, _frames(is_sse=self._is_sse), wish, told.script())

    def _open(self, document: Json, position: int) -> bytes:
        if self._is_sse:
            return b"data: %b\r\n\r\n" % orjson.dumps(document)
        return (b"," if position else b"[") + orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\r\n"

    def _close(self, last: bytes) -> bytes:
        return last if self._is_sse else last + b"]\n"

    def _embed(self, request: Json, model: str, wish: Directives) -> Script:
        entries = request.get("requests") if self._verb is Verb.EMBED_MANY else [request]
        if not isinstance(entries, list) or not entries:
            raise reject("* BatchEmbedContentsRequest.requests: requests is not specified\n")
        texts = [_text_of(entry) for entry in entries]
        vectors = [
            {"values": embed(text, entry.get("outputDimensionality") or _DIMENSIONS).tolist()}
            for text, entry in zip(texts, entries, strict=True)
        ]
        document: Json = {"embeddings": vectors} if self._verb is Verb.EMBED_MANY else {"embedding": vectors[0]}
        tokens = sum(map(count, texts))
        document["usageMetadata"] = {"promptTokenCount": tokens, "totalTokenCount": tokens}
        return whole(orjson.dumps(document), wish, Script(200, {}, (), model=model, prompt_tokens=tokens))


def _text_of(entry: Any) -> str:
    content = entry.get("content") if isinstance(entry, dict) else None
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list) or not parts:
        raise reject("* EmbedContentRequest.content: content is required\n")
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _document(told: Told, *, shows: bool) -> Json:
    candidates = []
    for index, choice in enumerate(told.choices):
        parts = [part for part, _ in _parts(choice, shows=shows, is_whole=True)]
        candidates.append(_candidate(index, parts, _FINISHES[choice.finish_reason]))
    return {"candidates": candidates, **_tail(told, told.tokens)}


def _documents(told: Told, *, shows: bool) -> Iterator[tuple[Json, int]]:
    """The documents of a stream with their tokens; the usage in each is what was reached by then."""
    sent = 0
    for index, choice in enumerate(told.choices):
        for part, tokens in _parts(choice, shows=shows, is_whole=False):
            sent += tokens
            yield {"candidates": [_candidate(index, [part], None)], **_tail(told, sent)}, tokens
        if index + 1 < len(told.choices):
            yield (
                {
                    "candidates": [_candidate(index, [{"text": ""}], _FINISHES[choice.finish_reason])],
                    **_tail(told, sent),
                },
                0,
            )
    finish = _FINISHES[told.choices[-1].finish_reason]
    last = [_candidate(len(told.choices) - 1, [{"text": ""}], finish)]
    yield {"candidates": last, **_tail(told, told.tokens)}, 0


def _parts(choice: Choice, *, shows: bool, is_whole: bool) -> Iterator[tuple[Json, int]]:
    """Each part with its tokens. Function calls come in one piece, always; only the first of a turn is signed."""
    signature = base64.b64encode(b"signed thought").decode() if choice.reasoning and choice.content else None
    if choice.reasoning and shows:
        for text, tokens in _pieces(choice.reasoning, is_whole=is_whole):
            yield {"text": text, "thought": True}, tokens
    for position, (text, tokens) in enumerate(_pieces(choice.content, is_whole=is_whole)):
        part: Json = {"text": text}
        if signature is not None and position == 0:
            part["thoughtSignature"] = signature
        yield part, tokens
    for position, call in enumerate(choice.calls):
        part = {"functionCall": {"name": call.name, "args": _args(call)}}
        if choice.reasoning and position == 0:
            part["thoughtSignature"] = sign(call.name)
        yield part, call.tokens


def _pieces(tokens: tuple[str, ...], *, is_whole: bool) -> list[tuple[str, int]]:
    if is_whole:
        return [("".join(tokens), len(tokens))] if tokens else []
    return [(token, 1) for token in tokens]


def _args(call: ToolCall) -> Any:
    try:
        return orjson.loads("".join(call.arguments))
    except orjson.JSONDecodeError:
        return {}


def _candidate(index: int, parts: list[Json], finish: str | None) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": index}
    return candidate if finish is None else {**candidate, "finishReason": finish}


def _tail(told: Told, sent: int) -> Json:
    tail: Json = {"modelVersion": told.model, "responseId": told.id}
    if told.has_usage:
        thoughts = min(told.reasoning_tokens, sent) if sent < told.tokens else told.reasoning_tokens
        usage: Json = {
            "promptTokenCount": told.prompt_tokens,
            "candidatesTokenCount": max(sent - thoughts, 0),
            "totalTokenCount": told.prompt_tokens + sent,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": told.prompt_tokens}],
        }
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        if told.cached_tokens:
            usage["cachedContentTokenCount"] = told.cached_tokens
            usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": told.cached_tokens}]
        tail["usageMetadata"] = usage
    return tail
