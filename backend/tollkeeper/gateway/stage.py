"""What a stage is, and the `Exchange` that carries one call through all of them.

A stage is `async (exchange, next) -> Reply` and has four verbs: *refuse* (raise a named error), *answer* (return without
calling `next`), *watch* (`reply.watch(tap)`) and *settle* (`exchange.on_finish(fn)`).
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol
from uuid import UUID

import structlog

from tollkeeper.contracts.cache import CacheResult
from tollkeeper.contracts.catalog import EMPTY_SNAPSHOT, ModelRoute, Snapshot
from tollkeeper.contracts.chat import Amounts, Call, Operation, Reply, Usage
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import FallbackKind, Target
from tollkeeper.contracts.usage import Intent
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.ids import format_id
from tollkeeper.gateway.dialect import CallerDialect
from tollkeeper.gateway.money.hold import Appraisal, Entries, Hold
from tollkeeper.gateway.pressure.slots import Slot

log = structlog.get_logger(__name__)


class Ending(StrEnum):
    DONE = "done"  # the caller has the whole answer
    FAILED = "failed"  # refused, or broken off with an error event
    DROPPED = "dropped"  # the caller went away first


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an exchange ended, told once to every finisher."""

    ending: Ending
    http_status: int
    error: TollkeeperError | None = None


Finisher = Callable[[Outcome], None]
NO_FALLBACKS: Final[Mapping[FallbackKind, tuple[Target, ...]]] = MappingProxyType({})


@dataclass(slots=True)  # not frozen: made for every attempt, and freezing doubles its price
class Bill:
    """What an attempt used; what the vendor takes for it, and what the tenant is charged. None: unpriced."""

    usage: Usage
    cost_nano: int | None
    charge_nano: int | None


class Leftover(Protocol):
    """A request whose answer nobody waits for any more."""

    is_over: bool

    def is_still_billed(self) -> bool:
        """Whether the vendor goes on and bills it, though the connection were closed."""
        ...

    def keep(self) -> None:
        """It will be drained: from now on `aclose` does nothing."""
        ...

    async def drain(self) -> None:
        """Read the answer to its end, so that the vendor's own count is known, and close it."""
        ...

    async def aclose(self) -> None: ...


@dataclass(slots=True)
class Attempt:
    """One request to a provider and what is known of its price so far. `dispatch` opens it, `meter` settles it."""

    intent: Intent
    started: float
    # What came of it: the provider's own count, else what was produced as far as we saw it.
    usage: Usage | None = None
    # The provider's count of the input, as it began.
    input_usage: Usage | None = None
    text_length: int = 0
    # What it is charged by beside tokens, as far as an answer told.
    amounts: Amounts | None = None
    first_token: float | None = None
    upstream_request_id: str | None = None
    # The tier the vendor says it served the call in.
    service_tier: object = None
    error: TollkeeperError | None = None
    # False once it is certain that the provider takes nothing for it.
    may_cost: bool = True
    sent_bytes: int = 0
    # Why the provider's count was not believed.
    doubt: str | None = None
    # Made once nothing more can come.
    bill: Bill | None = None
    ended: float | None = None
    # Until it is settled.
    leftover: Leftover | None = None
    # Another attempt was faster: its answer went nowhere.
    is_lost: bool = False
    # Its answer is read to its end beside the call, or after it; `on_drained` hears of that.
    is_draining: bool = False
    on_drained: Callable[[], None] | None = None
    # No request at all: an answer that was given before, or that another call had asked for; and what that has saved.
    cache: CacheResult | None = None
    saved_nano: int = 0

    def drained(self) -> None:
        self.is_draining = False
        if self.on_drained is not None:
            self.on_drained()


def do_nothing() -> None:
    pass


@dataclass(slots=True)
class Exchange:
    """One call on its way. Fields are filled from top to bottom; a stage may rely on those of the stages before it.

    Times are seconds of the monotonic clock. Header names are lower-case bytes, as ASGI gives them.
    """

    request_id: UUID
    operation: Operation
    # Of the caller.
    dialect: CallerDialect
    headers: Mapping[bytes, bytes]
    # The bytes where they are there already.
    read_body: Callable[[], Awaitable[bytes] | bytes]
    started: float
    deadline: float
    # Until when the caller waits by its own word; that it passes says nothing about a vendor.
    patience: float = math.inf
    snapshot: Snapshot = EMPTY_SNAPSHOT
    client_request_id: str | None = None
    path: str = ""
    # Host and port of the caller, as far as the server believes what proxies say of it.
    client: tuple[str, int] | None = None
    # One line of a batch: it can wait, so whoever has too much to do refuses it first; charged at the batch rate.
    is_batch: bool = False
    # A guardrail refused it, or ended its answer.
    is_blocked: bool = False
    # guard: names the rules that the answer passes, where they look at every answer alike; originals come back in it.
    guard: bytes = b""
    is_reversible: bool = False
    # recall: the answer has passed those rules before; vendors that want prompt-cache marks are to have them.
    is_screened: bool = False
    wants_marks: bool = False
    # Of its tenant, for vendors that share what they keep of prompts between all who ask them.
    salt: Callable[[], str] | None = None
    # recall: its request goes on for others when it ends; told what to do once that is over.
    goes_on: Callable[[Callable[[], None]], None] | None = None
    # authenticate
    principal: Principal = field(init=False)
    # read
    call: Call = field(init=False)
    # What was asked for, to the byte, of a call that is to be made at most once; empty for forms.
    digest: bytes = b""
    # resolve: the route and the targets in the order they will be tried
    route: ModelRoute = field(init=False)
    plan: tuple[Target, ...] = ()
    # resolve: where it goes instead after failures of these kinds; paid for by the same hold
    fallbacks: Mapping[FallbackKind, tuple[Target, ...]] = field(default_factory=lambda: NO_FALLBACKS)
    # wait: its place among the calls that run; None where nothing bounds them
    slot: Slot | None = None
    # admit: what the call may come to, and what it has put aside for that; None where no budget limits it
    appraisal: Appraisal | None = None
    hold: Hold | None = None
    # The provider whose own rules the call is under; "" while it is between two. `crossing` takes it on to others.
    entered: str = ""
    entries: Entries | None = None
    # What was put into the hold for the first attempt, and its line: made once, because it is not cheap.
    first_intent: Intent | None = None
    first_line: bytes | None = None
    # dispatch: where the answer came from, how many attempts were sent, seconds spent waiting for providers
    target: Target | None = None
    attempts: int = 0
    tries: list[Attempt] = field(default_factory=list)
    upstream_seconds: float = 0.0
    first_token: float | None = None
    # What the tenant is charged for it, all attempts together.
    cost_nano: int | None = None
    # Told by `dispatch` when a provider has accepted a stream (RULING 18): from then on the answer may be begun.
    on_accepted: Callable[[], None] = do_nothing
    # Awaited when a good answer's last bytes are made, before they leave: it may set headers, and gives a comment for a
    # stream whose headers have left.
    before_end: "Callable[[Exchange], Awaitable[str | None]] | None" = None
    # Headers for the answer, lower-case names.
    response_headers: dict[str, str] = field(default_factory=dict)
    # Told of every byte of the answer with its type, where that is to be kept.
    copy: Callable[[bytes, str | None], None] | None = None
    finishers: list[Finisher] = field(default_factory=list)
    # `req_…`, as callers and logs see it.
    shown_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.shown_id = format_id("req", self.request_id)

    async def body(self) -> bytes:
        """What the caller sent, however long that takes."""
        body = self.read_body()
        return body if isinstance(body, bytes) else await body

    def on_finish(self, finisher: Finisher) -> None:
        """Register a synchronous finisher; it runs once, also after errors, disconnects and finishers that raise."""
        self.finishers.append(finisher)

    def finish(self, outcome: Outcome) -> None:
        """Run every finisher, last registered first. Called by `app` alone, exactly once."""
        while self.finishers:
            finisher = self.finishers.pop()
            try:
                finisher(outcome)
            except Exception:
                # One broken finisher must not cost another its settlement.
                log.exception("finisher_failed", finisher=getattr(finisher, "__qualname__", repr(finisher)))


Next = Callable[[Exchange], Awaitable[Reply]]


class Stage(Protocol):
    def __call__(self, exchange: Exchange, next_stage: Next, /) -> Awaitable[Reply]: ...


class Step:
    """A stage that has done its work when the next one is called. Several in a row need one coroutine for all of them."""

    def enter(self, exchange: Exchange) -> Awaitable[Reply | None] | None:
        """Do the work; where it takes waiting, what is to be awaited. A reply is the answer, and no other stage is called."""
        raise NotImplementedError

    async def __call__(self, exchange: Exchange, next_stage: Next) -> Reply:
        waiting = self.enter(exchange)
        if waiting is not None and (reply := await waiting) is not None:
            return reply
        return await next_stage(exchange)


class FunctionStep(Step):
    """A step that needs nothing but the exchange. Decorates its function."""

    def __init__(self, enter: Callable[[Exchange], Awaitable[None] | None]) -> None:
        self._enter = enter

    def enter(self, exchange: Exchange) -> Awaitable[None] | None:
        return self._enter(exchange)
