"""What is measured, as data: each scenario is one kind of traffic, run against the floor and the target in turn."""

from dataclasses import dataclass

import orjson

from bench.load import PROMPT, chat_body

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"

WHOLE_MODEL = "mock"
BURST_MODEL = "mock-20x0"
PACED_MODEL = "mock-40x50"
EMBEDDING_MODEL = "mock-embedding"
MODELS = (WHOLE_MODEL, BURST_MODEL, PACED_MODEL, EMBEDDING_MODEL)

_EVENTS_AROUND_TOKENS = 3  # finish, usage, [DONE]


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    path: str
    body: bytes
    connections: int
    seconds: float
    rounds: int
    is_stream: bool = False
    events_per_stream: int = 0
    unit: str = "calls"
    # Also against the floor with the gateway's own client.
    has_thin: bool = False


@dataclass(frozen=True)
class Latency:
    """Open loop at half the knee: what a call gains in time by passing through, against calling the upstream directly."""

    seconds: float
    rounds: int
    share_of_knee: float = 0.5
    connections: int = 256


@dataclass(frozen=True)
class Suite:
    scenarios: tuple[Scenario, ...]
    latency: Latency
    warmup_seconds: float


def large_chat_body(size: int = 1_000_000) -> bytes:
    words = (PROMPT + " ") * (size // len(PROMPT) + 1)
    return chat_body(WHOLE_MODEL, prompt=words[:size])


def embeddings_body() -> bytes:
    return orjson.dumps({"model": EMBEDDING_MODEL, "input": PROMPT, "encoding_format": "base64"})


def suite(*, is_quick: bool) -> Suite:
    """About half a minute when quick, else between two and three."""
    seconds = 1.0 if is_quick else 3.0
    rounds = 2 if is_quick else 5
    minor_rounds = 1 if is_quick else 3
    streams = 200 if is_quick else 1000
    scenarios = (
        Scenario(
            "whole", "0.2 kB call, 32 in flight", CHAT, chat_body(WHOLE_MODEL), 32, seconds, rounds, has_thin=True
        ),
        Scenario(
            "stream",
            "stream of 20 chunks, 32 in flight",
            CHAT,
            chat_body(BURST_MODEL, is_stream=True),
            32,
            seconds,
            rounds,
            is_stream=True,
            events_per_stream=20 + _EVENTS_AROUND_TOKENS,
            unit="streams",
            has_thin=True,
        ),
        Scenario("large", "1 MB call, 4 in flight", CHAT, large_chat_body(), 4, seconds, minor_rounds),
        Scenario("embeddings", "embedding, 32 in flight", EMBEDDINGS, embeddings_body(), 32, seconds, minor_rounds),
        Scenario(
            "paced",
            f"{streams} streams at 20 tokens/s",
            CHAT,
            chat_body(PACED_MODEL, is_stream=True),
            streams,
            2.5 if is_quick else 6.0,  # One stream lasts two seconds.
            1 if is_quick else 2,
            is_stream=True,
            events_per_stream=40 + _EVENTS_AROUND_TOKENS,
            unit="streams",
        ),
    )
    latency = Latency(seconds=1.5 if is_quick else 4.0, rounds=1 if is_quick else 3)
    return Suite(scenarios, latency, warmup_seconds=0.3 if is_quick else 0.5)
