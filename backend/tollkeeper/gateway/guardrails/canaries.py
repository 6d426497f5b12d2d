"""Words that were planted where nobody should read them: in a system prompt, in a document. In an answer they tell of a leak."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import ahocorasick_rs
from pydantic import BaseModel, ConfigDict, Field

from tollkeeper.gateway.guardrail import Finding, Part


class CanarySettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: tuple[Annotated[str, Field(min_length=8, max_length=200)], ...] = Field(
        min_length=1, max_length=1_000, description="What was planted, exactly as it stands there."
    )


class Canaries:
    NAME: ClassVar[str] = "canaries"
    TITLE: ClassVar[str] = "Canary tokens: planted words that must never come out"
    Settings: ClassVar[type[BaseModel]] = CanarySettings
    WINDOW: ClassVar[int] = 200

    def __init__(self, settings: CanarySettings) -> None:
        # Spelled with signs between, or backwards, it is the same leak.
        self._forms = [form for token in settings.tokens for form in dict.fromkeys((token, token[::-1]))]
        self._automaton = ahocorasick_rs.AhoCorasick(
            self._forms, matchkind=ahocorasick_rs.MatchKind.Standard, store_patterns=False
        )

    def check(self, part: Part) -> Sequence[Finding]:
        return [
            Finding(self.NAME, "canary", start, end)
            for _, start, end in self._automaton.find_matches_as_indexes(part.text, overlapping=True)
        ]
