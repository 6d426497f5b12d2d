"""What travels through the gateway: `Call` down, `Chunk`s in a `Reply` up, `Usage` counted on the way.

The canonical form of a call's body is the OpenAI shape of its operation; a dialect that differs translates at its own
edge. Unknown fields are carried. Bodies and chunks are parsed once and treated as read-only: change one with `replace`.

A call in another dialect keeps the caller's own document beside the canonical one (`native`), so that a vendor of that
dialect gets what was sent and the caller what was answered: nothing is translated there and back.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from tollkeeper.contracts.form import Form
from tollkeeper.contracts.responses import Turn
from tollkeeper.core.errors import TollkeeperError


class Operation(StrEnum):
    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    MODERATIONS = "moderations"
    IMAGE_GENERATIONS = "image_generations"
    IMAGE_EDITS = "image_edits"
    IMAGE_VARIATIONS = "image_variations"
    SPEECH = "speech"
    TRANSCRIPTIONS = "transcriptions"
    TRANSLATIONS = "translations"
    RERANK = "rerank"
    # Of a chat call that nobody answers; its `Call` says CHAT.
    COUNT_TOKENS = "count_tokens"
    # Not of a model's: what an operator opened of a provider, and jobs that make models there.
    PASSTHROUGH = "passthrough"
    FINE_TUNING = "fine_tuning"


# What a provider can be asked for in its dialect.
MODEL_OPERATIONS: Final = frozenset(Operation) - {Operation.COUNT_TOKENS, Operation.PASSTHROUGH, Operation.FINE_TUNING}


@dataclass(slots=True, unsafe_hash=True)  # not frozen: made for every call, and freezing it takes four times as long
class Usage:
    """Tokens of one call in disjoint classes, so that a price applies to each exactly once.

    `prompt_tokens` and `completion_tokens` are the provider's totals: the sums of the input and of the output classes.
    """

    input: int = 0  # neither read from nor written to a prompt cache
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    input_audio: int = 0
    input_image: int = 0
    output: int = 0  # visible text
    reasoning: int = 0
    output_audio: int = 0
    output_image: int = 0
    # True where we counted because the provider did not say.
    is_estimated: bool = False

    @property
    def prompt_tokens(self) -> int:
        return (
            self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.input_audio + self.input_image
        )

    @property
    def completion_tokens(self) -> int:
        return self.output + self.reasoning + self.output_audio + self.output_image


@dataclass(frozen=True, slots=True)
class Amounts:
    """What an answer is charged by beside tokens. `units`: what a vendor counts as a request, most often one a call."""

    images: int = 0
    audio_ms: int = 0
    characters: int = 0
    units: int = 1
    # True where we guessed, because nothing told.
    is_estimated: bool = False


# Fields of the canonical body that every dialect says in its own way at its vendor's end: changing one of them leaves
# the caller's own document right in all the rest.
NEUTRAL_FIELDS: Final = frozenset({"model", "stream", "stream_options", "max_completion_tokens"})


@dataclass(slots=True)
class Call:
    """One inference call.

    `raw` holds the bytes the body was parsed from as long as nobody changed it and they can be read one way only
    (no duplicate keys, valid UTF-8, numbers in range); otherwise None, and the body is serialised again.
    `native` is the caller's own document, in the dialect it was sent in, as long as `body` says the same; None for calls
    that came in the canonical form, and once somebody changed what they say.
    """

    operation: Operation
    model: str
    is_stream: bool
    body: dict[str, Any]
    raw: bytes | None = None
    # What the caller asked to see, kept because we ask the provider for usage in any case.
    wants_usage: bool = False
    end_user: str | None = None
    # The caller's dialect, by its NAME; empty: the canonical one of its operation.
    dialect: str = ""
    native: Mapping[str, Any] | None = None
    # What the caller's document says and the canonical form has no place for, by the caller's names.
    unexpressed: tuple[str, ...] = ()
    # The caller's names of canonical fields that it calls otherwise, for telling it about them.
    names: Mapping[str, str] | None = None
    # The first thing that the caller's document asks for and no other dialect has, as a path in it (`tools[0].type`):
    # refused where the vendor speaks another one.
    needs_native: str | None = None
    # Of a call of the Responses API.
    turn: Turn | None = None
    # A multipart body: `body` has its texts, and its bytes go out as they came but for those that were changed.
    form: Form | None = None
    # What is charged beside tokens where that is not text: as far as the call tells, and the most it can be (None: the
    # same). `unbounded`: why nobody knows the most; of a chat call what only `native` says of its input.
    asked: Amounts | None = None
    at_most: Amounts | None = None
    unbounded: str | None = None
    # For streams that begin with a count: ours, until the vendor's comes. Filled in before the answer is written.
    estimated_input_tokens: int = 0
    # The length of an answer that a budget gave to a call without one; it stands in `body` too, and a vendor's end that
    # sends `native` puts it there.
    applied_cap: int | None = None

    def replace(self, **fields: Any) -> "Call":
        """A call with other top-level body fields; a value of `ABSENT` removes the field."""
        body = {**self.body, **fields}
        for name, value in fields.items():
            if value is ABSENT:
                del body[name]
        # Not `dataclasses.replace`, which takes longer than the rest of this.
        return Call(
            operation=self.operation,
            model=body.get("model", self.model),
            is_stream=self.is_stream,
            body=body,
            wants_usage=self.wants_usage,
            end_user=self.end_user,
            dialect=self.dialect,
            native=self.native if self.native is None or fields.keys() <= NEUTRAL_FIELDS else None,
            unexpressed=self.unexpressed,
            names=self.names,
            needs_native=self.needs_native,
            turn=self.turn,
            form=self.form,
            asked=self.asked,
            at_most=self.at_most,
            unbounded=self.unbounded,
            applied_cap=self.applied_cap,
        )


class _Absent:
    """The type of `ABSENT`."""


ABSENT = _Absent()


@dataclass(slots=True)
class Chunk:
    """One piece of an answer: the whole JSON document, or one event of a stream.

    `raw` is the JSON as the provider sent it; whoever changes `data` sets `raw` to None. `is_content` marks the first
    things a caller can see (text, a tool call, a finished choice): once one has left, the stream cannot move to another
    target. A chunk with `is_hidden` is counted but not sent (usage that the caller did not ask for). `native` is set
    where vendor and caller speak the same dialect and it is not the canonical one: the framed bytes to relay, empty where
    another chunk holds them. Whoever changes `data` sets it to None as well, on this and all later chunks.
    """

    data: dict[str, Any]
    raw: bytes | None = None
    is_content: bool = False
    is_hidden: bool = False
    is_final: bool = False
    usage: Usage | None = None
    # Characters of visible text and tool arguments in this chunk: what an estimate rests on when no usage comes.
    text_length: int = 0
    # Set on the last chunk of a stream that broke after its first content, which is hidden otherwise: the dialect's
    # error event stands in its place.
    error: TollkeeperError | None = None
    native: bytes | None = None
    # Of vendors that count the input at the beginning of a stream: its classes, for a stream that does not come to its
    # end. What was made by then is not in it.
    input_usage: Usage | None = None
    # Beside the tokens, as the vendor counted or as the answer shows; of a stream the running total.
    amounts: Amounts | None = None
    # Of a whole answer that is not JSON; its bytes are in `native`.
    content_type: str | None = None


Batch = Sequence[Chunk]
Tap = Callable[[Chunk], None]


@dataclass(slots=True)
class Reply:
    """The answer, always a stream: `primed` is there already, `rest` follows (None: nothing does).

    Chunks arrive in batches, one per read from the provider, so that they leave in one write. A whole answer is one
    chunk in `primed`. `rest` must be closed (`aclose`) by whoever stops early: that is what cancels the provider.
    """

    is_stream: bool
    primed: Batch
    rest: AsyncIterator[Batch] | None = None
    taps: list[Tap] = field(default_factory=list)
    # An answer that was given before, to go out as it did then; there are no chunks of it.
    verbatim: bytes | None = None
    content_type: str | None = None

    def watch(self, tap: Tap) -> None:
        """Call `tap` with every chunk, in order, just before it is written to the caller."""
        self.taps.append(tap)
