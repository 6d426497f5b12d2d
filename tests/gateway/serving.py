"""The gateway over real sockets with fakes at its ports, and what tests ask of it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx
import uvicorn
from uvicorn.server import ServerState

from tollkeeper.contracts.catalog import Credential, ModelRoute, Price, ProviderConfig, Snapshot
from tollkeeper.contracts.principal import Environment, KeyRecord, Principal, SecretDigest
from tollkeeper.contracts.routing import Target
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.errors import DependencyUnavailable, TollkeeperError
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.core.run_keys import RunKeys
from tollkeeper.core.secrets import KeyDigest, KeyHasher, new_key
from tollkeeper.gateway.app import Gateway
from tollkeeper.gateway.claims import Claims
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.guard_events import GuardEvents
from tollkeeper.gateway.kept_answers import KeptAnswers
from tollkeeper.gateway.key_cache import KeyCache
from tollkeeper.gateway.key_snapshot import KeySnapshot
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.admission import Admitted
from tollkeeper.gateway.money.hold import Appraisal, Hold, Holds
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.terms import Asked, Terms
from tollkeeper.gateway.pipeline import Services
from tollkeeper.gateway.pressure.slots import Slots
from tollkeeper.gateway.request_log import RequestLog
from tollkeeper.gateway.routing.health import Gate
from tollkeeper.gateway.stage import Exchange
from tollkeeper.gateway.stages.admit import Admits, Appraise
from tollkeeper.gateway.stages.recall import Recalling
from tollkeeper.gateway.upstream import Upstream

TENANT = uuid7()
KEY = new_key().token
MASTER = MasterKey(MasterKey.generate())
HASHER = KeyHasher(MASTER)
RUN_KEYS = RunKeys(MASTER)
PRICE = Price(version=uuid7(), input=150_000, output=600_000)


class ManualClock(SystemClock):
    """Real time plus what a test adds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def unix(self) -> float:
        return super().unix() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def principal(**fields: Any) -> Principal:
    values: dict[str, Any] = {
        "tenant_id": TENANT,
        "key_id": uuid7(),
        "user_id": None,
        "environment": Environment.LIVE,
        "permissions": frozenset({Permission.GATEWAY_USE}),
    }
    return Principal(**{**values, **fields})


class FakeKeys:
    """The ports that find keys: by secret, by session, by a workload's token; and those that take note of them."""

    def __init__(self) -> None:
        self.records: dict[str, KeyRecord] = {}
        self.is_down = False
        self.lookups = 0
        self.gate: asyncio.Event | None = None
        self.sessions: dict[str, KeyRecord] = {}
        # By token and the key it names: what the issuer's token stands for, and its end.
        self.tokens: dict[tuple[str, UUID | None], tuple[KeyRecord, float]] = {}
        self.noted: list[UUID] = []
        self.renewals: list[tuple[UUID, bytes, KeyDigest]] = []
        self.refusals: list[tuple[UUID, str, str | None]] = []
        self._digests: set[bytes] = set()

    async def find_by_token(self, token: str, key_id: UUID | None) -> tuple[KeyRecord, float] | None:
        await self._ask()
        return self.tokens.get((token, key_id))

    def add(
        self, token: str, *, refusal: str | None = None, expires_at: float | None = None, **fields: Any
    ) -> Principal:
        who = principal(**fields)
        digests = tuple(SecretDigest(pepper_id, digest) for pepper_id, digest in HASHER.digests(token).items())
        self.records[HASHER.public_id(token) or token] = KeyRecord(who, digests, expires_at, refusal)
        self._digests.update(known.digest for known in digests)
        return who

    def used(self, key_id: UUID) -> None:
        self.noted.append(key_id)

    def refused(self, principal: Principal, reason: str, address: str | None) -> None:
        self.refusals.append((principal.key_id, reason, address))

    def renew(self, key_id: UUID, known: bytes, renewed: KeyDigest) -> None:
        self.renewals.append((key_id, known, renewed))

    def record(self, token: str) -> KeyRecord:
        return self.records[HASHER.public_id(token) or token]

    async def find_by_public_id(self, public_id: str) -> KeyRecord | None:
        # Read first, answer later: what a slow look-up brings may be old by then.
        found = self.records.get(public_id)
        await self._ask()
        return found

    async def find_by_digest(self, digests: Sequence[bytes]) -> KeyRecord | None:
        await self._ask()
        return next((r for r in self.records.values() if any(d.digest in digests for d in r.digests)), None)

    async def find_by_id(self, key_id: UUID) -> KeyRecord | None:
        found = next((r for r in self.records.values() if r.principal.key_id == key_id), None)
        await self._ask()
        return None if found is None else replace(found, digests=())

    def may_hold(self, digests: Iterable[bytes]) -> bool:
        return not self._digests.isdisjoint(digests)

    async def find_by_session(self, access_token: str, key_id: UUID) -> KeyRecord | None:
        await self._ask()
        record = self.sessions.get(access_token)
        return record if record is not None and record.principal.key_id == key_id else None

    async def _ask(self) -> None:
        self.lookups += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise DependencyUnavailable("PostgreSQL does not answer.")


class FakeAdmission:
    def __init__(self) -> None:
        self.headers: Mapping[str, str] = MappingProxyType({})
        self.refusal: TollkeeperError | None = None
        # What the next call holds; `holds` of `serving` hears of it.
        self.hold: Hold | None = None

    def terms(self, principal: Principal, asked: Asked) -> Sequence[Terms]:
        return [Terms(principal.tenant_id)]

    async def admit(self, terms: Sequence[Terms], request_id: UUID, appraisal: Appraisal, **_kept: object) -> Admitted:
        if self.refusal is not None:
            raise self.refusal
        return Admitted(self.headers, self.hold)


class NothingToAppraise:
    """Nothing here is limited by money or tokens."""

    def __call__(self, exchange: Exchange) -> Appraisal:
        raise AssertionError(f"appraised without need: {exchange.shown_id}")

    async def exactly(self, exchange: Exchange) -> Appraisal:
        return self(exchange)


@dataclass
class FixedSnapshot:
    snapshot: Snapshot

    def current(self) -> Snapshot:
        return self.snapshot


class RecordingJournal(Journal):
    """The real journal, keeping what was settled for a test to look at."""

    settlements: list[Settlement]
    voided: list[tuple[UUID, int]]

    def settle(self, settlement: Settlement) -> bool:
        is_new = super().settle(settlement)
        if is_new:
            self.settlements.append(settlement)
        return is_new

    def void(self, request_id: UUID, attempt: int) -> None:
        self.voided.append((request_id, attempt))
        super().void(request_id, attempt)


def provider(name: str, base_url: str | None, **fields: Any) -> ProviderConfig:
    values: dict[str, Any] = {
        "id": uuid7(),
        "name": name,
        "kind": "openai_compatible",
        "base_url": base_url,
        "credentials": (Credential(uuid7(), f"secret-of-{name}"),),
        "allow_private_address": True,
    }
    return ProviderConfig(**{**values, **fields})


def route(name: str, *targets: tuple[str, str], **fields: Any) -> ModelRoute:
    values: dict[str, Any] = {"price": PRICE, **fields}
    return ModelRoute(id=uuid7(), name=name, targets=tuple(Target(*target) for target in targets), **values)


def snapshot(providers: Sequence[ProviderConfig], routes: Sequence[ModelRoute]) -> Snapshot:
    return Snapshot(
        version=1,
        providers={config.name: config for config in providers},
        models={(r.tenant_id, r.name): r for r in routes if not r.name.endswith("*")},
        wildcards=tuple(sorted((r for r in routes if r.name.endswith("*")), key=lambda r: -len(r.name))),
    )


@dataclass
class Serving:
    """A gateway that listens, and the handles of what stands behind its ports."""

    origin: str
    client: httpx.AsyncClient
    keys: FakeKeys
    cache: KeyCache
    admission: FakeAdmission
    snapshots: FixedSnapshot
    journal: RecordingJournal
    metrics: Metrics
    clock: ManualClock
    log: list[Mapping[str, object]] = field(default_factory=list)
    gateway: Gateway | None = None

    @property
    def settlements(self) -> list[Settlement]:
        return self.journal.settlements

    async def post(self, path: str = "/v1/chat/completions", body: Any = None, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **options.pop("headers", {})}
        content = body if isinstance(body, bytes) else json.dumps(chat() if body is None else body).encode()
        return await self.client.post(path, content=content, headers=headers, **options)

    async def settled(self, count: int = 1) -> list[Settlement]:
        """The settlements once there are so many; a streamed call settles just after its last byte."""
        for _ in range(2_000):
            if len(self.settlements) >= count:
                return self.settlements
            await asyncio.sleep(0.005)
        raise AssertionError(f"{len(self.settlements)} settlements instead of {count}")


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}], **fields}


async def next_app(scope: Any, receive: Any, send: Any) -> None:
    """What stands behind the gateway: answers 299, so that a test sees who answered."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"next"})


@asynccontextmanager
async def serving(
    folder: Path,
    snap: Snapshot,
    *,
    http: Any = "httptools",
    make_key_snapshot: Callable[[KeyCache, ManualClock], KeySnapshot] | None = None,
    claims: Claims | None = None,
    holds: Holds | None = None,
    drains: Drains | None = None,
    admission: Admits | None = None,
    appraise: Appraise | None = None,
    responses: Any = None,
    request_log: RequestLog | None = None,
    guard_events: GuardEvents | None = None,
    kept_answers: KeptAnswers | None = None,
    files: Any = None,
    batches: Any = None,
    fine_tuning: Any = None,
    make_slots: Callable[[ManualClock, Metrics], Slots] | None = None,
    gate: Gate | None = None,
    make_recalling: Callable[[ManualClock, Metrics], Recalling] | None = None,
    **settings: Any,
) -> AsyncIterator[Serving]:
    clock = ManualClock()
    # The machine may be busy with other tests: the time a caller waits for a look-up has a test of its own.
    configured = Settings(_env_file=None, data_dir=folder, **{"database_lookup_ms": 10_000, **settings})
    journal = RecordingJournal(
        folder / "journal", host="test", clock=clock, max_bytes=64 * 1024 * 1024, sync=configured.journal_sync
    )
    journal.settlements, journal.voided = [], []
    upstream = Upstream(configured, clock)
    keys, cache, fake, snapshots = (
        FakeKeys(),
        KeyCache(configured.key_cache_size),
        FakeAdmission(),
        FixedSnapshot(snap),
    )
    keys.add(KEY)
    metrics, drains = Metrics(), drains or Drains()
    recalling = None if make_recalling is None else make_recalling(clock, metrics)
    log: list[Mapping[str, object]] = []
    gateway = Gateway(
        next_app,
        Services(
            settings=configured,
            clock=clock,
            snapshots=snapshots,
            key_cache=cache,
            key_lookup=keys,
            key_hasher=HASHER,
            session_lookup=keys,
            token_lookup=keys,
            foreign_keys=keys,
            key_uses=keys,
            key_snapshot=None if make_key_snapshot is None else make_key_snapshot(cache, clock),
            run_keys=RUN_KEYS,
            claims=claims,
            response_lookup=responses,
            response_sink=responses,
            files=files,
            fine_tuning=fine_tuning,
            batches=batches,
            admission=admission or fake,
            appraise=appraise or NothingToAppraise(),
            journal=journal,
            channel=upstream,
            metrics=metrics,
            access_log=log.append,
            request_log=request_log,
            guard_events=guard_events,
            kept_answers=kept_answers,
            holds=holds,
            drains=drains,
            slots=None if make_slots is None else make_slots(clock, metrics),
            gate=gate,
            recalling=recalling,
        ),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        gateway,
        http=http,
        lifespan="off",
        log_level="warning",
        access_log=False,
        # As `web.server` has them.
        proxy_headers=bool(configured.trusted_proxies),
        forwarded_allow_ips=configured.trusted_proxies,
    )
    config.load()
    state = ServerState()
    # uvicorn.Server looks at the clock ten times a second before it stops; its protocol needs none of that.
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}), sock=listener
    )
    origin = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=origin, timeout=10) as client:
            yield Serving(origin, client, keys, cache, fake, snapshots, journal, metrics, clock, log, gateway)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=5)
        for connection in list(state.connections):
            connection.transport.abort()
        if recalling is not None:
            await recalling.flights.close()
        await drains.close()
        await upstream.aclose()
        journal.close()


def events_of(text: str) -> list[str]:
    """The data of each event; comments left out."""
    return [block[6:] for block in text.split("\n\n") if block.startswith("data: ")]
