"""What a model can do, and what an operator sets for its calls: plain values that the catalogue makes and `adapt` obeys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

# What a call may ask for and a model may lack.
CAPABILITIES: Final = ("vision", "audio", "tools", "json_schema", "reasoning")
# Not an operator's to set: what makes a call the call it is.
OF_THE_CALL: Final = frozenset(
    {
        "model",
        "messages",
        "input",
        "prompt",
        "query",
        "documents",
        "stream",
        "stream_options",
        "tools",
        "functions",
        "n",
        "best_of",
        "user",
        "metadata",
    }
)
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ModelParameters:
    """A default holds where the caller says nothing, an override whatever the caller says; an override of null takes the
    field out. `refuses_dropped`: a field that the provider cannot take is refused instead of reported.
    """

    refuses_dropped: bool = False
    defaults: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    overrides: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


NO_PARAMETERS: Final = ModelParameters()
