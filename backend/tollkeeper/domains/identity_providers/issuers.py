"""What issuers publish about themselves: their endpoints and their keys, fetched through the guarded client and kept.

Keys live as long as the issuer says, between five minutes and a day. A key id we do not know makes us look again, at
most once a minute for each issuer. An issuer that is down is believed by its last keys for a day.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from tollkeeper.core.addresses import find_location
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable, UpstreamError
from tollkeeper.core.foreign_tokens import (
    ForeignTokenRefused,
    PublicKey,
    UnknownKey,
    Unproven,
    read_keys,
    read_object,
    verify,
)
from tollkeeper.core.outbound import Outbound, OutboundFailed

log = structlog.get_logger(__name__)

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
_SHORTEST_LIFE: Final = 300.0
_LONGEST_LIFE: Final = 86_400.0
_USUAL_LIFE: Final = 3600.0
_LOOK_AGAIN_SECONDS: Final = 60.0
# After a fetch that failed: nobody's requests are turned into a storm on an issuer that struggles.
_PAUSE_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 1.0
_MOST_ISSUERS: Final = 500
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])")


class IssuerUnavailable(DependencyUnavailable):
    """The issuer does not answer, or not with what an issuer answers. Nobody's token is called wrong because of it."""

    code = "identity_provider_unavailable"


class IssuerUnfit(UpstreamError):
    """The issuer answers, and what it says cannot be used; the message is for its administrator."""

    code = "identity_provider_unfit"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Which issuer, and how it may be reached: nothing that differs in trust shares what was fetched."""

    url: str
    allow_private_address: bool


@dataclass(frozen=True, slots=True)
class Metadata:
    """OpenID Connect Discovery 1.0, section 3, as far as we use it."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str | None
    token_endpoint: str | None
    userinfo_endpoint: str | None
    token_auth_methods: tuple[str, ...]
    says_issuer: bool  # RFC 9207: the answer to an authorization request names the issuer


@dataclass(slots=True)
class _Known:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    metadata: Metadata | None = None
    metadata_until: float = 0.0
    keys: tuple[PublicKey, ...] = ()
    keys_until: float = 0.0
    keys_end: float = 0.0
    reads: int = 0
    looked_again_at: float = float("-inf")
    failed_at: float = float("-inf")
    has_failed: bool = False
    refreshing: asyncio.Task[bool] | None = None


class Issuers:
    """One worker's memory of issuers; bounded, the least used goes first."""

    def __init__(self, outbound: Outbound, clock: Clock) -> None:
        self.outbound = outbound
        self._clock = clock
        self._known: OrderedDict[Issuer, _Known] = OrderedDict()

    async def metadata(self, issuer: Issuer) -> Metadata:
        """Raises `IssuerUnavailable`, `IssuerUnfit`."""
        known = self._entry(issuer)
        async with known.lock:
            return await self._metadata(issuer, known)

    async def verify(self, issuer: Issuer, unproven: Unproven) -> Mapping[str, Any]:
        """The claims that the issuer signed. Raises `ForeignTokenRefused`, `IssuerUnavailable`, `IssuerUnfit`."""
        if unproven.issuer != issuer.url:
            raise ForeignTokenRefused("it is another issuer's")
        known = self._entry(issuer)
        if self._clock.monotonic() >= known.keys_until:
            await self._refresh(issuer, known)
        try:
            return verify(unproven, known.keys, self._clock.unix())
        except UnknownKey:
            if not await self._fetch_keys(issuer, known, must_be_newer=True):
                raise
            return verify(unproven, known.keys, self._clock.unix())

    async def examine(self, issuer: Issuer) -> tuple[Metadata, tuple[PublicKey, ...]]:
        """Ask anew, for an administrator who wants to know whether it works; what comes is kept, what fails is not."""
        fresh = _Known()
        metadata = await self._metadata(issuer, fresh)
        await self._read_keys(issuer, fresh, metadata)
        self._known[issuer] = fresh
        return metadata, fresh.keys

    def _entry(self, issuer: Issuer) -> _Known:
        known = self._known.get(issuer)
        if known is None:
            known = self._known[issuer] = _Known()
            if len(self._known) > _MOST_ISSUERS:
                self._known.popitem(last=False)
        self._known.move_to_end(issuer)
        return known

    async def _refresh(self, issuer: Issuer, known: _Known) -> None:
        """Keys that are due. An issuer that is slow holds nobody up for long while there are old ones to go on with."""
        task = known.refreshing
        if task is None:
            task = asyncio.create_task(self._fetch_keys(issuer, known, must_be_newer=False))
            known.refreshing = task
            task.add_done_callback(lambda done: _refreshed(known, done))
        has_keys = self._clock.monotonic() < known.keys_end
        await asyncio.wait({task}, timeout=_PATIENCE_SECONDS if has_keys else None)
        if task.done():
            task.result()

    async def _fetch_keys(self, issuer: Issuer, known: _Known, *, must_be_newer: bool) -> bool:
        """Whether there are other keys than before. Old ones serve on while the issuer is away, for what they sign."""
        seen = known.reads
        async with known.lock:
            if known.reads != seen:
                return True  # somebody else has looked meanwhile
            now = self._clock.monotonic()
            if must_be_newer:
                if now - known.looked_again_at < _LOOK_AGAIN_SECONDS:
                    if known.has_failed:
                        raise _unavailable()
                    return False
                known.looked_again_at = now
            try:
                await self._read_keys(issuer, known, await self._metadata(issuer, known))
            except (IssuerUnavailable, IssuerUnfit):
                if must_be_newer or now >= known.keys_end:
                    raise
                known.keys_until = now + _LOOK_AGAIN_SECONDS
                log.warning("identity_provider_keys_stale", issuer=issuer.url)
                return False
            return True

    async def _read_keys(self, issuer: Issuer, known: _Known, metadata: Metadata) -> None:
        document, life = await self._fetch(issuer, known, metadata.jwks_uri)
        try:
            keys = read_keys(document)
        except ValueError:
            keys = ()
        if not keys:
            known.failed_at, known.has_failed = self._clock.monotonic(), True
            raise IssuerUnfit(
                "The issuer's jwks_uri lists no key that can be used: RSA of at least 2048 bits, or EC on P-256, P-384 "
                "or P-521, for signatures."
            )
        now = self._clock.monotonic()
        known.keys, known.reads, known.has_failed = keys, known.reads + 1, False
        known.keys_until, known.keys_end = now + life, now + _LONGEST_LIFE

    async def _metadata(self, issuer: Issuer, known: _Known) -> Metadata:
        now = self._clock.monotonic()
        if known.metadata is not None and now < known.metadata_until:
            return known.metadata
        try:
            document, life = await self._fetch(issuer, known, issuer.url.rstrip("/") + DISCOVERY_PATH)
            known.metadata = _read_metadata(issuer, document)
        except (IssuerUnavailable, IssuerUnfit):
            if known.metadata is None or now >= known.keys_end:
                raise
            return known.metadata
        known.metadata_until = now + life
        return known.metadata

    async def _fetch(self, issuer: Issuer, known: _Known, url: str) -> tuple[dict[str, Any], float]:
        """A JSON object and how long it may be believed."""
        if self._clock.monotonic() - known.failed_at < _PAUSE_SECONDS:
            raise _unavailable()
        try:
            answer = await self.outbound.send(
                "GET", url, headers={"accept": "application/json"}, allow_private_address=issuer.allow_private_address
            )
            document = read_object(answer.body if answer.status == 200 else b"")
        except (OutboundFailed, ForeignTokenRefused) as error:
            known.failed_at, known.has_failed = self._clock.monotonic(), True
            log.warning("identity_provider_unavailable", issuer=issuer.url, problem=type(error).__name__)
            raise _unavailable() from error
        found = _MAX_AGE.search(answer.headers.get("cache-control", "").lower())
        life = _USUAL_LIFE if found is None else float(found[1])
        return document, min(max(life, _SHORTEST_LIFE), _LONGEST_LIFE)


def _refreshed(known: _Known, task: asyncio.Task[bool]) -> None:
    known.refreshing = None
    if not task.cancelled():
        # Everybody who waited may have gone on; an error nobody takes would be logged as lost.
        task.exception()


def _read_metadata(issuer: Issuer, document: Mapping[str, Any]) -> Metadata:
    if document.get("issuer") != issuer.url:
        raise IssuerUnfit(
            "The issuer calls itself by another name than the one configured. Take the exact `issuer` of its "
            f"{DISCOVERY_PATH} document, its final slash included."
        )
    methods = document.get("token_endpoint_auth_methods_supported")
    listed = tuple(method for method in methods if isinstance(method, str)) if isinstance(methods, list) else ()
    jwks_uri = _endpoint(issuer, document, "jwks_uri")
    if jwks_uri is None:
        raise IssuerUnfit("The issuer's discovery document has no jwks_uri.")
    return Metadata(
        issuer=issuer.url,
        jwks_uri=jwks_uri,
        authorization_endpoint=_endpoint(issuer, document, "authorization_endpoint"),
        token_endpoint=_endpoint(issuer, document, "token_endpoint"),
        userinfo_endpoint=_endpoint(issuer, document, "userinfo_endpoint"),
        # Section 3: client_secret_basic is meant where nothing is said.
        token_auth_methods=listed or ("client_secret_basic",),
        says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(issuer: Issuer, document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None:
        return None
    location = find_location(value) if isinstance(value, str) and len(value) <= 2048 else None
    if location is None or (location.scheme != "https" and not issuer.allow_private_address):
        raise IssuerUnfit(f"The issuer's {name} is not an https address.")
    return str(value)


def _unavailable() -> IssuerUnavailable:
    return IssuerUnavailable(
        "The identity provider does not answer as it should, or its address is not one that may be asked. Check the "
        "issuer: a public https address; a private one needs allow_private_address.",
        retry_after_seconds=_PAUSE_SECONDS,
    )
