"""Where a request comes from, and which browsers have signed in before.

The device cookie tells a browser that its account has signed in from it: tries from there are counted apart, so nobody
else can use up the owner's. It proves nothing else.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from tollkeeper.core.ids import format_id
from tollkeeper.domains.audit import service as audit
from tollkeeper.web.caller import Identity

DEVICE_SECONDS: Final = 365 * 24 * 3600
_LONGEST_AGENT: Final = 300
_DEVICE: Final = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from. `device` is the device cookie as it was sent."""

    address: str | None
    user_agent: str | None
    request_id: UUID
    device: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, address: str | None, user_agent: str | None, request_id: UUID, device: str | None = None) -> "Client":
        return cls(address, None if user_agent is None else user_agent[:_LONGEST_AGENT], request_id, device)


def actor_of(identity: Identity, client: Client) -> audit.Actor:
    """The person, before there is a caller."""
    user = format_id("usr", identity.user_id)
    return audit.Actor("user", user, identity.email, client.request_id, client.address)


def new_device(key: bytes, email: str) -> str:
    """The cookie of a browser in which this account has signed in."""
    name = secrets.token_hex(16)
    return f"{name}.{_mac(key, email, name)}"


def known_device(key: bytes, email: str, cookie: str | None) -> str | None:
    """The device's name, found without asking anybody; None for a cookie of another account, or one that we did not make."""
    match = None if cookie is None else _DEVICE.fullmatch(cookie)
    if match is None or not hmac.compare_digest(match[2], _mac(key, email, match[1])):
        return None
    return match[1]


def _mac(key: bytes, email: str, name: str) -> str:
    return hmac.new(key, f"device|{name}|{email.lower()}".encode(), hashlib.sha256).hexdigest()
