"""The text of the master keys: from a setting or from a file that others cannot read.

Standard library only: the supervisor reads them before anything heavy is loaded.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_LARGEST_FILE: Final = 64 * 1024


class KeyFileError(ValueError):
    """The message names the setting and what to do, never what a file holds."""


@dataclass(frozen=True, slots=True)
class KeyTexts:
    """`previous` are other keys still known: former ones, or the one that comes next."""

    current: str | None = field(repr=False)
    previous: tuple[str, ...] = field(default=(), repr=False)

    @property
    def joined(self) -> str | None:
        """The previous keys as `TOLLKEEPER_MASTER_KEYS_PREVIOUS` takes them, whatever characters they hold."""
        return "".join(f"{text}\n" for text in self.previous) or None


def read_key_texts(
    key: str | None, key_file: Path | None, previous: str | None, previous_file: Path | None
) -> KeyTexts:
    """Raises `KeyFileError`."""
    if key and key_file is not None:
        raise KeyFileError("TOLLKEEPER_MASTER_KEY and TOLLKEEPER_MASTER_KEY_FILE are both set. Unset one of them.")
    current = key.strip() if key else None
    if key_file is not None:
        lines = list(_lines(_read_private(key_file, "TOLLKEEPER_MASTER_KEY_FILE")))
        if len(lines) != 1:
            raise KeyFileError(f"{key_file} (TOLLKEEPER_MASTER_KEY_FILE) must hold one line: the master key.")
        current = lines[0]
    found = list(_split(previous or ""))
    if previous_file is not None:
        found += _lines(_read_private(previous_file, "TOLLKEEPER_MASTER_KEYS_PREVIOUS_FILE"))
    return KeyTexts(current, tuple(dict.fromkeys(text for text in found if text != current)))


def _split(text: str) -> Iterator[str]:
    """One a line; on a single line, separated by commas."""
    return _lines(text) if "\n" in text else _lines(text.replace(",", "\n"))


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())


def _read_private(path: Path, setting: str) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} ({setting}) is no file.")
        if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise KeyFileError(f"{path} ({setting}) is open to others. Close it: chmod 600 {path}")
        if status.st_size > _LARGEST_FILE:
            raise KeyFileError(f"{path} ({setting}) is too large to hold keys.")
        return path.read_text()
    except OSError as error:
        raise KeyFileError(f"{path} ({setting}) cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} ({setting}) is no text.") from None
