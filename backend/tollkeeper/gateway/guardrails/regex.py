"""Patterns of the operator's own, in RE2's syntax: linear whatever the pattern. What RE2 lacks is refused with its reason."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

import re2
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tollkeeper.gateway.guardrail import Shape
from tollkeeper.gateway.tails import line

# Of one compiled pattern: a few nested repeats make automata that take seconds and gigabytes.
_PATTERN_BYTES: Final = 256 << 10


class RegexSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    patterns: dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Annotated[str, Field(min_length=1, max_length=2_000)]
    ] = Field(description="RE2 patterns by the label of what they find.", min_length=1, max_length=100)
    ignore_case: bool = Field(False, description="Upper and lower case are the same.")
    whole_words: bool = Field(False, description="No letter or digit may touch the match.")

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: dict[str, str]) -> dict[str, str]:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _PATTERN_BYTES
        for label, pattern in patterns.items():
            try:
                compiled = re2.compile(pattern, options)
            except re2.error as error:
                reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
                raise ValueError(f"{label}: {reason} (RE2 has no look-around and no back-references)") from None
            if compiled.fullmatch("") is not None:
                raise ValueError(f"{label}: the pattern matches nothing at all, and so everything")
        return patterns


def size_of(patterns: object) -> int:
    """How large the automata are that patterns found good come to."""
    return sum(re2.compile(pattern).programsize for pattern in patterns.values()) if isinstance(patterns, dict) else 0


class Regex:
    NAME: ClassVar[str] = "regex"
    TITLE: ClassVar[str] = "Patterns: regular expressions of your own"
    Settings: ClassVar[type[BaseModel]] = RegexSettings

    def __init__(self, settings: RegexSettings) -> None:
        self._settings = settings

    def shapes(self) -> Sequence[Shape]:
        return [
            # What a pattern may still become nobody knows: it waits for the end of its line.
            Shape(label, pattern, line, is_word=self._settings.whole_words, ignores_case=self._settings.ignore_case)
            for label, pattern in self._settings.patterns.items()
        ]
