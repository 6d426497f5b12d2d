"""What a browser carries between leaving for an identity provider and coming back: sealed, its own, for ten minutes.

The state in the address must be the one in the cookie, so an answer that was made for another browser opens nothing.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

from fastapi import Request, Response
from pydantic import TypeAdapter, ValidationError

from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import EnvelopeError, SecretBox
from tollkeeper.domains.identity_providers.schemas import Purpose
from tollkeeper.web.cookies import host_cookie_name, write_host_cookie

LIFETIME_SECONDS: Final = 600
PATH_AFTER: Final = "/console"
_BOND: Final = b"oidc sign-in state"
_LONGEST_COOKIE: Final = 4000
# An absolute path of our own: no host can stand behind one slash, and no browser reads a backslash into it.
_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1000}")


@dataclass(frozen=True, slots=True)
class Journey:
    """One way to a provider and back. `user_id` and `session_id` are set when an account is to be linked."""

    state: str
    nonce: str
    verifier: str
    provider_id: UUID
    purpose: Purpose
    redirect_to: str
    started_at: float
    user_id: UUID | None = None
    session_id: UUID | None = None

    @property
    def ends_at(self) -> float:
        return self.started_at + LIFETIME_SECONDS

    @property
    def challenge(self) -> str:
        """RFC 7636, S256."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(f"oidc_state:{self.state}".encode()).digest()

    def has_state(self, state: str | None) -> bool:
        return state is not None and hmac.compare_digest(state.encode(), self.state.encode())


_JOURNEY: Final = TypeAdapter(Journey)


def set_out(
    provider_id: UUID,
    purpose: Purpose,
    redirect_to: str,
    now: float,
    *,
    user_id: UUID | None = None,
    session_id: UUID | None = None,
) -> Journey:
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    return Journey(state, nonce, verifier, provider_id, purpose, redirect_to, now, user_id, session_id)


def is_own_path(path: str) -> bool:
    return _PATH.fullmatch(path) is not None


def write_journey(response: Response, settings: Settings, box: SecretBox, journey: Journey) -> None:
    sealed = box.seal(_JOURNEY.dump_json(_JOURNEY.validate_python(asdict(journey))), _BOND)
    _write(response, settings, _text(sealed), LIFETIME_SECONDS)


def clear_journey(response: Response, settings: Settings) -> None:
    _write(response, settings, "", 0)


def read_journey(request: Request, settings: Settings, box: SecretBox, now: float) -> Journey | None:
    """None when the browser carries none, or none of ours, or one that has ended."""
    cookie = request.cookies.get(_name(settings), "")
    if not 0 < len(cookie) <= _LONGEST_COOKIE:
        return None
    try:
        sealed = base64.b64decode(cookie + "=" * (-len(cookie) % 4), altchars=b"-_", validate=True)
        journey = _JOURNEY.validate_json(box.open(sealed, _BOND))
    except (ValueError, EnvelopeError, ValidationError):
        return None
    return journey if journey.started_at <= now < journey.ends_at else None


def _name(settings: Settings) -> str:
    return host_cookie_name(settings, "tollkeeper_oidc")


def _write(response: Response, settings: Settings, value: str, seconds: int) -> None:
    # Lax, not Strict: the browser comes back from the provider's site.
    write_host_cookie(response, settings, _name(settings), value, seconds, same_site="lax")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
