"""Proves who is calling, from the headers alone, and whether that key may use the gateway.

Failure policy: PostgreSQL gone: keys in memory, or in the snapshot of an earlier process, for `stale_key_seconds`;
unknown keys 503, never 401.
"""

import asyncio
import base64
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Final, NoReturn
from uuid import UUID

import orjson

from tollkeeper.contracts.key_bounds import EndpointNotAllowed, endpoint_allowed, key_admits
from tollkeeper.contracts.key_proof import KeyProof
from tollkeeper.contracts.ports import ForeignKeys, KeyLookup, KeyUses, SessionLookup, TokenLookup
from tollkeeper.contracts.principal import EXPIRED, KeyRecord, Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import BadRequest, DependencyUnavailable, Forbidden, Unauthenticated
from tollkeeper.core.ids import parse_id
from tollkeeper.core.permissions import Permission
from tollkeeper.core.run_keys import LEEWAY_SECONDS, PREFIX_BYTES, Run, RunKeys
from tollkeeper.core.secrets import LONGEST_TOKEN, KeyHasher
from tollkeeper.core.tokens import ISSUER
from tollkeeper.gateway.key_cache import Entry, KeyCache
from tollkeeper.gateway.key_snapshot import KeySnapshot
from tollkeeper.gateway.run_keys import ends_of_run, principal_of_run
from tollkeeper.gateway.stage import Exchange, Step

_PLAIN_HEADERS: Final = (b"x-api-key", b"api-key", b"x-goog-api-key")
_LONGEST_SESSION: Final = 8192
# How long a look-up that failed is not tried again for a key that is in memory.
_RETRY_SECONDS: Final = 2.0
_LOOKS: Final = 3
# Who has nothing to fall back on waits so many times longer for a look-up.
_PATIENCE: Final = 9
# Begins the place of a run key's parent in the cache: no fingerprint of a token is as long.
_PARENT: Final = b"the parent of run keys, by its id: "
_RUN_ENDED: Final = "The run has ended. Exchange the key for another run key."

# Host and port, as ASGI has them.
Client = tuple[str, int] | None
Look = Callable[[bytes, float], Awaitable[Entry]]


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


class Authenticate(Step):
    def __init__(
        self,
        cache: KeyCache,
        lookup: KeyLookup,
        hasher: KeyHasher,
        clock: Clock,
        settings: Settings,
        sessions: SessionLookup | None = None,
        *,
        foreign: ForeignKeys | None = None,
        tokens: TokenLookup | None = None,
        uses: KeyUses | None = None,
        snapshot: KeySnapshot | None = None,
        run_keys: RunKeys | None = None,
    ) -> None:
        self._cache = cache
        self._lookup = lookup
        self._proof = KeyProof(lookup, hasher, foreign)
        self._clock = clock
        self._fresh_seconds = settings.key_cache_seconds
        self._stale_seconds = settings.stale_key_seconds
        self._wait_seconds = settings.database_lookup_ms / 1000
        self._sessions = sessions
        self._foreign = foreign
        self._tokens = tokens
        self._uses = uses
        self._snapshot = snapshot
        self._run_keys = run_keys
        self._looking: dict[bytes, asyncio.Task[Entry]] = {}

    def enter(self, exchange: Exchange) -> Awaitable[None] | None:
        record = self._at_once(exchange.headers)
        if record is None:
            return self._enter(exchange)
        exchange.principal = self._admitted(record, exchange.headers, exchange.path, exchange.client)
        return None

    async def _enter(self, exchange: Exchange) -> None:
        exchange.principal = await self.principal(exchange.headers, exchange.path, exchange.client)

    def _at_once(self, headers: Mapping[bytes, bytes]) -> KeyRecord | None:
        """A key that is in memory and fresh; None where somebody has to be asked."""
        token = read_credential(headers)
        if token.startswith((b"eyJ", PREFIX_BYTES)):
            return None
        entry = self._known(sha256(token).digest())
        return None if entry is None else entry.record

    async def principal(self, headers: Mapping[bytes, bytes], path: str, client: Client) -> Principal:
        """Who calls, allowed to call here. `path` in either spelling; `client` as the server believes it to be."""
        token = read_credential(headers)
        if token.startswith(b"eyJ") and token.count(b".") == 2:
            record = await self._by_token(token, headers)
        elif token.startswith(PREFIX_BYTES):
            record = await self._by_run_key(token)
        else:
            fingerprint = sha256(token).digest()
            entry = self._known(fingerprint)
            if entry is None:
                entry = await self._shared(fingerprint, partial(self._look_for_key, token), token)
            record = entry.record
        return self._admitted(record, headers, path, client)

    def _admitted(self, record: KeyRecord, headers: Mapping[bytes, bytes], path: str, client: Client) -> Principal:
        principal = record.principal
        if record.refusal is not None:
            self._note_refusal(principal, record.refusal, client)
            raise Unauthenticated(record.refusal)
        if Permission.GATEWAY_USE not in principal.permissions:
            raise Forbidden(
                "This key may not call models: it lacks the scope 'inference', or the role of its owner does not grant it."
            )
        if principal.is_bounded and (refusal := _bounds_refusal(principal, headers, path, client)) is not None:
            self._note_refusal(principal, refusal.code, client)
            raise refusal
        return principal

    async def principal_of(self, key_id: UUID, path: str) -> Principal:
        """The key of that id, for a call made on its behalf: as it is now, allowed to use that path.

        Where it may be used from was judged when it asked for this. Raises as `principal` does.
        """
        place = _PARENT + key_id.bytes
        entry = self._known(place) or await self._shared(place, partial(self._look_for_parent, key_id))
        record = entry.record
        if record.refusal is not None:
            raise Unauthenticated(record.refusal)
        principal = record.principal
        if Permission.GATEWAY_USE not in principal.permissions:
            raise Forbidden("This key may not call models any more.")
        if principal.allowed_endpoints is not None and not endpoint_allowed(path, principal.allowed_endpoints):
            raise EndpointNotAllowed(f"This key may not be used for '{path}'.")
        return principal

    def _note_refusal(self, principal: Principal, reason: str, client: Client) -> None:
        if self._uses is not None:
            self._uses.refused(principal, reason, None if client is None else client[0])

    def _known(self, fingerprint: bytes) -> Entry | None:
        """What is in memory and fresh. Raises for a token that was refused a moment ago."""
        now = self._clock.monotonic()
        entry = self._cache.find(fingerprint)
        if entry is None:
            if self._cache.is_unknown(fingerprint, now):
                raise _unknown()
            return None
        if now >= entry.fresh_until:
            return None
        self._check_expiry(entry)
        entry.used_at = now
        return entry

    async def _shared(self, fingerprint: bytes, look: Look, token: bytes | None = None) -> Entry:
        """One look-up per token however many calls wait for it; it is nobody's own, so none cancels it for the others.

        They wait for so long and no longer, while it goes on: given up with the first of them, it would begin anew, on
        a connection that has to be made anew, for as long as the machine is busy.
        """
        task = self._looking.get(fingerprint)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._look(fingerprint, look))
            self._looking[fingerprint] = task
            task.add_done_callback(lambda done: self._looked(fingerprint, done))
        done, _ = await asyncio.wait((task,), timeout=self._wait_seconds)
        if done:
            return task.result()
        if token is not None and token.isascii() and len(token) <= LONGEST_TOKEN:
            self._recall(token.decode("ascii"), fingerprint, self._clock.monotonic())
        if self._cache.find(fingerprint) is None:
            # Nothing to fall back on: better late than refused.
            done, _ = await asyncio.wait((task,), timeout=_PATIENCE * self._wait_seconds)
            if done:
                return task.result()
        return self._stale(fingerprint, self._clock.monotonic())

    def _looked(self, fingerprint: bytes, task: "asyncio.Task[Entry]") -> None:
        self._looking.pop(fingerprint, None)
        if not task.cancelled():
            # Everyone who waited may have gone; an error nobody takes would be logged as lost.
            task.exception()

    async def _look(self, fingerprint: bytes, look: Look) -> Entry:
        is_new = self._cache.find(fingerprint) is None
        for _ in range(_LOOKS):
            begun = self._cache.begin()
            now = self._clock.monotonic()
            try:
                entry = await look(fingerprint, now)
            except DependencyUnavailable:
                return self._stale(fingerprint, now)
            entry.used_at = now
            if self._cache.store(fingerprint, entry, begun):
                if is_new and self._snapshot is not None:
                    self._snapshot.met()
                self._check_expiry(entry)
                return entry
        raise DependencyUnavailable("The key is being changed; try again.", retry_after_seconds=1.0)

    def _stale(self, fingerprint: bytes, now: float) -> Entry:
        entry = self._cache.find(fingerprint)
        if entry is None or now - entry.read_at > self._stale_seconds:
            raise DependencyUnavailable("Keys cannot be checked at the moment; try again.", retry_after_seconds=2.0)
        self._check_expiry(entry)
        entry.fresh_until = now + _RETRY_SECONDS
        entry.used_at = now
        return entry

    async def _look_for_key(self, token: bytes, fingerprint: bytes, now: float) -> Entry:
        """The key whose secret this token holds."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise _unknown()
        text = token.decode("ascii")
        try:
            proof = await self._proof.find(text, self._clock.unix())
        except DependencyUnavailable:
            self._recall(text, fingerprint, now)
            raise
        if proof is None:
            self._refuse(text, fingerprint, now)
        if proof.renewed is not None and self._uses is not None:
            self._uses.renew(proof.record.principal.key_id, proof.known.digest, proof.renewed)
        return Entry(proof.record, now, now + self._fresh_seconds, proof.valid_until)

    def _refuse(self, text: str, fingerprint: bytes, now: float) -> NoReturn:
        # What cost no look-up is not remembered either: the key may be imported in this moment.
        if self._foreign is None or self._proof.is_own_form(text):
            self._cache.store_unknown(fingerprint, now)
        raise _unknown()

    def _recall(self, text: str, fingerprint: bytes, now: float) -> None:
        """Put what an earlier process knew of this token into memory, as old as it is: then it is stale, not unknown."""
        if self._snapshot is None or self._cache.find(fingerprint) is not None:
            return
        found = self._snapshot.find(self._proof.digests_of(text))
        unix = self._clock.unix()
        proof = None if found is None else self._proof.prove(found.record, text, unix)
        if found is None or proof is None:
            return
        read_at = now - max(0.0, unix - found.read_at)
        self._cache.store(fingerprint, Entry(proof.record, read_at, 0.0, proof.valid_until), self._cache.begin())

    async def _by_run_key(self, token: bytes) -> KeyRecord:
        """A run key: proven without asking anyone, for as long as what is known of its parent is fresh."""
        if len(token) > LONGEST_TOKEN or self._run_keys is None:
            raise _unknown()
        fingerprint = sha256(token).digest()
        entry = self._known(fingerprint)
        if entry is None:
            run, unix = self._run_keys.verify(token), self._clock.unix()
            if run is None or run.issued_at > unix + LEEWAY_SECONDS:
                raise _unknown()
            if run.expires_at <= unix:
                raise Unauthenticated(_RUN_ENDED)
            entry = await self._shared(fingerprint, partial(self._look_for_run, run))
        return entry.record

    async def _look_for_run(self, run: Run, _fingerprint: bytes, _now: float) -> Entry:
        """The parent as it is now, narrowed. It is known once for all its run keys."""
        place = _PARENT + run.key_id.bytes
        parent = self._known(place)
        if parent is None:
            parent = await self._shared(place, partial(self._look_for_parent, run.key_id))
        record = parent.record
        if record.principal.tenant_id != run.tenant_id:
            raise _unknown()
        ends = ends_of_run(record, run)
        if ends <= self._clock.unix():
            raise Unauthenticated(_RUN_ENDED)
        narrowed = replace(record, principal=principal_of_run(record.principal, run), expires_at=ends)
        return Entry(narrowed, parent.read_at, parent.fresh_until, ends)

    async def _look_for_parent(self, key_id: UUID, _place: bytes, now: float) -> Entry:
        record = await self._lookup.find_by_id(key_id)
        if record is None:
            raise _unknown()
        return Entry(record, now, now + self._fresh_seconds, record.expires_at)

    def _check_expiry(self, entry: Entry) -> None:
        if entry.valid_until is not None and entry.valid_until <= self._clock.unix():
            raise Unauthenticated(EXPIRED)

    async def _by_token(self, token: bytes, headers: Mapping[bytes, bytes]) -> KeyRecord:
        """A signed token: our own of a console session (the playground), or a workload's from an issuer we trust."""
        if len(token) > _LONGEST_SESSION or not token.isascii():
            raise _unknown()
        named = headers.get(b"x-tollkeeper-key-id")
        text = token.decode("ascii")
        if self._tokens is None or _issuer_of(text) == ISSUER:
            return await self._by_session(text, named)
        # The key that is named has a part in what the token stands for.
        fingerprint = sha256(token if named is None else token + b" " + named).digest()
        entry = self._known(fingerprint)
        if entry is None:
            entry = await self._shared(fingerprint, partial(self._look_for_workload, text, named))
        return entry.record

    async def _look_for_workload(self, token: str, named: bytes | None, fingerprint: bytes, now: float) -> Entry:
        assert self._tokens is not None
        key_id = None if named is None else _read_key_id(named)
        found = await self._tokens.find_by_token(token, key_id)
        unix = self._clock.unix()
        if found is None or found[1] <= unix:
            self._cache.store_unknown(fingerprint, now)
            raise Unauthenticated("The token is not one that may be used here.", code="invalid_token")
        record, ends = found
        fresh_until = now + min(self._fresh_seconds, ends - unix)
        return Entry(record, now, fresh_until, ends if record.expires_at is None else min(ends, record.expires_at))

    async def _by_session(self, token: str, named: bytes | None) -> KeyRecord:
        if self._sessions is None:
            raise _unknown()
        record = await self._sessions.find_by_session(token, _read_key_id(named or b""))
        if record is None:
            raise Unauthenticated("The session has ended, or it may not use this key. Sign in again.")
        if record.expires_at is not None and record.expires_at <= self._clock.unix():
            raise Unauthenticated(EXPIRED)
        if self._uses is not None:
            self._uses.used(record.principal.key_id)
        return record


def _bounds_refusal(
    principal: Principal, headers: Mapping[bytes, bytes], path: str, client: Client
) -> Forbidden | None:
    origin = headers.get(b"origin")
    return key_admits(
        principal,
        endpoint=path,
        address=None if client is None else client[0],
        origin=None if origin is None else origin.decode("latin-1"),
    )


def _read_key_id(name: bytes) -> UUID:
    try:
        return parse_id("key", name.decode("latin-1"))
    except ValueError:
        raise Unauthenticated(
            "A session token needs the header 'x-tollkeeper-key-id' with the id of one of your keys."
        ) from None


def _issuer_of(token: str) -> str | None:
    """Who a token says has issued it, believed by nobody: it only decides who is to judge the token."""
    payload = token.split(".")[1]
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None


def _unknown() -> Unauthenticated:
    return Unauthenticated("Incorrect API key provided. Check the key, or make one: tollkeeper keys create.")
