"""`tollkeeper users reset-password` beside a running gateway: the way back in for who has the machine."""

import httpx
import pytest

from tests.canaries import canary
from tests.commands.conftest import Gateway, Tollkeeper

EMAIL = "locked-out@localhost"


def sign_in(gateway: Gateway, password: str) -> int:
    body = {"email": EMAIL, "password": password}
    return httpx.post(f"{gateway.origin}/api/v1/auth/login", json=body, trust_env=False).status_code


def test_a_password_is_set_without_a_key_or_a_session(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    password = canary("password")
    made = tollkeeper("users", "create", EMAIL, "--role", "viewer", "--password-stdin", stdin="a first phrase\n")
    assert made.code == 0, made.error
    said = tollkeeper("users", "reset-password", EMAIL, "--password-stdin", stdin=f"{password}\n")
    assert said.code == 0, said.error
    assert "Every session of the account has ended" in said.error
    assert password not in said.out + said.error
    assert (sign_in(gateway, "a first phrase"), sign_in(gateway, password)) == (401, 200)


@pytest.mark.parametrize(
    ("email", "password", "reason"),
    [
        ("nobody@localhost", "a wholly new phrase", "no person with this address"),
        ("admin@localhost", "short", "8 to 1024 characters"),
        ("admin@localhost", "password123", "among the first that are guessed"),
    ],
)
def test_what_cannot_be_set_says_why(tollkeeper: Tollkeeper, email: str, password: str, reason: str) -> None:
    said = tollkeeper("users", "reset-password", email, "--password-stdin", stdin=f"{password}\n")
    assert said.code == 1
    assert reason in said.error
