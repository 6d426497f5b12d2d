"""Which languages may be written: each paragraph by its script, its commonest words and letters that few languages have.

Text that is too short or too mixed to say is `language_unknown`, and passes unless the policy wants it found.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tollkeeper.gateway.guardrail import WHOLE, Finding, Part, PartKind
from tollkeeper.gateway.guardrails.language.identify import LANGUAGES, UNKNOWN, identify

# What people write and read; arguments and results of tools are data.
_KINDS = frozenset({PartKind.TEXT, PartKind.ANSWER, PartKind.DOCUMENT, PartKind.TRANSCRIPT})
_PARAGRAPH = 1_000


class LanguageSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: frozenset[Annotated[str, Field(pattern=r"^[a-z]{2}$")]] = Field(
        min_length=1, description=f"Languages by their codes: {', '.join(LANGUAGES)}."
    )
    least_letters: int = Field(
        20, ge=4, le=1_000, description="Shorter texts say too little about their language to be judged."
    )
    find_unknown: bool = Field(False, description="Find, as language_unknown, texts whose language is not known too.")
    skip_system: bool = Field(True, description="Leave system prompts alone.")

    @field_validator("allow")
    @classmethod
    def _known(cls, allow: frozenset[str]) -> frozenset[str]:
        if unknown := sorted(allow - frozenset(LANGUAGES)):
            raise ValueError(f"not known here: {', '.join(unknown)}; known are {', '.join(LANGUAGES)}")
        return allow


class Language:
    NAME: ClassVar[str] = "language"
    TITLE: ClassVar[str] = "Languages: which may be written"
    Settings: ClassVar[type[BaseModel]] = LanguageSettings
    WINDOW: ClassVar[int] = WHOLE

    def __init__(self, settings: LanguageSettings) -> None:
        self._settings = settings

    def check(self, part: Part) -> Sequence[Finding]:
        settings = self._settings
        if part.kind not in _KINDS or (settings.skip_system and part.role in {"system", "developer"}):
            return ()
        findings = []
        for start, end in _paragraphs(part.text, settings.least_letters):
            found = identify(part.text[start:end], settings.least_letters)
            if found in settings.allow or (found == UNKNOWN and not settings.find_unknown):
                continue
            findings.append(Finding(self.NAME, f"language_{found}", start, end, 1.0, "this language is not allowed"))
        return findings


def _paragraphs(text: str, least: int) -> Iterator[tuple[int, int]]:
    """By lines, so that one in another language is not lost among the others; short ones are taken together."""
    start = 0
    while start < len(text):
        end = start
        while end < len(text) and end - start < least * 2:
            line_end = text.find("\n", end)
            end = len(text) if line_end < 0 else line_end + 1
        # A line may be a book.
        end = min(end, start + _PARAGRAPH)
        # What is left over at the end says nothing by itself.
        if len(text) - end < least:
            end = len(text)
        yield start, end
        start = end
