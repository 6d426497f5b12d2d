"""Detached ed25519 signatures over files that come from elsewhere: exact bytes, one algorithm, no negotiation."""

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64


def is_signed(content: bytes, *, signature: bytes, public_key: bytes) -> bool:
    """Both are raw bytes or their base64; the key may be PEM. Raises ValueError for what is neither."""
    key = _read_key(public_key)
    try:
        key.verify(_read_bytes(signature, _SIGNATURE_BYTES, "signature"), content)
    except InvalidSignature:
        return False
    return True


def _read_key(text: bytes) -> Ed25519PublicKey:
    if not text.lstrip().startswith(b"-----BEGIN"):
        return Ed25519PublicKey.from_public_bytes(_read_bytes(text, _KEY_BYTES, "public key"))
    key = load_pem_public_key(text)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the public key is not of ed25519")
    return key


def _read_bytes(text: bytes, size: int, noun: str) -> bytes:
    if len(text) == size:
        return text
    try:
        found = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        found = b""
    if len(found) != size:
        raise ValueError(f"the {noun} is neither {size} bytes nor their base64")
    return found
