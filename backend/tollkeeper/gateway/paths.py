"""Which path is which operation in which dialect. Every inference path is served under `/v1` and `/api/v1` alike."""

from collections.abc import Mapping
from typing import Final

from tollkeeper.contracts.chat import Operation
from tollkeeper.gateway.anthropic_models import ANTHROPIC_VERSION
from tollkeeper.gateway.dialect import CallerDialect
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicCaller, AnthropicTokenCount
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.dialects.openai_completions import OpenAICompletions
from tollkeeper.gateway.dialects.openai_embeddings import OpenAIEmbeddings
from tollkeeper.gateway.dialects.openai_images import OpenAIImages
from tollkeeper.gateway.dialects.openai_moderations import OpenAIModerations
from tollkeeper.gateway.dialects.openai_rerank import OpenAIRerank
from tollkeeper.gateway.dialects.openai_responses import ResponsesCaller
from tollkeeper.gateway.dialects.openai_speech import OpenAISpeech
from tollkeeper.gateway.dialects.openai_transcriptions import OpenAITranscriptions

PREFIXES: Final = ("/v1", "/api/v1")
OPERATION_PATHS: Final[Mapping[str, Operation]] = {
    "/chat/completions": Operation.CHAT,
    "/completions": Operation.COMPLETIONS,
    "/embeddings": Operation.EMBEDDINGS,
    "/moderations": Operation.MODERATIONS,
    "/images/generations": Operation.IMAGE_GENERATIONS,
    "/images/edits": Operation.IMAGE_EDITS,
    "/images/variations": Operation.IMAGE_VARIATIONS,
    "/audio/speech": Operation.SPEECH,
    "/audio/transcriptions": Operation.TRANSCRIPTIONS,
    "/audio/translations": Operation.TRANSLATIONS,
    "/rerank": Operation.RERANK,
    "/responses": Operation.CHAT,
    "/messages": Operation.CHAT,
    "/messages/count_tokens": Operation.COUNT_TOKENS,
}

_OF_MESSAGES: Final = tuple(prefix + "/messages" for prefix in PREFIXES)
# Those that take files, as multipart forms.
FORM_OPERATIONS: Final = frozenset(
    {Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS, Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS}
)

Way = tuple[Operation, CallerDialect]


class Paths:
    """The table of one gateway."""

    def __init__(self, max_json_depth: int) -> None:
        chat, messages = OpenAIChat(max_json_depth), AnthropicCaller(max_json_depth)
        dialects: Mapping[str, CallerDialect] = {
            "/chat/completions": chat,
            "/completions": OpenAICompletions(max_json_depth),
            "/embeddings": OpenAIEmbeddings(max_json_depth),
            "/moderations": OpenAIModerations(max_json_depth),
            "/images/generations": OpenAIImages(Operation.IMAGE_GENERATIONS, max_json_depth),
            "/images/edits": OpenAIImages(Operation.IMAGE_EDITS, max_json_depth),
            "/images/variations": OpenAIImages(Operation.IMAGE_VARIATIONS, max_json_depth),
            "/audio/speech": OpenAISpeech(max_json_depth),
            "/audio/transcriptions": OpenAITranscriptions(Operation.TRANSCRIPTIONS),
            "/audio/translations": OpenAITranscriptions(Operation.TRANSLATIONS),
            "/rerank": OpenAIRerank(max_json_depth),
            "/responses": ResponsesCaller(max_json_depth),
            "/messages": messages,
            "/messages/count_tokens": AnthropicTokenCount(max_json_depth),
        }
        self._known: dict[str, Way] = {
            prefix + path: (operation, dialects[path])
            for prefix in PREFIXES
            for path, operation in OPERATION_PATHS.items()
        }
        # For what is no inference call: models, wrong methods, unknown paths.
        self._fallback: CallerDialect = chat
        self._messages = messages

    def find(self, path: str) -> Way | None:
        return self._known.get(path)

    def dialect_of(self, path: str, headers: Mapping[bytes, bytes]) -> CallerDialect:
        """In which dialect to answer about a path that is no inference call."""
        # Anthropic's clients say so on every path, on those that others have as well.
        if ANTHROPIC_VERSION in headers or path.startswith(_OF_MESSAGES):
            return self._messages
        return self._fallback
