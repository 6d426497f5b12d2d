"""Guessing is slow, and never locks the owner out."""

import pytest

from tests.domains.control_plane import ControlPlane, MovableClock
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.permissions import Role
from tollkeeper.domains.identity.throttle import LoginThrottle


def tries(throttle: LoginThrottle, email: str, address: str | None, *, is_known: bool = False) -> int:
    """How many are let through at once."""
    for count in range(1000):
        try:
            throttle.charge(email, address, is_known_address=is_known)
        except RateLimited:
            return count
    raise AssertionError("never refused")


def test_one_address_tries_one_account_five_times() -> None:
    clock = MovableClock()
    throttle = LoginThrottle(clock)
    assert tries(throttle, "a@x", "10.0.0.1") == 5
    assert tries(throttle, "b@x", "10.0.0.1") == 5
    clock.ahead = 31
    assert tries(throttle, "a@x", "10.0.0.1") == 1


def test_a_refusal_tells_the_true_wait() -> None:
    throttle = LoginThrottle(MovableClock())
    tries(throttle, "a@x", "10.0.0.1")
    with pytest.raises(RateLimited) as refused:
        throttle.charge("a@x", "10.0.0.1", is_known_address=False)
    assert refused.value.retry_after_seconds == pytest.approx(30, abs=1)


def test_one_address_tries_many_accounts_thirty_times() -> None:
    throttle = LoginThrottle(MovableClock())
    assert sum(tries(throttle, f"user{n}@x", "10.0.0.1") for n in range(20)) == 30


def test_a_whole_ipv6_network_is_one_address() -> None:
    throttle = LoginThrottle(MovableClock())
    assert sum(tries(throttle, "a@x", f"2001:db8::{n:x}") for n in range(1, 9)) == 5


def test_many_addresses_try_one_account_twenty_times_and_the_owner_still_gets_in() -> None:
    throttle = LoginThrottle(MovableClock())
    assert sum(tries(throttle, "owner@x", f"10.0.{n}.1") for n in range(50)) == 20
    assert tries(throttle, "owner@x", "192.0.2.1", is_known=True) == 5


def test_a_right_password_is_given_back() -> None:
    throttle = LoginThrottle(MovableClock())
    for _ in range(100):
        throttle.charge("a@x", "10.0.0.1", is_known_address=False)
        throttle.give_back("a@x", "10.0.0.1", is_known_address=False)
    assert tries(throttle, "a@x", "10.0.0.1") == 5


def test_memory_is_bounded() -> None:
    throttle = LoginThrottle(MovableClock())
    for number in range(30_000):
        throttle.charge(f"{number}@x", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", is_known_address=True)
    assert len(throttle._full_until) <= 20_000


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
