"""What an answer says, to tell whether another one says the same: the text of its first choice, from whole or streamed chunks."""

from collections.abc import Iterable
from typing import Final

from tollkeeper.contracts.chat import Chunk

# What an answer says stands at its beginning; more would cost what ten questions do.
_MOST_CHARACTERS: Final = 240


def text_of(chunks: Iterable[Chunk]) -> str:
    found: list[str] = []
    size = 0
    for chunk in chunks:
        choices = chunk.data.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            said = choice.get("message") or choice.get("delta") or choice if isinstance(choice, dict) else {}
            text = said.get("content") if isinstance(said, dict) else None
            if isinstance(text, str) and choice.get("index", 0) == 0:
                found.append(text)
                size += len(text)
        if size > _MOST_CHARACTERS:
            break
    return "".join(found)[:_MOST_CHARACTERS]
