"""Which path is which operation in which dialect. Every inference path is served under `/v1` and `/api/v1` alike."""

from collections.abc import Mapping
from typing import Final

from tollkeeper.contracts.chat import Operation
from tollkeeper.gateway.dialect import CallerDialect
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.dialects.openai_completions import OpenAICompletions
from tollkeeper.gateway.dialects.openai_embeddings import OpenAIEmbeddings

PREFIXES: Final = ("/v1", "/api/v1")
OPERATION_PATHS: Final[Mapping[str, Operation]] = {
    "/chat/completions": Operation.CHAT,
    "/completions": Operation.COMPLETIONS,
    "/embeddings": Operation.EMBEDDINGS,
}

# Those that take files, as multipart forms.
FORM_OPERATIONS: Final = frozenset(
    {Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS, Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS}
)

Way = tuple[Operation, CallerDialect]


class Paths:
    """The table of one gateway."""

    def __init__(self, max_json_depth: int) -> None:
        chat = OpenAIChat(max_json_depth)
        dialects: Mapping[str, CallerDialect] = {
            "/chat/completions": chat,
            "/completions": OpenAICompletions(max_json_depth),
            "/embeddings": OpenAIEmbeddings(max_json_depth),
        }
        self._known: dict[str, Way] = {
            prefix + path: (operation, dialects[path])
            for prefix in PREFIXES
            for path, operation in OPERATION_PATHS.items()
        }
        # For what is no inference call: models, wrong methods, unknown paths.
        self._fallback = chat

    def find(self, path: str) -> Way | None:
        return self._known.get(path)

    def dialect_of(self, path: str, headers: Mapping[bytes, bytes]) -> CallerDialect:  # noqa: ARG002 - one so far
        """In which dialect to answer about a path that is no inference call."""
        return self._fallback
