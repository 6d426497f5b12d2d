"""Which path is which operation in which dialect. Every inference path is served under `/v1` and `/api/v1` alike; Gemini's,
which name the model in the path, under `/v1beta` and `/api/v1beta` as well.
"""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import parse_qs

from tollkeeper.contracts.chat import Operation
from tollkeeper.gateway.anthropic_models import ANTHROPIC_VERSION
from tollkeeper.gateway.dialect import CallerDialect
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicCaller, AnthropicTokenCount
from tollkeeper.gateway.dialects.gemini import (
    GeminiArray,
    GeminiCaller,
    GeminiEmbed,
    GeminiEmbedBatch,
    GeminiStream,
    GeminiTokenCount,
)
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.dialects.openai_completions import OpenAICompletions
from tollkeeper.gateway.dialects.openai_embeddings import OpenAIEmbeddings
from tollkeeper.gateway.dialects.openai_images import OpenAIImages
from tollkeeper.gateway.dialects.openai_moderations import OpenAIModerations
from tollkeeper.gateway.dialects.openai_rerank import OpenAIRerank
from tollkeeper.gateway.dialects.openai_responses import ResponsesCaller, ResponsesTokenCount
from tollkeeper.gateway.dialects.openai_speech import OpenAISpeech
from tollkeeper.gateway.dialects.openai_transcriptions import OpenAITranscriptions
from tollkeeper.gateway.gemini_models import GOOG_API_CLIENT

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
    "/responses/input_tokens": Operation.COUNT_TOKENS,
    "/messages": Operation.CHAT,
    "/messages/count_tokens": Operation.COUNT_TOKENS,
}

# Google's version of the path; its newer clients use `/v1` instead.
GEMINI_PREFIXES: Final = ("/v1beta", "/api/v1beta")
# Of a model: what stands behind the colon that follows its name.
GEMINI_METHODS: Final[Mapping[str, Operation]] = {
    "generateContent": Operation.CHAT,
    "streamGenerateContent": Operation.CHAT,
    "countTokens": Operation.COUNT_TOKENS,
    "embedContent": Operation.EMBEDDINGS,
    "batchEmbedContents": Operation.EMBEDDINGS,
}
_OF_MODELS: Final = tuple(prefix + "/models/" for prefix in (*GEMINI_PREFIXES, *PREFIXES))
_OF_GEMINI: Final = tuple(prefix + "/" for prefix in GEMINI_PREFIXES)
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
            "/responses/input_tokens": ResponsesTokenCount(max_json_depth),
            "/messages": messages,
            "/messages/count_tokens": AnthropicTokenCount(max_json_depth),
        }
        self._known: dict[str, Way] = {
            prefix + path: (operation, dialects[path])
            for prefix in PREFIXES
            for path, operation in OPERATION_PATHS.items()
        }
        # Where Cohere's clients look for it.
        self._known["/v2/rerank"] = self._known[PREFIXES[0] + "/rerank"]
        # For what is no inference call: models, wrong methods, unknown paths.
        self._fallback: CallerDialect = chat
        self._messages = messages
        self._gemini = GeminiCaller(max_json_depth)
        self._methods: Mapping[str, CallerDialect] = {
            "generateContent": self._gemini,
            "streamGenerateContent": GeminiArray(max_json_depth),
            "countTokens": GeminiTokenCount(max_json_depth),
            "embedContent": GeminiEmbed(max_json_depth),
            "batchEmbedContents": GeminiEmbedBatch(max_json_depth),
        }
        self._gemini_events = GeminiStream(max_json_depth)

    def all(self) -> Iterator[tuple[str, Operation]]:
        """Every path that is served, `{model}` for a model's name: what holds for all of them is proven for each."""
        yield from ((path, operation) for path, (operation, _) in self._known.items())
        for before in _OF_MODELS:
            yield from ((f"{before}{{model}}:{method}", GEMINI_METHODS[method]) for method in self._methods)

    def find(self, path: str, query: bytes = b"") -> Way | None:
        """`query`: Gemini's clients say there how they want a stream."""
        way = self._known.get(path)
        if way is None and ":" in path and path.startswith(_OF_MODELS):
            return self._find_method(path, query)
        return way

    def _find_method(self, path: str, query: bytes) -> Way | None:
        """`…/models/{model}:{method}`; the name may hold slashes and colons."""
        method = path.rpartition(":")[2]
        operation = GEMINI_METHODS.get(method)
        if operation is None:
            return None
        if method == "streamGenerateContent" and parse_qs(query.decode("latin-1")).get("alt") == ["sse"]:
            return operation, self._gemini_events
        return operation, self._methods[method]

    def dialect_of(self, path: str, headers: Mapping[bytes, bytes]) -> CallerDialect:
        """In which dialect to answer about a path that is no inference call."""
        # Anthropic's clients say so on every path, on those that others have as well.
        if ANTHROPIC_VERSION in headers or path.startswith(_OF_MESSAGES):
            return self._messages
        if GOOG_API_CLIENT in headers or path.startswith(_OF_GEMINI) or path in GEMINI_PREFIXES:
            return self._gemini
        return self._fallback
