"""Tokens of others: what is signed, in time and plain is read; a corpus of everything else is refused."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from tests.oidc_provider import SigningKey, new_key, sign
from tollkeeper.core.foreign_tokens import (
    LONGEST_TOKEN,
    ForeignTokenRefused,
    PublicKey,
    UnknownKey,
    read_keys,
    take_apart,
    verify,
)

# Fixed: the names of tests must be the same in every worker.
NOW = 1_800_000_000.0
EC = new_key()
RSA = new_key("RS256")
CLAIMS = {"iss": "https://issuer.example", "sub": "ann", "aud": "us", "iat": int(NOW), "exp": int(NOW) + 300}


def keys_of(*keys: SigningKey) -> tuple[PublicKey, ...]:
    return read_keys({"keys": [key.public() for key in keys]})


def segment(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def judge(token: str, *keys: SigningKey) -> None:
    verify(take_apart(token), keys_of(*(keys or (EC, RSA))), NOW)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS512", "ES256"])
def test_signed_token_is_read(algorithm: str) -> None:
    key = EC if algorithm == "ES256" else SigningKey(RSA.key_id, algorithm, RSA.key)

    claims = verify(take_apart(sign(key, CLAIMS)), keys_of(key), NOW)

    assert claims == CLAIMS


def test_token_without_key_id_is_read_when_one_key_fits() -> None:
    judge(sign(EC, CLAIMS, kid=None), EC, RSA)


def test_token_without_key_id_is_refused_when_several_fit() -> None:
    with pytest.raises(UnknownKey):
        judge(sign(EC, CLAIMS, kid=None), EC, new_key())


def test_unknown_header_of_no_consequence_is_ignored() -> None:
    judge(sign(EC, CLAIMS, x5t="abc", ver="1"))


def test_signature_of_another_key_is_refused() -> None:
    stranger = new_key()
    stranger.key_id = EC.key_id

    with pytest.raises(ForeignTokenRefused, match="signature"):
        judge(sign(stranger, CLAIMS))


def test_changed_claims_are_refused() -> None:
    head, _, signature = sign(EC, CLAIMS).split(".")

    with pytest.raises(ForeignTokenRefused, match="signature"):
        judge(f"{head}.{segment({**CLAIMS, 'sub': 'bob'})}.{signature}")


def test_hmac_with_the_public_key_is_refused() -> None:
    head, body = segment({"alg": "HS256", "kid": RSA.key_id}), segment(CLAIMS)
    for secret in (RSA.key.as_pem(private=False), json.dumps(RSA.public()).encode(), b""):
        forged = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
        with pytest.raises(ForeignTokenRefused, match="algorithm"):
            judge(f"{head}.{body}.{segment(forged)}")


def test_algorithm_of_another_family_than_the_key_is_refused() -> None:
    with pytest.raises(UnknownKey):
        judge(sign(EC, CLAIMS, kid=RSA.key_id))


def test_key_keeps_to_the_algorithm_it_is_published_for() -> None:
    other = SigningKey(RSA.key_id, "PS256", RSA.key)

    with pytest.raises(UnknownKey):
        judge(sign(other, CLAIMS), RSA)


_HOSTILE = [
    {"alg": "none"},
    {"alg": "None"},
    {"alg": "HS256"},
    {"alg": "HS512"},
    {"alg": "ES256K"},
    {"alg": ["ES256"]},
    {"alg": None},
    {},
    {"alg": "ES256", "jku": "https://evil.example/keys"},
    {"alg": "ES256", "jwk": "{}"},
    {"alg": "ES256", "jwk": EC.public()},
    {"alg": "ES256", "x5u": "https://evil.example/cert"},
    {"alg": "ES256", "x5c": ["MII"]},
    {"alg": "ES256", "crit": ["exp"], "exp": 1},
    {"alg": "ES256", "crit": "b64"},
    {"alg": "ES256", "b64": False},
    {"alg": "ES256", "zip": "DEF"},
    {"alg": "ES256", "enc": "A128GCM"},
    {"alg": "ES256", "kid": "../../etc/passwd"},
    {"alg": "ES256", "kid": "a' OR 1=1 --"},
    {"alg": "ES256", "kid": 'a"b'},
    {"alg": "ES256", "kid": "k" * 300},
    {"alg": "ES256", "kid": 7},
    {"alg": "ES256", "typ": 7},
    {"alg": "ES256", "deep": {"deep": {}}},
]


@pytest.mark.parametrize("header", _HOSTILE, ids=range(len(_HOSTILE)))
def test_hostile_header_is_refused(header: Any) -> None:
    body, signature = sign(EC, CLAIMS).split(".")[1:]

    with pytest.raises(ForeignTokenRefused):
        take_apart(f"{segment(header)}.{body}.{signature}")


def _around(header: Any = None, body: Any = None) -> str:
    return f"{segment(header or {'alg': 'ES256'})}.{segment(body or CLAIMS)}.{segment(b'signature')}"


_FORMLESS = [
    "",
    ".",
    "..",
    "a.b",
    "a.b.c.d",
    "eyJ.eyJ.eyJ",
    _around().rpartition(".")[0] + ".",
    _around().replace(segment(CLAIMS), ""),
    _around(header=b"[" * 900),
    _around(header=b"{" * 900),
    _around(header=b'{"alg":"ES256","alg":"none"}'),
    _around(header={"alg": "ES256", "pad": "x" * 2000}),
    _around(body=b"[" * 3000),
    _around(body=b'{"a":' * 1000),
    _around(body=b"[1]"),
    _around(body=b"\xff\xfe"),
    _around(body=b'{"sub":"ann","sub":"bob"}'),
    _around(body=b'{"exp":NaN}'),
    _around(body=b" " * LONGEST_TOKEN),
    "é.é.é",
    "a\nb.c.d",
]


@pytest.mark.parametrize("token", _FORMLESS, ids=range(len(_FORMLESS)))
def test_token_of_no_form_is_refused(token: str) -> None:
    with pytest.raises(ForeignTokenRefused):
        take_apart(token)


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(NOW) - 1},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1e300},
        {"exp": -1},
        {"iat": int(NOW) + 60},
        {"nbf": int(NOW) + 60},
        {"nbf": []},
    ],
    ids=str,
)
def test_token_out_of_time_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ForeignTokenRefused):
        judge(sign(EC, {**CLAIMS, **changed}))


def test_clock_that_is_a_little_ahead_is_forgiven() -> None:
    judge(sign(EC, {**CLAIMS, "iat": int(NOW) + 20, "nbf": int(NOW) + 20}))


def test_key_set_leaves_out_what_is_not_for_signatures() -> None:
    listed = [
        EC.public(),
        {**RSA.public(), "use": "enc"},
        {**RSA.public(), "key_ops": ["encrypt"]},
        {**RSA.public(), "kid": "../x"},
        {**RSA.public(), "alg": "HS256"},
        {**EC.public(), "x": "AA"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
        {"kty": "RSA", "n": 5, "e": []},
        {"kty": "RSA"},
        {**RSA.public(), "n": segment(b"\xff" * 128)},
        {**RSA.public(), "n": segment(b"\xff" * 4096)},
        "key",
        None,
    ]

    found = read_keys({"keys": listed})

    assert [key.key_id for key in found] == [EC.key_id]


def test_private_part_of_a_published_key_is_not_kept() -> None:
    leaked = {**EC.public(), **EC.key.as_dict(private=True)}

    (found,) = read_keys({"keys": [leaked]})

    assert not found.key.is_private


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": [{}] * 101}], ids=range(4))
def test_document_that_is_no_key_set_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="not a key set"):
        read_keys(document)
