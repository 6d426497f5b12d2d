"""What an address may not carry: proxies, browsers and logs keep addresses, so a credential in one is no secret any more."""

from typing import Final
from urllib.parse import parse_qsl

from tollkeeper.core.errors import BadRequest

# As Google's (`key`) and other vendors' clients name it.
_NAMES: Final = frozenset({"key", "api_key", "api-key", "apikey", "access_token", "x-api-key", "x-goog-api-key"})


def refuse_credential(query: bytes) -> None:
    """Raise where the query of a call holds one, whatever its headers hold."""
    if not query:
        return
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.lower() in _NAMES:
            raise BadRequest(
                "Send the API key in a header ('x-goog-api-key' or 'Authorization: Bearer'), never in the address, which "
                "proxies and logs keep. Replace the key that was in it.",
                param=name,
                code="credential_in_query",
            )
