"""Bytes that are too many for one envelope: pieces, each sealed under one data key, which lies in an envelope itself.

So a rotation of the master key rewraps one key, however large the whole is. A piece is bound to its place.
"""

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tollkeeper.core.crypto import Aad, EnvelopeDamaged, SecretBox

_NONCE_BYTES: Final = 12
_KEY_BITS: Final = 256


class PieceKey:
    """Seals and opens pieces, each under its number. `new` and `open` are the two ways to one."""

    def __init__(self, key: bytes, bond: Aad) -> None:
        self._cipher = AESGCM(key)
        self._bond = bytes(bond)

    @classmethod
    def new(cls, box: SecretBox, bond: Aad) -> tuple["PieceKey", bytes]:
        """A key, and the envelope that holds it."""
        key = AESGCM.generate_key(_KEY_BITS)
        return cls(key, bond), box.seal(key, bond)

    @classmethod
    def open(cls, box: SecretBox, envelope: bytes, bond: Aad) -> "PieceKey":
        """Raises `EnvelopeError`."""
        return cls(box.open(envelope, bond), bond)

    def seal(self, number: int, piece: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, piece, self._place(number))

    def unseal(self, number: int, sealed: bytes) -> bytes:
        """Raises `EnvelopeDamaged`."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._place(number))
        except (InvalidTag, ValueError):
            raise EnvelopeDamaged("A stored piece was changed, cut short, or moved from its place.") from None

    def _place(self, number: int) -> bytes:
        return b"%b|%d" % (self._bond, number)
