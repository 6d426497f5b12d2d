"""Which tools a caller may offer to a model, and which a model may call. Known by their names; built-in ones by their kind."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.guardrail import Finding, Part, PartKind

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]*\*?$", min_length=1, max_length=256)]


class ToolSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: tuple[_Name, ...] | None = Field(
        None, max_length=1_000, description="Names that may be offered and called, * may end one; all others are found."
    )
    deny: tuple[_Name, ...] = Field((), max_length=1_000, description="Names that may not, also of those allowed.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.allow is None and not self.deny:
            raise ValueError("say which tools are allowed, or which are not")
        return self


class Tools:
    NAME: ClassVar[str] = "tools"
    TITLE: ClassVar[str] = "Tools: which may be offered, and which may be called"
    Settings: ClassVar[type[BaseModel]] = ToolSettings
    WINDOW: ClassVar[int] = 1

    def __init__(self, settings: ToolSettings) -> None:
        self._allow = None if settings.allow is None else _Names(settings.allow)
        self._deny = _Names([name.casefold() for name in settings.deny])

    def check(self, part: Part) -> Sequence[Finding]:
        # What a conversation says was called before is no call.
        if part.kind is not (PartKind.TOOL_OFFER if part.direction is Direction.INPUT else PartKind.TOOL_CALL):
            return ()
        name = part.text
        # Names of functions are compared as vendors compare them, but no case makes a refused one another.
        if name.casefold() in self._deny or (self._allow is not None and name not in self._allow):
            return (Finding(self.NAME, "tool", 0, len(name), 1.0, "this tool is not allowed"),)
        return ()


class _Names:
    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(name for name in names if not name.endswith("*"))
        self._beginnings = tuple(name[:-1] for name in names if name.endswith("*"))

    def __contains__(self, name: str) -> bool:
        return name in self._names or name.startswith(self._beginnings)
