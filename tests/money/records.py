"""What the money tests are made of: a clock that is moved by hand, calls, and a ledger that counts."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.money import Limit, Period, RuleScope, ScopeKind, Spend, Unit
from tollkeeper.contracts.principal import Environment, Principal
from tollkeeper.contracts.usage import CallStatus, Intent, Settlement
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.hold import Appraisal, Hold

TENANT = uuid7()
KEY = uuid7()


@dataclass
class HandClock:
    seconds: float = 1_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def unix(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


def make_intent(**fields: Any) -> Intent:
    values: dict[str, Any] = {
        "request_id": uuid7(),
        "attempt": 1,
        "tenant_id": TENANT,
        "key_id": KEY,
        "user_id": None,
        "operation": "chat",
        "model": "gpt-4o-mini",
        "provider": "local",
        "upstream_model": "gpt-4o-mini-2024-07-18",
        "estimated_input_tokens": 12,
        "price_version": uuid7(),
        "estimated_cost_nano": 1_800,
    }
    return Intent(**(values | fields))


def make_settlement(intent: Intent | None = None, **fields: Any) -> Settlement:
    values: dict[str, Any] = {
        "intent": intent or make_intent(),
        "status": CallStatus.OK,
        "usage": Usage(input=12, output=30),
        "cost_nano": 19_800,
        "charge_nano": 19_800,
        "latency_ms": 240,
    }
    return Settlement(**(values | fields))


def make_principal(*, key_limit: int | None = None, tenant_limit: int | None = None, **fields: Any) -> Principal:
    values: dict[str, Any] = {
        "tenant_id": uuid7(),
        "key_id": uuid7(),
        "user_id": None,
        "environment": Environment.LIVE,
        "permissions": frozenset(),
    }
    principal = Principal(**(values | fields))
    rates = ((ScopeKind.KEY, principal.key_id, key_limit), (ScopeKind.TENANT, principal.tenant_id, tenant_limit))
    limits = [
        Limit(subject, RuleScope(kind, subject.hex), Unit.REQUESTS, amount, Period.MINUTE)
        for kind, subject, amount in rates
        if amount is not None
    ]
    return replace(principal, limits=(*limits, *principal.limits))


RowKey = tuple[UUID, int, str]


@dataclass
class CountingLedger:
    """A `UsageSink` in memory: exactly once by key, as the port promises."""

    rows: dict[RowKey, Settlement] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    is_away: bool = False
    refuses: frozenset[UUID] = frozenset()

    async def ship(self, settlements: Sequence[Settlement]) -> Sequence[Spend]:
        if self.is_away:
            raise DependencyUnavailable("The ledger is away.")
        if any(settlement.intent.request_id in self.refuses for settlement in settlements):
            raise ValueError("cannot be stored")
        self.batches.append(len(settlements))
        for settlement in settlements:
            intent = settlement.intent
            self.rows.setdefault((intent.request_id, intent.attempt, settlement.kind.value), settlement)
        return ()


@dataclass
class FakeHolds:
    """A budget of `room` nano-dollars beside what is held. `held` is what open holds have of it."""

    room: int = 0
    # An answer that takes its time.
    gate: asyncio.Event | None = None
    asked: list[int] = field(default_factory=list)
    settled: list[tuple[int, int, int, int]] = field(default_factory=list)
    held: int = 0

    def open(self, *, full: int | None, forecast: int, is_full: bool, **appraisal: Any) -> Hold:
        """The hold of a call that is admitted. Amounts are of money; tokens and cap are the appraisal's."""
        values: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0, **appraisal}
        known = Appraisal(full_nano=full, forecast_nano=forecast, **values)
        held = full if is_full and full is not None else forecast
        self.held += held
        return Hold(uuid7(), TENANT, ("budget:0:",), held, is_full, known)

    async def extend(self, hold: Hold, add_nano: int) -> bool:
        self.asked.append(add_nano)
        if self.gate is not None:
            await self.gate.wait()
        if add_nano > self.room:
            return False
        self.room -= add_nano
        self.held += add_nano
        hold.held_nano += add_nano
        return True

    def shrink(self, hold: Hold, spent_nano: int) -> None:
        self.held -= hold.held_nano - spent_nano
        self.room += hold.held_nano - spent_nano
        hold.held_nano = hold.spent_nano = spent_nano

    def settle(
        self,
        hold: Hold,
        charge_nano: int,
        *,
        rows: int,
        input_tokens: int,
        output_tokens: int,
        own_tokens: tuple[int, int] | None = None,
    ) -> None:
        self.settled.append((charge_nano, rows, input_tokens, output_tokens))
        if not hold.is_settled:
            hold.is_settled = True
            self.held -= hold.held_nano
            self.room += hold.held_nano - charge_nano
