"""What the file and the API say of a model beside its targets and its price: what it can do, and what its calls are given."""

import json
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
)

from tollkeeper.contracts.parameters import CAPABILITIES, NO_PARAMETERS, OF_THE_CALL, ModelParameters

_LONGEST: Final = 16_384
# Fields whose values the gateway itself reckons with; of all others the vendor is the judge.
_DECIMALS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}
)
_COUNTS: Final[Mapping[str, int]] = MappingProxyType(
    {"max_tokens": 1, "max_completion_tokens": 1, "top_logprobs": 0, "dimensions": 1}
)
_LARGEST_COUNT: Final = 2**31


class Capabilities(BaseModel):
    """What the model can do; left out: as the vendor publishes it. What it cannot do is refused before it is called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vision: bool | None = Field(None, strict=True, description="Reads pictures.")
    audio: bool | None = Field(None, strict=True, description="Hears or speaks.")
    tools: bool | None = Field(None, strict=True, description="Calls tools.")
    json_schema: bool | None = Field(None, strict=True, description="Answers in a JSON schema of the caller's.")
    reasoning: bool | None = Field(None, strict=True, description="Takes `reasoning_effort`.")


def _check_values(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    for name, value in values.items():
        if name in OF_THE_CALL:
            raise ValueError(f"{name} is the caller's own and cannot be set here")
        _check_value(name, value)
    try:
        # What a vendor is sent and what the database keeps are JSON in the strict sense.
        json.dumps(values, allow_nan=False)
        size = len(text := orjson.dumps(values))
    except (TypeError, ValueError):
        raise ValueError("these are values that JSON cannot hold") from None
    if size > _LONGEST or b"\\u0000" in text:
        raise ValueError(f"these take at most {_LONGEST} bytes, none of them zero")
    return values


def _check_value(name: str, value: JsonValue) -> None:
    if value is None:
        return
    if name in _DECIMALS:
        least, most = _DECIMALS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"{name} is a number from {least} to {most}")
    elif name in _COUNTS and (type(value) is not int or not _COUNTS[name] <= value <= _LARGEST_COUNT):
        raise ValueError(f"{name} is a whole number from {_COUNTS[name]} on")


def _check_defaults(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if None in values.values():
        raise ValueError("a default of null says nothing: leave it out, or make it an override")
    return values


def _plain(value: Any) -> Any:
    """The file's numbers with a point are exact decimals; a vendor is sent JSON, which has none."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_Values = Annotated[
    dict[_Name, JsonValue], Field(max_length=50), AfterValidator(_check_values), BeforeValidator(_plain)
]
Defaults = Annotated[
    _Values,
    AfterValidator(_check_defaults),
    Field(description="Fields that a call is given when it does not have them, by their names in chat/completions."),
]
Overrides = Annotated[
    _Values, Field(description="Fields that every call is given, whatever it says; null takes a field out.")
]
DropParams = Annotated[
    Literal["report", "refuse"],
    Field(description="What to do with fields that the provider cannot take: report them in a header, or refuse."),
]


_DEFAULTS: Final = TypeAdapter(Defaults)
_OVERRIDES: Final = TypeAdapter(Overrides)
# As they stand in one column of a model.
PARAMETERS: Final = ("drop_params", "defaults", "overrides")


def stored_parameters(
    drop_params: str, defaults: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, str | Mapping[str, Any]]:
    return {"drop_params": drop_params, "defaults": defaults, "overrides": overrides}


def read_stored_parameters(stored: Mapping[str, Any]) -> ModelParameters:
    return read_parameters(
        stored.get("drop_params", "report"),
        _DEFAULTS.validate_python(stored.get("defaults", {})),
        _OVERRIDES.validate_python(stored.get("overrides", {})),
    )


def read_parameters(drop_params: str, defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> ModelParameters:
    if drop_params == "report" and not defaults and not overrides:
        return NO_PARAMETERS
    return ModelParameters(drop_params == "refuse", MappingProxyType(dict(defaults)), MappingProxyType(dict(overrides)))


def read_capabilities(said: Capabilities) -> Mapping[str, bool]:
    return MappingProxyType(said.model_dump(exclude_none=True))


def common_capabilities(found: list[Mapping[str, bool]]) -> dict[str, bool]:
    """Of several targets: there where one has it, missing only where all are known to lack it."""
    common: dict[str, bool] = {}
    for name in CAPABILITIES:
        said = [one.get(name) for one in found]
        if True in said:
            common[name] = True
        elif said and None not in said:
            common[name] = False
    return common
