"""What a vendor says is kept from carrying our secrets on: debug servers and careless proxies repeat what they are sent.

Not a defence against a vendor that means harm, which has the credential anyway; it keeps an accident from reaching
callers, the ledger and the logs.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.cloud import secrets_of
from tollkeeper.core.errors import TollkeeperError

HIDDEN: Final = "***"
# What an answer that is well is looked through for: shorter ones could be its own words.
_SHORTEST_ECHOED: Final = 12
_SECRET_NAMES: Final = re.compile(r"auth|cookie|key|secret|token")
# Shorter values of headers are names of teams and the like, and would be found in any sentence.
_SHORTEST: Final = 8
_REQUEST_ID: Final = re.compile(r"[0-9A-Za-z._:/=+-]{1,128}")


def hide_secrets(
    error: TollkeeperError,
    config: ProviderConfig,
    credential: Credential | None,
    signed: Mapping[str, str] | None = None,
) -> None:
    """Take out of an error what only the provider was to see. In place: the attempt keeps the same error.

    `signed`: headers that the request had beside those of the configuration.
    """
    for secret in (*_secrets(config, credential), *_words((signed or {}).values())):
        error.message = error.message.replace(secret, HIDDEN)
        error.code = error.code.replace(secret, HIDDEN)
        if error.param is not None:
            error.param = error.param.replace(secret, HIDDEN)
    error.args = (error.message,)


def hide_in_bytes(
    content: bytes,
    *,
    config: ProviderConfig,
    credential: Credential | None,
    signed: Mapping[str, str] | None = None,
) -> bytes:
    """The same for a vendor's words that are passed on as they are."""
    for secret in (*_secrets(config, credential), *_words((signed or {}).values())):
        content = content.replace(secret.encode("latin-1", "replace"), HIDDEN.encode("ascii"))
    return content


def echoed_secrets(
    config: ProviderConfig, credential: Credential | None, signed: Mapping[str, str] | None
) -> tuple[bytes, ...]:
    """What is our own secret without doubt, and in no answer by chance; the longest first."""
    found = set() if credential is None else set(secrets_of(credential.secret))
    found |= {value for name, value in config.headers.items() if _SECRET_NAMES.search(name.lower())}
    found |= {word for word in _words((signed or {}).values()) if len(word) > 2 * _SHORTEST_ECHOED}
    kept = [secret.encode("latin-1", "replace") for secret in found if len(secret) >= _SHORTEST_ECHOED]
    return tuple(sorted(kept, key=len, reverse=True))


class Hiding:
    """Takes secrets out of bytes that arrive in pieces, and keeps back only what may still become one."""

    __slots__ = ("_held", "_secrets")

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._secrets = secrets
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        content = self._hide(self._held + piece)
        kept = max((_begun(content, secret) for secret in self._secrets), default=0)
        self._held = content[len(content) - kept :]
        return content[: len(content) - kept]

    def end(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def _hide(self, content: bytes) -> bytes:
        for secret in self._secrets:
            if secret in content:
                content = content.replace(secret, HIDDEN.encode("ascii"))
        return content


def _begun(content: bytes, secret: bytes) -> int:
    """How many of the last bytes are the beginning of a secret."""
    place = content.find(secret[:1], max(0, len(content) - len(secret) + 1))
    while place >= 0:
        if secret.startswith(content[place:]):
            return len(content) - place
        place = content.find(secret[:1], place + 1)
    return 0


def read_request_id(headers: Mapping[str, str], credential: Credential | None) -> str | None:
    """The vendor's own id of a request; None for anything that is more than an id."""
    get = headers.get
    value = get("x-request-id") or get("request-id") or get("x-amzn-requestid") or get("apim-request-id")
    if value is None or _REQUEST_ID.fullmatch(value) is None:
        return None
    return None if credential is not None and credential.secret in value else value


def _secrets(config: ProviderConfig, credential: Credential | None) -> Iterator[str]:
    if credential is not None:
        yield from secrets_of(credential.secret)
    for value in (*config.headers.values(), config.proxy_url):
        if value is not None and len(value) >= _SHORTEST:
            yield value


def _words(values: Iterable[str]) -> Iterator[str]:
    """`Bearer ey…`: the token is the secret, with its scheme or without."""
    return (word for value in values for word in value.split(" ") if len(word) >= _SHORTEST)
