"""Personal data with a form: addresses, numbers, dates. Personal names are not looked for: without a model nobody can."""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tollkeeper.gateway.guardrail import Shape
from tollkeeper.gateway.guardrails.pii import contact, money, national_ids, phones
from tollkeeper.gateway.tails import line


class CustomShape(BaseModel):
    """A form of the operator's own: RE2's syntax, found where no letter or digit touches it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    pattern: Annotated[str, Field(min_length=1, max_length=1_000)]


class PiiSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    only: frozenset[str] | None = Field(None, description="Labels to look for; unset looks for all.")
    ignore: frozenset[str] = Field(frozenset(), description="Labels to leave alone.")
    custom: tuple[CustomShape, ...] = Field((), max_length=50, description="Forms of your own, such as staff numbers.")

    @model_validator(mode="after")
    def _knows_labels(self) -> Self:
        """A label that nothing has would look for nothing, and nobody would hear of it."""
        known = {*labels(), *(own.label for own in self.custom)}
        unknown = sorted((self.ignore | (self.only or frozenset())) - known)
        if unknown:
            raise ValueError(f"there is no label '{unknown[0]}': known are {', '.join(sorted(known))}")
        if self.only is not None and not self.custom and not self.only - self.ignore:
            raise ValueError("'only' and 'ignore' leave nothing to look for")
        return self


@cache
def _built_in() -> tuple[Shape, ...]:
    return (*contact.shapes(), *phones.shapes(), *money.shapes(), *national_ids.shapes())


def labels() -> list[str]:
    return list(dict.fromkeys(shape.label for shape in _built_in()))


class Pii:
    NAME: ClassVar[str] = "pii"
    TITLE: ClassVar[str] = "Personal data: addresses, cards, accounts, national numbers"
    Settings: ClassVar[type[BaseModel]] = PiiSettings

    def __init__(self, settings: PiiSettings | None = None) -> None:
        self._settings = settings or PiiSettings()

    def shapes(self) -> Sequence[Shape]:
        only, ignore = self._settings.only, self._settings.ignore
        found = [shape for shape in _built_in() if (only is None or shape.label in only) and shape.label not in ignore]
        # What an operator's pattern may still become nobody knows: it waits for the end of its line.
        return [*found, *(Shape(own.label, own.pattern, line) for own in self._settings.custom)]
