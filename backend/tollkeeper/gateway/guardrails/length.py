"""How long a text may be."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from tollkeeper.gateway.guardrail import WHOLE, Finding, Part


class LengthSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    most_characters: int = Field(ge=1, le=100_000_000, description="Of one text; a longer one is found from there on.")


class Length:
    NAME: ClassVar[str] = "length"
    TITLE: ClassVar[str] = "Length: how long one text may be"
    Settings: ClassVar[type[BaseModel]] = LengthSettings
    WINDOW: ClassVar[int] = WHOLE

    def __init__(self, settings: LengthSettings) -> None:
        self._most = settings.most_characters

    def check(self, part: Part) -> Sequence[Finding]:
        length = len(part.text)
        if length <= self._most:
            return ()
        return (Finding(self.NAME, "too_long", self._most, length, 1.0, f"more than {self._most} characters"),)
