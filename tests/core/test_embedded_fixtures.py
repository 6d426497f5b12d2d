"""The servers that every other test stands on."""

from collections.abc import Callable

import asyncpg
import redis.asyncio


async def test_databases_of_two_tests_are_strangers(new_database: Callable[[], str]) -> None:
    first = await asyncpg.connect(new_database())
    second = await asyncpg.connect(new_database())
    try:
        await first.execute("CREATE TABLE seen (n int)")
        assert await second.fetchval("SELECT to_regclass('seen')") is None
    finally:
        await first.close()
        await second.close()


async def test_database_has_vectors_and_a_plain_owner(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT '[3,4]'::vector <-> '[0,0]'::vector") == 5
        assert await connection.fetchval("SELECT NOT rolsuper FROM pg_roles WHERE rolname = current_user")
    finally:
        await connection.close()


async def test_valkey_answers(valkey_url: str) -> None:
    async with redis.asyncio.from_url(valkey_url) as client:
        assert (await client.info("server"))["valkey_version"].startswith("9.")


async def test_redis_6_2_is_the_real_one(redis62_url: str) -> None:
    async with redis.asyncio.from_url(redis62_url) as client:
        assert (await client.info("server"))["redis_version"].startswith("6.2.")


async def test_test_databases_have_the_schema(database_url: str, empty_database_url: str) -> None:
    found = []
    for url in (database_url, empty_database_url):
        connection = await asyncpg.connect(url)
        found.append(await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"))
        await connection.close()
    assert found == [True, False]
