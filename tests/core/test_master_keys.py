"""Master keys come from one place, from files nobody else can read, and the former ones stay known."""

from pathlib import Path

import pytest

from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey, MasterKeyError
from tollkeeper.core.ids import uuid7
from tollkeeper.core.key_file import KeyFileError, read_key_texts
from tollkeeper.core.master_keys import MasterKeys
from tollkeeper.core.secrets import KeyHasher, new_key
from tollkeeper.core.tokens import AccessTokens

OLD, NEW, THIRD = ("old-master-key-" * 3, "new-master-key-" * 3, "a third, with a comma and spaces in it " * 2)


def key_file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / f"key-{len(list(tmp_path.iterdir()))}"
    path.write_text(text)
    path.chmod(mode)
    return path


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


def test_key_of_a_file_is_the_key_of_the_setting(tmp_path: Path) -> None:
    from_file = MasterKeys.of(settings(master_key_file=key_file(tmp_path, f"{NEW}\n")))
    from_setting = MasterKeys.of(settings(master_key=NEW))
    assert from_file is not None
    assert from_setting is not None
    assert from_file.current.fingerprint() == from_setting.current.fingerprint()
    assert MasterKeys.of(settings()) is None


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o644, 0o666])
def test_key_file_that_others_can_open_is_refused_with_the_command_to_close_it(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, NEW, mode)
    with pytest.raises(MasterKeyError, match=f"chmod 600 {path}"):
        MasterKeys.of(settings(master_key_file=path))
    with pytest.raises(MasterKeyError, match="PREVIOUS_FILE"):
        MasterKeys.of(settings(master_key=OLD, master_keys_previous_file=path))


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_key_file_of_the_owner_and_its_group_is_read(tmp_path: Path, mode: int) -> None:
    assert MasterKeys.of(settings(master_key_file=key_file(tmp_path, NEW, mode))) is not None


def test_faulty_key_files_are_named_and_not_quoted(tmp_path: Path) -> None:
    two = key_file(tmp_path, f"{NEW}\n{OLD}\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff" * 40)
    binary.chmod(0o600)
    large = key_file(tmp_path, "x" * 70_000)
    for path in (two, binary, large, tmp_path, tmp_path / "absent", key_file(tmp_path, "")):
        with pytest.raises(KeyFileError) as refusal:
            read_key_texts(None, path, None, None)
        assert str(path) in str(refusal.value)
        assert "master-key" not in str(refusal.value)


def test_key_in_setting_and_file_at_once_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match="both set"):
        MasterKeys.of(settings(master_key=NEW, master_key_file=key_file(tmp_path, OLD)))


def test_previous_keys_come_from_both_places_without_the_current_one(tmp_path: Path) -> None:
    path = key_file(tmp_path, f"{THIRD}\n\n{NEW}\n")
    texts = read_key_texts(NEW, None, f"{OLD}, {NEW}", path)
    assert texts.previous == (OLD, THIRD.strip())
    # Handed on to the workers, they are the same keys again.
    assert read_key_texts(NEW, None, texts.joined, None) == texts
    assert OLD not in repr(texts)


def test_short_previous_key_is_refused() -> None:
    with pytest.raises(MasterKeyError, match="MASTER_KEYS_PREVIOUS"):
        MasterKeys.of(settings(master_key=NEW, master_keys_previous="short"))


def test_everything_made_under_the_former_key_still_holds() -> None:
    old, keys = MasterKey(OLD), MasterKeys.of(settings(master_key=NEW, master_keys_previous=OLD))
    assert keys is not None
    key = new_key()
    known = KeyHasher(old).digest_token(key.token)
    hasher = KeyHasher(keys.current, *keys.previous)
    assert hasher.matches(known, key.public_id, key.secret)
    assert hasher.digest_token(key.token).pepper_id == keys.current.pepper_id
    clock = SystemClock()
    token, claims = AccessTokens(old, clock).issue(user_id=uuid7(), tenant_id=uuid7(), session_id=uuid7(), epoch=0)
    assert AccessTokens(keys.current, clock, older=keys.previous).verify(token) == claims
    assert keys.find(old.fingerprint()) is not None
    assert keys.previous_fingerprints == {old.fingerprint()}
