"""Which addresses may be connected to without the operator's word, and URLs taken apart in one way only.

Everything but the ranges that lead inside (SECURITY section 3). Both clients, towards vendors and towards identity
providers, judge by this list. Pure: it resolves nothing.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_DENIED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "2001::/32",
        "2002::/16",
    )
)

# Nothing a second parser could read in another way: no user, no backslash, no percent sign in the host, no fragment.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[!-\"$-\[\]-~]*)?"
)


def is_public(address: str) -> bool:
    """Whether an IP address may be connected to without the operator's word; garbage may not."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return not any(parsed.version == network.version and parsed in network for network in _DENIED)


@dataclass(frozen=True, slots=True)
class Location:
    """A URL taken apart once. `origin` has always a port; `host` is lower case and without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{_bracketed(self.host)}:{self.port}"

    @property
    def host_header(self) -> str:
        default = 443 if self.scheme == "https" else 80
        host = _bracketed(self.host)
        return host if self.port == default else f"{host}:{self.port}"


@lru_cache(maxsize=4096)
def find_location(url: str) -> Location | None:
    """None for everything that is not a plain http(s) URL."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    scheme = found["scheme"]
    path = found["path"] or "/"
    # Who stands between would leave the path for another one.
    if not {".", ".."}.isdisjoint(path.partition("?")[0].split("/")):
        return None
    port = int(found["port"]) if found["port"] else (443 if scheme == "https" else 80)
    if not 0 < port < 65536:
        return None
    return Location(scheme=scheme, host=found["host"].strip("[]").lower(), port=port, path=path)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
