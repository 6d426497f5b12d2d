"""What a guardrail is: a named rule that looks at one piece of text and says what it found there, and where.

What becomes of it (block, redact, flag) is the policy's word, never the rule's. Offsets are characters of `Part.text`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from pydantic import BaseModel

from tollkeeper.contracts.guardrails import Action, Direction
from tollkeeper.gateway.context_words import Words
from tollkeeper.gateway.tails import Tail, word

# `WINDOW` of a rule that can only judge a text that is there from end to end.
WHOLE: Final = -1
# The most of an answer that waits for a match to show whether it is one (RULING 23).
MOST_HELD: Final = 512


class PartKind(StrEnum):
    TEXT = "text"
    # What a model says to the caller: neither its thoughts nor anything that it hands to tools.
    ANSWER = "answer"
    # Names of tools: of one that the caller has, and of one that is called.
    TOOL_OFFER = "tool_offer"
    TOOL_CALL = "tool_call"
    TOOL_ARGUMENTS = "tool_arguments"
    TOOL_RESULT = "tool_result"
    DOCUMENT = "document"
    TRANSCRIPT = "transcript"


@dataclass(slots=True)  # not frozen: made for every chunk, and freezing doubles its price
class Part:
    """A text and where it stands. `is_final` False: more may follow, of an answer that is still being written."""

    text: str
    kind: PartKind = PartKind.TEXT
    role: str = "user"
    direction: Direction = Direction.INPUT
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """`label` says what kind of thing it is (`email`, `github_token`); the text itself is in no finding.

    `score` is 0 to 1; `because` explains one that is no plain match. `action` is the word of a verdict from outside: the
    policy's action is the most that comes of it.
    """

    rule: str
    label: str
    start: int
    end: int
    score: float = 1.0
    because: str = ""
    action: Action | None = None


# Given the text, and where a candidate begins and ends: 0.0 is none, 1.0 certain.
Accept = Callable[[str, int, int], float]


def accept_all(_text: str, _start: int, _end: int) -> float:
    return 1.0


class Start(StrEnum):
    """Where a shape can begin: the more is known of it, the less is looked at."""

    ANYWHERE = "anywhere"
    # A word that begins with a digit, `+` or `(`, with six digits or more in it and what is joined to it.
    NUMBER = "number"
    # A word of capitals and digits, or letters followed by digits.
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Shape:
    """A thing that a pattern finds and `accept` judges. RE2's syntax, whose classes of letters are ASCII.

    The value is group 1 where the pattern has one, else all of it. `tail` says where, in an unfinished text, one may have
    begun that what follows completes: from there it waits, `MOST_HELD` characters at most, so longer values are found by
    their opening. With `is_word` no letter or digit may stand right before or after the value. One that `needs` words is
    none where none of them stands before it. A `start` other than anywhere is of words of at most 96 bytes.
    """

    label: str
    pattern: str
    tail: Tail = word
    accept: Accept = accept_all
    is_word: bool = True
    ignores_case: bool = False
    needs: Words | None = None
    start: Start = Start.ANYWHERE


class Guardrail(Protocol):
    """A rule with its settings: made once per policy, asked for every part. Pure, so that it can run anywhere.

    `NAME` is what policies call it; `Settings` is rendered as a form from its JSON schema. `WINDOW` is the longest match
    in characters, or `WHOLE`.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    WINDOW: ClassVar[int]

    def check(self, part: Part) -> Sequence[Finding]: ...


@runtime_checkable
class HoldsBack(Protocol):
    """A rule that knows better than its `WINDOW` how much of an unfinished text a match may still begin in."""

    def held_from(self, text: str) -> int: ...


class Shaped(Protocol):
    """A rule that is a list of shapes: all of a policy's are looked for together, in one pass."""

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]

    def shapes(self) -> Sequence[Shape]: ...


class Outside(Protocol):
    """What a rule that asks somebody else has for it: the gateway's own way out, with its deadlines and its list of
    addresses. Everything raises.
    """

    @property
    def request_id(self) -> str: ...

    @property
    def is_operators(self) -> bool:
        """Whether the policy is the operator's own, who alone may lead inside."""
        ...

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, allow_private: bool, most_bytes: int
    ) -> tuple[int, bytes]:
        """`headers` are kept secret, as the body is. No redirect is followed."""
        ...

    async def moderate(self, model: str, provider: str | None, texts: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """A moderation endpoint's `results`, one for each text: of a model of ours, or of a configured provider."""
        ...


@runtime_checkable
class Asks(Protocol):
    """A rule that asks somebody else, or takes longer than a moment: once for all the texts of a call.

    Each is given its deadline and cancelled at it; whatever it raises, or says that cannot be, is a rule that cannot say.
    `WINDOW` is how much of a stream is written between two questions, or `WHOLE`. `MAY_CHANGE`: whether its verdicts can
    be `redact`.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    WINDOW: int
    MAY_CHANGE: bool

    async def ask(self, parts: Sequence[Part], outside: Outside) -> Sequence[Sequence[Finding]]:
        """What is in each of the parts, in their order."""
        ...
