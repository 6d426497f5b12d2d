"""Keys of our own form are recognised without asking anyone; what is kept of any key does not give it away."""

import hashlib
import string
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.secrets import (
    KeyDigest,
    KeyHasher,
    digest_opaque,
    display_prefix,
    is_importable,
    is_other_form,
    last_four,
    new_key,
    new_opaque_token,
    parse_key,
)

MASTER = MasterKey("0123456789abcdef" * 4)
OLDER = MasterKey("fedcba9876543210" * 4)
ALPHABET = string.ascii_letters + string.digits


@pytest.mark.parametrize("environment", ["live", "test"])
def test_new_key_is_read_back(environment: str) -> None:
    key = new_key(environment)
    parsed = parse_key(key.token)
    assert parsed is not None
    assert (parsed.environment, parsed.public_id, parsed.secret) == (environment, key.public_id, key.secret)
    assert key.token.startswith(f"tk-{environment}_{key.public_id}_{key.secret}")
    assert (len(key.public_id), len(key.secret), len(key.token)) == (12, 32, 3 + 4 + 1 + 12 + 1 + 32 + 6)


def test_rotated_key_keeps_its_public_id_and_nothing_else() -> None:
    before = new_key("test")
    after = new_key("test", public_id=before.public_id)
    assert (after.public_id, after.environment) == (before.public_id, "test")
    assert after.secret != before.secret


def test_every_changed_character_is_refused_without_a_look() -> None:
    token = new_key().token
    for position in range(len(token)):
        for replacement in ALPHABET + "_-":
            changed = token[:position] + replacement + token[position + 1 :]
            assert changed == token or parse_key(changed) is None


@given(st.text(max_size=120))
def test_garbage_is_no_key(token: str) -> None:
    assert parse_key(token) is None


@pytest.mark.parametrize("damage", ["{}\n", " {}", "{}x", "{}\0"])
def test_key_with_something_around_it_is_no_key(damage: str) -> None:
    assert parse_key(damage.format(new_key().token)) is None


def test_check_is_the_same_for_scanners_everywhere() -> None:
    assert parse_key("tk-live_0123456789AB_" + "a" * 32 + "3Xp9kW") is not None


def test_keys_do_not_repeat() -> None:
    keys = [new_key() for _ in range(1000)]
    assert len({key.public_id for key in keys}) == len({key.secret for key in keys}) == 1000


def test_secret_is_not_shown_by_repr() -> None:
    key = new_key()
    parsed = parse_key(key.token)
    assert key.secret not in repr(key)
    assert key.secret not in repr(parsed)


def test_digest_proves_the_secret_and_only_it() -> None:
    hasher = KeyHasher(MASTER)
    key, other = new_key(), new_key()
    known = hasher.digest(key.public_id, key.secret)
    assert known == hasher.digest_token(key.token)
    assert hasher.digests(key.token) == {known.pepper_id: known.digest}
    assert hasher.matches(known, key.public_id, key.secret)
    assert not hasher.matches(known, key.public_id, other.secret)
    assert not hasher.matches(known, other.public_id, key.secret)
    assert not hasher.matches(KeyDigest("unknown", known.digest), key.public_id, key.secret)


def test_digest_of_the_environment_is_the_rows_business() -> None:
    """The public id decides the row; a live key written as a test key fails at its check already."""
    key = new_key("live")
    assert parse_key(key.token.replace("tk-live_", "tk-test_")) is None


def test_older_pepper_still_proves_while_new_digests_use_the_new_one() -> None:
    key = new_key()
    before = KeyHasher(OLDER).digest_token(key.token)
    rotating = KeyHasher(MASTER, OLDER)
    assert rotating.matches(before, key.public_id, key.secret)
    assert rotating.digests(key.token)[before.pepper_id] == before.digest
    assert rotating.digest_token(key.token).pepper_id == rotating.pepper_id == MASTER.pepper_id != before.pepper_id


def test_other_forms_are_found_under_every_known_pepper() -> None:
    token = "tk-" + "x" * 40
    rotating = KeyHasher(MASTER, OLDER)
    digests = rotating.digest_other(token)
    assert digests == [KeyHasher(MASTER).digest_token(token).digest, KeyHasher(OLDER).digest_token(token).digest]
    assert list(rotating.digests(token).values()) == digests
    assert rotating.public_id(token) is None


@pytest.mark.parametrize(
    ("token", "is_fit"),
    [
        ("tk-" + "a" * 29, True),
        ("tk-" + "a" * 28, False),
        ("tk-my.own_key~1-" + "b" * 30, True),
        ("sk-" + "a" * 40, False),
        ("tk-" + "a" * 30 + " b", False),
        ("tk-" + "a" * 30 + "\n", False),
        ("tk-" + "ä" * 40, False),
        ("tk-" + "a" * 600, False),
        ("tk-live_" + "a" * 40, False),
    ],
)
def test_other_form_is_long_plain_and_not_almost_ours(token: str, is_fit: bool) -> None:
    assert is_other_form(token) is is_fit


@pytest.mark.parametrize(
    ("token", "is_fit"),
    [
        ("sk-" + "a" * 13, True),
        ("sk-" + "a" * 12, False),
        ("a" * 512, True),
        ("a" * 513, False),
        ("!~{}\"'\\" * 4, True),
        ("sk-with a space in it", False),
        ("sk-with-a-newline-in\n", False),
        ("sk-ümlaut-0123456789", False),
        ("tk-live_" + "a" * 40, False),
        (new_key().token, True),
    ],
)
def test_importable_is_what_a_header_carries(token: str, is_fit: bool) -> None:
    assert is_importable(token) is is_fit


def test_imported_key_is_proven_by_its_token_and_not_by_its_hash() -> None:
    hasher, token = KeyHasher(MASTER, OLDER), "sk-" + "a1" * 20
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    known = hasher.digests_of_sha256(sha256.upper())
    assert known == hasher.digests_of_sha256(sha256) == hasher.imported_digests(token) == hasher.digests(token)
    assert known.keys() == {MASTER.pepper_id, OLDER.pepper_id}
    for presented in (sha256, f"sha256:{sha256}", "tk-" + sha256, "tk-sha256:" + sha256):
        for digests in (hasher.digests(presented), hasher.imported_digests(presented)):
            assert set(digests.values()).isdisjoint(known.values())


def test_key_we_made_and_its_imported_hash_are_kept_apart() -> None:
    hasher = KeyHasher(MASTER)
    for token in (new_key().token, "tk-" + "x" * 40):
        assert set(hasher.digests(token).values()).isdisjoint(hasher.imported_digests(token).values())


def test_lists_show_nothing_of_the_secret() -> None:
    key = new_key()
    assert key.display_prefix == f"tk-live_{key.public_id}"
    assert key.last_four == key.token[-4:]
    assert display_prefix("tk-abcdefghijklmnopqrstuvwxyz0123456789") == "tk-abc"
    assert last_four("tk-abcdefghijklmnopqrstuvwxyz0123456789") == "6789"


def test_opaque_tokens_are_kept_as_digests() -> None:
    token = new_opaque_token()
    assert len(token) == 43
    assert digest_opaque(token) != digest_opaque(new_opaque_token())
    assert len(digest_opaque(token)) == 32


def test_reading_a_key_takes_microseconds() -> None:
    token, hasher = new_key().token, KeyHasher(MASTER)
    best = min(timeit.repeat(lambda: (parse_key(token), hasher.digests(token)), number=200, repeat=5)) / 200
    assert best < 100e-6  # 12 µs on an idle machine; garbage must not be a way to load us
