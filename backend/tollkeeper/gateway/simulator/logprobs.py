"""Log probabilities worked out from the tokens themselves: always the same for the same token."""

import zlib
from collections.abc import Sequence
from typing import Any


def token_logprobs(tokens: Sequence[str], top: int) -> list[dict[str, Any]]:
    """The entries of a chat choice, each with its `top` likeliest tokens (itself first)."""
    return [{**_entry(token, logprob(token)), "top_logprobs": _alternatives(token, top)} for token in tokens]


def logprob(token: str) -> float:
    """Between -1 and 0."""
    return -(zlib.crc32(token.encode()) % 1000) / 1000


def alternatives(token: str, top: int) -> list[tuple[str, float]]:
    """The token and its made-up rivals, likeliest first."""
    first = logprob(token)
    return [(token if rank == 0 else f"{token}{rank}", round(first - rank, 3)) for rank in range(top)]


def _alternatives(token: str, top: int) -> list[dict[str, Any]]:
    return [_entry(text, value) for text, value in alternatives(token, top)]


def _entry(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}
