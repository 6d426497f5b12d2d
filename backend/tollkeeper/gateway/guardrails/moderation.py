"""OpenAI's moderation endpoint and those like it: a score for each kind of harm, held to thresholds."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from tollkeeper.gateway.guardrail import WHOLE, Finding, Outside, Part, PartKind

# Names of things are no words to judge.
_KINDS: Final = frozenset(PartKind) - {PartKind.TOOL_OFFER, PartKind.TOOL_CALL}
_SHORTEST: Final = 3
# Of one input, and of one request.
_PIECE: Final = 20_000
_INPUTS: Final = 32
# More is for nobody to judge in the time of a call.
_MOST_PIECES: Final = 512
_Category = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_/ -]{0,63}$")]


class ModerationSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        "omni-moderation-latest", min_length=1, max_length=256, description="A model here that moderates."
    )
    provider: str | None = Field(
        None,
        max_length=63,
        description="Ask this provider instead, which knows the model by that name; only in the operator's file.",
    )
    thresholds: dict[_Category, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        max_length=100,
        description="From which score on a category is found; left out: what the endpoint itself flags.",
    )
    only: frozenset[_Category] | None = Field(
        None, min_length=1, max_length=100, description="Look at these categories; left out: at all of them."
    )
    stream_characters: int | None = Field(
        None,
        ge=200,
        le=100_000,
        description="Of a stream, ask after so many characters and let them go; left out: hold it to its end.",
    )


class Moderation:
    NAME: ClassVar[str] = "moderation"
    TITLE: ClassVar[str] = "Moderation: what an OpenAI-style endpoint says of a text"
    Settings: ClassVar[type[BaseModel]] = ModerationSettings

    def __init__(self, settings: ModerationSettings) -> None:
        self._settings = settings
        self.MAY_CHANGE = False
        self.WINDOW = settings.stream_characters or WHOLE

    async def ask(self, parts: Sequence[Part], outside: Outside) -> Sequence[Sequence[Finding]]:
        found: list[list[Finding]] = [[] for _ in parts]
        pieces = list(_pieces(parts))
        if len(pieces) > _MOST_PIECES:
            raise ValueError("more text than can be judged")
        settings = self._settings
        requests = [pieces[at : at + _INPUTS] for at in range(0, len(pieces), _INPUTS)]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(outside.moderate(settings.model, settings.provider, [text for *_, text in request]))
                for request in requests
            ]
        for request, task in zip(requests, tasks, strict=True):
            for (place, start, text), result in zip(request, task.result(), strict=True):
                found[place] += self._read(result, start, start + len(text))
        return found

    def _read(self, result: Mapping[str, Any], start: int, end: int) -> Iterator[Finding]:
        flags, scores = result["categories"], result.get("category_scores") or {}
        only, thresholds = self._settings.only, self._settings.thresholds
        for name in flags.keys() | scores.keys():
            score, flag = scores.get(name), flags.get(name)
            if not isinstance(flag, bool | None) or not isinstance(score, int | float | None):
                raise TypeError("a verdict is no verdict")
            if (only is not None and name not in only) or (score is None and flag is None):
                continue
            threshold = thresholds.get(name)
            is_found = bool(flag) if threshold is None or score is None else score >= threshold
            if is_found:
                # Its own scale is not the policy's `least_score`: the threshold has said that it counts.
                yield Finding(self.NAME, _label(name), start, end, 1.0, "" if score is None else f"{score:.2f}")


def _pieces(parts: Sequence[Part]) -> Iterator[tuple[int, int, str]]:
    for place, part in enumerate(parts):
        if part.kind not in _KINDS or len(part.text.strip()) < _SHORTEST:
            continue
        for start in range(0, len(part.text), _PIECE):
            yield place, start, part.text[start : start + _PIECE]


def _label(category: str) -> str:
    """`self-harm/intent` as policies can name it."""
    label = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in category.lower())
    return label[:64] or "flagged"
