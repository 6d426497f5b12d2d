"""Proves who is calling, from the headers alone, and whether that key may use the gateway.

Failure policy: PostgreSQL gone: keys in memory for `stale_key_seconds`, unknown keys 503, never 401.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.ports import KeyLookup, SessionLookup
from tollkeeper.contracts.principal import KeyRecord, Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import BadRequest, DependencyUnavailable, Forbidden, Unauthenticated
from tollkeeper.core.ids import parse_id
from tollkeeper.core.permissions import Permission
from tollkeeper.core.secrets import LONGEST_TOKEN, KeyHasher, is_other_form
from tollkeeper.gateway.key_cache import Entry, KeyCache
from tollkeeper.gateway.stage import Exchange, Next

_PLAIN_HEADERS: Final = (b"x-api-key", b"api-key", b"x-goog-api-key")
_LONGEST_SESSION: Final = 8192
# How long a look-up that failed is not tried again for a key that is in memory.
_RETRY_SECONDS: Final = 2.0
_LOOKS: Final = 3


def read_credential(headers: Mapping[bytes, bytes]) -> bytes:
    """The one credential of a call, from whichever header a client uses. Two different ones are refused."""
    found: bytes | None = None
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthenticated("Send the API key as 'Authorization: Bearer <key>'.")
        found = token.strip()
    for name in _PLAIN_HEADERS:
        value = headers.get(name)
        if value is None:
            continue
        value = value.strip()
        if found is not None and not hmac.compare_digest(found, value):
            raise BadRequest("The request carries two different credentials; send one.", code="conflicting_credentials")
        found = value
    if not found:
        raise Unauthenticated(
            "You didn't provide an API key. Send it as 'Authorization: Bearer <key>' or in the header 'x-api-key'."
        )
    return found


class Authenticate:
    def __init__(
        self,
        cache: KeyCache,
        lookup: KeyLookup,
        hasher: KeyHasher,
        clock: Clock,
        settings: Settings,
        sessions: SessionLookup | None = None,
    ) -> None:
        self._cache = cache
        self._lookup = lookup
        self._hasher = hasher
        self._clock = clock
        self._fresh_seconds = settings.key_cache_seconds
        self._stale_seconds = settings.stale_key_seconds
        self._sessions = sessions
        self._looking: dict[bytes, asyncio.Task[KeyRecord]] = {}

    async def __call__(self, exchange: Exchange, next_stage: Next) -> Reply:
        exchange.principal = await self.principal(exchange.headers)
        return await next_stage(exchange)

    async def principal(self, headers: Mapping[bytes, bytes]) -> Principal:
        token = read_credential(headers)
        if token.startswith(b"eyJ") and token.count(b".") == 2:
            record = await self._by_session(token, headers)
        else:
            record = await self._by_key(token)
        if record.refusal is not None:
            raise Unauthenticated(record.refusal)
        if Permission.GATEWAY_USE not in record.principal.permissions:
            raise Forbidden("This key may not be used for inference; it lacks the scope 'inference'.")
        return record.principal

    async def _by_key(self, token: bytes) -> KeyRecord:
        fingerprint = hashlib.sha256(token).digest()
        entry = self._cache.find(fingerprint)
        if entry is not None and self._clock.monotonic() < entry.fresh_until:
            self._check_expiry(entry)
            return entry.record
        if entry is None and self._cache.is_unknown(fingerprint, self._clock.monotonic()):
            raise _unknown()
        # One look-up per token however many calls wait for it; it is nobody's own, so none cancels it for the others.
        task = self._looking.get(fingerprint)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._look(token, fingerprint))
            self._looking[fingerprint] = task
            task.add_done_callback(lambda done: self._looked(fingerprint, done))
        return await asyncio.shield(task)

    def _looked(self, fingerprint: bytes, task: "asyncio.Task[KeyRecord]") -> None:
        self._looking.pop(fingerprint, None)
        if not task.cancelled():
            # Everyone who waited may have gone; an error nobody takes would be logged as lost.
            task.exception()

    async def _look(self, token: bytes, fingerprint: bytes) -> KeyRecord:
        for _ in range(_LOOKS):
            begun = self._cache.begin()
            now = self._clock.monotonic()
            try:
                entry = await self._prove(token, now)
            except DependencyUnavailable:
                return self._stale(fingerprint, now)
            if entry is None:
                self._cache.store_unknown(fingerprint, now)
                raise _unknown()
            if self._cache.store(fingerprint, entry, begun):
                self._check_expiry(entry)
                return entry.record
        raise DependencyUnavailable("The key is being changed; try again.", retry_after_seconds=1.0)

    def _stale(self, fingerprint: bytes, now: float) -> KeyRecord:
        entry = self._cache.find(fingerprint)
        if entry is None or now - entry.read_at > self._stale_seconds:
            raise DependencyUnavailable("Keys cannot be checked at the moment; try again.", retry_after_seconds=2.0)
        self._check_expiry(entry)
        entry.fresh_until = now + _RETRY_SECONDS
        return entry.record

    async def _prove(self, token: bytes, now: float) -> Entry | None:
        """The record whose secret this token holds; None for a token that proves nothing."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            return None
        text = token.decode("ascii")
        public_id = self._hasher.public_id(text)
        if public_id is not None:
            record = await self._lookup.find_by_public_id(public_id)
        elif is_other_form(text):
            record = await self._lookup.find_by_digest(list(self._hasher.digests(text).values()))
        else:
            return None
        if record is None:
            return None
        digests = self._hasher.digests(text)
        unix = self._clock.unix()
        for known in record.digests:
            ours = digests.get(known.pepper_id)
            if ours is None or not hmac.compare_digest(ours, known.digest):
                continue
            if known.expires_at is not None and known.expires_at <= unix:
                continue
            ends = [end for end in (known.expires_at, record.expires_at) if end is not None]
            return Entry(record, now, now + self._fresh_seconds, min(ends, default=None))
        return None

    def _check_expiry(self, entry: Entry) -> None:
        if entry.valid_until is not None and entry.valid_until <= self._clock.unix():
            raise Unauthenticated("This API key has expired. Create a new one or ask an administrator.")

    async def _by_session(self, token: bytes, headers: Mapping[bytes, bytes]) -> KeyRecord:
        """A console session acting as one of its user's keys (the playground)."""
        if self._sessions is None or len(token) > _LONGEST_SESSION or not token.isascii():
            raise _unknown()
        name = headers.get(b"x-tollkeeper-key-id", b"").decode("latin-1")
        try:
            key_id = parse_id("key", name)
        except ValueError:
            raise Unauthenticated(
                "A session token needs the header 'x-tollkeeper-key-id' with the id of one of your keys."
            ) from None
        record = await self._sessions.find_by_session(token.decode("ascii"), key_id)
        if record is None:
            raise Unauthenticated("The session has ended, or it may not use this key. Sign in again.")
        if record.expires_at is not None and record.expires_at <= self._clock.unix():
            raise Unauthenticated("This API key has expired. Create a new one or ask an administrator.")
        return record


def _unknown() -> Unauthenticated:
    return Unauthenticated("Incorrect API key provided. Check the key, or make one: tollkeeper keys create.")
