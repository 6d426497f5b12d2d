"""The seam of the semantic cache: what is asked, what was found, and the tier that knows what means the same.

A question is a call without its last turn (`partition`, a fingerprint: only questions that agree in all else are held
against each other) and that turn's text. The tier says which entry may be given; the entry itself lies on the shelf, and
is checked there like any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol
from uuid import UUID

from tollkeeper.contracts.cache import SemanticRule
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.gateway.cache.entry import Entry

# What makes an answer more than a text about the last turn.
_MORE: Final = ("tools", "functions", "response_format", "modalities", "audio", "web_search_options", "prediction")


@dataclass(frozen=True, slots=True)
class Question:
    """`partition`: 32 bytes; tenant, sharing, namespace, model, parameters and every earlier turn are in it."""

    tenant_id: UUID
    partition: bytes
    turn: str
    rule: SemanticRule
    model: str
    # Who pays for a vector, where it comes from a model of the gateway.
    key_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A neighbour and why it was or was not given. `verdicts`: of each guard, by its name."""

    fingerprint: bytes
    score: float
    verdicts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    p_wrong: float | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """`served`: the one whose answer may be given; None: none of them. Handed back to `remember` when it was not given."""

    served: Candidate | None = None
    candidates: Sequence[Candidate] = ()
    # The tier's own: the vector, so that it is not made twice.
    vector: Any = None


class SemanticTier(Protocol):
    async def find(self, question: Question) -> Looked | None:
        """The neighbours. None where the tier cannot say (busy, away); it has a deadline of its own and never raises."""
        ...

    def remember(self, question: Question, entry: Entry, looked: Looked | None) -> None:
        """The model was asked: `entry` answers the question from now on, and what was looked at is an observation.

        Never waits, never raises.
        """
        ...

    def forget(self, tenant_id: UUID, fingerprint: bytes) -> None:
        """Its entry is gone. Never waits."""
        ...


def last_turn(call: Call, rule: SemanticRule) -> str | None:
    """The text that the answer is about; None where the call is none that may be answered by meaning."""
    body = call.body
    if call.operation is not Operation.CHAT or any(body.get(name) for name in _MORE) or body.get("n", 1) != 1:
        return None
    temperature = body.get("temperature")
    if temperature is None or temperature > rule.most_temperature:
        return None
    messages = body["messages"]
    last = messages[-1]
    text = last.get("content") if last.get("role") == "user" else None
    if isinstance(text, list) and len(text) == 1 and isinstance(text[0], dict) and text[0].get("type") == "text":
        text = text[0].get("text")
    if not isinstance(text, str) or not text.strip():
        return None
    # A single user's turn: what came before may change what it means.
    return text if all(message.get("role") in {"system", "developer"} for message in messages[:-1]) else None


def without_last_turn(call: Call) -> Mapping[str, Any]:
    """The body of its partition."""
    return {**call.body, "messages": call.body["messages"][:-1]}
