"""One turn of the Responses API, and what is kept of it: `Turn` travels with its call, `StoredResponse` lies in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

# An item of the Responses API as it stands in a document: a message, a tool call, its output, reasoning.
Item = Mapping[str, Any]


@dataclass(slots=True)
class Turn:
    """What a call of the Responses API asks for beside an answer, and the answer once it has been written.

    `document`: the call as it came, whatever became of its body since. `input`: the items that came with this very call; `references`: ids among them that stand for items of earlier turns.
    `answer`: the whole Response object, set by whoever writes it to the caller.
    """

    response_id: UUID
    created_at: int
    document: Mapping[str, Any]
    is_stored: bool
    previous_id: UUID | None = None
    input: Sequence[Item] = ()
    references: tuple[str, ...] = ()
    answer: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A turn that was kept. `response` is the Response object with everything in it, shown or not.

    `item_ids`: by which its items are found, when it is stored.
    """

    id: UUID
    previous_id: UUID | None
    input: Sequence[Item]
    response: Mapping[str, Any]
    item_ids: tuple[str, ...] = ()
