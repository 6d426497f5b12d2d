"""The outbox: every event reaches its subscribers, failures come again, two deliverers do not double the work."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tollkeeper.core.events import KeyRevoked, KeyUpdated, emit
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models.tenants import Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.jobs.outbox import EVERY, Delivery, OutboxDelivery, Subscriber
from tollkeeper.domains.jobs.schemas import JobContext


@pytest.fixture
async def outbox(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    async with database.platform() as session:
        await session.execute(text("DELETE FROM outbox"))
    yield database
    await database.close()


async def write(database: Database, *key_ids: UUID, revoked: bool = False) -> UUID:
    tenant_id = uuid7()
    async with database.platform() as session:
        session.add(Tenant(id=tenant_id, name=str(tenant_id), slug=tenant_id.hex))
        await session.flush()
        for key_id in key_ids:
            await emit(session, tenant_id, KeyRevoked(key_id) if revoked else KeyUpdated(key_id))
    return tenant_id


class Notebook:
    """A subscriber that remembers, and fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.seen: list[Delivery] = []
        self.failures = failures

    async def __call__(self, delivery: Delivery) -> None:
        self.seen.append(delivery)
        await asyncio.sleep(0)
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("the other side holds sk-secretsecret")

    def keys(self) -> list[str]:
        return [str(delivery.payload["key_id"]) for delivery in self.seen]


def delivery_to(database: Database, subscribers: Mapping[str, Sequence[Subscriber]]) -> OutboxDelivery:
    return OutboxDelivery(database, subscribers)


async def pass_time(database: Database) -> None:
    async with database.platform() as session:
        await session.execute(text("UPDATE outbox SET next_attempt_at = now() - interval '1 second'"))


async def rows(database: Database) -> list[Any]:
    async with database.platform() as session:
        found = await session.execute(
            text(
                "SELECT delivered_at IS NOT NULL AS is_delivered, attempts, last_error, "
                "extract(epoch FROM next_attempt_at - now()) AS pause FROM outbox ORDER BY id"
            )
        )
        return list(found.all())


async def test_event_reaches_its_subscribers_once_and_in_order(outbox: Database) -> None:
    keys = [uuid7() for _ in range(5)]
    tenant_id = await write(outbox, *keys)
    by_name, by_all, others = Notebook(), Notebook(), Notebook()
    delivery = delivery_to(outbox, {"key.updated": [by_name], EVERY: [by_all], "key.revoked": [others]})
    assert await delivery.deliver() == 5
    assert by_name.keys() == by_all.keys() == [str(key) for key in keys]
    assert {(seen.tenant_id, seen.event, seen.attempt) for seen in by_name.seen} == {(tenant_id, "key.updated", 1)}
    assert others.seen == []
    assert await delivery.deliver() == 0


async def test_event_nobody_wants_is_done_with(outbox: Database) -> None:
    await write(outbox, uuid7())
    await delivery_to(outbox, {}).deliver()
    assert [row.is_delivered for row in await rows(outbox)] == [True]


async def test_failed_event_comes_again_later_and_holds_up_no_other(outbox: Database) -> None:
    first, second = uuid7(), uuid7()
    await write(outbox, first, second)
    flaky, steady = Notebook(failures=1), Notebook()
    delivery = delivery_to(outbox, {EVERY: [flaky, steady]})
    await delivery.deliver()
    assert steady.keys() == [str(first), str(second)]
    found = await rows(outbox)
    assert [row.is_delivered for row in found] == [False, True]
    assert found[0].last_error == "ConnectionError"  # the message may hold anything
    assert await delivery.deliver() == 0
    await pass_time(outbox)
    assert await delivery.deliver() == 1
    assert flaky.keys() == [str(first), str(second), str(first)]
    assert flaky.seen[-1].attempt == 2
    assert flaky.seen[-1].id == flaky.seen[0].id
    assert all(row.is_delivered for row in await rows(outbox))


async def test_pauses_double_up_to_an_hour(outbox: Database) -> None:
    await write(outbox, uuid7())
    delivery = delivery_to(outbox, {EVERY: [Notebook(failures=100)]})
    pauses = []
    for _ in range(14):
        await pass_time(outbox)
        await delivery.deliver()
        pauses.append(float((await rows(outbox))[0].pause))
    assert pauses[:4] == pytest.approx([1, 2, 4, 8], abs=0.9)
    assert pauses[-1] == pytest.approx(3600, abs=2)


async def test_two_deliverers_share_the_work(outbox: Database) -> None:
    keys = [uuid7() for _ in range(60)]
    await write(outbox, *keys)
    notebook = Notebook()
    deliveries = [delivery_to(outbox, {EVERY: [notebook]}) for _ in range(4)]
    await asyncio.gather(*(delivery.deliver(limit=20) for delivery in deliveries))
    assert sorted(notebook.keys()) == sorted(map(str, keys))


async def test_batch_of_a_deliverer_that_died_is_delivered_by_another(outbox: Database) -> None:
    await write(outbox, uuid7())

    async def die(_delivery: Delivery) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await delivery_to(outbox, {EVERY: [die]}).deliver()
    notebook = Notebook()
    survivor = delivery_to(outbox, {EVERY: [notebook]})
    assert await survivor.deliver() == 0
    await pass_time(outbox)
    assert await survivor.deliver() == 1
    assert notebook.seen[0].attempt == 2


async def test_job_goes_on_until_nothing_is_due(outbox: Database) -> None:
    await write(outbox, *(uuid7() for _ in range(250)))
    notebook = Notebook()

    async def progress(_values: Mapping[str, Any]) -> None:
        pass

    result = await delivery_to(outbox, {EVERY: [notebook]}).handle(JobContext(uuid7(), None, 1, progress), {})
    assert result == {"events": 250}
    assert len(notebook.seen) == 250
