"""Types of the fields that every level of the tree has: tenants, teams and projects say them alike."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StringConstraints

from tollkeeper.core.flags import FLAGS

LoggingPolicy = Literal["none", "metadata", "redacted", "full"]


def _known(changes: dict[str, bool | None]) -> dict[str, bool | None]:
    if unknown := changes.keys() - FLAGS.keys():
        raise ValueError(f"there is no flag {min(unknown)!r}; known are: {', '.join(FLAGS)}")
    return changes


def _self_service(changes: dict[str, bool | None]) -> dict[str, bool | None]:
    for name in _known(changes):
        if not FLAGS[name].is_self_service:
            raise ValueError(f"{name} is set by the platform, for a whole tenant")
    return changes


_Flags = dict[Annotated[str, StringConstraints(max_length=64)], StrictBool | None]
# Only the flags that are sent are changed; null goes back to what the level above says.
FlagChanges = Annotated[_Flags, Field(max_length=64), AfterValidator(_known)]
SelfServiceFlagChanges = Annotated[_Flags, Field(max_length=64), AfterValidator(_self_service)]


def change_flags(stored: Mapping[str, Any], changes: Mapping[str, bool | None]) -> dict[str, Any]:
    """What is stored from now on; flags that are no longer known are dropped."""
    merged = {**shown_flags(stored), **changes}
    return {name: value for name, value in merged.items() if value is not None}


def shown_flags(stored: Mapping[str, Any]) -> dict[str, bool]:
    return {name: value for name, value in stored.items() if name in FLAGS and isinstance(value, bool)}
