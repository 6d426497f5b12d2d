"""Request in, script out: the simulator's own format, OpenAI's. Other vendors' are in `vendors`."""

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
from tollkeeper.gateway.simulator.directed import Refused, Tries, Wire, direct
from tollkeeper.gateway.simulator.directives import MOST_TOKENS, Directives, Family
from tollkeeper.gateway.simulator.frames import JSON, Event, Frames, stream, whole
from tollkeeper.gateway.simulator.refusal import Refusal, chosen, invalid
from tollkeeper.gateway.simulator.script import Script

# What does not change the answer: how it is sent, how far it goes and who asks.
_BESIDE_THE_POINT: Final = frozenset(
    {
        "max_completion_tokens", "max_tokens", "metadata", "model", "n", "prompt_cache_key", "safety_identifier",
        "service_tier", "stop", "store", "stream", "stream_options", "user",
    }
)  # fmt: skip
_FRAMES: Final = Frames(
    "text/event-stream; charset=utf-8",
    half=b'data: {"id":"chatcmpl-',
    garbage=b"data: {not json}\n\n",
    error=b"data: %b\n\n" % chosen(500, None, None).body(),
)


class Operation(StrEnum):
    """By the last part of the path."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


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
    """The answer to one request in OpenAI's format. Never raises for what the request holds."""
    return direct(OpenAIWire(operation, now), body, header=header, tries=tries, stands_in=stands_in)


class OpenAIWire(Wire):
    """OpenAI's own format, by operation."""

    def __init__(self, operation: Operation, now: Callable[[], float] = time.time) -> None:
        self._operation = operation
        self._now = now

    def model(self, request: Mapping[str, Any]) -> str:
        model = request.get("model")
        if model is None:
            raise missing("model")
        if not isinstance(model, str):
            raise invalid("model", "a string")
        return model

    def digest(self, request: Mapping[str, Any]) -> bytes:
        return digest_of(request, self._operation)

    def answer(self, request: dict[str, Any], model: str, family: Family, wish: Directives, digest: bytes) -> Script:
        return _answer(self._operation, request, model, family, wish, digest, int(self._now()))

    def refused(self, refusal: Refusal) -> Refused:
        return Refused(refusal.status, {"content-type": JSON, **refusal.headers}, refusal.body())


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
        return whole(orjson.dumps(vectors), wish, Script(200, {}, (), model=model, prompt_tokens=tokens))
    if family is Family.EMBEDDING:
        raise Refusal(400, "This is an embedding model; ask for embeddings.", param="model", code="unsupported_model")
    read_common(request)
    is_stream = request.get("stream") is True
    options = request.get("stream_options") or {}
    shows_usage = is_stream and wish.has_usage and bool(options.get("include_usage"))
    write = _chat if operation is Operation.CHAT else _completion
    document, chunks, script = write(request, model, family, wish, digest, created, shows_usage)
    if is_stream:
        return stream(_stream(chunks()), b"data: [DONE]\n\n", _FRAMES, wish, script)
    return whole(orjson.dumps(document()), wish, script)


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


def _stream(chunks: Iterable[tuple[dict[str, Any], int]]) -> Iterator[Event]:
    for chunk, tokens in chunks:
        yield b"data: %b\n\n" % orjson.dumps(chunk), tokens


def digest_of(request: Mapping[str, Any], operation: Operation) -> bytes:
    """Of a request in OpenAI's terms."""
    asked = {name: value for name, value in request.items() if name not in _BESIDE_THE_POINT}
    packed = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(packed, digest_size=32, person=operation.name.encode()).digest()
