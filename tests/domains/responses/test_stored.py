"""Answers of the Responses API in PostgreSQL: who finds them, for how long, how large, and sealed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.gateway.serving import ManualClock, principal
from tollkeeper.contracts.principal import Environment, Principal
from tollkeeper.contracts.responses import StoredResponse
from tollkeeper.core.crypto import EnvelopeError, MasterKey, SecretBox
from tollkeeper.core.errors import BadRequest, DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models import Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.jobs import service as jobs
from tollkeeper.domains.jobs.tasks import LEFTOVERS
from tollkeeper.domains.responses.lookup import SqlResponses
from tollkeeper.domains.responses.sink import ResponseSink

BOX = SecretBox(MasterKey("stored-responses-of-tests-" * 2))
SECRET = "what nobody may read"


@dataclass
class Store:
    database: Database
    lookup: SqlResponses
    sink: ResponseSink
    ours: Principal
    theirs: Principal


class Line:
    """A connection to PostgreSQL that can fall silent."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self._login = parts
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.is_silent = False

    @property
    def url(self) -> str:
        place = f"{self._login.username}:{self._login.password}@127.0.0.1:{self.port}"
        return self._login._replace(netloc=place).geturl()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, there_writer]
        await asyncio.gather(self._pass(reader, there_writer), self._pass(there_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self.is_silent:
                    writer.write(data)
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def silencing(url: str) -> AsyncIterator[Line]:
    line = Line(url)
    server = await asyncio.start_server(line.accept, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        line.cut()
        server.close()
        await server.wait_closed()


def turn(said: str = SECRET, previous_id: UUID | None = None) -> StoredResponse:
    response_id = uuid7()
    item = {"type": "message", "id": f"msg_{response_id.hex}", "role": "user", "content": said}
    answer = {"type": "message", "id": f"msg_a{response_id.hex}", "role": "assistant", "content": []}
    response = {"id": f"resp_{response_id.hex}", "output": [answer]}
    return StoredResponse(response_id, previous_id, [item], response, (item["id"], str(answer["id"])))


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=4)
    yield database
    await database.close()


@pytest.fixture
async def store(database: Database) -> Store:
    ours, theirs = principal(tenant_id=uuid7()), principal(tenant_id=uuid7())
    async with database.platform() as session:
        for tenant_id in (ours.tenant_id, theirs.tenant_id):
            session.add(Tenant(id=tenant_id, name=tenant_id.hex, slug=tenant_id.hex))
    return Store(database, lookup(database), sink(database), ours, theirs)


def lookup(database: Database, max_bytes: int = 1_000_000) -> SqlResponses:
    return SqlResponses(database, BOX, max_bytes=max_bytes)


def sink(database: Database, **settings: Any) -> ResponseSink:
    return ResponseSink(database, BOX, ManualClock(), **{"days": 30, "max_bytes": 100_000, **settings})


async def conversation(store: Store, *said: str, who: Principal | None = None) -> list[StoredResponse]:
    turns: list[StoredResponse] = []
    for words in said:
        turns.append(turn(words, turns[-1].id if turns else None))
        assert await store.sink.keep(who or store.ours, turns[-1])
    return turns


async def test_what_was_kept_is_found_as_it_was(store: Store) -> None:
    [kept] = await conversation(store, "Hi")
    assert await store.lookup.find(store.ours, kept.id) == kept
    assert await store.lookup.find(store.ours, uuid7()) is None


async def test_a_conversation_is_found_whole_oldest_first(store: Store) -> None:
    turns = await conversation(store, "One", "Two", "Three")
    assert await store.lookup.history(store.ours, turns[2].id) == turns
    assert await store.lookup.history(store.ours, turns[1].id) == turns[:2]
    assert await store.lookup.history(store.ours, uuid7()) is None


async def test_nobody_else_finds_it(store: Store) -> None:
    """Another tenant, another project of the tenant, a key without the project, and a key for trying out."""
    project = principal(tenant_id=store.ours.tenant_id, project_id=uuid7())
    other = principal(tenant_id=store.ours.tenant_id, project_id=uuid7())
    trial = replace(store.ours, environment=Environment.TEST)
    for owner, strangers in (
        (store.ours, (store.theirs, project, trial)),
        (project, (store.ours, other, store.theirs)),
        (trial, (store.ours,)),
    ):
        [kept] = await conversation(store, "Hi", who=owner)
        assert await store.lookup.items(owner, kept.item_ids)
        for stranger in strangers:
            assert await store.lookup.find(stranger, kept.id) is None
            assert await store.lookup.history(stranger, kept.id) is None
            assert await store.lookup.items(stranger, kept.item_ids) == {}
            assert not await store.sink.delete(stranger, kept.id)
        assert await store.lookup.find(owner, kept.id) is not None


async def test_a_conversation_does_not_lead_into_anothers(store: Store) -> None:
    [theirs] = await conversation(store, "Hi", who=store.theirs)
    ours = turn("And?", theirs.id)
    await store.sink.keep(store.ours, ours)
    assert await store.lookup.history(store.ours, ours.id) is None


async def test_items_are_found_by_the_ids_they_were_given(store: Store) -> None:
    first, second = await conversation(store, "One", "Two")
    asked = [str(second.input[0]["id"]), str(first.response["output"][0]["id"]), "msg_nobodys"]
    found = await store.lookup.items(store.ours, asked)
    assert found == {asked[0]: second.input[0], asked[1]: first.response["output"][0]}
    # One that is in a turn but was not made here.
    hidden = StoredResponse(uuid7(), None, first.input, {"output": []}, ())
    await store.sink.keep(store.ours, hidden)
    await store.sink.delete(store.ours, first.id)
    assert await store.lookup.items(store.ours, [str(first.input[0]["id"])]) == {}


async def test_ids_that_no_column_holds_are_unknown(store: Store) -> None:
    odd = ("msg_\0", "m" * 20_000, "msg_ok")
    turn_of_vendor = StoredResponse(
        uuid7(), None, [], {"output": [{"id": name, "type": "message"} for name in odd]}, odd
    )
    assert await store.sink.keep(store.ours, turn_of_vendor)
    assert (await store.lookup.items(store.ours, odd)).keys() == {"msg_ok"}
    assert await store.lookup.items(store.ours, odd[:2]) == {}


async def test_deleted_turns_end_their_conversations(store: Store) -> None:
    turns = await conversation(store, "One", "Two", "Three")
    assert await store.sink.delete(store.ours, turns[1].id)
    assert not await store.sink.delete(store.ours, turns[1].id)
    assert await store.lookup.history(store.ours, turns[2].id) is None
    assert await store.lookup.find(store.ours, turns[2].id) is not None
    assert await store.lookup.history(store.ours, turns[0].id) == turns[:1]


async def test_expired_turns_are_gone_before_they_are_cleared_away(store: Store) -> None:
    turns = await conversation(store, "One", "Two")
    async with store.database.platform() as session:
        await session.execute(
            text("UPDATE stored_responses SET expires_at = now() - interval '1 second' WHERE id = :id"),
            {"id": turns[0].id},
        )
    assert await store.lookup.find(store.ours, turns[0].id) is None
    assert await store.lookup.history(store.ours, turns[1].id) is None
    assert await store.lookup.items(store.ours, turns[0].item_ids) == {}
    [leftover] = [one for one in LEFTOVERS if one.table == "stored_responses"]
    async with store.database.platform() as session:
        assert await jobs.delete_leftovers(session, leftover, 1000) >= 1
    async with store.database.tenant(store.ours.tenant_id) as session:
        left = set(await session.scalars(text("SELECT id FROM stored_responses")))
    assert left == {turns[1].id}


async def test_it_lies_sealed_and_bound_to_its_place(store: Store, database: Database) -> None:
    kept, other = (await conversation(store, SECRET))[0], (await conversation(store, "other"))[0]
    async with database.platform() as session:
        query = text("SELECT envelope, kek_id, expires_at - created_at AS life FROM stored_responses WHERE id = :id")
        row = (await session.execute(query, {"id": kept.id})).one()
        assert SECRET.encode() not in row.envelope
        assert row.kek_id == BOX.kek_id
        assert abs(row.life - timedelta(days=30)) < timedelta(minutes=5)
        # Put in another's place, it opens no more.
        await session.execute(
            text("UPDATE stored_responses SET envelope = :envelope WHERE id = :id"),
            {"envelope": row.envelope, "id": other.id},
        )
    with pytest.raises(EnvelopeError):
        await store.lookup.find(store.ours, other.id)


async def test_what_is_too_large_is_not_kept(store: Store) -> None:
    large = turn("x" * 2_000)
    assert not await sink(store.database, max_bytes=1_000).keep(store.ours, large)
    assert await store.lookup.find(store.ours, large.id) is None


async def test_nothing_is_kept_where_nothing_may_be(store: Store) -> None:
    assert not await sink(store.database, days=0).keep(store.ours, turn())


async def test_a_conversation_that_has_grown_too_large_is_refused(store: Store) -> None:
    turns = await conversation(store, "x" * 2_000, "y" * 2_000)
    small = lookup(store.database, max_bytes=3_000)
    assert await small.history(store.ours, turns[0].id) is not None
    with pytest.raises(BadRequest) as caught:
        await small.history(store.ours, turns[1].id)
    assert (caught.value.code, caught.value.param) == ("conversation_too_long", "previous_response_id")


async def test_a_database_that_is_away_is_503_and_soon_costs_no_wait() -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing", pool_size=1)
    try:
        for _ in range(5):
            with pytest.raises(DependencyUnavailable):
                await lookup(away).find(principal(), uuid7())
        keeper = sink(away)
        for _ in range(5):
            with pytest.raises(DependencyUnavailable):
                await keeper.keep(principal(), turn())
        begun = asyncio.get_running_loop().time()
        with pytest.raises(DependencyUnavailable):
            await keeper.keep(principal(), turn())
        assert asyncio.get_running_loop().time() - begun < 0.2
    finally:
        await away.close()


async def test_a_database_that_falls_silent_costs_its_deadline_and_no_more(store: Store, database_url: str) -> None:
    """Not dead: connections are open, and nobody answers on them."""
    async with silencing(database_url) as line:
        slow = Database(line.url, pool_size=2)
        try:
            keeper = sink(slow)
            assert await keeper.keep(store.ours, turn())
            line.is_silent = True
            begun = asyncio.get_running_loop().time()
            with pytest.raises(DependencyUnavailable):
                await keeper.keep(store.ours, turn())
            assert asyncio.get_running_loop().time() - begun < 1.8
        finally:
            line.cut()
            await keeper.close()
            await slow.close()
