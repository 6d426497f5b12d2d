"""One question to the simulated model, whatever vendor's format it came in, and what was decided to answer."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tollkeeper.gateway.simulator.chat import Choice, choose
from tollkeeper.gateway.simulator.chat_request import read_messages
from tollkeeper.gateway.simulator.counting import count_prompt
from tollkeeper.gateway.simulator.dice import Dice
from tollkeeper.gateway.simulator.directives import Directives, Family
from tollkeeper.gateway.simulator.engine import Operation, digest_of
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.script import Script

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What a writer needs: the answers, and what they cost."""

    id: str
    model: str
    choices: Sequence[Choice]
    prompt_tokens: int
    cached_tokens: int
    has_usage: bool

    @property
    def tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)

    @property
    def reasoning_tokens(self) -> int:
        return sum(len(choice.reasoning) for choice in self.choices)

    def script(self) -> Script:
        """The beginning of a script: what it will have cost."""
        return Script(
            200,
            {},
            (),
            model=self.model,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.tokens,
            details={"cached_tokens": self.cached_tokens, "reasoning_tokens": self.reasoning_tokens},
        )


def tell(question: Json, model: str, family: Family, wish: Directives) -> Told:
    """Answer a question in OpenAI's fields. The same words as OpenAI's own format would bring."""
    digest = digest_of(question, Operation.CHAT)
    messages = read_messages(question)
    number = question.get("n") or 1
    choices = [choose(question, messages, family, wish, Dice(digest + bytes([index]))) for index in range(number)]
    prompt_tokens = count_prompt(question)
    return Told(
        digest[:12].hex(), model, choices, prompt_tokens, min(wish.cached_tokens, prompt_tokens), wish.has_usage
    )


def raw_digest(request: Mapping[str, Any], path: str) -> bytes:
    """Of a request as it stands, to count how often it came."""
    return hashlib.blake2b(repr(request).encode(), digest_size=32, salt=path.encode()[:16]).digest()


def sign(text: str) -> str:
    """The signature of a thought. It must come back as it was: readers check it."""
    return base64.b64encode(hashlib.blake2b(text.encode(), digest_size=48, person=b"thought").digest()).decode()


def reject(message: str, param: str | None = None) -> Refusal:
    return Refusal(400, message, param=param)


@contextmanager
def reading() -> Iterator[None]:
    """Around readers: they check what matters, and what is of another shape altogether is refused here."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise reject(f"The request is malformed ({error}).") from error


def pair_up(asked: Sequence[str], answered: Sequence[str]) -> bool:
    """Whether every call has its one result."""
    return sorted(asked) == sorted(answered)
