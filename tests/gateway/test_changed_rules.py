"""A change of limits or budgets is seen at a key's next use, and takes no key away while PostgreSQL is."""

import asyncio
from uuid import UUID

import pytest

from tests.gateway.serving import KEY, Serving


@pytest.mark.parametrize("of", ["key", "tenant", "everybody"])
async def test_changed_rules_are_looked_up_at_the_next_use(gateway: Serving, of: str) -> None:
    await gateway.post()
    gateway.keys.add(KEY, refusal="Looked at again.")
    intent = gateway.settlements[0].intent
    names: dict[str, UUID | None] = {"key": intent.key_id, "tenant": intent.tenant_id, "everybody": None}
    gateway.cache.outdate(names[of])
    assert (await gateway.post()).status_code == 401


async def test_outdated_keys_go_on_while_postgresql_is_away(gateway: Serving) -> None:
    await gateway.post()
    gateway.keys.is_down = True
    gateway.cache.outdate(gateway.settlements[0].intent.key_id)
    assert (await gateway.post()).status_code == 200


async def test_rules_read_before_their_change_are_not_believed(gateway: Serving) -> None:
    record = gateway.keys.record(KEY)
    gateway.keys.gate = asyncio.Event()
    late = asyncio.create_task(gateway.post())
    while gateway.keys.lookups == 0:
        await asyncio.sleep(0.001)
    gateway.cache.outdate(record.principal.key_id)
    gateway.keys.add(KEY, refusal="Looked at again.", key_id=record.principal.key_id)
    gateway.keys.gate.set()
    assert (await late).status_code == 401
    assert gateway.keys.lookups == 2
