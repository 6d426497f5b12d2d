"""Deadlines and the breaker in front of Redis, against servers that are paused, killed or late."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import hiredis
import pytest
import redis.asyncio

from tollkeeper.core.clock import SystemClock
from tollkeeper.core.embedded import EmbeddedValkey
from tollkeeper.core.redis import RedisLink, RedisUnavailable, create_client
from tollkeeper.core.resp import parse_url

Connect = Callable[..., Awaitable[RedisLink]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    links: list[RedisLink] = []

    async def build(url: str, **options: object) -> RedisLink:
        links.append(RedisLink(url, SystemClock(), **options))
        await links[-1].start()
        return links[-1]

    yield build
    for link in links:
        await link.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


async def test_commands_are_answered_in_order(connect: Connect, valkey_url: str) -> None:
    link = await connect(valkey_url)

    replies = await link.call_many([("SET", "link:a", 1), ("GET", "link:a"), ("BOGUS",), ("DEL", "link:a")])

    assert [replies[0], replies[1], replies[3]] == [b"OK", b"1", 1]
    assert isinstance(replies[2], hiredis.ReplyError)
    with pytest.raises(hiredis.ReplyError):
        await link.call("BOGUS")


async def test_a_cancelled_caller_leaves_the_connection_in_step(connect: Connect, valkey_url: str) -> None:
    link = await connect(valkey_url)

    tasks = [asyncio.create_task(link.call("ECHO", str(n))) for n in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert answers[1::2] == [str(n).encode() for n in range(1, 100, 2)]
    assert await link.call("ECHO", "after") == b"after"
    assert link.state().trips == 0


async def test_each_connection_tells_the_run_id_of_its_server(connect: Connect, valkey_url: str) -> None:
    told: list[str | None] = []
    link = await connect(valkey_url, on_connect=told.append)

    (run_id,) = told

    assert run_id is not None
    assert len(run_id) == 40
    assert link.state().run_id == run_id


async def test_nobody_there_is_said_at_once_and_found_later(connect: Connect, server_dir: Path) -> None:
    with EmbeddedValkey(server_dir) as server:
        url = server.endpoint.url
    link = await connect(url)
    assert not link.is_available
    started = time.perf_counter()
    with pytest.raises(RedisUnavailable):
        await link.call("PING")
    assert time.perf_counter() - started < 0.02

    with EmbeddedValkey(server_dir) as server:
        await until(lambda: link.is_available)
        assert await link.call("PING") == b"PONG"


@pytest.mark.fault
async def test_a_stalled_redis_costs_one_deadline_and_then_nothing(connect: Connect, server_dir: Path) -> None:
    with EmbeddedValkey(server_dir) as server:
        link = await connect(server.endpoint.url)
        pid = (await link.call("INFO", "server")).split(b"process_id:")[1].split(b"\r")[0]
        os.kill(int(pid), signal.SIGSTOP)
        try:
            started = time.perf_counter()
            answers = await asyncio.gather(*[link.call("PING") for _ in range(20)], return_exceptions=True)
            first = time.perf_counter() - started
            with pytest.raises(RedisUnavailable):
                await link.call("PING")
            then = time.perf_counter() - started - first
        finally:
            os.kill(int(pid), signal.SIGCONT)
        assert all(isinstance(answer, RedisUnavailable) for answer in answers)
        assert 0.045 < first < 1.0
        assert then < 0.02
        assert link.state().trips == 1
        await until(lambda: link.is_available)


async def test_a_reply_that_lay_in_the_socket_is_no_timeout(connect: Connect, valkey_url: str) -> None:
    """This process was late (a long pause), not Redis."""
    link = await connect(valkey_url)

    pending = asyncio.create_task(link.call("PING"))
    await asyncio.sleep(0)
    time.sleep(0.08)

    assert await pending == b"PONG"
    assert link.state().trips == 0


@pytest.mark.fault
async def test_a_restarted_server_is_another_run(connect: Connect, server_dir: Path) -> None:
    told: list[str | None] = []
    with EmbeddedValkey(server_dir) as server:
        link = await connect(server.endpoint.url, on_connect=told.append)
    await until(lambda: not link.is_available)
    with EmbeddedValkey(server_dir):
        await until(lambda: link.is_available)

        assert len(set(told)) == 2


async def test_a_server_that_talks_nonsense_is_no_redis(connect: Connect) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = await connect(f"redis://127.0.0.1:{port}")

        assert not link.is_available


async def test_a_server_that_hangs_up_after_its_answer_is_no_redis(connect: Connect) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"+PONG\r\n$10\r\nrun_id:abc\r\n")
        await writer.drain()
        writer.transport.abort()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = await connect(f"redis://127.0.0.1:{port}")

        await until(lambda: not link.is_available)
        with pytest.raises(RedisUnavailable):
            await link.call("PING")


async def test_a_wrong_password_is_a_problem_that_is_named_without_it(connect: Connect, valkey_url: str) -> None:
    address = parse_url(valkey_url)
    link = await connect(f"redis://nobody:hunter2@{address.host}:{address.port}/0")

    problem = link.state().problem or ""

    assert "WRONGPASS" in problem
    assert "hunter2" not in problem


def test_urls() -> None:
    address = parse_url("redis://user:p%40ss@example.com:6380/3")
    assert (address.host, address.port, address.tls) == ("example.com", 6380, None)
    assert address.greeting == (("AUTH", "user", "p@ss"), ("SELECT", "3"))
    assert parse_url("unix:///run/redis.sock?db=2").path == "/run/redis.sock"
    assert parse_url("rediss://example.com").tls is not None
    for bad in ("http://:secret@example.com", "redis://:secret@example.com/x"):
        with pytest.raises(ValueError) as caught:
            parse_url(bad)
        assert "secret" not in str(caught.value)


async def test_the_client_of_the_library_discards_a_connection_whose_command_was_cancelled(valkey_url: str) -> None:
    client: redis.asyncio.Redis = create_client(valkey_url, operation_seconds=1.0)
    await client.set("client:a", "first")
    task = asyncio.create_task(client.blpop("client:nothing", timeout=1))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await client.get("client:a") == b"first"
    await client.aclose()


async def test_the_client_of_the_library_has_deadlines() -> None:
    client = create_client(f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(redis.exceptions.ConnectionError):
        await client.get("a")
    await client.aclose()
