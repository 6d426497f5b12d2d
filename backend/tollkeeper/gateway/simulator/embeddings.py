"""Embeddings without a model: words and pairs of words are hashed to places of a vector, which is scaled to length one.

Texts that share words lie near each other, so a search or a cache can be tried; meaning is not involved.
"""

import base64
import hashlib
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tollkeeper.gateway.simulator.chat_request import missing, read_count
from tollkeeper.gateway.simulator.counting import count
from tollkeeper.gateway.simulator.refusal import Refusal, invalid

_DIMENSIONS = 1536
_MOST_DIMENSIONS = 4096
# OpenAI, "Create embeddings": 2,048 inputs, 8,192 tokens each, 300,000 tokens in all, 2026-08.
_MOST_INPUTS = 2048
_MOST_TOKENS = 8192
_MOST_TOKENS_IN_ALL = 300_000
_PLACES = 4

Input = str | Sequence[int]


def read_inputs(body: Mapping[str, Any]) -> list[Input]:
    value = body.get("input")
    if value is None:
        raise missing("input")
    inputs: list[Input]
    if _is_input(value):
        inputs = [value]
    elif isinstance(value, list) and value and all(_is_input(entry) for entry in value):
        inputs = value
    else:
        raise invalid("input", "a string, an array of strings, of tokens or of arrays of tokens, not empty")
    if len(inputs) > _MOST_INPUTS:
        raise Refusal(
            400, f"Invalid 'input': at most {_MOST_INPUTS} inputs.", param="input", code="array_above_max_length"
        )
    for entry in inputs:
        if not entry:
            raise invalid("input", "inputs that are not empty")
        if count_input(entry) > _MOST_TOKENS:
            raise Refusal(
                400,
                f"This model's maximum context length is {_MOST_TOKENS} tokens.",
                param="input",
                code="context_length_exceeded",
            )
    if sum(map(count_input, inputs)) > _MOST_TOKENS_IN_ALL:
        raise Refusal(
            400, f"Invalid 'input': at most {_MOST_TOKENS_IN_ALL} tokens in all.", param="input", code="max_tokens_per_request"
        )  # fmt: skip
    return inputs


def count_input(value: Input) -> int:
    return count(value) if isinstance(value, str) else len(value)


def write_whole(body: Mapping[str, Any], model: str, *, has_usage: bool) -> tuple[dict[str, Any], int]:
    """The document and its prompt tokens."""
    inputs = read_inputs(body)
    dimensions = read_count(body, "dimensions", least=1, most=_MOST_DIMENSIONS) or _DIMENSIONS
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise invalid("encoding_format", "'float' or 'base64'")
    tokens = sum(map(count_input, inputs))
    rows = []
    for index, value in enumerate(inputs):
        vector = embed(value, dimensions)
        shown = _to_base64(vector) if encoding == "base64" else vector.tolist()
        rows.append({"object": "embedding", "index": index, "embedding": shown})
    document: dict[str, Any] = {"object": "list", "data": rows, "model": model}
    if has_usage:
        document["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return document, tokens


def embed(value: Input, dimensions: int) -> "array[float]":
    """A float32 vector of length one."""
    words = value.lower().split() if isinstance(value, str) else [str(token) for token in value]
    features = [*words, *(f"{one} {two}" for one, two in pairwise(words))] or [""]
    vector = array("f", bytes(4 * dimensions))
    for feature in features:
        digest = hashlib.blake2b(feature.encode(), digest_size=_PLACES * 4).digest()
        for place in range(0, len(digest), 4):
            number = int.from_bytes(digest[place : place + 4], "big")
            vector[(number >> 1) % dimensions] += 1.0 if number & 1 else -1.0
    length = math.sqrt(sum(number * number for number in vector if number))
    if length == 0.0:
        # Everything cancelled out; possible in very few dimensions.
        vector[0] = 1.0
        return vector
    return array("f", (number / length if number else 0.0 for number in vector))


def _is_input(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(type(token) is int for token in value)
    )


def _to_base64(vector: "array[float]") -> str:
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector).decode()
