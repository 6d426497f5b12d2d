"""What the engine hands out: an HTTP answer as a script, with its pauses and its way to end. Playing it is another's job."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Ending(StrEnum):
    COMPLETE = "complete"
    CUT = "cut"  # close the connection before the answer's end
    HANG = "hang"  # send nothing more and keep the connection


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of the body that leave together, `wait_seconds` after what came before them."""

    data: bytes
    wait_seconds: float = 0.0
    # Completion tokens in these bytes; 0 for what frames them.
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Script:
    status: int
    headers: Mapping[str, str]
    parts: Iterable[Part]
    ending: Ending = Ending.COMPLETE
    # Before the status line; `never_begins` means not even that.
    wait_seconds: float = 0.0
    never_begins: bool = False
    is_stream: bool = False
    # Of the whole body; None for a stream.
    content_length: int | None = None
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    details: Mapping[str, int] = field(default_factory=dict)
