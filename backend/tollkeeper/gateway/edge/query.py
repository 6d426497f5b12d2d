"""What an address may not carry: proxies, browsers and logs keep addresses, so a credential in one is no secret any more."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from tollkeeper.core.errors import BadRequest

# As vendors' clients and clouds name them, but for what is no letter and no digit in a name: `X-Amz-Signature`, `api_key`.
_NAMES: Final = frozenset(
    {
        "accesskey",
        "accesstoken",
        "apikey",
        "apitoken",
        "auth",
        "authorization",
        "authtoken",
        "bearer",
        "bearertoken",
        "clientsecret",
        "idtoken",
        "jwt",
        "key",
        "password",
        "refreshtoken",
        "secret",
        "secretkey",
        "sessiontoken",
        "sig",
        "signature",
        "subscriptionkey",
        "token",
        "xapikey",
        "xgoogapikey",
    }
)
# Of signed addresses, and of Azure's API management.
_PREFIXES: Final = ("xamz", "xgoogs", "xgoogcredential", "ocpapim")
_NO_NAME: Final = re.compile(r"[^a-z0-9]")
# Ours, whatever the name is that it goes by.
_OUR_KEY: Final = re.compile(rb"tk-(?:live|test|run)_")


def refuse_credential(query: bytes) -> None:
    """Raise where the query of a call holds one, whatever its headers hold."""
    if not query:
        return
    for name, value in _pairs(query):
        bare = _NO_NAME.sub("", name.lower())
        if bare in _NAMES or bare.startswith(_PREFIXES) or _OUR_KEY.search(value):
            raise BadRequest(
                "Send the API key in a header ('x-goog-api-key' or 'Authorization: Bearer'), never in the address, which "
                "proxies and logs keep. Replace the key that was in it.",
                param=name[:100],
                code="credential_in_query",
            )


def _pairs(query: bytes) -> Iterator[tuple[str, bytes]]:
    """As the most generous server reads them: a semicolon parts them as well, names may be encoded twice."""
    for pair in query.replace(b";", b"&").replace(b"+", b" ").split(b"&"):
        name, _, value = pair.partition(b"=")
        yield unquote_to_bytes(unquote_to_bytes(name)).decode("latin-1"), unquote_to_bytes(unquote_to_bytes(value))
