"""How often a password may be tried: per address, per account and address, and per account.

The last one does not hold for addresses the account has signed in from before, so a stranger who keeps guessing never
locks the owner out. Kept in memory, a worker's own: the limits count per worker. A try is charged before the password
is looked at, so tries in parallel gain nothing; a right one is given back.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import RateLimited

_MOST_BUCKETS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """`burst` tries at once, then one each `seconds`."""

    burst: int
    seconds: float


PER_ADDRESS: Final = Allowance(burst=30, seconds=6)
PER_ACCOUNT_AND_ADDRESS: Final = Allowance(burst=5, seconds=30)
PER_ACCOUNT: Final = Allowance(burst=20, seconds=15)


class LoginThrottle:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Name → the moment at which the bucket is empty of tries again (GCRA).
        self._full_until: OrderedDict[str, float] = OrderedDict()

    def charge(self, email: str, address: str | None, *, is_known_address: bool) -> None:
        """Raises RateLimited, nothing charged, when one of the allowances is used up."""
        now = self._clock.monotonic()
        buckets = _buckets(email, address, is_known_address=is_known_address)
        wait = max(self._wait(name, allowance, now) for name, allowance in buckets)
        if wait > 0:
            raise RateLimited("Too many attempts to sign in; wait a little.", retry_after_seconds=wait)
        for name, allowance in buckets:
            self._full_until[name] = max(self._full_until.get(name, now), now) + allowance.seconds
            self._full_until.move_to_end(name)
        while len(self._full_until) > _MOST_BUCKETS:
            self._full_until.popitem(last=False)

    def give_back(self, email: str, address: str | None, *, is_known_address: bool) -> None:
        """The password was right: the owner's slips of before are forgotten too."""
        for name, allowance in _buckets(email, address, is_known_address=is_known_address):
            if name.startswith("pair "):
                self._full_until.pop(name, None)
            elif name in self._full_until:
                self._full_until[name] -= allowance.seconds

    def _wait(self, name: str, allowance: Allowance, now: float) -> float:
        return self._full_until.get(name, now) + allowance.seconds - now - allowance.burst * allowance.seconds


def _buckets(email: str, address: str | None, *, is_known_address: bool) -> Sequence[tuple[str, Allowance]]:
    place = _network(address)
    buckets = [(f"address {place}", PER_ADDRESS), (f"pair {email} {place}", PER_ACCOUNT_AND_ADDRESS)]
    return buckets if is_known_address else [*buckets, (f"account {email}", PER_ACCOUNT)]


def _network(address: str | None) -> str:
    """One household holds a whole IPv6 /64."""
    if address is None:
        return "unknown"
    parsed = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
