"""A signature is of exactly these bytes, by exactly that key."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tollkeeper.core.signatures import is_signed

OWNER = Ed25519PrivateKey.generate()
CONTENT = b'{"vendors": []}'
SIGNATURE = OWNER.sign(CONTENT)
RAW = OWNER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
PEM = OWNER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("key", [RAW, base64.b64encode(RAW) + b"\n", PEM])
@pytest.mark.parametrize("signature", [SIGNATURE, base64.b64encode(SIGNATURE) + b"\n"])
def test_what_the_owner_signed_is_signed(key: bytes, signature: bytes) -> None:
    assert is_signed(CONTENT, signature=signature, public_key=key)


def test_one_other_byte_or_another_key_is_not() -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    assert not is_signed(CONTENT + b"\n", signature=SIGNATURE, public_key=RAW)
    assert not is_signed(CONTENT, signature=SIGNATURE, public_key=other)


def test_what_is_no_key_or_no_signature_is_an_error() -> None:
    foreign = generate_private_key(SECP256R1()).public_key()
    for key in (
        b"",
        b"x" * 31,
        b"-----BEGIN PUBLIC KEY-----\nx",
        foreign.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        with pytest.raises(ValueError, match=r"."):
            is_signed(CONTENT, signature=SIGNATURE, public_key=key)
    with pytest.raises(ValueError, match="signature"):
        is_signed(CONTENT, signature=SIGNATURE[:-1], public_key=RAW)
