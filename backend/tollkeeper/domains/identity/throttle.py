"""How often a password, a code, a link or a request for a mail may be tried: by address, by account and address, by account.

A place the account has signed in from before (this browser, this address) is counted apart: a stranger who keeps
guessing, from however many addresses, never locks the owner out.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tollkeeper.core.clock import Clock
from tollkeeper.core.lane import Lane
from tollkeeper.core.redis import RedisLink
from tollkeeper.core.throttle import Allowance, Bucket, Throttle

PER_ADDRESS: Final = Allowance(burst=30, seconds=6)
PER_ACCOUNT_AND_ADDRESS: Final = Allowance(burst=5, seconds=30)
PER_ACCOUNT: Final = Allowance(burst=20, seconds=15)
PER_DEVICE: Final = Allowance(burst=10, seconds=30)
# Three codes of a million fit at a time: at one try a minute a thousand days find one with some luck.
PER_CODE: Final = Allowance(burst=5, seconds=60)
PER_LINK: Final = Allowance(burst=20, seconds=6)
# A whole office comes back from its provider at nine, from one address.
PER_RETURN: Final = Allowance(burst=120, seconds=0.5)
MAILS_PER_ADDRESS: Final = Allowance(burst=10, seconds=60)
MAILS_PER_RECIPIENT: Final = Allowance(burst=3, seconds=300)

_STRANGERS: Final = 4
_STRANGERS_WAITING: Final = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a try comes from; `device` and `is_known_address` only when the account has signed in from there before."""

    address: str | None
    device: str | None = None
    is_known_address: bool = False

    @property
    def is_known(self) -> bool:
        return self.device is not None or self.is_known_address


class LoginThrottle:
    """Each `charge_…` raises RateLimited."""

    def __init__(self, clock: Clock, redis: RedisLink | None = None) -> None:
        self.throttle = Throttle(clock, redis)
        # A flood from ever new addresses meets no bucket: it must not take every connection to the database either.
        self.strangers = Lane(_STRANGERS, most_waiting=_STRANGERS_WAITING)

    async def charge_login(self, email: str, place: Place) -> None:
        await self.throttle.charge(_login(email, place), "Too many attempts to sign in; wait a little.")

    async def give_back_login(self, email: str, place: Place) -> None:
        """The person was the right one: their slips of before are forgotten too."""
        own, *shared = _login(email, place)
        await self.throttle.forget(own)
        await self.throttle.give_back(shared)

    async def charge_code(self, user_id: UUID, place: Place) -> None:
        await self.throttle.charge([_code(user_id, place)], "Too many codes that were wrong; wait a little.")

    async def forget_code(self, user_id: UUID, place: Place) -> None:
        await self.throttle.forget(_code(user_id, place))

    async def charge_link(self, address: str | None) -> None:
        """For the public routes that take a token out of a link."""
        await self.throttle.charge([Bucket(f"link {network_of(address)}", PER_LINK)])

    async def charge_return(self, address: str | None) -> None:
        """For browsers that come back from an identity provider: each makes us ask that provider."""
        await self.throttle.charge([Bucket(f"return {network_of(address)}", PER_RETURN)])

    async def charge_mail(self, email: str, address: str | None) -> None:
        """For the public routes that send a mail to whomever they are given."""
        await self.throttle.charge(
            [
                Bucket(f"mail from {network_of(address)}", MAILS_PER_ADDRESS),
                Bucket(f"mail to {email}", MAILS_PER_RECIPIENT),
            ]
        )


def network_of(address: str | None) -> str:
    """One household holds a whole IPv6 /64."""
    if address is None:
        return "unknown"
    parsed = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def _login(email: str, place: Place) -> Sequence[Bucket]:
    """The first is the place's own."""
    if place.device is not None:
        return [Bucket(f"device {place.device}", PER_DEVICE)]
    network = network_of(place.address)
    buckets = [
        Bucket(f"pair {email} {network}", PER_ACCOUNT_AND_ADDRESS),
        Bucket(f"address {network}", PER_ADDRESS),
    ]
    return buckets if place.is_known_address else [*buckets, Bucket(f"account {email}", PER_ACCOUNT)]


def _code(user_id: UUID, place: Place) -> Bucket:
    if place.device is not None:
        return Bucket(f"code {user_id.hex} device {place.device}", PER_CODE)
    own = f" {network_of(place.address)}" if place.is_known_address else ""
    return Bucket(f"code {user_id.hex}{own}", PER_CODE)
