"""Tokens that clouds give for a credential: kept in memory until shortly before their end, fetched once for all who wait.

Every request for one goes through the channel of the vendors' calls, so that its address is checked, its size and time
are bounded, and the secret leaves for the token service's own origin alone. What a token service says is never repeated.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Generic, Protocol, TypeVar, cast, runtime_checkable

import structlog

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.cloud import CloudDocument, DocumentFamily, read_document
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.addresses import locate
from tollkeeper.gateway.provider import Channel, CredentialRefused, CredentialUnavailable, UpstreamRequest

log = structlog.get_logger(__name__)

ASK_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 1_048_576
# Renewed this long before the end, or for the last fifth of short lives.
AHEAD_SECONDS: Final = 300.0
# Not used any more so shortly before the end: it must still be good when it arrives.
LEAST_SECONDS: Final = 10.0
# After a failure nobody asks again for so long: a token service in trouble gets no crowd, and calls move on at once.
PAUSE_SECONDS: Final = 2.0
# A token that a vendor refused is given up when it is older than this: a new one would be refused as well otherwise.
SETTLED_SECONDS: Final = 60.0
_MOST_ENTRIES: Final = 4096

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Grant(Generic[T]):
    """What a token service gave, and for how long from now."""

    value: T = field(repr=False)
    seconds: float


class _Entry:
    __slots__ = ("failure", "fetched", "grant", "retry_at", "task", "until")

    def __init__(self) -> None:
        self.grant: Grant[Any] | None = None
        self.fetched = 0.0
        self.until = 0.0
        self.task: asyncio.Task[None] | None = None
        self.failure: CredentialUnavailable | None = None
        self.retry_at = 0.0


class Tokens:
    """Of one worker. Times are seconds of the monotonic clock, so that a clock that is put right ends nothing."""

    def __init__(self, channel: Channel, clock: Clock) -> None:
        self._channel = channel
        self._entries: dict[tuple[Credential, str], _Entry] = {}
        # By the operator's word for the provider too: what a document may name depends on it.
        self._documents: dict[tuple[Credential, bool, bool], CloudDocument] = {}
        self.clock = clock

    def document(self, family: DocumentFamily, config: ProviderConfig, credential: Credential) -> CloudDocument:
        """The credential's document, read once. Raises `CredentialRefused` for one that cannot work."""
        key = (credential, config.is_managed_by_file, config.allow_private_address)
        found = self._documents.get(key)
        if found is None:
            try:
                found = read_document(
                    family,
                    credential.secret,
                    is_file_managed=config.is_managed_by_file,
                    allows_any_host=config.allow_private_address,
                )
            except ValueError as error:
                log.warning("cloud_credential_unusable", provider=config.name, reason=str(error))
                raise CredentialRefused(
                    "The provider's credential is not configured rightly. Tell the operator.",
                    code="upstream_configuration",
                ) from None
            if len(self._documents) >= _MOST_ENTRIES:
                self._documents.clear()
            self._documents[key] = found
        return found

    async def get(self, credential: Credential, purpose: str, fetch: Callable[[], Awaitable[Grant[T]]]) -> T:
        """The token of a credential for a purpose (its endpoint and scope).

        A good one is given at once, and renewed beside that when its end is near. Raises `CredentialUnavailable`.
        """
        entry = self._entries.get((credential, purpose))
        if entry is None:
            entry = self._new_entry((credential, purpose))
        now, grant = self.clock.monotonic(), entry.grant
        if grant is not None:
            left = entry.until - now
            if left > min(AHEAD_SECONDS, grant.seconds / 5):
                return cast("T", grant.value)
            if left > min(LEAST_SECONDS, grant.seconds / 10):
                if entry.task is None and now >= entry.retry_at:
                    self._start(entry, fetch)
                return cast("T", grant.value)
        if entry.task is None:
            if entry.failure is not None and now < entry.retry_at:
                raise _again(entry.failure)
            self._start(entry, fetch)
        assert entry.task is not None
        # A caller who leaves does not take the token away from the others.
        await asyncio.shield(entry.task)
        if entry.failure is not None:
            raise _again(entry.failure)
        assert entry.grant is not None
        return cast("T", entry.grant.value)

    def refused(self, credential: Credential) -> None:
        """The vendor did not take what was made of this credential: a token that was revoked is not offered again."""
        now = self.clock.monotonic()
        for (owner, _), entry in self._entries.items():
            if owner == credential and entry.grant is not None and now - entry.fetched > SETTLED_SECONDS:
                entry.grant = None

    async def ask(
        self,
        config: ProviderConfig,
        credential: Credential,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        signed_headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """POST to a token service. Raises `CredentialRefused` when it says no, `CredentialUnavailable` without an answer."""
        try:
            status, answer = await self._post(config, credential, url, body, headers, signed_headers)
        except UpstreamError as error:
            log.warning("cloud_token_unavailable", provider=config.name, credential=str(credential.id), code=error.code)
            raise unavailable() from error
        if status == 200:
            return answer
        log.warning("cloud_token_refused", provider=config.name, credential=str(credential.id), status=status)
        if 400 <= status < 500 and status not in {404, 408, 425, 429}:
            raise CredentialRefused(
                "The provider's identity service refused the gateway's own credential. Tell the operator; your key is fine."
            )
        raise unavailable()

    async def _post(
        self,
        config: ProviderConfig,
        credential: Credential,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        signed_headers: Mapping[str, str] | None,
    ) -> tuple[int, bytes]:
        origin = locate(url).origin
        request = UpstreamRequest(
            method="POST",
            url=url,
            headers={"accept": "application/json", **headers},
            body=body,
            # The operator's headers and times are for the provider, not for who vouches for us there.
            config=replace(
                config, base_url=origin, headers=MappingProxyType({}), first_byte_seconds=None, idle_seconds=None
            ),
            deadline=self.clock.monotonic() + ASK_SECONDS,
            is_stream=False,
            # The secret is in the body: bound to this origin by the same check as one in a header.
            credential=replace(credential, origins=frozenset({origin})),
            signed_headers=signed_headers,
        )
        response = await self._channel.send(request)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in response.reads():
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER_BYTES:
                    raise UpstreamError("The identity service's answer is too large.", code="upstream_too_large")
        finally:
            await response.aclose()
        return response.status, b"".join(parts)

    def _new_entry(self, key: tuple[Credential, str]) -> _Entry:
        """A rare moment, and the one to let go of what is over: tokens of credentials that nobody has any more."""
        now = self.clock.monotonic()
        kept = {
            known: entry
            for known, entry in self._entries.items()
            if entry.task is not None or max(entry.until, entry.retry_at) > now
        }
        self._entries = kept if len(kept) < _MOST_ENTRIES else {}
        entry = self._entries[key] = _Entry()
        return entry

    def _start(self, entry: _Entry, fetch: Callable[[], Awaitable[Grant[T]]]) -> None:
        entry.task = asyncio.create_task(self._fetch(entry, fetch))

    async def _fetch(self, entry: _Entry, fetch: Callable[[], Awaitable[Grant[T]]]) -> None:
        try:
            grant = await fetch()
        except CredentialUnavailable as error:
            entry.failure = error
            entry.retry_at = self.clock.monotonic() + PAUSE_SECONDS
        else:
            entry.failure = None
            entry.grant = grant
            entry.fetched = self.clock.monotonic()
            entry.until = entry.fetched + grant.seconds
        finally:
            entry.task = None


@runtime_checkable
class Authorizing(Protocol):
    """A provider whose credentials have to be fetched or signed for each request. `dispatch` awaits it before sending."""

    async def authorize(self, request: UpstreamRequest, tokens: Tokens) -> Mapping[str, str]:
        """What carries the credential of this one request; empty for a credential that is a plain key.

        The channel sends it nowhere but to the credential's origins. Raises `CredentialUnavailable`.
        """
        ...


def read_answer(body: bytes) -> Mapping[str, Any]:
    """A token service's JSON object. Raises `CredentialUnavailable` for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise unavailable()
    return value


def text_of(document: Mapping[str, Any], name: str) -> str:
    """A token in a service's answer, fit for a header. Raises `CredentialUnavailable` when it is not there."""
    value = document.get(name)
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or len(value) > 16_384:
        raise unavailable()
    return value


def seconds_of(document: Mapping[str, Any], name: str = "expires_in", *, otherwise: float = 3600.0) -> float:
    """How long a token lives, as its service says; some write a number, some its text."""
    value = document.get(name)
    if isinstance(value, str) and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        return otherwise
    return float(value)


async def read_token_file(path: str, *, longest: int = 65_536) -> str:
    """What the platform wrote there for us, read anew each time: it is rotated. Raises `CredentialUnavailable`."""
    try:
        return await asyncio.to_thread(_read_file, path, longest)
    except (OSError, ValueError) as error:
        log.warning("cloud_token_file_unreadable", path=path, reason=type(error).__name__)
        raise unavailable() from None


def _read_file(path: str, longest: int) -> str:
    with open(path, "rb") as file:  # noqa: PTH123 - one call
        data = file.read(longest + 1)
    text = data.decode("ascii").strip()
    if not text or len(data) > longest:
        raise ValueError("empty, or too long")
    return text


def unavailable() -> CredentialUnavailable:
    """One text whatever the reason; the log has it."""
    return CredentialUnavailable(
        "The service that gives the gateway its credential for this provider does not answer rightly. Try again later."
    )


def _again(failure: CredentialUnavailable) -> CredentialUnavailable:
    """Each who waits gets an error of its own: what is raised is changed on its way."""
    return type(failure)(failure.message, code=failure.code, status=failure.status, should_retry=failure.should_retry)
