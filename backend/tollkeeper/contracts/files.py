"""A file that is kept here, as OpenAI's Files API has it: what both planes know of it beside its bytes."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tollkeeper.core.ids import parse_id

# What callers upload files for; `batch_output` files are written here.
PURPOSES: Final = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
BATCH_OUTPUT: Final = "batch_output"
SHORTEST_LIFE_SECONDS: Final = 3_600
LONGEST_LIFE_SECONDS: Final = 2_592_000


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Times in whole seconds since 1970; `expires_at` None: it stays until it is deleted."""

    id: UUID
    filename: str
    purpose: str
    size: int
    created_at: int
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One page of a list: what follows `after`, newest or oldest first."""

    limit: int
    is_ascending: bool = False
    after: UUID | None = None


def format_file_id(file_id: UUID) -> str:
    # With a hyphen, as OpenAI's are: programs tell a file's id by it.
    return f"file-{file_id.hex}"


def parse_file_id(text: str) -> UUID:
    """Raises ValueError."""
    return parse_id("file", text.replace("-", "_", 1))
