"""Request in, script out: the one door of the simulator."""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Final

import orjson

from tollkeeper.gateway.simulator import chat_wire, completions, embeddings
from tollkeeper.gateway.simulator.chat import choose
from tollkeeper.gateway.simulator.chat_request import missing, read_common, read_count, read_messages
from tollkeeper.gateway.simulator.counting import count_prompt
from tollkeeper.gateway.simulator.dice import Dice
from tollkeeper.gateway.simulator.directives import MOST_TOKENS, Directives, Family, read_header, read_model
from tollkeeper.gateway.simulator.refusal import Refusal, chosen, invalid
from tollkeeper.gateway.simulator.script import Ending, Part, Script

# What does not change the answer: how it is sent, how far it goes and who asks.
_BESIDE_THE_POINT: Final = frozenset(
    {
        "max_completion_tokens", "max_tokens", "metadata", "model", "n", "prompt_cache_key", "safety_identifier",
        "service_tier", "stop", "store", "stream", "stream_options", "user",
    }
)  # fmt: skip
_JSON: Final = "application/json"
_GARBAGE: Final = b"<html><body>502 Bad Gateway (simulated)</body></html>"


class Operation(StrEnum):
    """By the last part of the path."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


Tries = Callable[[bytes], int]


def _every_time_the_first(_digest: bytes) -> int:
    return 1


def answer(
    operation: Operation,
    body: bytes,
    *,
    header: str = "",
    tries: Tries = _every_time_the_first,
    now: Callable[[], float] = time.time,
    stands_in: bool = False,
) -> Script:
    """The answer to one request. Never raises for what the request holds.

    With `stands_in` models of other names are answered as well, as plain `simulated` would.

    `header` is the value of `x-simulate`. `tries` tells how often this request, by its digest, has come (this time
    included): only `times-N` asks.
    """
    model = ""
    wish = Directives()
    try:
        request = _read(body)
        model = _model(request)
        family, wish = read_model(model, stands_in=stands_in)
        if header:
            wish = read_header(wish, header)
        digest = _digest(operation, request)
        if wish.is_hanging:
            return Script(200, {}, (), Ending.HANG, never_begins=True, model=model)
        if wish.status is not None and (wish.times is None or tries(digest + model.encode()) <= wish.times):
            raise chosen(wish.status, wish.error_code, wish.retry_after_seconds)
        script = _answer(operation, request, model, family, wish, digest, int(now()))
        return dataclasses.replace(script, wait_seconds=wish.slow_seconds)
    except Refusal as refusal:
        content = refusal.body()
        return Script(
            refusal.status,
            {"content-type": _JSON, **refusal.headers},
            (Part(content),),
            wait_seconds=wish.slow_seconds,
            content_length=len(content),
            model=model,
        )


def _answer(
    operation: Operation,
    request: dict[str, Any],
    model: str,
    family: Family,
    wish: Directives,
    digest: bytes,
    created: int,
) -> Script:
    if operation is Operation.EMBEDDINGS:
        vectors, tokens = embeddings.write_whole(request, model, has_usage=wish.has_usage)
        return _whole(vectors, wish, Script(200, {}, (), model=model, prompt_tokens=tokens))
    if family is Family.EMBEDDING:
        raise Refusal(400, "This is an embedding model; ask for embeddings.", param="model", code="unsupported_model")
    read_common(request)
    is_stream = request.get("stream") is True
    options = request.get("stream_options") or {}
    shows_usage = is_stream and wish.has_usage and bool(options.get("include_usage"))
    write = _chat if operation is Operation.CHAT else _completion
    document, chunks, script = write(request, model, family, wish, digest, created, shows_usage)
    return _stream(chunks(), wish, script) if is_stream else _whole(document(), wish, script)


# The document, the chunks, and the script they go into. Only one of the two is written.
_Written = tuple[Callable[[], dict[str, Any]], Callable[[], Iterator[tuple[dict[str, Any], int]]], Script]


def _chat(
    request: dict[str, Any],
    model: str,
    family: Family,
    wish: Directives,
    digest: bytes,
    created: int,
    shows_usage: bool,
) -> _Written:
    messages = read_messages(request)
    top = read_count(request, "top_logprobs", least=0, most=20)
    head = chat_wire.Head(
        f"chatcmpl-{digest[:12].hex()}", created, model, (top or 0) if request.get("logprobs") is True else None
    )
    number = _number(request, wish)
    choices = [choose(request, messages, family, wish, Dice(digest + bytes([index]))) for index in range(number)]
    usage = chat_wire.write_usage(count_prompt(request), choices, wish.cached_tokens)
    script = _told(model, usage)
    return (
        partial(chat_wire.write_whole, head, choices, usage if wish.has_usage else None),
        partial(chat_wire.write_stream, head, choices, usage, shows_usage=shows_usage),
        script,
    )


def _completion(
    request: dict[str, Any],
    model: str,
    _family: Family,
    wish: Directives,
    digest: bytes,
    created: int,
    shows_usage: bool,
) -> _Written:
    prompts = completions.read_prompts(request)
    top = read_count(request, "logprobs", least=0, most=5)
    head = completions.Head(f"cmpl-{digest[:12].hex()}", created, model, top)
    number = _number(request, wish, len(prompts))
    texts = [
        completions.complete(request, prompt, wish, Dice(digest + bytes([index]) + prompt.encode()))
        for prompt in prompts
        for index in range(number)
    ]
    usage = completions.write_usage(completions.count_prompts(request), texts, wish.cached_tokens)
    return (
        partial(completions.write_whole, head, texts, usage if wish.has_usage else None),
        partial(completions.write_stream, head, texts, usage, shows_usage=shows_usage),
        _told(model, usage),
    )


def _number(request: Mapping[str, Any], wish: Directives, prompts: int = 1) -> int:
    number: int = request.get("n") or 1
    if number * prompts * (wish.length or 0) > MOST_TOKENS:
        raise invalid("n", f"answers of at most {MOST_TOKENS} tokens in all")
    return number


def _told(model: str, usage: Mapping[str, Any]) -> Script:
    """The beginning of a script: what it will have cost."""
    details = usage.get("completion_tokens_details") or {}
    return Script(
        200,
        {},
        (),
        model=model,
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        details={
            "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
            "reasoning_tokens": details.get("reasoning_tokens", 0),
        },
    )


def _whole(document: dict[str, Any], wish: Directives, script: Script) -> Script:
    if wish.error_after is not None:
        raise chosen(500, None, None)
    content = _GARBAGE if wish.is_garbage else orjson.dumps(document)
    is_cut = wish.cut_after is not None or wish.hang_after is not None
    shown = content[: len(content) // 2] if is_cut else content
    ending = Ending.COMPLETE
    if is_cut:
        ending = Ending.CUT if wish.cut_after is not None else Ending.HANG
    return dataclasses.replace(
        script,
        headers={"content-type": _JSON},
        parts=(Part(shown, tokens=0 if is_cut else script.completion_tokens),),
        ending=ending,
        content_length=len(content),
    )


def _stream(chunks: Iterable[tuple[dict[str, Any], int]], wish: Directives, script: Script) -> Script:
    ending = Ending.COMPLETE
    last: int | None = None
    if wish.cut_after is not None:
        ending, last = Ending.CUT, wish.cut_after
    elif wish.hang_after is not None:
        ending, last = Ending.HANG, wish.hang_after
    return dataclasses.replace(
        script,
        headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"},
        parts=_parts(chunks, wish, last),
        ending=ending,
        is_stream=True,
    )


def _parts(chunks: Iterable[tuple[dict[str, Any], int]], wish: Directives, last: int | None) -> Iterator[Part]:
    """The events of a stream. `last`: after so many chunks with tokens nothing follows."""
    sent = 0
    wait = 0.0
    for chunk, tokens in chunks:
        if tokens:
            if sent == last:
                # Half an event: a reader must not take it for a whole one.
                yield Part(b'data: {"id":"chatcmpl-', wait)
                return
            if sent == wish.error_after:
                yield Part(b"data: %b\n\n" % chosen(500, None, None).body(), wait)
                return
            sent += 1
        if wish.is_garbage and tokens:
            yield Part(b"data: {not json}\n\n", wait)
            return
        yield Part(b"data: %b\n\n" % orjson.dumps(chunk), wait, tokens)
        wait = wish.pace_seconds
    if wish.has_done and last is None:
        yield Part(b"data: [DONE]\n\n")


def _read(body: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "We could not parse the JSON body of your request.", code="invalid_json") from error
    if not isinstance(request, dict):
        raise Refusal(400, "The body of the request must be a JSON object.", code="invalid_json")
    return request


def _model(request: Mapping[str, Any]) -> str:
    model = request.get("model")
    if model is None:
        raise missing("model")
    if not isinstance(model, str):
        raise invalid("model", "a string")
    return model


def _digest(operation: Operation, request: Mapping[str, Any]) -> bytes:
    asked = {name: value for name, value in request.items() if name not in _BESIDE_THE_POINT}
    packed = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(packed, digest_size=32, person=operation.name.encode()).digest()
