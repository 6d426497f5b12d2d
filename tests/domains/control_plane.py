"""The control plane as wiring puts it together, on a real database, called without sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import structlog
from fastapi import FastAPI
from sqlalchemy import select, update

from tests.domains.counters import HandCounters
from tollkeeper.api.v1 import PREFIX, router
from tollkeeper.contracts.key_proof import KeyProof
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.master_keys import MasterKeys
from tollkeeper.core.objects import Objects
from tollkeeper.core.outbound import Outbound
from tollkeeper.core.passwords import Passwords
from tollkeeper.core.permissions import Role
from tollkeeper.core.run_keys import RunKeys
from tollkeeper.core.secrets import KeyHasher, digest_opaque, new_key
from tollkeeper.core.tokens import AccessTokens
from tollkeeper.db.models import ApiKey, AuditLog, Member, RefreshSession, Tenant, User
from tollkeeper.db.session import Database
from tollkeeper.domains.audit.heads import Heads
from tollkeeper.domains.audit.security import SecurityEvents
from tollkeeper.domains.events.service import Feed
from tollkeeper.domains.identity.lookup import SqlIdentities
from tollkeeper.domains.identity.throttle import LoginThrottle
from tollkeeper.domains.identity_providers.issuers import Issuers
from tollkeeper.domains.keys.foreign import ForeignDigests
from tollkeeper.domains.keys.lookup import SqlKeyLookup
from tollkeeper.domains.keys.uses import KeyUseWriter
from tollkeeper.domains.mail.service import Mail
from tollkeeper.gateway.key_cache import KeyCache
from tollkeeper.web.deps import install_kernel

MASTER = MasterKey("control-plane-tests-" * 3)
ORIGIN = "http://testserver"


class MovableClock:
    """Real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def unix(self) -> float:
        return self.now().timestamp()

    def monotonic(self) -> float:
        return self.unix()


@dataclass
class Services:
    """What `web.caller.ControlServices` and the identity routes ask for."""

    database: Database
    settings: Settings
    clock: MovableClock
    key_hasher: KeyHasher
    passwords: Passwords
    key_lookup: SqlKeyLookup = field(init=False)
    key_proof: KeyProof = field(init=False)
    key_uses: KeyUseWriter = field(init=False)
    foreign_keys: ForeignDigests = field(init=False)
    identities: SqlIdentities = field(init=False)
    access_tokens: AccessTokens = field(init=False)
    login_throttle: LoginThrottle = field(init=False)
    secret_box: SecretBox = field(init=False)
    issuers: Issuers = field(init=False)
    mail: Mail = field(init=False)
    objects: Objects = field(init=False)
    audit_heads: Heads = field(init=False)
    security_events: SecurityEvents = field(init=False)
    counter_view: HandCounters = field(default_factory=HandCounters)
    csrf_key: bytes = b"csrf" * 8
    feed: Feed = field(default_factory=Feed)
    run_keys: RunKeys = field(default_factory=lambda: RunKeys(MASTER))

    def __post_init__(self) -> None:
        self.key_lookup = SqlKeyLookup(self.database)
        self.foreign_keys = ForeignDigests(self.database)
        self.key_proof = KeyProof(self.key_lookup, self.key_hasher, self.foreign_keys)
        self.key_uses = KeyUseWriter(
            self.database,
            KeyCache(10),
            self.clock,
            on_refused=lambda *refusal: self.security_events.key_refused(*refusal),
        )
        self.identities = SqlIdentities(self.database, self.clock)
        self.access_tokens = AccessTokens(MASTER, self.clock)
        self.login_throttle = LoginThrottle(self.clock)
        self.secret_box = SecretBox(MASTER)
        self.issuers = Issuers(Outbound(total_seconds=5), self.clock)
        # No mail server: links are shown.
        self.mail = Mail(self.secret_box, None)
        self.objects = Objects.open(None, self.settings.data_dir)
        self.audit_heads = Heads(self.objects, MasterKeys(MASTER), self.clock)
        self.security_events = SecurityEvents(self.database, self.clock)


@dataclass
class ControlPlane:
    """Two tenants; `admin` is a platform administrator of the first."""

    services: Services
    tenant_id: UUID
    other_tenant_id: UUID
    users: dict[tuple[UUID, Role], UUID] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        return self.services.database

    @property
    def clock(self) -> MovableClock:
        return self.services.clock

    @cached_property
    def app(self) -> FastAPI:
        app = FastAPI(redirect_slashes=False)
        app.state.services = self.services
        install_kernel(app)
        app.include_router(router, prefix=PREFIX)
        return app

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as client:
            yield client

    @asynccontextmanager
    async def as_role(self, role: Role, *, other: bool = False) -> AsyncIterator[httpx.AsyncClient]:
        """A session of a user of that role, of the first tenant or of the other one."""
        user_id = await self.user(role, other=other)
        async with self.client(authorization=f"Bearer {await self.session_token(user_id)}") as client:
            yield client

    @asynccontextmanager
    async def as_user(self, user_id: UUID) -> AsyncIterator[httpx.AsyncClient]:
        async with self.client(authorization=f"Bearer {await self.session_token(user_id)}") as client:
            yield client

    async def user(self, role: Role, *, other: bool = False) -> UUID:
        """One user for each tenant and role, made when first asked for."""
        tenant_id = self.other_tenant_id if other else self.tenant_id
        known = self.users.get((tenant_id, role))
        if known is None:
            known = await self.new_user(role, tenant_id)
            self.users[tenant_id, role] = known
        return known

    async def new_user(self, role: Role, tenant_id: UUID | None = None, *, password: str | None = None) -> UUID:
        user_id = uuid7()
        hashed = None if password is None else await self.services.passwords.hash(password)
        async with self.database.platform() as session:
            session.add(
                User(
                    id=user_id,
                    tenant_id=tenant_id or self.tenant_id,
                    email=f"{user_id.hex}@example.com",
                    name=role.value,
                    password_hash=hashed,
                )
            )
            await session.flush()
            session.add(Member(tenant_id=tenant_id or self.tenant_id, user_id=user_id, role=role.value))
        return user_id

    async def set_role(self, user_id: UUID, role: Role) -> None:
        """In the tenant that manages the account, as a change by an administrator leaves it."""
        async with self.database.platform() as session:
            await session.execute(update(Member).where(Member.user_id == user_id).values(role=role.value))

    async def session_token(self, user_id: UUID) -> str:
        """An access token as a sign-in gives it, without the sign-in."""
        now = self.clock.now()
        async with self.database.platform() as session:
            user = await session.get(User, user_id)
            assert user is not None
            family_id = uuid7()
            session.add(
                RefreshSession(
                    tenant_id=user.tenant_id,
                    user_id=user.id,
                    family_id=family_id,
                    token_digest=digest_opaque(family_id.hex),
                    created_at=now,
                    authenticated_at=now,
                    epoch=user.session_epoch,
                    expires_at=now + timedelta(days=7),
                )
            )
            token, _ = self.services.access_tokens.issue(
                user_id=user.id, tenant_id=user.tenant_id, session_id=family_id, epoch=user.session_epoch
            )
        return token

    async def new_key(self, user_id: UUID, *scopes: str, **columns: Any) -> tuple[str, str]:
        """The public form of the id, and the secret."""
        token = new_key(columns.get("environment", "live"))
        digest = self.services.key_hasher.digest_token(token.token)
        key_id = uuid7()
        async with self.database.platform() as session:
            user = await session.get(User, user_id)
            assert user is not None
            session.add(
                ApiKey(
                    id=key_id,
                    tenant_id=user.tenant_id,
                    user_id=user_id,
                    name="a key",
                    public_id=token.public_id,
                    digest=digest.digest,
                    pepper_id=digest.pepper_id,
                    display_prefix=token.display_prefix,
                    last_four=token.last_four,
                    scopes=list(scopes) or ["inference"],
                    **columns,
                )
            )
        return format_id("key", key_id), token.token

    async def audited(self, object_id: str) -> list[str]:
        """The actions recorded for an object, oldest first."""
        async with self.database.platform() as session:
            query = select(AuditLog.action).where(AuditLog.object_id == object_id).order_by(AuditLog.sequence)
            return list(await session.scalars(query))


async def build_control_plane(database: Database, settings: Settings) -> ControlPlane:
    first, second = uuid7(), uuid7()
    async with database.platform() as session:
        session.add_all(
            [
                Tenant(id=first, name=f"first {first.hex}", slug=f"first-{first.hex}"),
                Tenant(id=second, name=f"second {second.hex}", slug=f"second-{second.hex}"),
            ]
        )
    services = Services(
        database=database,
        settings=settings,
        clock=MovableClock(),
        key_hasher=KeyHasher(MASTER),
        passwords=Passwords(),
    )
    return ControlPlane(services, first, second)


@asynccontextmanager
async def running_plane(database_url: str, data_dir: Path) -> AsyncIterator[ControlPlane]:
    # The default prints every local variable of every frame, which takes seconds.
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, renderer]
    )
    database = Database(database_url, pool_size=10, lookup_seconds=2.0)
    try:
        plane = await build_control_plane(database, Settings(_env_file=None, data_dir=data_dir))
        yield plane
        await plane.services.security_events.settled()
    finally:
        await database.close()
