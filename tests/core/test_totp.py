"""RFC 6238's own vectors, and what is accepted when."""

import base64

import pytest

from tollkeeper.core import totp

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("unix", "code"),
    # RFC 6238, appendix B, SHA-1.
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_codes_are_those_of_the_standard(unix: int, code: str) -> None:
    assert totp.code_at(SECRET, unix // totp.STEP_SECONDS, digits=8) == code
    assert totp.code_at(SECRET, unix // totp.STEP_SECONDS) == code[-6:]


def test_one_step_to_either_side_is_taken_and_no_more() -> None:
    taken = [step for step in range(95, 106) if totp.find_step(SECRET, totp.code_at(SECRET, step), 3000, after=0)]
    assert taken == [99, 100, 101]


def test_a_step_that_was_used_is_used_up_and_so_are_those_before() -> None:
    code = totp.code_at(SECRET, 100)
    assert totp.find_step(SECRET, code, 3000, after=99) == 100
    assert totp.find_step(SECRET, code, 3000, after=100) is None
    assert totp.find_step(SECRET, totp.code_at(SECRET, 99), 3000, after=100) is None
    assert totp.find_step(SECRET, totp.code_at(SECRET, 101), 3000, after=100) == 101


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "٠" * 6, " " * 6])
def test_what_is_no_code_is_no_step(code: str) -> None:
    assert totp.find_step(SECRET, code, 3000, after=0) is None


def test_the_uri_carries_what_an_app_reads() -> None:
    secret = totp.new_secret()
    uri = totp.provisioning_uri(secret, account="ann+x@example.com", issuer="Toll: keeper")
    assert uri.startswith("otpauth://totp/Toll%3A%20keeper:ann%2Bx%40example.com?")
    shown = uri.partition("secret=")[2].partition("&")[0]
    assert base64.b32decode(shown) == secret
    assert len(secret) == totp.SECRET_BYTES
