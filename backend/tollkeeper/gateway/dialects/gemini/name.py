"""What this dialect is called in `Call.dialect`."""

from typing import Final

from tollkeeper.contracts.chat import Call

CHAT: Final = "gemini"
EMBEDDINGS: Final = "gemini_embeddings"


def is_native(call: Call) -> bool:
    """Whether the caller's own document goes to the vendor, and the vendor's own answer to the caller."""
    return call.native is not None and call.dialect in {CHAT, EMBEDDINGS}
