"""Guessing is slow, and never locks the owner out."""

import pytest

from tests.domains.control_plane import ControlPlane, MovableClock
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.domains.identity.throttle import LoginThrottle, Place


async def tries(throttle: LoginThrottle, email: str, place: Place) -> int:
    """How many are let through at once."""
    for count in range(1000):
        try:
            await throttle.charge_login(email, place)
        except RateLimited:
            return count
    raise AssertionError("never refused")


def at(address: str | None, *, is_known: bool = False) -> Place:
    return Place(address, is_known_address=is_known)


async def test_one_address_tries_one_account_five_times() -> None:
    clock = MovableClock()
    throttle = LoginThrottle(clock)
    assert await tries(throttle, "a@x", at("10.0.0.1")) == 5
    assert await tries(throttle, "b@x", at("10.0.0.1")) == 5
    clock.ahead = 31
    assert await tries(throttle, "a@x", at("10.0.0.1")) == 1


async def test_a_refusal_tells_the_true_wait() -> None:
    throttle = LoginThrottle(MovableClock())
    await tries(throttle, "a@x", at("10.0.0.1"))
    with pytest.raises(RateLimited) as refused:
        await throttle.charge_login("a@x", at("10.0.0.1"))
    assert refused.value.retry_after_seconds == pytest.approx(30, abs=1)


async def test_one_address_tries_many_accounts_thirty_times() -> None:
    throttle = LoginThrottle(MovableClock())
    assert sum([await tries(throttle, f"user{n}@x", at("10.0.0.1")) for n in range(20)]) == 30


async def test_a_whole_ipv6_network_is_one_address() -> None:
    throttle = LoginThrottle(MovableClock())
    assert sum([await tries(throttle, "a@x", at(f"2001:db8::{n:x}")) for n in range(1, 9)]) == 5


async def test_many_addresses_try_one_account_twenty_times_and_the_owner_still_gets_in() -> None:
    throttle = LoginThrottle(MovableClock())
    assert sum([await tries(throttle, "owner@x", at(f"10.0.{n}.1")) for n in range(50)]) == 20
    assert await tries(throttle, "owner@x", at("192.0.2.1", is_known=True)) == 5


async def test_a_known_browser_is_counted_apart_wherever_it_is() -> None:
    throttle = LoginThrottle(MovableClock())
    for network in range(10):
        await tries(throttle, "owner@x", at(f"10.0.{network}.1"))
    await tries(throttle, "else@x", at("192.0.2.1"))
    assert await tries(throttle, "owner@x", Place("192.0.2.1", device="of the owner")) == 10


async def test_a_right_password_is_given_back() -> None:
    throttle = LoginThrottle(MovableClock())
    for _ in range(100):
        await throttle.charge_login("a@x", at("10.0.0.1"))
        await throttle.give_back_login("a@x", at("10.0.0.1"))
    assert await tries(throttle, "a@x", at("10.0.0.1")) == 5


async def test_a_code_is_tried_five_times_from_a_strange_place_and_the_owner_apart() -> None:
    throttle, user_id = LoginThrottle(MovableClock()), uuid7()
    for number in range(5):
        await throttle.charge_code(user_id, at(f"10.0.0.{number}"))
    with pytest.raises(RateLimited):
        await throttle.charge_code(user_id, at("10.9.9.9"))
    await throttle.charge_code(user_id, at("192.0.2.1", is_known=True))
    await throttle.charge_code(user_id, Place("10.0.0.1", device="of the owner"))


async def test_mails_to_one_recipient_are_few() -> None:
    throttle = LoginThrottle(MovableClock())
    for number in range(3):
        await throttle.charge_mail("ann@x", f"10.0.{number}.1")
    with pytest.raises(RateLimited):
        await throttle.charge_mail("ann@x", "10.9.9.9")


async def test_memory_is_bounded() -> None:
    throttle = LoginThrottle(MovableClock())
    for number in range(30_000):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        await throttle.charge_login(f"{number}@x", at(address, is_known=True))
    assert throttle.throttle.size <= 20_000


async def test_a_guesser_is_told_when_to_come_back(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER, password="correct horse battery")
    body = {"email": f"{user_id.hex}@example.com", "password": "wrong password"}
    plane.services.login_throttle = LoginThrottle(plane.clock)
    async with plane.client() as client:
        answers = [await client.post("/api/v1/auth/login", json=body) for _ in range(6)]
        right = await client.post("/api/v1/auth/login", json={**body, "password": "correct horse battery"})
        plane.clock.ahead = 60
        later = await client.post("/api/v1/auth/login", json={**body, "password": "correct horse battery"})
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert right.status_code == 429
    assert later.status_code == 200
