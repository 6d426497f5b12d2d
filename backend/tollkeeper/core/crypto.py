"""The master key, the keys derived from it, and the envelopes that hold other people's secrets in the database.

An envelope is AES-256-GCM under a random data key of its own; the data key is wrapped by the key-encryption key (KEK),
so rotating the KEK rewraps 32 bytes and touches no secret. Both layers are bound to the row they belong to.
"""

import hashlib
import secrets
import struct
from dataclasses import dataclass
from typing import Final, NoReturn
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SHORTEST_MASTER_KEY: Final = 32

_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16
_FORMAT: Final = 1
# format, KEK id, nonce of the wrapped data key, wrapped data key, nonce of the secret; the sealed secret follows.
_HEAD: Final = struct.Struct(f">B{_ID_BYTES}s{_NONCE_BYTES}s{_KEY_BYTES + _TAG_BYTES}s{_NONCE_BYTES}s")


class MasterKeyError(ValueError):
    """The master key cannot be one; the message says what to set instead."""


class EnvelopeError(ValueError):
    """An envelope does not open. The message never holds any of its bytes."""


class EnvelopeDamaged(EnvelopeError):
    """Changed, cut short, or moved from the row it was sealed for: the cipher cannot tell which."""


class UnknownKek(EnvelopeError):
    """Sealed under a master key that this process was not given."""


@dataclass(frozen=True, slots=True)
class Aad:
    """What an envelope is bound to. A row copied over another, or put back after a change, opens no more."""

    tenant_id: UUID | None
    owner_id: UUID
    field: str
    version: int

    def __bytes__(self) -> bytes:
        return f"{self.tenant_id}|{self.owner_id}|{self.field}|{self.version}".encode()


class MasterKey:
    """Every secret of ours, derived by purpose (HKDF-SHA256), so that none of them tells another."""

    __slots__ = ("_text", "jwt_key", "jwt_key_id", "kek", "kek_id", "pepper", "pepper_id")

    def __init__(self, text: str) -> None:
        text = text.strip()
        if len(text) < SHORTEST_MASTER_KEY:
            raise MasterKeyError(
                f"TOLLKEEPER_MASTER_KEY must have at least {SHORTEST_MASTER_KEY} characters. "
                "Make one with: openssl rand -hex 32"
            )
        self._text = text.encode()
        self.pepper = self.derive("pepper")
        self.pepper_id = self._name("pepper")
        self.kek = self.derive("kek")
        self.kek_id = self._name("kek")
        self.jwt_key = self.derive("jwt")
        self.jwt_key_id = self._name("jwt")

    @staticmethod
    def generate() -> str:
        """The text of a new master key."""
        return secrets.token_hex(_KEY_BYTES)

    def derive(self, purpose: str, length: int = _KEY_BYTES) -> bytes:
        """A key for one purpose, the same each time."""
        return HKDF(SHA256(), length, salt=None, info=b"tollkeeper/1/" + purpose.encode()).derive(self._text)

    def fingerprint(self) -> str:
        """Tells whether a database belongs to this master key, and nothing else about it."""
        return self.derive("fingerprint", 8).hex()

    def _name(self, purpose: str) -> str:
        return self.derive(f"name of {purpose}", _ID_BYTES).hex()

    def __repr__(self) -> str:
        return f"MasterKey({self.fingerprint()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a master key does not leave its process")


class SecretBox:
    """Seals under the current master key, opens under that and under older ones still in use."""

    def __init__(self, master: MasterKey, *older: MasterKey) -> None:
        self._kek_id = bytes.fromhex(master.kek_id)
        self._keks = {bytes.fromhex(key.kek_id): AESGCM(key.kek) for key in (*older, master)}

    @property
    def kek_id(self) -> str:
        """Names the key that wraps new envelopes."""
        return self._kek_id.hex()

    def seal(self, plaintext: bytes, bound_to: bytes | Aad) -> bytes:
        aad = bytes(bound_to)
        data_key = AESGCM.generate_key(_KEY_BYTES * 8)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(data_key).encrypt(nonce, plaintext, aad)
        return self._wrap(data_key, nonce, sealed)

    def open(self, envelope: bytes, bound_to: bytes | Aad) -> bytes:
        """Raises `EnvelopeDamaged` or `UnknownKek`, both `ValueError`s."""
        data_key, nonce, sealed = self._unwrap(envelope)
        try:
            return AESGCM(data_key).decrypt(nonce, sealed, bytes(bound_to))
        except InvalidTag:
            raise _damaged() from None

    def rewrap(self, envelope: bytes) -> bytes:
        """The same secret under the current key: what a rotation does to every row."""
        return self._wrap(*self._unwrap(envelope))

    @property
    def known_kek_ids(self) -> frozenset[str]:
        """The keys whose envelopes open here."""
        return frozenset(kek_id.hex() for kek_id in self._keks)

    def kek_of(self, envelope: bytes) -> str:
        """The id of the key that wraps an envelope, known to us or not."""
        return _read_head(envelope)[0].hex()

    def _wrap(self, data_key: bytes, nonce: bytes, sealed: bytes) -> bytes:
        wrap_nonce = secrets.token_bytes(_NONCE_BYTES)
        wrapped = self._keks[self._kek_id].encrypt(wrap_nonce, data_key, self._bond(self._kek_id, nonce, sealed))
        return _HEAD.pack(_FORMAT, self._kek_id, wrap_nonce, wrapped, nonce) + sealed

    def _unwrap(self, envelope: bytes) -> tuple[bytes, bytes, bytes]:
        kek_id, wrap_nonce, wrapped, nonce = _read_head(envelope)
        kek = self._keks.get(kek_id)
        if kek is None:
            raise UnknownKek(
                f"A stored secret is sealed under the master key {kek_id.hex()}, which is not the one in use. "
                "Set TOLLKEEPER_MASTER_KEY to the key it was stored with, or add that to TOLLKEEPER_MASTER_KEYS_PREVIOUS."
            )
        sealed = envelope[_HEAD.size :]
        try:
            return kek.decrypt(wrap_nonce, wrapped, self._bond(kek_id, nonce, sealed)), nonce, sealed
        except InvalidTag:
            raise _damaged() from None

    @staticmethod
    def _bond(kek_id: bytes, nonce: bytes, sealed: bytes) -> bytes:
        """Ties the wrapped data key to the one secret it opens, so that a rotation rewraps nothing that was damaged."""
        return bytes((_FORMAT,)) + kek_id + nonce + hashlib.sha256(sealed).digest()


def sealed_digest(envelope: bytes) -> bytes:
    """Names a sealed secret without telling anything of it; a rotation leaves it as it is."""
    _read_head(envelope)
    return hashlib.sha256(envelope[_HEAD.size :]).digest()


def _read_head(envelope: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    if len(envelope) < _HEAD.size + _TAG_BYTES:
        raise _damaged()
    version, kek_id, wrap_nonce, wrapped, nonce = _HEAD.unpack_from(envelope)
    if version != _FORMAT:
        raise _damaged()
    return kek_id, wrap_nonce, wrapped, nonce


def _damaged() -> EnvelopeDamaged:
    return EnvelopeDamaged("A stored secret was changed, cut short, or moved from the row it belongs to.")
