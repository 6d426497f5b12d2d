"""API keys and other tokens we hand out: how they look, and what of them is kept.

Ours is `tk-{live|test}_{public id}_{secret}{check}`: the public id finds the row, the check (CRC32) refuses garbage
without asking anyone. Kept is an HMAC under a pepper that never enters the database. A key in another form (the first
one) is found by its HMAC; one of another gateway, of which only the SHA-256 was handed over, by the HMAC of that.
`tk-run_…` is nothing of these: `run_keys.py`.
"""

import binascii
import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field
from typing import Final

from tollkeeper.core.crypto import MasterKey

PUBLIC_ID_LENGTH: Final = 12
SECRET_LENGTH: Final = 32  # × log2(62) = 190 bit
CHECK_LENGTH: Final = 6
SHORTEST_OTHER: Final = 32
SHORTEST_IMPORTED: Final = 16
LONGEST_TOKEN: Final = 512

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_OURS: Final = re.compile(
    rf"tk-(live|test)_([0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECK_LENGTH}}})"
)
_LOOKS_LIKE_OURS: Final = re.compile(r"tk-(?:live|test|run)_")
# What every header, shell and URL carries unchanged.
_OTHER: Final = re.compile(r"tk-[0-9A-Za-z._~-]+")
_PRINTABLE: Final = re.compile(rf"[!-~]{{{SHORTEST_IMPORTED},{LONGEST_TOKEN}}}")
# Begins what is hashed of an imported key. No message of the other forms does: theirs begin with `tk-` or a public id
# and `|`. Else who has the SHA-256 of a key could present that as the key.
_IMPORTED: Final = "sha256:"
_TAIL: Final = 4


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as handed out, once."""

    token: str = field(repr=False)
    environment: str
    public_id: str
    secret: str = field(repr=False)
    display_prefix: str
    last_four: str


@dataclass(frozen=True, slots=True)
class ParsedKey:
    environment: str
    public_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyDigest:
    """What the database keeps of a key's secret; `pepper_id` says under which pepper."""

    pepper_id: str
    digest: bytes = field(repr=False)


def new_key(environment: str = "live", *, public_id: str | None = None) -> NewKey:
    """A new key of our own form; `environment` is `live` or `test`. A rotated key keeps its public id."""
    public_id = public_id or _random(PUBLIC_ID_LENGTH)
    secret = _random(SECRET_LENGTH)
    body = f"tk-{environment}_{public_id}_{secret}"
    token = body + _check(body)
    assert parse_key(token) is not None
    return NewKey(token, environment, public_id, secret, display_prefix(token), last_four(token))


def parse_key(token: str) -> ParsedKey | None:
    """The parts of a key of our own form; None for other forms and for a wrong check."""
    match = _OURS.fullmatch(token)
    if match is None or _check(token[:-CHECK_LENGTH]) != match[4]:
        return None
    return ParsedKey(match[1], match[2], match[3])


def is_other_form(token: str) -> bool:
    """Whether a token may serve as an initial or imported key: long, plain, and not one of ours with a slip in it."""
    if not SHORTEST_OTHER <= len(token) <= LONGEST_TOKEN or not _OTHER.fullmatch(token):
        return False
    return _LOOKS_LIKE_OURS.match(token) is None


def is_importable(token: str) -> bool:
    """Whether a token has a form that keys of other gateways may have: what a header carries, and not too short."""
    if _PRINTABLE.fullmatch(token) is None:
        return False
    # One of ours with a slip in it is refused without a look.
    return _LOOKS_LIKE_OURS.match(token) is None or parse_key(token) is not None


def display_prefix(token: str) -> str:
    """What lists show of a key: for ours everything public, for other forms too little to help anyone guess."""
    parsed = parse_key(token)
    return f"tk-{parsed.environment}_{parsed.public_id}" if parsed is not None else token[:6]


def last_four(token: str) -> str:
    return token[-_TAIL:]


class KeyHasher:
    """Digests under the current master key's pepper, compares under that and under older ones still in use."""

    def __init__(self, master: MasterKey, *older: MasterKey) -> None:
        self._pepper_id = master.pepper_id
        self._peppers = {key.pepper_id: key.pepper for key in (master, *older)}

    @property
    def pepper_id(self) -> str:
        """Names the pepper of new digests."""
        return self._pepper_id

    def digest_token(self, token: str) -> KeyDigest:
        """What to store for a key we were shown."""
        return KeyDigest(self._pepper_id, _mac(self._peppers[self._pepper_id], _message(token)))

    def digest(self, public_id: str, secret: str) -> KeyDigest:
        return KeyDigest(self._pepper_id, _mac(self._peppers[self._pepper_id], f"{public_id}|{secret}".encode()))

    def matches(self, known: KeyDigest, public_id: str, secret: str) -> bool:
        """In constant time. False as well for a pepper we do not know."""
        pepper = self._peppers.get(known.pepper_id)
        if pepper is None:
            return False
        return hmac.compare_digest(known.digest, _mac(pepper, f"{public_id}|{secret}".encode()))

    def digest_other(self, token: str) -> list[bytes]:
        """The digests under which a key in another form may be stored."""
        return list(self._all(_message(token)).values())

    def public_id(self, token: str) -> str | None:
        """The public id inside a key of our own form; None for other forms and for a wrong check."""
        parsed = parse_key(token)
        return None if parsed is None else parsed.public_id

    def digests(self, token: str) -> dict[str, bytes]:
        """The digest of a key of either form under each known pepper, by the pepper's id."""
        return self._all(_message(token))

    def imported_digests(self, token: str) -> dict[str, bytes]:
        """As `digests`, for a key of which only the SHA-256 was handed over."""
        return self._all(_imported_message(hashlib.sha256(token.encode()).hexdigest()))

    def digests_of_sha256(self, sha256: str) -> dict[str, bytes]:
        """The same from the SHA-256 itself, 64 hexadecimal digits. The current pepper's is what to store."""
        return self._all(_imported_message(sha256.lower()))

    def _all(self, message: bytes) -> dict[str, bytes]:
        return {pepper_id: _mac(pepper, message) for pepper_id, pepper in self._peppers.items()}


def new_opaque_token() -> str:
    """256 random bits for a refresh session or a link: nothing can be read out of it."""
    return secrets.token_urlsafe(32)


def digest_opaque(token: str) -> bytes:
    """What is kept of an opaque token. Its 256 bits need neither salt nor pepper."""
    return hashlib.sha256(token.encode()).digest()


def _message(token: str) -> bytes:
    """No two tokens share a message: other forms that are ours hold no `|`, foreign ones are hashed first."""
    parsed = parse_key(token)
    if parsed is not None:
        return f"{parsed.public_id}|{parsed.secret}".encode()
    return token.encode() if _OTHER.fullmatch(token) else _imported_message(hashlib.sha256(token.encode()).hexdigest())


def _imported_message(sha256: str) -> bytes:
    return (_IMPORTED + sha256).encode()


def _mac(pepper: bytes, message: bytes) -> bytes:
    return hmac.digest(pepper, message, "sha256")


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _check(body: str) -> str:
    """CRC32 in six base62 digits, most significant first."""
    number = binascii.crc32(body.encode())
    digits = []
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
