"""The master keys of a process: the one in use, and others whose secrets it can still open."""

from dataclasses import dataclass
from typing import Self

from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey, MasterKeyError, SecretBox
from tollkeeper.core.key_file import KeyFileError, KeyTexts, read_key_texts


@dataclass(frozen=True, slots=True)
class MasterKeys:
    current: MasterKey
    previous: tuple[MasterKey, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None when no master key is set. Raises `MasterKeyError`."""
        texts = key_texts(settings)
        if texts.current is None:
            return None
        return cls(MasterKey(texts.current), tuple(_previous(text) for text in texts.previous))

    @property
    def previous_fingerprints(self) -> frozenset[str]:
        return frozenset(key.fingerprint() for key in self.previous)

    def find(self, fingerprint: str) -> MasterKey | None:
        return next((key for key in (self.current, *self.previous) if key.fingerprint() == fingerprint), None)

    def secret_box(self) -> SecretBox:
        return SecretBox(self.current, *self.previous)


def key_texts(settings: Settings) -> KeyTexts:
    """Raises `MasterKeyError`."""
    key, previous = settings.master_key, settings.master_keys_previous
    try:
        return read_key_texts(
            None if key is None else key.get_secret_value(),
            settings.master_key_file,
            None if previous is None else previous.get_secret_value(),
            settings.master_keys_previous_file,
        )
    except KeyFileError as error:
        raise MasterKeyError(str(error)) from None


def _previous(text: str) -> MasterKey:
    try:
        return MasterKey(text)
    except MasterKeyError:
        raise MasterKeyError(
            "A key of TOLLKEEPER_MASTER_KEYS_PREVIOUS is too short to have been a master key."
        ) from None
