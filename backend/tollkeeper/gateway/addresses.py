"""Addresses of providers: what `core/addresses.py` allows, refused in the words of a provider's error."""

from tollkeeper.core.addresses import Location, find_location
from tollkeeper.core.errors import UpstreamError


def address_refused() -> UpstreamError:
    """One text whatever the reason, so that it tells nothing about the network behind."""
    return UpstreamError(
        "The provider's address is not allowed. An operator can set allow_private_address on the provider.",
        code="upstream_address_refused",
        should_retry=False,
    )


def locate(url: str) -> Location:
    """Raises `UpstreamError` for everything that is not a plain http(s) URL."""
    location = find_location(url)
    if location is None:
        raise address_refused()
    return location
