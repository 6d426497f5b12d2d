"""Workers hear of changes within a second while either channel works, and know when neither does."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.core.cuttable import CuttableRelay
from tollkeeper.core.announcements import (
    CHANNEL,
    PUBLISHER,
    Announcement,
    Listener,
    Publisher,
    Topic,
    announce,
)
from tollkeeper.core.redis import create_client
from tollkeeper.db.session import Database

PROMISED_SECONDS = 1.0


@dataclass
class Worker:
    """What a worker heard."""

    listener: Listener
    heard: list[Announcement] = field(default_factory=list)
    resyncs: int = 0

    def resync(self) -> None:
        self.resyncs += 1

    def subjects(self) -> set[object]:
        return {announcement.subject for announcement in self.heard}


@asynccontextmanager
async def worker(database_url: str, redis_url: str) -> AsyncIterator[Worker]:
    found: list[Worker] = []
    listener = Listener(
        database_url,
        create_client(redis_url, operation_seconds=None),
        on_announcement=lambda announcement: found[0].heard.append(announcement),
        on_resync=lambda: found[0].resync(),
    )
    found.append(Worker(listener))
    await listener.start()
    try:
        yield found[0]
    finally:
        await listener.close()


@asynccontextmanager
async def speaker(database_url: str, redis_url: str) -> AsyncIterator[Database]:
    publisher = Publisher(create_client(redis_url))
    database = Database(database_url, session_info={PUBLISHER: publisher})
    try:
        yield database
    finally:
        await database.close()
        await publisher.close()


async def until(is_true: Callable[[], bool], seconds: float = 10) -> float:
    """The seconds it took."""
    begun = time.monotonic()
    while not is_true():
        if time.monotonic() - begun > seconds:
            pytest.fail("it did not happen in time")
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


async def both_ways(listening: Worker) -> None:
    state = listening.listener.state
    await until(lambda: state().postgres.is_connected and state().redis.is_connected)


async def test_change_is_heard_once_though_told_twice(database_url: str, valkey_url: str) -> None:
    async with speaker(database_url, valkey_url) as database, worker(database_url, valkey_url) as listening:
        await both_ways(listening)
        subjects = [uuid4() for _ in range(5)]
        for subject in subjects:
            async with database.platform() as session:
                await announce(session, Topic.KEY, subject)
        await until(lambda: len(listening.heard) >= 5, PROMISED_SECONDS)
        # The second channel's copies are there once a later message has come over it.
        await create_and_publish(valkey_url, "end")
        await until(lambda: listening.resyncs >= 3)
        assert [announcement.subject for announcement in listening.heard] == subjects
        assert {announcement.topic for announcement in listening.heard} == {Topic.KEY}


async def create_and_publish(redis_url: str, message: str) -> None:
    client = create_client(redis_url)
    await client.publish(CHANNEL, message)
    await client.aclose()


async def test_tenants_transaction_may_announce(database_url: str, valkey_url: str) -> None:
    async with speaker(database_url, valkey_url) as database, worker(database_url, valkey_url) as listening:
        subject = uuid4()
        async with database.tenant(uuid4()) as session:
            await announce(session, Topic.TENANT, subject)
        await until(lambda: subject in listening.subjects(), PROMISED_SECONDS)


async def announce_and_fail(database: Database, subject: UUID) -> None:
    async with database.platform() as session:
        await announce(session, Topic.KEY, subject)
        raise ZeroDivisionError


class Recorder:
    """A publisher that only takes notes."""

    def __init__(self) -> None:
        self.published: list[object] = []

    def publish_soon(self, announcement: Announcement) -> None:
        self.published.append(announcement.subject)


async def test_savepoint_tells_nobody_before_the_commit(database_url: str) -> None:
    recorder, subject = Recorder(), uuid4()
    database = Database(database_url, session_info={PUBLISHER: recorder})
    try:
        async with database.platform() as session:
            async with session.begin_nested():
                await announce(session, Topic.KEY, subject)
            assert recorder.published == []
        assert recorder.published == [subject]
    finally:
        await database.close()


async def test_undone_change_is_never_told(database_url: str, valkey_url: str) -> None:
    undone, done = uuid4(), uuid4()
    async with speaker(database_url, valkey_url) as database, worker(database_url, valkey_url) as listening:
        await both_ways(listening)
        with pytest.raises(ZeroDivisionError):
            await announce_and_fail(database, undone)
        async with database.platform() as session:
            await announce(session, Topic.KEY, done)
        await until(lambda: done in listening.subjects(), PROMISED_SECONDS)
        assert undone not in listening.subjects()


async def test_redis_alone_carries_an_announcement(database_url: str, valkey_url: str) -> None:
    async with (
        CuttableRelay.open(database_url) as relay,
        speaker(database_url, valkey_url) as database,
        worker(relay.url, valkey_url) as listening,
    ):
        await both_ways(listening)
        relay.cut()
        await until(lambda: not listening.listener.state().postgres.is_connected)
        subject = uuid4()
        async with database.platform() as session:
            await announce(session, Topic.KEY, subject)
        await until(lambda: subject in listening.subjects(), PROMISED_SECONDS)
        assert not listening.listener.state().is_cut_off


async def test_postgres_alone_carries_an_announcement(database_url: str, valkey_url: str) -> None:
    async with (
        CuttableRelay.open(valkey_url) as relay,
        speaker(database_url, relay.url) as database,
        worker(database_url, relay.url) as listening,
    ):
        await both_ways(listening)
        relay.cut()
        await until(lambda: not listening.listener.state().redis.is_connected)
        subject = uuid4()
        async with database.platform() as session:
            await announce(session, Topic.KEY, subject)
        await until(lambda: subject in listening.subjects(), PROMISED_SECONDS)
        assert not listening.listener.state().is_cut_off


async def test_stalled_redis_delays_no_commit(database_url: str, valkey_url: str) -> None:
    async with CuttableRelay.open(valkey_url) as relay, speaker(database_url, relay.url) as database:
        async with database.platform() as session:
            await session.execute(text("SELECT 1"))
        relay.freeze()
        begun = time.monotonic()
        async with database.platform() as session:
            await announce(session, Topic.KEY, uuid4())
        assert time.monotonic() - begun < 0.5


async def test_hiccup_of_redis_loses_no_announcement(database_url: str, valkey_url: str) -> None:
    """The listener's PostgreSQL channel is down as well, so only a second try can tell it."""
    async with (
        CuttableRelay.open(database_url) as postgres,
        CuttableRelay.open(valkey_url) as redis,
        speaker(database_url, redis.url) as database,
        worker(postgres.url, valkey_url) as listening,
    ):
        await both_ways(listening)
        postgres.cut()
        redis.cut()
        subject = uuid4()
        async with database.platform() as session:
            await announce(session, Topic.KEY, subject)
        await until(lambda: redis.refused > 0)
        redis.mend()
        await until(lambda: subject in listening.subjects(), PROMISED_SECONDS)


async def test_worker_looks_again_after_each_gap(database_url: str, valkey_url: str) -> None:
    async with (
        CuttableRelay.open(database_url) as postgres,
        CuttableRelay.open(valkey_url) as redis,
        speaker(database_url, valkey_url) as database,
        worker(postgres.url, redis.url) as listening,
    ):
        await both_ways(listening)
        state = listening.listener.state
        for relay in (postgres, redis):
            before = listening.resyncs
            relay.cut()
            await until(lambda: not (state().postgres.is_connected and state().redis.is_connected))
            relay.mend()
            await until(lambda before=before: listening.resyncs > before)
            await both_ways(listening)
        subject = uuid4()
        async with database.platform() as session:
            await announce(session, Topic.KEY, subject)
        await until(lambda: subject in listening.subjects(), PROMISED_SECONDS)


async def test_worker_knows_that_it_is_cut_off(database_url: str, valkey_url: str) -> None:
    """Frozen connections look alive to everybody who does not ask."""
    async with (
        CuttableRelay.open(database_url) as postgres,
        CuttableRelay.open(valkey_url) as redis,
        worker(postgres.url, redis.url) as listening,
    ):
        await both_ways(listening)
        await asyncio.sleep(0)
        assert not listening.listener.state().is_cut_off
        postgres.freeze()
        redis.freeze()
        assert await until(lambda: listening.listener.state().is_cut_off) < 2.5
        await until(lambda: not listening.listener.state().redis.is_connected)
        await until(lambda: not listening.listener.state().postgres.is_connected)
        before = listening.resyncs
        postgres.mend()
        redis.mend()
        await until(lambda: not listening.listener.state().is_cut_off and listening.resyncs > before)


async def test_frozen_channel_is_replaced_while_the_other_works(database_url: str, valkey_url: str) -> None:
    async with (
        CuttableRelay.open(database_url) as postgres,
        speaker(database_url, valkey_url) as database,
        worker(postgres.url, valkey_url) as listening,
    ):
        await both_ways(listening)
        postgres.freeze()
        subject = uuid4()
        async with database.platform() as session:
            await announce(session, Topic.KEY, subject)
        await until(lambda: subject in listening.subjects(), PROMISED_SECONDS)
        await until(lambda: not listening.listener.state().postgres.is_connected)
        postgres.mend()
        await both_ways(listening)


async def test_behind_a_pooler_that_drops_notifications_the_table_is_read(database_url: str, valkey_url: str) -> None:
    async with (
        CuttableRelay.open(f"{database_url}?sslmode=disable", loses_notifications=True) as pooler,
        CuttableRelay.open(valkey_url) as redis,
        speaker(database_url, valkey_url) as database,
        worker(pooler.url, redis.url) as listening,
    ):
        await until(lambda: listening.listener.state().postgres.is_polling)
        redis.cut()
        subject = uuid4()
        async with database.platform() as session:
            await announce(session, Topic.KEY, subject)
        await until(lambda: subject in listening.subjects(), PROMISED_SECONDS)
        assert [announcement.subject for announcement in listening.heard].count(subject) == 1


async def test_start_does_not_wait_for_servers_that_are_away(database_url: str, valkey_url: str) -> None:
    async with CuttableRelay.open(database_url) as postgres, CuttableRelay.open(valkey_url) as redis:
        postgres.cut()
        redis.cut()
        begun = time.monotonic()
        async with worker(postgres.url, redis.url) as listening:
            assert time.monotonic() - begun < 2
            state = listening.listener.state()
            assert state.is_cut_off
            assert state.postgres.problem
            assert state.redis.problem
            postgres.mend()
            redis.mend()
            await both_ways(listening)
            assert listening.resyncs >= 2


@pytest.mark.parametrize(
    "message",
    ["", "hello", "a b c", f"{uuid4().hex} newtopic {uuid4().hex}", "\udcff", "x" * 9000],
    ids=["empty", "word", "three words", "another topic", "not text", "long"],
)
async def test_message_not_understood_means_look_again(database_url: str, valkey_url: str, message: str) -> None:
    async with worker(database_url, valkey_url) as listening:
        await both_ways(listening)
        before = listening.resyncs
        with capture_logs():
            client = create_client(valkey_url)
            await client.publish(CHANNEL, message.encode(errors="surrogateescape"))
            await client.aclose()
            await until(lambda: listening.resyncs > before)
        assert listening.heard == []


async def test_many_announcements_arrive_all_and_in_order(database_url: str, valkey_url: str) -> None:
    async with speaker(database_url, valkey_url) as database, worker(database_url, valkey_url) as listening:
        await both_ways(listening)
        subjects = [uuid4() for _ in range(300)]
        async with database.platform() as session:
            for subject in subjects:
                await announce(session, Topic.KEY, subject)
        await until(lambda: len(listening.heard) >= 300)
        assert [announcement.subject for announcement in listening.heard] == subjects


def test_announcement_survives_the_wire() -> None:
    announcement = Announcement(uuid4(), Topic.USER, uuid4())
    assert Announcement.parse(str(announcement)) == announcement
    assert len(str(announcement)) < 8000  # what NOTIFY takes
