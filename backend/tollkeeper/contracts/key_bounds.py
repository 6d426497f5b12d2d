"""Whether a key may be used here: its endpoints, addresses and browser origins held against one call.

Both planes ask `key_admits`, so that no path, alias or prefix is judged differently from its twin.
"""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import urlsplit

from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import Forbidden

Network = IPv4Network | IPv6Network

# Under the third stands Cohere's rerank alone.
_PREFIXES: Final = ("/api/v1/", "/v1/", "/v2/", "/api/")
# Gemini's methods of a model: calls, wherever their paths stand beneath those of the list of models.
_METHODS: Final = (
    ":generateContent",
    ":streamGenerateContent",
    ":countTokens",
    ":embedContent",
    ":batchEmbedContents",
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class EndpointNotAllowed(Forbidden):
    """The key is for other endpoints."""

    code = "endpoint_not_allowed"


class AddressNotAllowed(Forbidden):
    """The key is for other networks."""

    code = "address_not_allowed"


class OriginNotAllowed(Forbidden):
    """The key is for pages of other origins."""

    code = "origin_not_allowed"


def key_admits(principal: Principal, *, endpoint: str, address: str | None, origin: str | None) -> Forbidden | None:
    """The error to raise, or None.

    `endpoint` is a path of ours in either spelling. `address` is what the server believes the caller's to be; None,
    where there is none, is in no network. A call without an Origin comes from a program, which could claim any: the
    list of origins is against other people's pages, `allowed_networks` is against programs.
    """
    if principal.allowed_endpoints is not None and not endpoint_allowed(endpoint, principal.allowed_endpoints):
        return EndpointNotAllowed(f"This key may not be used for '{endpoint_of(endpoint)[:200]}'.")
    if principal.allowed_networks is not None and not address_allowed(address, principal.allowed_networks):
        return AddressNotAllowed(f"This key may not be used from the address {address or '(unknown)'}.")
    if (
        principal.allowed_origins is not None
        and origin is not None
        and _as_sent(origin) not in principal.allowed_origins
    ):
        return OriginNotAllowed("This key may not be used by pages of this origin.")
    return None


def endpoint_of(path: str) -> str:
    """`/v1/chat/completions` and `/api/v1/chat/completions` are one endpoint: `chat/completions`.

    So are Gemini's `/v1/models/{model}:{method}` and `/v1beta/models/{model}:{method}`: the latter without its slash.
    """
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            path = path[len(prefix) :]
            break
    path = path.strip("/")
    return f"v1beta/{path}" if path.startswith("models/") and path.endswith(_METHODS) else path


def endpoint_allowed(path: str, allowed: frozenset[str]) -> bool:
    """An entry covers its own path and all below it; one that ends in `*` whatever begins so."""
    endpoint = endpoint_of(path)
    return any(covers_endpoint(entry, endpoint) for entry in allowed)


def covers_endpoint(entry: str, other: str) -> bool:
    """Whether `entry` covers an endpoint, or all that another entry covers."""
    if entry.endswith("*"):
        return other.startswith(entry[:-1])
    return other == entry or other.startswith(entry + "/")


def address_allowed(address: str | None, allowed: tuple[Network, ...]) -> bool:
    found = None if address is None else read_address(address)
    return found is not None and any(found in network for network in allowed)


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4 address inside an IPv6 one is the IPv4 address; a zone (`%eth0`) is no part of it."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def read_network(text: str) -> Network:
    """A network as operators write it, host bits allowed. Raises ValueError."""
    network = ipaddress.ip_network(text.strip(), strict=False)
    if isinstance(network, IPv6Network) and (mapped := network.network_address.ipv4_mapped) is not None:
        # ::ffff:0:0/96 (RFC 4291, section 2.5.5.2); a shorter prefix leaves no mapped address.
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def covers_network(network: Network, other: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and other.subnet_of(network)
    return isinstance(other, IPv6Network) and other.subnet_of(network)


def read_origin(text: str) -> str:
    """`scheme://host[:port]` as browsers send it: lower case, without a port that goes without saying.

    Raises ValueError for anything else, `null`, `*` and paths included.
    """
    parts = urlsplit(text.strip())
    host, port = parts.hostname, parts.port
    if not parts.scheme or not host or parts.username is not None or parts.password is not None:
        raise ValueError("an origin is scheme://host[:port]")
    if parts.path not in {"", "/"} or "?" in text or "#" in text or "*" in host or not text.isascii():
        raise ValueError("an origin is scheme://host[:port], without a path or a pattern")
    shown = f"[{host}]" if ":" in host else host
    is_usual = port is None or port == _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{shown}" if is_usual else f"{parts.scheme}://{shown}:{port}"


def _as_sent(origin: str) -> str:
    """Compared in the same spelling; what is no origin, such as `null`, stays as it is and matches none."""
    try:
        return read_origin(origin)
    except ValueError:
        return origin
