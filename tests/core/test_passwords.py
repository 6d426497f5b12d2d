"""Passwords are hashed with argon2id, off the loop, a few at a time; nobody learns which users exist."""

import asyncio
import statistics
import time

import argon2
import pytest

from tollkeeper.core.errors import RateLimited
from tollkeeper.core.passwords import MOST_WAITING, Passwords, new_password


async def test_right_password_is_told_from_wrong_ones() -> None:
    passwords = Passwords()
    stored = await passwords.hash("correct horse battery staple")
    assert await passwords.verify("correct horse battery staple", stored)
    assert not await passwords.verify("correct horse battery stapl", stored)
    assert not await passwords.verify("", stored)


async def test_hash_meets_the_minimum_and_is_salted() -> None:
    passwords = Passwords()
    first, second = await passwords.hash("same"), await passwords.hash("same")
    assert first != second
    parameters = argon2.extract_parameters(first)
    assert first.startswith("$argon2id$")
    assert parameters.memory_cost >= 19 * 1024
    assert parameters.time_cost >= 2
    assert not passwords.needs_rehash(first)


async def test_weaker_hash_is_known_and_asks_for_a_new_one() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash("old")
    assert await Passwords().verify("old", weak)
    assert Passwords().needs_rehash(weak)


async def test_accents_may_be_typed_either_way() -> None:
    passwords = Passwords()
    assert await passwords.verify("cafe\u0301", await passwords.hash("caf\u00e9"))


@pytest.mark.parametrize("stored", [None, "", "plain", "$2b$12$abc", "$argon2id$v=19$m=19456,t=2,p=1$damaged"])
async def test_nothing_to_compare_with_is_a_no(stored: str | None) -> None:
    assert not await Passwords().verify("anything", stored)
    assert not await Passwords().verify("", stored)


@pytest.mark.parametrize("password", ["x" * 1025, "\ud800"])
async def test_what_cannot_be_a_password_is_no_error_at_sign_in(password: str) -> None:
    passwords = Passwords()
    assert not await passwords.verify(password, await passwords.hash("right"))
    with pytest.raises(ValueError, match="1024"):
        await passwords.hash(password)


async def test_unknown_user_takes_as_long_as_a_known_one() -> None:
    passwords = Passwords()
    stored = await passwords.hash("right")
    seconds: dict[str | None, list[float]] = {stored: [], None: []}
    for _ in range(7):
        for candidate, taken in seconds.items():
            begun = time.perf_counter()
            await passwords.verify("wrong", candidate)
            taken.append(time.perf_counter() - begun)
    ratio = statistics.median(seconds[None]) / statistics.median(seconds[stored])
    assert 0.4 < ratio < 2.5


async def test_loop_goes_on_while_passwords_are_computed() -> None:
    passwords = Passwords()
    turns = 0
    work = asyncio.ensure_future(passwords.hash("slow"))
    while not work.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10


async def test_cancelled_caller_does_not_free_a_busy_place() -> None:
    passwords = Passwords(concurrency=1)
    first = asyncio.ensure_future(passwords.hash("first"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert passwords._strangers.is_busy
    assert await passwords.verify("second", await passwords.hash("second"))


async def test_crowd_is_told_to_come_back() -> None:
    passwords = Passwords(concurrency=1)
    crowd = [asyncio.ensure_future(passwords.verify("x", None)) for _ in range(MOST_WAITING + 3)]
    await asyncio.sleep(0)
    refused = [task for task in crowd if task.done() and isinstance(task.exception(), RateLimited)]
    assert refused
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


def test_generated_passwords_differ_and_are_readable() -> None:
    first, second = new_password(), new_password()
    assert first != second
    assert len(first) == 24
    assert not set(first) & set("0O1lI")
