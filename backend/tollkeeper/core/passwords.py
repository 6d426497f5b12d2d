"""Passwords: argon2id, computed in threads, never more at once than the machine can bear.

The only module that imports passlib. A sign-in for a user who does not exist costs what any other does, so that the
time of the answer tells nobody which addresses are known.
"""

import asyncio
import re
import secrets
import string
import unicodedata
import warnings
from collections.abc import Callable
from importlib.resources import files
from itertools import pairwise
from typing import Any, Final, TypeVar

from tollkeeper.core.errors import MalformedPayload
from tollkeeper.core.lane import Lane

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
# Of those long enough to be taken, the ones that guessers try first. Short on purpose: throttled sign-ins allow a few
# dozen guesses, and these are what they are spent on.
COMMON: Final = frozenset(files(__package__).joinpath("common_passwords.txt").read_text("ascii").split())
# Words shorter than this stand in too many good passwords.
_SHORTEST_WORD: Final = 4
_WORDS: Final = re.compile(r"[^\W\d_]+")

# Any: the stubs leave most of it untyped.
_ARGON2: Final[Any] = argon2
_HASHER: Final[Any] = _ARGON2.using(type="ID", memory_cost=MEMORY_KIB, rounds=PASSES, parallelism=1)
# Of a random value nobody kept, with the parameters above.
_NOBODYS: Final = "$argon2id$v=19$m=19456,t=2,p=1$OifknPPeG0OIUUrJ2fv/Xw$hMtwjyXCzQExb7RegpLXlKShVcVPRK1MdnJVDcrAPCY"
_READABLE: Final = "".join(sorted(set(string.ascii_letters + string.digits) - set("0O1lI")))

Result = TypeVar("Result")


class WeakPassword(MalformedPayload):
    """One of those that are guessed first."""

    code = "weak_password"


class Passwords:
    """`concurrency` computations at a time, each about 30 ms of one core and 19 MiB, and one more for the known.

    Callers who have signed in from the same place before do not wait behind strangers, so a flood keeps nobody out.
    """

    def __init__(self, *, concurrency: int = 2) -> None:
        self._strangers = Lane(concurrency, most_waiting=MOST_WAITING)
        self._known = Lane(1, most_waiting=MOST_WAITING)

    async def hash(self, password: str) -> str:
        """What to store. Raises ValueError for a password that is too long or no text."""
        encoded = _encode(password)
        if encoded is None:
            raise ValueError(f"a password has at most {LONGEST_PASSWORD} characters of valid text")
        return await _compute(self._strangers, lambda: str(_HASHER.hash(encoded)))

    async def verify(self, password: str, password_hash: str | None, *, is_known: bool = False) -> bool:
        """Whether the password is right. For None (no such user, or one without a password): as slow, and False."""
        encoded = _encode(password)
        lane = self._known if is_known else self._strangers
        if encoded is None or password_hash is None or not _ARGON2.identify(password_hash):
            await _compute(lane, lambda: _ARGON2.verify(b"", _NOBODYS))
            return False
        return await _compute(lane, lambda: _verify(encoded, password_hash))

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether a stored hash is weaker than what `hash` makes today; replace it at the next right sign-in."""
        return bool(_HASHER.needs_update(password_hash))


async def _compute(lane: Lane, work: Callable[[], Result]) -> Result:
    await lane.acquire()
    computing = asyncio.get_running_loop().run_in_executor(None, work)
    # The place is free when the thread ends, not when a caller goes away: a thread cannot be cancelled.
    computing.add_done_callback(lambda _: lane.release())
    return await asyncio.shield(computing)


def refuse_weak(password: str, *context: str) -> None:
    """Raises WeakPassword for what guessers try first; `context` is the address and the names around the account.

    No rules of composition: length and not being guessable are what counts (NIST SP 800-63B, section 3.1.1.2).
    """
    plain = unicodedata.normalize("NFKC", password).casefold()
    if plain in COMMON or len(set(plain)) <= 2 or _is_run(plain):
        raise WeakPassword("This password is among the first that are guessed; take another.", param="password")
    # `acme2026!` is Acme's name with an ornament.
    bare = "".join(character for character in plain if character.isalpha())
    words = {word for text in context for word in _words(text)}
    if bare in words or bare == "tollkeeper" or plain in words:
        raise WeakPassword("This password is made of your own names; take another.", param="password")


def new_password() -> str:
    """For the first administrator: 24 characters that cannot be mistaken for each other, 139 bit."""
    return "".join(secrets.choice(_READABLE) for _ in range(24))


def _is_run(text: str) -> bool:
    """`abcdefgh`, `87654321`: every character next to the one before."""
    steps = {ord(later) - ord(earlier) for earlier, later in pairwise(text)}
    return steps in ({1}, {-1})


def _words(text: str) -> set[str]:
    """Of an address: the whole, its local part and the names in it; of a name: the whole and its words."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    parts = {plain, plain.partition("@")[0], *_WORDS.findall(plain), "".join(_WORDS.findall(plain.partition("@")[0]))}
    return {part for part in parts if len(part) >= _SHORTEST_WORD}


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
