"""A gateway and hostile vendors in the test's own process, over real sockets, and their books.

Everything that a call may leave behind can be looked at here: holds, slots, attempts without an end in the journal,
connections in use, tickets that were never told their end, tasks.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from tests.faults.upstream import Served, Upstream, reset
from tests.gateway.serving import PRICE, TENANT, Serving, provider, serving
from tollkeeper.contracts.catalog import EMPTY_SNAPSHOT, ModelRoute, ProviderConfig, Snapshot
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.usage import Settlement
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.money.admission import Admitted
from tollkeeper.gateway.money.hold import Appraisal, Hold
from tollkeeper.gateway.money.terms import Asked, Terms
from tollkeeper.gateway.pressure.metrics import QueueMetrics
from tollkeeper.gateway.pressure.slots import Slots
from tollkeeper.gateway.routing.targets import Targets
from tollkeeper.gateway.upstream import Upstream as Channel
from tollkeeper.web.http_connections import Connections
from tollkeeper.web.http_limits import HttpLimits
from tollkeeper.web.http_protocol import HttpProtocol

# Of one attempt; more than anything here comes to.
FULL_NANO: Final = 1_000_000_000
# On a crowded machine the last finisher may take its time.
_QUIET_SECONDS: Final = 20.0
_DRAIN_SECONDS: Final = 4.0


class Purse:
    """Admission and holds of a budget with room for everything; every hold is remembered until it is settled."""

    def __init__(self) -> None:
        self.open: dict[UUID, Hold] = {}
        self.charges: dict[UUID, list[int]] = {}

    def terms(self, principal: Principal, asked: Asked) -> Sequence[Terms]:
        return [Terms(principal.tenant_id)]

    async def admit(self, terms: Sequence[Terms], request_id: UUID, appraisal: Appraisal, **_kept: object) -> Admitted:
        known = Appraisal(10, 10, FULL_NANO, FULL_NANO)
        hold = self.open[request_id] = Hold(request_id, TENANT, ("budget:0:",), FULL_NANO, True, known)
        return Admitted(MappingProxyType({}), hold)

    async def extend(self, hold: Hold, add_nano: int) -> bool:
        hold.held_nano += add_nano
        return True

    def shrink(self, hold: Hold, spent_nano: int) -> None:
        hold.held_nano = spent_nano

    def settle(self, hold: Hold, charge_nano: int, **_counts: object) -> None:
        self.open.pop(hold.request_id, None)
        self.charges.setdefault(hold.request_id, []).append(charge_nano)


class Vendor:
    """One hostile vendor on a port of its own: what it did, and how a gateway is told of it."""

    def __init__(self, name: str) -> None:
        self.upstream = Upstream(name)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen; again on the same port after `stop`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hard down: connections are refused, and those that are open are reset."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            reset(writer)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def config(self, name: str, **fields: Any) -> ProviderConfig:
        scheme = fields.pop("scheme", "http")
        return provider(name, f"{scheme}://127.0.0.1:{self.port}/v1", **fields)

    def dead(self, config: ProviderConfig, port: int) -> ProviderConfig:
        """The same where nobody listens."""
        return replace(config, base_url=f"http://127.0.0.1:{port}/v1")

    def entries(self, user: str) -> list[Served]:
        return [served for served in self.upstream.log if served.user == user]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        # Cancelled at the end of a test; asyncio would log that as an error of the server.
        with suppress(asyncio.CancelledError):
            await self.upstream.serve(reader, writer)
        self._tasks.discard(task)
        self._writers.discard(writer)


@asynccontextmanager
async def vendor_on_loopback(name: str) -> AsyncIterator[Vendor]:
    vendor = Vendor(name)
    await vendor.start()
    try:
        yield vendor
    finally:
        await vendor.stop()


class World:
    """The gateway, what stands behind it, and what it may have left behind."""

    # No dataclass: hypothesis shows all of one when a test fails.

    def __init__(
        self,
        gateway: Serving,
        purse: Purse,
        slots: Slots,
        targets: Targets,
        drains: Drains,
        vendors: dict[str, Vendor],
        dead_port: int,
    ) -> None:
        self.gateway = gateway
        self.purse = purse
        self.slots = slots
        self.targets = targets
        self.drains = drains
        self.vendors = vendors
        self.dead_port = dead_port
        self.snapshot = EMPTY_SNAPSHOT

    def configure(self, providers: Sequence[ProviderConfig], routes: Sequence[ModelRoute]) -> None:
        self.snapshot = Snapshot(
            version=self.snapshot.version + 1,
            providers={config.name: config for config in providers},
            models={(route.tenant_id, route.name): route for route in routes},
        )
        self.gateway.snapshots.snapshot = self.snapshot

    def rows(self, user: str) -> list[Settlement]:
        return [row for row in self.gateway.settlements if row.intent.end_user == user]

    async def quiet(self) -> None:
        """Wait until nothing of any call is left; fails with what is."""
        deadline = asyncio.get_running_loop().time() + _QUIET_SECONDS
        while left := self._left():
            assert asyncio.get_running_loop().time() < deadline, f"left behind: {left}"
            await asyncio.sleep(0.01)

    def _left(self) -> dict[str, object]:
        assert self.gateway.gateway is not None
        channel = self.gateway.gateway._services.channel
        assert isinstance(channel, Channel)
        places = [
            self.targets.standing(target.provider, target.model, self.gateway.clock.monotonic())
            for route in self.snapshot.models.values()
            for target in route.targets
        ]
        found: dict[str, object] = {
            "slots": self.slots.running + self.slots.waiting,
            "holds": len(self.purse.open),
            "answers read on": self.drains.count,
            "attempts without an end in the journal": len(self.gateway.journal._open),
            "connections in use": sum(not connection.idle_since for connection in channel._open),
            "tickets": sum(place.in_flight for place in places),
            "vendors at work": sum(vendor.upstream.busy for vendor in self.vendors.values()),
            "calls": self.gateway.metrics._running,
            "tasks": sorted(_our_tasks()),
        }
        return {name: value for name, value in found.items() if value}


def _our_tasks() -> list[str]:
    """Tasks that run the gateway's own code."""
    found = []
    for task in asyncio.all_tasks():
        coroutine = task.get_coro()
        code = getattr(coroutine, "cr_code", None)
        if code is not None and "/tollkeeper/" in code.co_filename and not task.done():
            found.append(code.co_qualname if hasattr(code, "co_qualname") else code.co_name)
    return found


@asynccontextmanager
async def world(folder: Path, *names: str, running: int = 64, **settings: Any) -> AsyncIterator[World]:
    """A gateway before vendors of these names."""
    async with AsyncExitStack() as stack:
        vendors = {name: await stack.enter_async_context(vendor_on_loopback(name)) for name in names}
        dead = stack.enter_context(socket.socket())
        dead.bind(("127.0.0.1", 0))
        made: list[Slots] = []

        def make_slots(clock: Any, metrics: Any) -> Slots:
            queue = QueueMetrics(metrics.registry)
            made.append(Slots(clock, queue, most_running=running, most_waiting=1_000, longest_seconds=30.0))
            return made[0]

        box: list[World] = []
        targets = Targets(lambda: box[0].snapshot if box else EMPTY_SNAPSHOT)
        # What never ends is read for so long and no longer, well below what is waited for here.
        purse, drains = Purse(), Drains(seconds=_DRAIN_SECONDS)
        gateway = await stack.enter_async_context(
            serving(
                folder,
                EMPTY_SNAPSHOT,
                http=partial(HttpProtocol, Connections(HttpLimits())),
                admission=purse,
                holds=purse,
                drains=drains,
                make_slots=make_slots,
                gate=targets,
                **settings,
            )
        )
        box.append(World(gateway, purse, made[0], targets, drains, vendors, dead.getsockname()[1]))
        yield box[0]


__all__ = ["PRICE", "Purse", "Vendor", "World", "world"]
