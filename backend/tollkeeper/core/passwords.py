"""Passwords: argon2id, computed in threads, never more at once than the machine can bear.

The only module that imports passlib. A sign-in for a user who does not exist costs what any other does, so that the
time of the answer tells nobody which addresses are known.
"""

import asyncio
import secrets
import string
import unicodedata
import warnings
from collections.abc import Callable
from typing import Any, Final, TypeVar

from tollkeeper.core.errors import RateLimited

with warnings.catch_warnings():
    # passlib 1.7.4 is the last one: it still looks for `crypt` and asks argon2-cffi for its version the old way.
    warnings.filterwarnings("ignore", message="'crypt' is deprecated", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="Accessing argon2.__version__", category=DeprecationWarning)
    from passlib.hash import argon2

    argon2.set_backend("argon2_cffi")

LONGEST_PASSWORD: Final = 1024
# OWASP Password Storage Cheat Sheet, 2026: 19 MiB, two passes, one lane.
MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
MOST_WAITING: Final = 64

# Any: the stubs leave most of it untyped.
_ARGON2: Final[Any] = argon2
_HASHER: Final[Any] = _ARGON2.using(type="ID", memory_cost=MEMORY_KIB, rounds=PASSES, parallelism=1)
# Of a random value nobody kept, with the parameters above.
_NOBODYS: Final = "$argon2id$v=19$m=19456,t=2,p=1$OifknPPeG0OIUUrJ2fv/Xw$hMtwjyXCzQExb7RegpLXlKShVcVPRK1MdnJVDcrAPCY"
_READABLE: Final = "".join(sorted(set(string.ascii_letters + string.digits) - set("0O1lI")))

Result = TypeVar("Result")


class Passwords:
    """`concurrency` computations at a time, each about 30 ms of one core and 19 MiB."""

    def __init__(self, *, concurrency: int = 2) -> None:
        self._free = asyncio.Semaphore(concurrency)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """What to store. Raises ValueError for a password that is too long or no text."""
        encoded = _encode(password)
        if encoded is None:
            raise ValueError(f"a password has at most {LONGEST_PASSWORD} characters of valid text")
        return await self._compute(lambda: str(_HASHER.hash(encoded)))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is right. For None (no such user, or one without a password): as slow, and False."""
        encoded = _encode(password)
        if encoded is None or password_hash is None or not _ARGON2.identify(password_hash):
            await self._compute(lambda: _ARGON2.verify(b"", _NOBODYS))
            return False
        return await self._compute(lambda: _verify(encoded, password_hash))

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether a stored hash is weaker than what `hash` makes today; replace it at the next right sign-in."""
        return bool(_HASHER.needs_update(password_hash))

    async def _compute(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= MOST_WAITING:
            raise RateLimited("Too many people are signing in at this moment; try again.", retry_after_seconds=2.0)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        computing = asyncio.get_running_loop().run_in_executor(None, work)
        # The place is free when the thread ends, not when a caller goes away: a thread cannot be cancelled.
        computing.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(computing)


def new_password() -> str:
    """For the first administrator: 24 characters that cannot be mistaken for each other, 139 bit."""
    return "".join(secrets.choice(_READABLE) for _ in range(24))


def _verify(password: bytes, password_hash: str) -> bool:
    try:
        return bool(_ARGON2.verify(password, password_hash))
    except ValueError:
        return False  # A damaged hash proves nothing.


def _encode(password: str) -> bytes | None:
    """Keyboards differ in how they write the same accented letter: compare one normal form."""
    if len(password) > LONGEST_PASSWORD:
        return None
    try:
        return unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None
