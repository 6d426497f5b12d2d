"""Envelopes open for the row they were sealed for, under the key they were sealed with, and for nothing else."""

import dataclasses
import pickle
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.core.crypto import Aad, EnvelopeDamaged, MasterKey, MasterKeyError, SecretBox, UnknownKek

MASTER = MasterKey("0123456789abcdef" * 4)
OTHER = MasterKey("fedcba9876543210" * 4)
ROW = Aad(uuid4(), uuid4(), "credential", 1)


@given(st.binary(max_size=2000))
def test_sealed_secret_opens_again(plaintext: bytes) -> None:
    box = SecretBox(MASTER)
    assert box.open(box.seal(plaintext, ROW), ROW) == plaintext


def test_no_envelope_repeats_itself() -> None:
    box = SecretBox(MASTER)
    assert box.seal(b"same", ROW) != box.seal(b"same", ROW)


def test_every_flipped_bit_is_noticed() -> None:
    box = SecretBox(MASTER)
    envelope = box.seal(b"sk-upstream", ROW)
    for position in range(len(envelope) * 8):
        damaged = bytearray(envelope)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((EnvelopeDamaged, UnknownKek)):
            box.open(bytes(damaged), ROW)


def test_every_cut_is_noticed() -> None:
    box = SecretBox(MASTER)
    envelope = box.seal(b"sk-upstream", ROW)
    for length in range(len(envelope)):
        with pytest.raises(EnvelopeDamaged):
            box.open(envelope[:length], ROW)
    with pytest.raises(EnvelopeDamaged):
        box.open(envelope + b"\0", ROW)


@pytest.mark.parametrize(
    "change",
    [{"tenant_id": uuid4()}, {"tenant_id": None}, {"owner_id": uuid4()}, {"field": "headers"}, {"version": 2}],
)
def test_moved_envelope_does_not_open(change: dict[str, object]) -> None:
    box = SecretBox(MASTER)
    envelope = box.seal(b"sk-upstream", ROW)
    with pytest.raises(EnvelopeDamaged):
        box.open(envelope, dataclasses.replace(ROW, **change))  # type: ignore[arg-type]


def test_parts_of_two_envelopes_do_not_make_a_third() -> None:
    box = SecretBox(MASTER)
    first, second = box.seal(b"a" * 32, ROW), box.seal(b"b" * 32, ROW)
    assert len(first) == len(second)
    mixed = {first[:cut] + second[cut:] for cut in range(1, len(first))} - {first, second}
    for envelope in mixed:
        with pytest.raises(EnvelopeDamaged):
            box.open(envelope, ROW)


def test_unknown_master_key_is_told_apart_from_damage() -> None:
    envelope = SecretBox(OTHER).seal(b"sk-upstream", ROW)
    with pytest.raises(UnknownKek, match=OTHER.kek_id):
        SecretBox(MASTER).open(envelope, ROW)
    assert SecretBox(MASTER).kek_of(envelope) == OTHER.kek_id


def test_older_master_key_still_opens_and_rewraps() -> None:
    old = SecretBox(OTHER).seal(b"sk-upstream", ROW)
    rotating = SecretBox(MASTER, OTHER)
    assert rotating.open(old, ROW) == b"sk-upstream"
    new = rotating.rewrap(old)
    assert rotating.kek_of(new) == MASTER.kek_id
    assert SecretBox(MASTER).open(new, ROW) == b"sk-upstream"


def test_damaged_envelope_is_not_rewrapped() -> None:
    box = SecretBox(MASTER)
    envelope = bytearray(box.seal(b"sk-upstream", ROW))
    envelope[-1] ^= 1
    with pytest.raises(EnvelopeDamaged):
        box.rewrap(bytes(envelope))


def test_keys_of_each_purpose_differ() -> None:
    found = {MASTER.pepper, MASTER.kek, MASTER.jwt_key, MASTER.derive("csrf"), OTHER.pepper, OTHER.kek}
    assert len(found) == 6
    assert all(len(key) == 32 for key in found)


def test_derived_keys_never_change() -> None:
    """Another derivation would make every stored key and credential useless."""
    assert MASTER.fingerprint() == "2d3dd6a876d0abdf"
    assert (MASTER.pepper_id, MASTER.kek_id, MASTER.jwt_key_id) == ("e448ddbe", "bd771d43", "79638c8b")
    assert MASTER.pepper.hex().startswith("2fddd9cdd36ad4e9")


def test_short_master_key_is_refused_with_the_command_to_make_one() -> None:
    with pytest.raises(MasterKeyError, match="openssl rand -hex 32"):
        MasterKey("x" * 31)
    with pytest.raises(MasterKeyError):
        MasterKey(" " * 40)


def test_generated_master_keys_are_usable_and_differ() -> None:
    assert MasterKey(MasterKey.generate()).fingerprint() != MasterKey(MasterKey.generate()).fingerprint()


def test_master_key_shows_itself_nowhere() -> None:
    assert "0123456789abcdef" not in repr(MASTER)
    assert MASTER.kek.hex() not in repr(MASTER)
    with pytest.raises(TypeError):
        pickle.dumps(MASTER)
