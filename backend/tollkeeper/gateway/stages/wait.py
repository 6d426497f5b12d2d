"""Lets a call run at once, or keeps it until it is its turn: before anything is claimed or held for it (RULING 11).

Where the first provider of its plan is full and another one is not, the call goes there first. The slot is given back
when the call ends, whatever its end.
"""

from collections.abc import Awaitable, Mapping
from typing import Final

from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import BadRequest, Forbidden
from tollkeeper.core.flags import PRIORITY_CALLS
from tollkeeper.gateway.pressure.entry import Priority
from tollkeeper.gateway.pressure.slots import Slot, Slots
from tollkeeper.gateway.stage import Exchange, Step

HEADER: Final = b"x-tollkeeper-priority"
_NAMES: Final[Mapping[bytes, Priority]] = {priority.name.lower().encode(): priority for priority in Priority}


class Wait(Step):
    def __init__(self, slots: Slots | None) -> None:
        """None: nothing is bounded."""
        self._slots = slots

    def enter(self, exchange: Exchange) -> Awaitable[None] | None:
        slots = self._slots
        if slots is None:
            return None
        asked = exchange.headers.get(HEADER)
        priority = Priority.NORMAL if asked is None else _read(asked, exchange.principal)
        slot = _find(slots, exchange, priority)
        if slot is None:
            return _wait(slots, exchange, priority)
        _take(exchange, slot)
        return None


async def _wait(slots: Slots, exchange: Exchange, priority: Priority) -> None:
    first = exchange.snapshot.providers[exchange.plan[0].provider]
    _take(exchange, await slots.wait(exchange.principal.tenant_id, first, priority, exchange.deadline))


def _take(exchange: Exchange, slot: Slot) -> None:
    exchange.slot = slot
    exchange.finishers.append(slot)


def _find(slots: Slots, exchange: Exchange, priority: Priority) -> Slot | None:
    """At the first target of the plan whose provider has room; then that one is the first of the plan."""
    plan, providers = exchange.plan, exchange.snapshot.providers
    tenant_id = exchange.principal.tenant_id
    slot = slots.find(tenant_id, providers[plan[0].provider], priority)
    if slot is not None or len(plan) == 1:
        return slot
    for position, target in enumerate(plan):
        slot = slots.find(tenant_id, providers[target.provider], priority)
        if slot is not None:
            exchange.plan = (target, *plan[:position], *plan[position + 1 :])
            return slot
    return None


def _read(asked: bytes, principal: Principal) -> Priority:
    """A caller may ask for less than is usual; for more only where the platform lets its tenant."""
    priority = _NAMES.get(asked)
    if priority is None:
        raise BadRequest(
            f"Invalid '{HEADER.decode()}': expected one of {', '.join(name.decode() for name in _NAMES)}.",
            code="invalid_value",
            param=HEADER.decode(),
        )
    if priority is Priority.HIGH and not principal.flags.get(PRIORITY_CALLS.name, PRIORITY_CALLS.default):
        raise Forbidden(
            "This tenant's calls may not ask to be served first. Leave the header out, or ask the operator.",
            code="priority_not_allowed",
            param=HEADER.decode(),
        )
    return priority
