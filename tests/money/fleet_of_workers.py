"""Several workers in one process on a real Redis: each with its own connection, journal, admission and counters.

The ledger and the workers' table are in memory (ports); everything else is what a gateway runs on.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from tests.money.records import make_intent, make_principal, make_settlement
from tollkeeper.contracts.money import PLATFORM, Budget, RuleScope, ScopeKind, Spend, Window, WindowKind
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.usage import Intent, LedgerKind, Settlement
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis_cluster import make_link
from tollkeeper.gateway.money.admission import Admission
from tollkeeper.gateway.money.counters import Counters
from tollkeeper.gateway.money.hold import Appraisal, Hold
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.journal_format import pack_intent
from tollkeeper.gateway.money.reaper import Reaper
from tollkeeper.gateway.money.shipper import Shipper
from tollkeeper.gateway.money.terms import Asked

DOLLAR = 1_000_000_000
ASKED = Asked("gpt-4o-mini", "chat/completions", "local")
Counter = tuple[UUID, str]


@dataclass
class Ledger:
    """A `UsageSink` and `SpendSource` in memory, as the ports promise: once by key, and versions that only rise."""

    charges: dict[tuple[UUID, int], int] = field(default_factory=dict)
    kinds: dict[tuple[UUID, int], list[str]] = field(default_factory=dict)
    spent: dict[Counter, int] = field(default_factory=dict)
    versions: dict[Counter, int] = field(default_factory=dict)
    is_away: bool = False

    async def ship(self, settlements: Sequence[Settlement]) -> Sequence[Spend]:
        self._check()
        named: set[Counter] = set()
        grown: set[Counter] = set()
        for settlement in settlements:
            intent, charge = settlement.intent, settlement.charge_nano or 0
            row = (intent.request_id, intent.attempt)
            counters = [
                (PLATFORM, ref[1:]) if ref.startswith("@") else (intent.tenant_id, ref) for ref in intent.budgets
            ]
            named.update(counters)
            kinds = self.kinds.setdefault(row, [])
            is_late_truth = kinds == [LedgerKind.INTERRUPTED] and settlement.kind is LedgerKind.SETTLED
            if kinds and not is_late_truth:
                continue
            kinds.append("correction" if is_late_truth else settlement.kind.value)
            more = charge - self.charges.get(row, 0)
            self.charges[row] = charge
            for counter in counters:
                self.spent[counter] = self.spent.get(counter, 0) + more
            grown.update(counters)
        for counter in grown:
            self.versions[counter] = self.versions.get(counter, 0) + 1
        return [self._spend(counter) for counter in sorted(named)]

    async def read(self, tenant_id: UUID, refs: Sequence[str]) -> Sequence[Spend]:
        self._check()
        return [self._spend((tenant_id, ref)) for ref in refs]

    def _spend(self, counter: Counter) -> Spend:
        return Spend(*counter, self.spent.get(counter, 0), self.versions.get(counter, 0))

    def _check(self) -> None:
        if self.is_away:
            raise DependencyUnavailable("The ledger is away.")


class Hall:
    """Where the workers know each other, as PostgreSQL would."""

    def __init__(self) -> None:
        self.workers: dict[UUID, Worker] = {}
        # Known to be alive by their beats, though they may not answer.
        self.believed: set[UUID] = set()
        # Gone for sure, and their disk with them.
        self.lost: set[UUID] = set()
        self.is_away = False
        self._rebuilding: set[UUID] = set()

    def check(self) -> None:
        if self.is_away:
            raise DependencyUnavailable("PostgreSQL is away.")

    @asynccontextmanager
    async def rebuilding(self, tenant_id: UUID) -> AsyncIterator[bool]:
        self.check()
        is_ours = tenant_id not in self._rebuilding
        if is_ours:
            self._rebuilding.add(tenant_id)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._rebuilding.discard(tenant_id)


@dataclass
class Seat:
    """One worker's `Fleet`."""

    hall: Hall
    worker_id: UUID

    async def call_for_counters(self, tenant_id: UUID) -> frozenset[UUID]:
        self.hall.check()
        for worker in self.hall.workers.values():
            asyncio.get_running_loop().call_later(0.001, worker.counters.heard, tenant_id)
        return frozenset(self.hall.believed)

    async def live_workers(self) -> frozenset[UUID]:
        self.hall.check()
        return frozenset(self.hall.believed)

    def rebuilding(self, tenant_id: UUID):  # type: ignore[no-untyped-def]
        return self.hall.rebuilding(tenant_id)

    async def lost_here(self) -> frozenset[UUID]:
        self.hall.check()
        return frozenset(self.hall.lost)

    async def bury(self, worker_id: UUID) -> None:
        self.hall.check()
        self.hall.lost.discard(worker_id)
        self.hall.believed.discard(worker_id)

    def live(self) -> int:
        return max(1, len(self.hall.believed))

    def is_counted(self) -> bool:
        return self.worker_id in self.hall.workers and not self.hall.is_away


class Worker:
    """`open` starts one, `kill` ends it as kill -9 would, `close` as SIGTERM."""

    def __init__(self, url: str, folder: Path, ledger: Ledger, hall: Hall, *, seconds: float = 2.0) -> None:
        clock = SystemClock()
        self.folder = folder
        self.hall = hall
        self.journal = Journal(folder, host="here", clock=clock, max_bytes=4_000_000)
        self.id = self.journal.boot_id
        # The machine may be busy with other tests.
        self.link = make_link(
            url, clock, connect_seconds=seconds, operation_seconds=seconds, on_connect=self._connected
        )
        seat = Seat(hall, self.id)
        self.admission = Admission(self.link, clock, seat.live, worker_id=self.id)
        self.shipper = Shipper(self.journal, ledger, clock, directory=folder, interval_seconds=0.01)
        self.shipper.on_shipped = self._shipped
        registry = self.admission.registry
        self.counters = Counters(
            self.link, ledger, seat, clock, worker_id=self.id, holdings=registry, adopt=self.shipper.adopt
        )
        self.admission.counters = self.counters
        self.reaper = Reaper(
            self.link, self.counters, seat, clock, worker_id=self.id, holdings=registry, settle=self.journal.settle
        )
        self.shipper.on_adopted = self.reaper.adopted
        self.open_calls: dict[UUID, tuple[Hold, Intent]] = {}

    async def open(self) -> None:
        await self.link.start()
        await self.admission.start()
        self.hall.workers[self.id] = self
        self.hall.believed.add(self.id)
        await self.counters.tick()

    async def call(self, principal: Principal, full: int, forecast: int | None = None) -> UUID:
        """Begin one: admitted, and on record. Raises what the admission raises."""
        request_id = uuid7()
        intent = make_intent(
            request_id=request_id, tenant_id=principal.tenant_id, estimated_cost_nano=full, key_id=principal.key_id
        )
        terms = self.admission.terms(principal, ASKED)
        intent.budgets = tuple(
            ref if one.space == principal.tenant_id else "@" + ref for one in terms for ref in one.refs
        )
        appraisal = Appraisal(10, 10, full, full if forecast is None else forecast)
        admitted = await self.admission.admit(
            terms, request_id, appraisal, is_cuttable=forecast is not None, payload=pack_intent(intent)
        )
        assert admitted.hold is not None
        self.journal.intent(intent)
        self.open_calls[request_id] = (admitted.hold, intent)
        return request_id

    def finish(self, request_id: UUID, charge: int) -> None:
        hold, intent = self.open_calls.pop(request_id)
        self.journal.settle(make_settlement(intent, cost_nano=charge, charge_nano=charge))
        self.admission.settle(hold, charge, rows=1, input_tokens=10, output_tokens=10)

    async def ship(self) -> None:
        await self.shipper.drain(1.0)

    async def flushed(self) -> None:
        """Until Redis has done what it was told so far."""
        for _ in range(3):
            await self.link.call("PING")

    async def kill(self) -> None:
        """Nothing more leaves this process; its journal stays for whoever adopts it."""
        self.hall.workers.pop(self.id, None)
        await self.counters_stop()
        await self.link.close()
        await self.admission.close()
        _let_go(self.journal)

    async def close(self) -> None:
        self.hall.workers.pop(self.id, None)
        self.hall.believed.discard(self.id)
        await self.shipper.drain(1.0)
        await self.counters.finish()
        await self.reaper.finish()
        await self.admission.close()
        await self.link.close()
        self.journal.close()

    async def counters_stop(self) -> None:
        for task in [*self.counters._tasks, *self.reaper._tasks]:
            task.cancel()
        await asyncio.gather(*self.counters._tasks, *self.reaper._tasks, return_exceptions=True)

    def _shipped(self, settlements: Sequence[Settlement], spends: Sequence[Spend]) -> None:
        self.admission.acknowledge(settlements, spends)
        self.reaper.acknowledge(settlements)

    def _connected(self, run_id: str | None) -> None:
        self.admission.on_connect(run_id)
        self.counters.connected()


def _let_go(journal: Journal) -> None:
    """As the kernel closes the files of a process that died: the locks go, the lines stay."""
    for segment in journal._segments:
        if not segment.is_closed:
            segment.close()
    os.close(journal._lock_fd)
    journal._lock_fd = -1


def hard_budget(amount: int, tenant_id: UUID, *, is_hard: bool = True, is_platform: bool = False) -> Budget:
    return Budget(
        uuid4(),
        RuleScope(ScopeKind.TENANT, tenant_id.hex),
        amount,
        Window(WindowKind.TOTAL),
        counts_from=0,
        is_hard=is_hard,
        is_platform=is_platform,
    )


def spender(*amounts: int, tenant_id: UUID | None = None, **fields: bool) -> Principal:
    tenant_id = tenant_id or uuid4()
    return make_principal(tenant_id=tenant_id, budgets=tuple(hard_budget(one, tenant_id, **fields) for one in amounts))


def refs_of(principal: Principal, *, is_platform: bool = False) -> list[str]:
    return [f"{budget.id.hex}:0:" for budget in principal.budgets if budget.is_platform is is_platform]


async def counted(worker: Worker, principal: Principal) -> list[tuple[int | None, int] | None]:
    """Base and held of each of the tenant's counters."""
    peeked = await worker.counters.script.peek(principal.tenant_id, refs_of(principal))
    return [None if one is None else (one.base, one.held) for one in peeked]


async def until(holds: Callable[[], bool | Awaitable[bool]], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            result = holds()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(0.01)
