"""The settings of the process out of their five layers, remembering which layer each value came from.

flag > environment (and `.env`) > configuration file > database > default. Only scalars are layered; objects such as
providers belong to whoever declared them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from tollkeeper.core.config import Settings
from tollkeeper.core.config_source import ConfigError, Problem


class Layer(StrEnum):
    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DATABASE = "database"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting's value came from; `place` is the variable, or file and line."""

    layer: Layer
    place: str | None = None


@dataclass(frozen=True, slots=True)
class LayeredSettings:
    settings: Settings
    origins: Mapping[str, Origin]


def layer_settings(
    flags: Mapping[str, Any],
    *,
    file: Mapping[str, Any] | None = None,
    file_places: Mapping[str, str] | None = None,
    database: Mapping[str, Any] | None = None,
) -> LayeredSettings:
    """Combine the layers; a flag that is None was not given. Raises `ConfigError` for values that do not fit."""
    given = {name: value for name, value in flags.items() if value is not None}
    below = {**(database or {}), **(file or {})}
    try:
        from_environment = Settings().model_fields_set
        settings = Settings(**{**{n: v for n, v in below.items() if n not in from_environment}, **given})
    except ValidationError as error:
        raise ConfigError([_problem(details["loc"], details["msg"], given) for details in error.errors()]) from None
    origins: dict[str, Origin] = {}
    for name in Settings.model_fields:
        if name in given:
            origins[name] = Origin(Layer.FLAG, f"--{name.replace('_', '-')}")
        elif name in from_environment:
            origins[name] = Origin(Layer.ENVIRONMENT, f"TOLLKEEPER_{name.upper()}")
        elif file and name in file:
            origins[name] = Origin(Layer.FILE, (file_places or {}).get(name))
        elif database and name in database:
            origins[name] = Origin(Layer.DATABASE)
        else:
            origins[name] = Origin(Layer.DEFAULT)
    return LayeredSettings(settings, origins)


def _problem(loc: tuple[int | str, ...], message: str, flags: Mapping[str, Any]) -> Problem:
    name = str(loc[0])
    return Problem(None, f"--{name.replace('_', '-')}" if name in flags else f"TOLLKEEPER_{name.upper()}", message)
