"""Whether an ID token is the answer to our question: OpenID Connect Core 1.0, section 3.1.3.7.

Pure. Its signature, `exp`, `iat` and `nbf` were judged before (`core/foreign_tokens`).
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.core.foreign_tokens import LEEWAY_SECONDS, ForeignTokenRefused, Unproven

_LONGEST_SUBJECT: Final = 255  # section 2
# Tokens of other kinds that an issuer signs with the same key.
_TYPES: Final = frozenset({None, "jwt", "id_token+jwt", "application/jwt"})


def check_id_token(
    unproven: Unproven,
    *,
    client_id: str,
    nonce: str,
    access_token: str | None,
    proven_since: float | None,
) -> str:
    """The subject. `proven_since`: the user must have proven themselves after that. Raises `ForeignTokenRefused`."""
    claims = unproven.claims
    if unproven.type not in _TYPES:
        raise ForeignTokenRefused("it is a token of another kind")
    if client_id not in unproven.audiences:
        raise ForeignTokenRefused("it is meant for another client")
    party = claims.get("azp")
    if party != client_id and (party is not None or len(unproven.audiences) > 1):
        raise ForeignTokenRefused("it was issued to another party")
    sent = claims.get("nonce")
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(), nonce.encode()):
        raise ForeignTokenRefused("its nonce is not ours")
    if claims.get("iat") is None:
        raise ForeignTokenRefused("it says not when it was issued")
    _check_access_token(unproven, access_token)
    if proven_since is not None:
        proven_at = authenticated_at(claims)
        if proven_at is None or proven_at < proven_since - LEEWAY_SECONDS:
            raise ForeignTokenRefused("its user was not asked anew")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise ForeignTokenRefused("it names nobody")
    return subject


def authenticated_at(claims: Mapping[str, Any]) -> float | None:
    """When the user proved themselves at the provider, in seconds since 1970, where it says so."""
    value = claims.get("auth_time")
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40 else None


def verified_email(claims: Mapping[str, Any]) -> str | None:
    """An address that the provider vouches for; any other decides nothing.

    Some providers write the fact as text; Entra ID has the claim `xms_edov` for it instead.
    """
    email = claims.get("email")
    vouched = claims.get("email_verified", claims.get("xms_edov"))
    if not isinstance(email, str) or vouched not in (True, "true", "True", 1, "1"):
        return None
    return email.strip().lower()


def find_values(claims: Mapping[str, Any], name: str) -> list[str]:
    """What a claim says, as texts: one, or a list. A dot leads into an object where no claim has the whole name."""
    found: Any = claims.get(name)
    if found is None and "." in name:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    listed = found if isinstance(found, list) else [found]
    return [item for item in listed if isinstance(item, str)]


def _check_access_token(unproven: Unproven, access_token: str | None) -> None:
    stated = unproven.claims.get("at_hash")
    if stated is None or access_token is None:
        return
    digest = hashlib.new(f"sha{unproven.algorithm[2:]}", access_token.encode()).digest()
    ours = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not isinstance(stated, str) or not hmac.compare_digest(stated.encode(), ours):
        raise ForeignTokenRefused("it does not belong to the access token")
