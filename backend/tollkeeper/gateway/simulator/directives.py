"""What a model name or the header `x-simulate` asks the simulator to do: paces, lengths and faults.

A name is `[anything/]simulated[-embedding|-reasoning]` and then directives, joined by hyphens in any order:
`simulated-pace-20ms-length-100`. The header takes the same words, also parted by commas or spaces, and adds to the name.

    slow-500ms           wait before the answer begins (ms or s)
    pace-20ms            wait between the chunks of a stream
    length-200           exactly so many output tokens of text
    cached-100           report so many prompt tokens as read from a prompt cache
    status-429           refuse with this status (400 to 599)
    retry-after-2s       what a refusal says in `retry-after` (and `retry-after-ms`)
    times-2              refuse only the first so many identical requests (the server alone counts them)
    quota                429 insufficient_quota
    context              400 context_length_exceeded
    parallel             call two tools at once where tools are offered and the request does not say
    refuse               the model declines (`refusal` instead of `content`)
    filter               the answer is cut by a content filter (`finish_reason: content_filter`)
    hang                 accept the request and never answer
    hang-after-5         fall silent after so many chunks
    cut-after-5          close the connection after so many chunks, in the middle of the answer
    error-after-5        send an error event after so many chunks
    garbage              answer 200 with something that is not JSON
    no-usage             leave out the usage
    no-done              leave out the `[DONE]` of a stream
"""

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final

from tollkeeper.gateway.simulator.refusal import Refusal

_SPLIT: Final = re.compile(r"[-,;\s]+")
_DURATION: Final = re.compile(r"(\d{1,7})(ms|s)")
MOST_TOKENS: Final = 200_000
_MOST_SECONDS: Final = 3600.0


class Family(Enum):
    TEXT = auto()
    REASONING = auto()
    EMBEDDING = auto()


@dataclass(frozen=True, slots=True)
class Directives:
    slow_seconds: float = 0.0
    pace_seconds: float = 0.0
    length: int | None = None
    cached_tokens: int = 0
    status: int | None = None
    error_code: str | None = None
    retry_after_seconds: float | None = None
    times: int | None = None
    is_parallel: bool = False
    is_refusal: bool = False
    is_filtered: bool = False
    is_hanging: bool = False
    hang_after: int | None = None
    cut_after: int | None = None
    error_after: int | None = None
    is_garbage: bool = False
    has_usage: bool = True
    has_done: bool = True


class _Argument(Enum):
    COUNT = auto()
    STATUS = auto()
    DURATION = auto()


# A word → the fields it sets, or the field its argument goes to.
_PLAIN: Final[dict[str, dict[str, Any]]] = {
    "quota": {"status": 429, "error_code": "insufficient_quota"},
    "context": {"status": 400, "error_code": "context_length_exceeded"},
    "parallel": {"is_parallel": True},
    "refuse": {"is_refusal": True},
    "filter": {"is_filtered": True},
    "hang": {"is_hanging": True},
    "garbage": {"is_garbage": True},
    "no-usage": {"has_usage": False},
    "no-done": {"has_done": False},
}
_WITH_ARGUMENT: Final[dict[str, tuple[str, _Argument]]] = {
    "slow": ("slow_seconds", _Argument.DURATION),
    "pace": ("pace_seconds", _Argument.DURATION),
    "length": ("length", _Argument.COUNT),
    "cached": ("cached_tokens", _Argument.COUNT),
    "status": ("status", _Argument.STATUS),
    "retry-after": ("retry_after_seconds", _Argument.DURATION),
    "times": ("times", _Argument.COUNT),
    "hang-after": ("hang_after", _Argument.COUNT),
    "cut-after": ("cut_after", _Argument.COUNT),
    "error-after": ("error_after", _Argument.COUNT),
}


def read_model(model: str, *, stands_in: bool = False) -> tuple[Family, Directives]:
    """Raises `Refusal` (404 model_not_found) for a name that is none of ours or holds a word nobody knows.

    With `stands_in` the names of others are taken too: no directives.
    """
    name = model.rpartition("/")[2]
    first, *words = name.split("-")
    if first != "simulated" and stands_in:
        return Family.TEXT, Directives()
    if first != "simulated":
        raise _unknown_model(
            model, "Simulated models are called simulated, simulated-embedding or simulated-reasoning."
        )
    family = Family.TEXT
    if words and words[0] in {"embedding", "reasoning"}:
        family = Family[words.pop(0).upper()]
    try:
        return family, _read_words(Directives(), words)
    except ValueError as error:
        raise _unknown_model(model, str(error)) from error


def read_header(directives: Directives, header: str) -> Directives:
    """`directives` with those of the header on top. Raises `Refusal` (400)."""
    try:
        return _read_words(directives, [word for word in _SPLIT.split(header) if word])
    except ValueError as error:
        raise Refusal(400, f"Invalid header 'x-simulate': {error}", param="x-simulate", code="invalid_value") from error


def _read_words(directives: Directives, words: list[str]) -> Directives:
    fields: dict[str, Any] = {}
    position = 0
    while position < len(words):
        pair = "-".join(words[position : position + 2])
        word = pair if pair in _PLAIN or pair in _WITH_ARGUMENT else words[position]
        position += word.count("-") + 1
        if word in _PLAIN:
            fields |= _PLAIN[word]
        elif word in _WITH_ARGUMENT:
            field, kind = _WITH_ARGUMENT[word]
            fields[field] = _read_argument(word, kind, words[position] if position < len(words) else "")
            position += 1
        else:
            raise ValueError(f"'{word}' is no directive of the simulator.")
    return replace(directives, **fields)


def _read_argument(word: str, kind: _Argument, text: str) -> int | float:
    if kind is _Argument.DURATION:
        found = _DURATION.fullmatch(text)
        if found is None:
            raise ValueError(f"'{word}' needs a time such as 20ms or 2s, but got '{text}'.")
        return min(int(found[1]) / (1000 if found[2] == "ms" else 1), _MOST_SECONDS)
    if not (text.isascii() and text.isdigit() and len(text) <= 7):
        raise ValueError(f"'{word}' needs a number, but got '{text}'.")
    number = int(text)
    if kind is _Argument.STATUS and not 400 <= number < 600:
        raise ValueError(f"'{word}' needs a status from 400 to 599, but got '{text}'.")
    if number > MOST_TOKENS:
        raise ValueError(f"'{word}' takes at most {MOST_TOKENS}.")
    return number


def _unknown_model(model: str, why: str) -> Refusal:
    # OpenAI's own words first: clients match them.
    return Refusal(
        404,
        f"The model `{model}` does not exist or you do not have access to it. {why}",
        param="model",
        code="model_not_found",
    )
