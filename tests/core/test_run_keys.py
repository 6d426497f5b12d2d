"""Run keys are believed only as they were signed: whole, in one spelling, under a master key that is known."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.ids import uuid7
from tollkeeper.core.log import mask
from tollkeeper.core.run_keys import LONGEST_SECONDS, LONGEST_TOKEN, Run, RunKeys, RunKeyTooLong
from tollkeeper.core.secrets import is_importable, is_other_form, parse_key

MASTER, OLDER = MasterKey(MasterKey.generate()), MasterKey(MasterKey.generate())
KEYS = RunKeys(MASTER)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-./:", min_size=1, max_size=20)
RUNS = st.builds(
    Run,
    tenant_id=st.uuids(),
    key_id=st.uuids(),
    run_id=st.uuids(),
    issued_unix_ms=st.integers(0, 2**42),
    lifetime_seconds=st.integers(1, LONGEST_SECONDS),
    budget_nano=st.none() | st.integers(1, 9_000_000 * 10**9),
    models=st.none() | st.frozensets(NAMES, min_size=1, max_size=10),
    is_named=st.booleans(),
)


def run() -> Run:
    return Run(uuid7(), uuid7(), uuid7(), 1_700_000_000_000, 60, 5, frozenset({"gpt-4o"}))


@given(RUNS)
def test_what_is_signed_is_read_back_the_same(made: Run) -> None:
    token = KEYS.sign(made)
    assert len(token) <= LONGEST_TOKEN
    assert re.fullmatch(r"tk-run_[A-Za-z0-9_-]+", token)
    assert KEYS.verify(token.encode()) == made


def test_no_other_byte_at_any_place_is_believed() -> None:
    token = KEYS.sign(run()).encode()
    for place in range(len(token)):
        for other in (b"A", b"B", b"-", b"=", b" ", b"\x00", b"\xff"):
            altered = token[:place] + other + token[place + 1 :]
            assert altered == token or KEYS.verify(altered) is None, place


def test_no_other_length_is_believed() -> None:
    token = KEYS.sign(run()).encode()
    for length in range(len(token)):
        assert KEYS.verify(token[:length]) is None
    for more in (b"A", b"AAAA", b"=", b"==", b"\n", b" ", token, b"A" * LONGEST_TOKEN):
        assert KEYS.verify(token + more) is None


@pytest.mark.parametrize("bits", range(8))
def test_no_altered_payload_is_believed_under_the_old_signature(bits: int) -> None:
    token = KEYS.sign(run())
    sealed = bytearray(base64.urlsafe_b64decode(token[7:] + "=" * (-len(token[7:]) % 4)))
    for place in range(len(sealed)):
        sealed[place] ^= 1 << bits
        altered = base64.urlsafe_b64encode(bytes(sealed)).rstrip(b"=")
        assert KEYS.verify(b"tk-run_" + altered) is None, place
        sealed[place] ^= 1 << bits


@given(st.binary(max_size=1_000))
def test_garbage_is_refused_without_an_error(garbage: bytes) -> None:
    assert KEYS.verify(b"tk-run_" + garbage) is None
    assert KEYS.verify(b"tk-run_" + base64.urlsafe_b64encode(garbage).rstrip(b"=")) is None
    assert KEYS.verify(garbage) is None


def test_a_megabyte_is_refused_by_its_length() -> None:
    assert KEYS.verify(b"tk-run_" + b"A" * 1_000_000) is None


def test_older_master_keys_are_accepted_and_foreign_ones_are_not() -> None:
    made = run()
    token = RunKeys(OLDER).sign(made).encode()
    assert KEYS.verify(token) is None
    assert RunKeys(MASTER, OLDER).verify(token) == made
    assert RunKeys(OLDER).verify(RunKeys(MASTER, OLDER).sign(made).encode()) is None


def test_a_run_key_is_never_longer_than_headers_carry() -> None:
    with pytest.raises(RunKeyTooLong):
        KEYS.sign(Run(uuid7(), uuid7(), uuid7(), 0, 60, models=frozenset(f"{n:05}-a-long-name" for n in range(20))))


def test_a_run_key_is_no_key_of_another_form_and_is_masked_in_logs() -> None:
    token = KEYS.sign(run())
    assert not is_other_form(token)
    assert not is_importable(token)
    assert parse_key(token) is None
    assert mask(f"refused {token}!") == "refused tk-***!"
