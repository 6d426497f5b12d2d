"""Access tokens of console sessions: JWTs signed with HS256, short-lived, read as if every byte were hostile.

The only module that imports python-jose. Its known faults (deep headers end in RecursionError, `crit` is ignored, a
missing `aud` is accepted) are met before it sees a token: the header may hold three plain members and nothing else.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from jose import jwk, jwt

from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.errors import Unauthenticated
from tollkeeper.core.ids import uuid7

ALGORITHM: Final = "HS256"
TYPE: Final = "at+jwt"  # RFC 9068, section 2.1
ISSUER: Final = "tollkeeper"
AUDIENCE: Final = "tollkeeper-api"
LONGEST_TOKEN: Final = 8192
LONGEST_MINUTES: Final = 15
LEEWAY_SECONDS: Final = 30

# The last character of 32 bytes in base64url carries four bits: a token has one spelling only.
_SHAPE: Final = re.compile(r"([A-Za-z0-9_-]{2,512})\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_HEADER_NAMES: Final = frozenset({"alg", "typ", "kid"})
_OPTIONS: Final = {
    # Times are compared below, with our own clock: `require_exp` would turn the library's own comparison on again.
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    **{f"require_{name}": True for name in ("aud", "iss", "sub", "jti")},
}


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """Who a token stands for. `epoch` must still be the user's `session_epoch`: the caller compares it with the row."""

    user_id: UUID
    tenant_id: UUID
    session_id: UUID
    epoch: int
    token_id: UUID
    issued_at: datetime
    expires_at: datetime


class AccessTokens:
    """Issues under the current master key, verifies under that and under older ones still in use."""

    def __init__(
        self, master: MasterKey, clock: Clock, *, minutes: int = LONGEST_MINUTES, older: Sequence[MasterKey] = ()
    ) -> None:
        assert 1 <= minutes <= LONGEST_MINUTES
        self._kid = master.jwt_key_id
        self._keys = {key.jwt_key_id: jwk.construct(key.jwt_key, ALGORITHM) for key in (*older, master)}
        self._clock = clock
        self._seconds = minutes * 60

    def issue(self, *, user_id: UUID, tenant_id: UUID, session_id: UUID, epoch: int) -> tuple[str, AccessClaims]:
        now = int(self._clock.unix())
        claims = AccessClaims(
            user_id=user_id,
            tenant_id=tenant_id,
            session_id=session_id,
            epoch=epoch,
            token_id=uuid7(),
            issued_at=datetime.fromtimestamp(now, UTC),
            expires_at=datetime.fromtimestamp(now + self._seconds, UTC),
        )
        token = jwt.encode(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "sub": str(user_id),
                "jti": str(claims.token_id),
                "iat": now,
                "exp": now + self._seconds,
                "tenant": str(tenant_id),
                "sid": str(session_id),
                "epoch": epoch,
            },
            self._keys[self._kid],
            algorithm=ALGORITHM,
            headers={"typ": TYPE, "kid": self._kid},
        )
        return str(token), claims

    def verify(self, token: str) -> AccessClaims:
        """Raises `Unauthenticated` for whatever is wrong, and nothing else."""
        try:
            claims = self._read(token)
            now = self._clock.unix()
        except Exception:  # noqa: BLE001 - a hostile token must not reach the caller as any other error
            raise _invalid() from None
        if claims.expires_at.timestamp() <= now:
            raise Unauthenticated("The session has expired. Sign in again.", code="token_expired")
        return claims

    def _read(self, token: str) -> AccessClaims:
        match = _SHAPE.fullmatch(token) if len(token) <= LONGEST_TOKEN else None
        if match is None:
            raise _invalid()
        key = self._keys[_read_kid(match[1])]
        found: dict[str, Any] = jwt.decode(
            token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS
        )
        issued, expires, epoch = (_whole(found[name]) for name in ("iat", "exp", "epoch"))
        if found["aud"] != AUDIENCE or found["iss"] != ISSUER or epoch < 0:
            raise _invalid()
        if not 0 < expires - issued <= LONGEST_MINUTES * 60 or issued > self._clock.unix() + LEEWAY_SECONDS:
            raise _invalid()
        return AccessClaims(
            user_id=UUID(found["sub"]),
            tenant_id=UUID(found["tenant"]),
            session_id=UUID(found["sid"]),
            epoch=epoch,
            token_id=UUID(found["jti"]),
            issued_at=datetime.fromtimestamp(issued, UTC),
            expires_at=datetime.fromtimestamp(expires, UTC),
        )


def _read_kid(segment: str) -> str:
    """The key a header names, if the header is exactly of the kind we write. Refuses nesting before parsing it."""
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if data.count(b"{") != 1 or b"[" in data:
        raise _invalid()
    header = orjson.loads(data)
    if header.keys() != _HEADER_NAMES or header["alg"] != ALGORITHM or header["typ"] != TYPE:
        raise _invalid()
    return str(header["kid"])


def _whole(value: object) -> int:
    if type(value) is not int:
        raise _invalid()
    return value


def _invalid() -> Unauthenticated:
    return Unauthenticated("The access token is not valid. Sign in again.", code="invalid_token")
