"""Tokens that others signed: ID tokens of identity providers, tokens of workloads. Read as if every byte were hostile.

The only module that imports joserfc. Before it sees a token the header was read by our own rules: flat, one of the
asymmetric algorithms, nothing in it that names or carries a key. Nothing here fetches anything; the caller brings the
keys its issuer published. Every fault is `ForeignTokenRefused`, whose message is for the operator's log.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

# A header of HTTP carries no more; an ID token comes in a body and may be larger.
LONGEST_TOKEN: Final = 8192
LONGEST_ID_TOKEN: Final = 65_536
LEEWAY_SECONDS: Final = 30

_LONGEST_HEADER: Final = 2048
_MOST_BRACKETS: Final = 500
_MOST_KEYS: Final = 100
_RSA_BITS: Final = range(2048, 8193)
_SHAPE: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_KID: Final = re.compile(r"[A-Za-z0-9_.:=+~@-]{1,256}")
# Each carries or names a key, or changes what is signed. `crit` says that we must understand what we do not.
_REFUSED_HEADERS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"})
_CURVE_OF: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
ALGORITHMS: Final = frozenset({*(f"{family}{bits}" for family in ("RS", "PS") for bits in (256, 384, 512)), *_CURVE_OF})


class ForeignTokenRefused(ValueError):
    """The token proves nothing. The message says why, without a byte of it."""


class UnknownKey(ForeignTokenRefused):
    """None of the keys at hand is the one it was signed with; the issuer may have a newer one."""


@dataclass(frozen=True, slots=True)
class Unproven:
    """A token taken apart; nothing in it may be believed before `verify`."""

    token: str
    algorithm: str
    key_id: str | None
    type: str | None
    claims: Mapping[str, Any]

    @property
    def issuer(self) -> str | None:
        value = self.claims.get("iss")
        return value if isinstance(value, str) else None

    @property
    def audiences(self) -> frozenset[str]:
        value = self.claims.get("aud")
        listed = value if isinstance(value, list) else [value]
        return frozenset(item for item in listed if isinstance(item, str))


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key of an issuer, fit for signatures. `algorithms` are those it may be used with."""

    key_id: str | None
    algorithms: frozenset[str]
    key: RSAKey | ECKey


def take_apart(token: str, *, longest: int = LONGEST_TOKEN) -> Unproven:
    """Raises `ForeignTokenRefused`."""
    match = _SHAPE.fullmatch(token) if len(token) <= longest else None
    if match is None or len(match[1]) > _LONGEST_HEADER:
        raise ForeignTokenRefused("it has not the form of a signed token")
    header = _read_header(_decode(match[1]))
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise ForeignTokenRefused("its algorithm is none of those allowed")
    if key_id is not None and not (isinstance(key_id, str) and _KID.fullmatch(key_id)):
        raise ForeignTokenRefused("its key id is not one")
    if kind is not None and not isinstance(kind, str):
        raise ForeignTokenRefused("its type is not one")
    return Unproven(token, algorithm, key_id, None if kind is None else kind.lower(), _read_object(_decode(match[2])))


def verify(unproven: Unproven, keys: Sequence[PublicKey], now: float) -> Mapping[str, Any]:
    """The claims, once one of the issuer's keys has signed them and their times hold.

    Raises `ForeignTokenRefused`. Whose word the issuer and the audience are is the caller's to judge.
    """
    key = _choose(unproven, keys)
    registry = jws.JWSRegistry(algorithms=[unproven.algorithm], strict_check_header=False)
    registry.max_header_length = _LONGEST_HEADER
    try:
        jws.deserialize_compact(unproven.token, key.key, registry=registry)
    except Exception:  # noqa: BLE001 - hostile bytes under a hostile issuer's key must not end in any other error
        raise ForeignTokenRefused("its signature is wrong") from None
    check_times(unproven.claims, now)
    return unproven.claims


def check_times(claims: Mapping[str, Any], now: float) -> None:
    """`exp` is needed and gets no leeway; other clocks may be ahead of ours by a little."""
    expires, issued, begins = (_time(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None or expires <= now:
        raise ForeignTokenRefused("it has expired, or says not when it does")
    if (issued is not None and issued > now + LEEWAY_SECONDS) or (begins is not None and begins > now + LEEWAY_SECONDS):
        raise ForeignTokenRefused("it is from the future")


def read_keys(document: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    """The usable keys of a JSON Web Key Set; what is not for signatures, too weak or unreadable is left out."""
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise ValueError("not a key set")
    found = (_read_key(entry) for entry in listed if isinstance(entry, dict))
    return tuple(key for key in found if key is not None)


def read_object(text: bytes) -> dict[str, Any]:
    """A JSON object that can be read in one way only. Raises ValueError."""
    return _read_object(text)


def _choose(unproven: Unproven, keys: Sequence[PublicKey]) -> PublicKey:
    """The one key: by its id, or the only one that fits when the token names none."""
    fitting = [key for key in keys if unproven.algorithm in key.algorithms]
    if unproven.key_id is not None:
        fitting = [key for key in fitting if key.key_id == unproven.key_id]
    if len(fitting) != 1:
        raise UnknownKey("the issuer has no such key" if not fitting else "which key it was signed with is not clear")
    return fitting[0]


def _read_key(entry: dict[str, Any]) -> PublicKey | None:
    operations = entry.get("key_ops")
    if entry.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return None
    key_id = entry.get("kid")
    if key_id is not None and not (isinstance(key_id, str) and _KID.fullmatch(key_id)):
        return None
    try:
        # Only the public members: a set that publishes its private key by mistake is no reason to hold it.
        match entry.get("kty"):
            case "RSA":
                bits = int.from_bytes(_decode(entry["n"])).bit_length()
                if bits not in _RSA_BITS:
                    return None
                key: RSAKey | ECKey = RSAKey.import_key({"kty": "RSA", "n": entry["n"], "e": entry["e"]})
                usable = {name for name in ALGORITHMS if name not in _CURVE_OF}
            case "EC":
                curve = entry["crv"]
                key = ECKey.import_key({"kty": "EC", "crv": curve, "x": entry["x"], "y": entry["y"]})
                usable = {name for name, wanted in _CURVE_OF.items() if wanted == curve}
            case _:
                return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    named = entry.get("alg")
    algorithms = frozenset(usable if named is None else usable & {named} if isinstance(named, str) else ())
    return PublicKey(key_id, algorithms, key) if algorithms else None


def _read_header(data: bytes) -> dict[str, Any]:
    # Flat: nothing we accept is nested, so nothing nested is parsed.
    if data.count(b"{") != 1 or b"[" in data:
        raise ForeignTokenRefused("its header is not flat")
    header = _read_object(data)
    if not _REFUSED_HEADERS.isdisjoint(header):
        raise ForeignTokenRefused("its header holds what no header of ours may")
    return header


def _read_object(data: bytes) -> dict[str, Any]:
    if data.count(b"{") + data.count(b"[") > _MOST_BRACKETS:
        raise ForeignTokenRefused("it is nested too deeply")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ForeignTokenRefused("it is not JSON that can be read in one way only") from None
    if not isinstance(found, dict):
        raise ForeignTokenRefused("it is not a JSON object")
    return found


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _decode(segment: str) -> bytes:
    try:
        return base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise ForeignTokenRefused("it is not base64url") from None


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # Seconds since 1970 of this millennium; anything else is no date, and larger numbers are no floats.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 32_503_680_000:
        raise ForeignTokenRefused(f"its {name} is not a time")
    return float(value)
