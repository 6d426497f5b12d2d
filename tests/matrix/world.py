"""Two tenants with the same of everything, the people in them, and cheap ways to make one more object of each kind.

Rows are written past the API, as the platform's role: what is tested is who may reach them, not how they come to be.
Every text that can hold one carries its tenant's canary.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.crypto import Aad
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import CUSTOM, GRANTABLE, ROLE_PERMISSIONS, SCOPE_PERMISSIONS, Permission, Role, Scope
from tollkeeper.core.secrets import digest_opaque, new_key
from tollkeeper.db import models as tables

PASSWORD: Final = "four words nobody says"
ORIGIN: Final = "http://localhost"
_count = itertools.count()


@dataclass(frozen=True)
class Side:
    """One of the two tenants."""

    tenant_id: UUID
    canary: str
    # The name of a role of the tenant that grants nothing.
    nobody: str = "Nobody"

    def name(self, word: str) -> str:
        return f"{word} {next(_count)} {self.canary}"


@dataclass
class Person:
    """A member, and what they may do according to the tables of roles alone. `token` is the session in use."""

    side: Side
    user_id: UUID
    role: str
    permissions: frozenset[Permission]
    token: str

    @property
    def is_platform(self) -> bool:
        return Permission.PLATFORM in self.permissions

    def permissions_by(self, scope: Scope | None) -> frozenset[Permission]:
        """With a key of that scope, or with a session."""
        return self.permissions if scope is None else self.permissions & SCOPE_PERMISSIONS[scope]


@dataclass
class World:
    app: FastAPI
    port: int
    ours: Side
    theirs: Side
    people: dict[tuple[Side, str], Person] = field(default_factory=dict)
    roles: dict[tuple[Side, frozenset[str]], UUID] = field(default_factory=dict)
    keys: dict[tuple[UUID, Scope], str] = field(default_factory=dict)
    password_hash: str | None = None

    @property
    def services(self) -> Any:
        return self.app.state.services

    @cached_property
    def transport(self) -> httpx.ASGITransport:
        return httpx.ASGITransport(self.app, raise_app_exceptions=False)

    # ── Asking ──

    async def ask(
        self,
        method: str,
        path: str,
        credential: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One request without a client: nothing is remembered from the one before, cookies least of all."""
        sent = (
            {**(headers or {})} if credential is None else {"authorization": f"Bearer {credential}", **(headers or {})}
        )
        for _ in range(5):
            request = httpx.Request(method, ORIGIN + path, params=params or None, content=content, headers=sent)
            answer = await self.transport.handle_async_request(request)
            await answer.aread()
            # A busy machine is late for the look-up of the credential, before anything is done.
            if answer.status_code != 503 or b'"dependency_unavailable"' not in answer.content:
                break
        return answer

    @asynccontextmanager
    async def rows(self) -> AsyncIterator[AsyncSession]:
        async with self.services.database.platform() as session:
            yield session

    async def remove_guardrail_policies(self, side: Side) -> None:
        async with self.rows() as session:
            await session.execute(
                text("DELETE FROM guardrail_policies WHERE tenant_id = :tenant"), {"tenant": side.tenant_id}
            )

    async def fingerprint(self) -> dict[str, tuple[int, int]]:
        """The number of rows of every table and a sum over what they hold: equal means that nothing was written."""
        query = " UNION ALL ".join(
            f"SELECT '{table}', count(*), {_content(table)} FROM {table} t" for table in _WATCHED
        )
        async with self.rows() as session:
            return {name: (count, int(total)) for name, count, total in await session.execute(text(query))}

    # ── People ──

    async def person(self, role: str | frozenset[str], side: Side | None = None) -> Person:
        """One person for each role, made when first asked for. A set of permissions stands for a role of the tenant's own."""
        side = side or self.ours
        name = role if isinstance(role, str) else ",".join(sorted(role))
        known = self.people.get((side, name))
        if known is None:
            known = self.people[side, name] = await self.new_person(role, side)
        return known

    async def new_person(self, role: str | frozenset[str], side: Side | None = None) -> Person:
        side = side or self.ours
        user_id = await self.new_user(role, side)
        if isinstance(role, str):
            permissions = ROLE_PERMISSIONS[Role(role)]
        else:
            permissions = frozenset(Permission(name) for name in role) & GRANTABLE
        return Person(
            side=side,
            user_id=user_id,
            role=role if isinstance(role, str) else "custom: " + ",".join(sorted(role)),
            permissions=permissions,
            token=await self.new_session(user_id, side),
        )

    async def credential(self, person: Person, scope: Scope | None) -> str:
        """The person's session, or one key for each scope."""
        if scope is None:
            return person.token
        known = self.keys.get((person.user_id, scope))
        if known is None:
            _, known = await self.new_key(person.user_id, person.side, scopes=[scope.value])
            self.keys[person.user_id, scope] = known
        return known

    async def role_id(self, permissions: frozenset[str], side: Side) -> UUID:
        known = self.roles.get((side, permissions))
        if known is None:
            known = self.roles[side, permissions] = await self.new_role(permissions, side)
        return known

    async def new_role(self, permissions: frozenset[str], side: Side) -> UUID:
        row = tables.Role(id=uuid7(), tenant_id=side.tenant_id, name=side.name("role"), permissions=sorted(permissions))
        return await self.add(row)

    async def new_user(self, role: str | frozenset[str], side: Side, **columns: Any) -> UUID:
        user_id = uuid7()
        role_id = None if isinstance(role, str) else await self.role_id(role, side)
        member = {name: columns.pop(name) for name in ("removed_at",) if name in columns}
        has_factor = columns.pop("has_factor", False)
        async with self.rows() as session:
            session.add(
                tables.User(
                    **{
                        "id": user_id,
                        "tenant_id": side.tenant_id,
                        "email": f"{user_id.hex}@{side.canary}.example.com",
                        "name": side.name("person"),
                        **columns,
                    }
                )
            )
            await session.flush()
            session.add(
                tables.Member(
                    id=uuid7(),
                    tenant_id=side.tenant_id,
                    user_id=user_id,
                    role=role if isinstance(role, str) else CUSTOM,
                    role_id=role_id,
                    **member,
                )
            )
            if has_factor:
                session.add(
                    tables.SecondFactor(
                        tenant_id=side.tenant_id, user_id=user_id, secret=b"x", confirmed_at=datetime.now(UTC)
                    )
                )
        return user_id

    async def join(self, user_id: UUID, side: Side) -> None:
        """As a guest that may do nothing."""
        role_id = await self.role_id(NOBODY, side)
        await self.add(
            tables.Member(id=uuid7(), tenant_id=side.tenant_id, user_id=user_id, role=CUSTOM, role_id=role_id)
        )

    async def set_password(self, user_id: UUID) -> str:
        if self.password_hash is None:
            self.password_hash = await self.services.passwords.hash(PASSWORD)
        async with self.rows() as session:
            user = await session.get(tables.User, user_id)
            assert user is not None
            user.password_hash = self.password_hash
        return PASSWORD

    async def new_session(self, user_id: UUID, side: Side, *, proven: timedelta = timedelta(0), **columns: Any) -> str:
        """An access token as a sign-in gives it; `proven` ago its user showed who they are."""
        token, _ = await self.new_session_family(user_id, side, proven=proven, **columns)
        return token

    async def new_session_family(
        self, user_id: UUID, side: Side, *, proven: timedelta = timedelta(0), **columns: Any
    ) -> tuple[str, UUID]:
        now, family_id = datetime.now(UTC), uuid7()
        async with self.rows() as session:
            user = await session.get(tables.User, user_id)
            assert user is not None
            session.add(
                tables.RefreshSession(
                    **{
                        "id": uuid7(),
                        "tenant_id": side.tenant_id,
                        "user_id": user_id,
                        "family_id": family_id,
                        "token_digest": digest_opaque(family_id.hex),
                        "created_at": now,
                        "expires_at": now + timedelta(days=7),
                        "authenticated_at": now - proven,
                        "epoch": user.session_epoch,
                        **columns,
                    }
                )
            )
            epoch = user.session_epoch
        token, _ = self.services.access_tokens.issue(
            user_id=user_id, tenant_id=side.tenant_id, session_id=family_id, epoch=epoch
        )
        return token, family_id

    async def new_key(self, user_id: UUID, side: Side, **columns: Any) -> tuple[UUID, str]:
        token, key_id = new_key(columns.get("environment", "live")), uuid7()
        digest = self.services.key_hasher.digest_token(token.token)
        row = tables.ApiKey(
            **{
                "id": key_id,
                "tenant_id": side.tenant_id,
                "user_id": user_id,
                "name": side.name("key"),
                "public_id": token.public_id,
                "digest": digest.digest,
                "pepper_id": digest.pepper_id,
                "display_prefix": token.display_prefix,
                "last_four": token.last_four,
                "scopes": ["admin"],
                "tags": {"canary": side.canary},
                **columns,
            }
        )
        return await self.add(row), token.token

    async def add_to_team(self, side: Side, team_id: UUID, user_id: UUID, role: str) -> None:
        async with self.rows() as session:
            session.add(tables.TeamMember(tenant_id=side.tenant_id, team_id=team_id, user_id=user_id, role=role))

    async def new_side(self) -> Side:
        return await make_side(self.services.database.platform)

    async def suspend(self, side: Side) -> None:
        await self._run("UPDATE tenants SET is_active = false WHERE id = :id", side.tenant_id)

    async def raise_epoch(self, user_id: UUID) -> None:
        await self._run("UPDATE users SET session_epoch = session_epoch + 1 WHERE id = :id", user_id)

    async def _run(self, statement: str, value: UUID) -> None:
        async with self.rows() as session:
            await session.execute(text(statement), {"id": value})

    # ── Objects ──

    async def make(
        self, prefix: str, side: Side, owner: Person | None, parents: Mapping[str, UUID], **columns: Any
    ) -> UUID:
        """A fresh object of the kind that ids with this prefix name, in that tenant; `owner` where it has one."""
        return await MAKERS[prefix](self, Wanted(side, owner, parents, columns))

    async def add(self, row: Any) -> UUID:
        async with self.rows() as session:
            session.add(row)
        identity: UUID = row.id
        return identity


async def make_side(platform: Callable[[], Any]) -> Side:
    side = Side(uuid7(), f"canary{uuid7().hex[-12:]}")
    async with platform() as session:
        session.add(tables.Tenant(id=side.tenant_id, name=side.name("tenant"), slug=side.canary, email=None))
        await session.flush()
        session.add(tables.Role(id=uuid7(), tenant_id=side.tenant_id, name=side.nobody, permissions=[]))
    return side


# Without what other processes write by themselves: heartbeats, jobs, announcements.
_WATCHED: Final = sorted(
    name
    for name in tables.User.metadata.tables
    if name
    not in {
        "workers",
        "jobs",
        "announcements",
        "usage_logs",
        "usage_late",
        "usage_rollups",
        "request_logs",
        "system_state",
    }
)
# Rows are added to them and never changed.
_APPENDED: Final = frozenset({"audit_logs", "outbox", "idempotency_keys", "consumed_tokens"})


def _content(table: str) -> str:
    if table in _APPENDED:
        return "0"
    if "last_used_at" in tables.User.metadata.tables[table].columns:
        return "coalesce(sum(hashtextextended((to_jsonb(t) - 'last_used_at')::text, 0)), 0)"
    # Which transaction wrote each row.
    return "coalesce(sum(t.xmin::text::bigint), 0)"


NOBODY: Final = frozenset[str]()


@dataclass(frozen=True)
class Wanted:
    """An object to be made. `parents` are the ids that stand before it in the path, by their prefixes."""

    side: Side
    owner: Person | None
    parents: Mapping[str, UUID]
    columns: Mapping[str, Any]


Maker = Callable[[World, Wanted], Awaitable[UUID]]


async def _tenant(world: World, wanted: Wanted) -> UUID:
    return wanted.side.tenant_id


async def _user(world: World, wanted: Wanted) -> UUID:
    """Someone without any right, so that everybody covers them; in the team that stands before in the path."""
    user_id = await world.new_user(NOBODY, wanted.side, **wanted.columns)
    if "team" in wanted.parents:
        await world.add_to_team(wanted.side, wanted.parents["team"], user_id, "member")
    return user_id


async def _team(world: World, wanted: Wanted) -> UUID:
    """Maintained by its owner, or by somebody."""
    row = tables.Team(id=uuid7(), tenant_id=wanted.side.tenant_id, name=wanted.side.name("team"), **wanted.columns)
    team_id = await world.add(row)
    owner = wanted.owner or await world.person(NOBODY, wanted.side)
    await world.add_to_team(wanted.side, team_id, owner.user_id, "maintainer")
    return team_id


async def _project(world: World, wanted: Wanted) -> UUID:
    team_id = await _team(world, wanted)
    name = wanted.side.name("project")
    return await world.add(
        tables.Project(id=uuid7(), tenant_id=wanted.side.tenant_id, team_id=team_id, name=name, **wanted.columns)
    )


async def _role(world: World, wanted: Wanted) -> UUID:
    return await world.new_role(NOBODY, wanted.side)


async def _key(world: World, wanted: Wanted) -> UUID:
    user_id = wanted.owner.user_id if wanted.owner else (await world.person(NOBODY, wanted.side)).user_id
    return (await world.new_key(user_id, wanted.side, **wanted.columns))[0]


async def _run(world: World, wanted: Wanted) -> UUID:
    """A run has no row: any id may be one of a key's."""
    return uuid7()


async def _provider(world: World, wanted: Wanted) -> UUID:
    name = f"p{uuid7().hex}-{wanted.side.canary}"
    return await world.add(
        tables.Provider(
            id=uuid7(),
            tenant_id=wanted.side.tenant_id,
            name=name,
            kind="openai_compatible",
            base_url="http://127.0.0.1:9/v1",
            allow_private_address=True,
        )
    )


async def _credential(world: World, wanted: Wanted) -> UUID:
    credential_id, provider_id, tenant_id = uuid7(), wanted.parents["prv"], wanted.side.tenant_id
    box = world.services.secret_box
    sealed = box.seal(
        b"sk-" + wanted.side.canary.encode(), Aad(tenant_id, provider_id, f"credential:{credential_id}", 1)
    )
    return await world.add(
        tables.ProviderCredential(
            id=credential_id,
            tenant_id=tenant_id,
            provider_id=provider_id,
            name="spare",
            envelope=sealed,
            kek_id=box.kek_id,
            origins=[],
        )
    )


async def _model(world: World, wanted: Wanted) -> UUID:
    targets = [{"provider": "simulated", "model": "simulated"}]
    name = f"m{uuid7().hex}-{wanted.side.canary}"
    return await world.add(tables.Model(id=uuid7(), tenant_id=wanted.side.tenant_id, name=name, targets=targets))


async def _price(world: World, wanted: Wanted) -> UUID:
    return await world.add(
        tables.Price(
            id=uuid7(),
            tenant_id=wanted.side.tenant_id,
            model=f"m-{wanted.side.canary}",
            input_pico=1,
            output_pico=1,
            effective_at=datetime.now(UTC),
            source="api",
        )
    )


async def _price_adjustment(world: World, wanted: Wanted) -> UUID:
    return await world.add(
        tables.PriceAdjustment(
            id=uuid7(),
            tenant_id=wanted.side.tenant_id,
            model=f"m-{wanted.side.canary}",
            factor=Decimal("1.2"),
            effective_at=datetime.now(UTC),
        )
    )


async def _route_policy(world: World, wanted: Wanted) -> UUID:
    """Published twice, with a draft after that."""
    tenant_id = wanted.side.tenant_id
    policy_id = await world.add(
        tables.RoutePolicy(
            id=uuid7(), tenant_id=tenant_id, name=f"p{uuid7().hex}-{wanted.side.canary}"[:63], published_number=2
        )
    )
    document = {"branches": [{"provider": "simulated", "model": f"simulated-{wanted.side.canary}"}]}
    async with world.rows() as session:
        for number in (1, 2, 3):
            published_at = None if number == 3 else datetime.now(UTC)
            session.add(
                tables.RoutePolicyVersion(
                    policy_id=policy_id,
                    number=number,
                    tenant_id=tenant_id,
                    document=document,
                    published_at=published_at,
                )
            )
    return policy_id


async def _guardrail_policy(world: World, wanted: Wanted) -> UUID:
    """Published twice, with a draft after that; it watches the tenant's calls, and exempts one key."""
    tenant_id = wanted.side.tenant_id
    name = f"g{uuid7().hex}-{wanted.side.canary}"[:63]
    policy_id = await world.add(tables.GuardrailPolicy(id=uuid7(), tenant_id=tenant_id, name=name, published_number=2))
    document = {"rules": [{"rule": "pii"}], "mode": "monitor", "message": f"No {wanted.side.canary}."}
    async with world.rows() as session:
        for number in (1, 2, 3):
            session.add(
                tables.GuardrailPolicyVersion(
                    policy_id=policy_id,
                    number=number,
                    tenant_id=tenant_id,
                    document=document,
                    published_at=None if number == 3 else datetime.now(UTC),
                )
            )
    await _guardrail_attachment(world, replace(wanted, parents={"grp": policy_id}))
    await _guardrail_exemption(world, replace(wanted, parents={"grp": policy_id}))
    return policy_id


async def _guardrail_attachment(world: World, wanted: Wanted) -> UUID:
    return await world.add(
        tables.GuardrailAttachment(
            id=uuid7(),
            policy_id=wanted.parents["grp"],
            tenant_id=wanted.side.tenant_id,
            level="model",
            model=f"m{uuid7().hex}-{wanted.side.canary}",
        )
    )


async def _guardrail_exemption(world: World, wanted: Wanted) -> UUID:
    return await world.add(
        tables.GuardrailExemption(
            id=uuid7(),
            policy_id=wanted.parents["grp"],
            tenant_id=wanted.side.tenant_id,
            rule="pii",
            key_tenant_id=wanted.side.tenant_id,
            key_id=await _key(world, wanted),
            reason=wanted.side.name("reason"),
            created_by=uuid7(),
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )
    )


async def _guardrail_event(world: World, wanted: Wanted) -> UUID:
    """Of a call of its owner's key."""
    person = wanted.owner or await world.person(NOBODY, wanted.side)
    event_id = uuid7()
    row = tables.GuardrailEvent(
        tenant_id=wanted.side.tenant_id,
        day=datetime.now(UTC).date(),
        id=event_id,
        created_at=datetime.now(UTC),
        request_id=uuid7(),
        api_key_id=uuid7(),
        user_id=person.user_id,
        model=wanted.side.name("model"),
        policy_id=uuid7(),
        policy=wanted.side.name("policy"),
        policy_version=1,
        is_platform=False,
        rule="pii",
        label="email",
        action="block",
        is_monitored=False,
        direction="input",
        place="text",
        role="user",
        count=1,
    )
    async with world.rows() as session:
        session.add(row)
    return event_id


async def _job(world: World, wanted: Wanted) -> UUID:
    """For tomorrow, so that nobody runs it."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return await world.add(tables.Job(id=uuid7(), kind="matrix.nothing", run_at=tomorrow, **wanted.columns))


async def _invitation(world: World, wanted: Wanted) -> UUID:
    side = wanted.side
    invited_by = (wanted.owner or await world.person(NOBODY, side)).user_id
    return await world.add(
        tables.Invitation(
            id=uuid7(),
            tenant_id=side.tenant_id,
            email=f"{uuid7().hex}@{side.canary}.example.com",
            role=CUSTOM,
            role_id=await world.role_id(NOBODY, side),
            digest=uuid7().bytes,
            invited_by=invited_by,
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )
    )


async def _identity_provider(world: World, wanted: Wanted) -> UUID:
    """With a binding."""
    provider_id = await world.add(
        tables.IdentityProvider(
            id=uuid7(),
            tenant_id=wanted.side.tenant_id,
            name=wanted.side.name("issuer"),
            issuer="https://127.0.0.1:9",
            client_id="client",
        )
    )
    await _binding(world, replace(wanted, parents={"idp": provider_id}))
    return provider_id


async def _binding(world: World, wanted: Wanted) -> UUID:
    provider_id = wanted.parents.get("idp") or await _identity_provider(world, wanted)
    return await world.add(
        tables.WorkloadBinding(
            id=uuid7(),
            tenant_id=wanted.side.tenant_id,
            provider_id=provider_id,
            key_id=await _key(world, wanted),
            name=wanted.side.name("binding"),
            claims={"sub": "x"},
        )
    )


async def _external_identity(world: World, wanted: Wanted) -> UUID:
    """One of two, so that it is not the last way in."""
    person = wanted.owner or await world.person(NOBODY, wanted.side)
    for _ in range(2):
        made = await world.add(
            tables.ExternalIdentity(
                id=uuid7(),
                tenant_id=wanted.side.tenant_id,
                provider_id=await _identity_provider(world, wanted),
                subject=wanted.side.name("subject"),
                user_id=person.user_id,
            )
        )
    return made


async def _session(world: World, wanted: Wanted) -> UUID:
    person = wanted.owner or await world.person(NOBODY, wanted.side)
    return (await world.new_session_family(person.user_id, wanted.side))[1]


async def _request(world: World, wanted: Wanted) -> UUID:
    """A call that is over, of its owner's key."""
    person = wanted.owner or await world.person(NOBODY, wanted.side)
    request_id = uuid7()
    row = tables.RequestLog(
        tenant_id=wanted.side.tenant_id,
        day=datetime.now(UTC).date(),
        request_id=request_id,
        created_at=datetime.now(UTC),
        api_key_id=uuid7(),
        user_id=person.user_id,
        environment="live",
        operation="chat",
        dialect="openai_chat",
        model=wanted.side.name("model"),
        status="ok",
        http_status=200,
        ended="completed",
        latency_ms=1,
        overhead_us=1,
    )
    async with world.rows() as session:
        session.add(row)
    return request_id


async def _limit(world: World, wanted: Wanted) -> UUID:
    """About somebody, who sees it then: its owner."""
    person = wanted.owner or await world.person(NOBODY, wanted.side)
    row = tables.Limit(
        id=uuid7(),
        tenant_id=person.side.tenant_id,
        name=wanted.side.name("limit"),
        scope="user",
        user_id=person.user_id,
        unit="requests",
        period="minute",
        amount=1_000_000,
    )
    return await world.add(row)


async def _budget(world: World, wanted: Wanted) -> UUID:
    person = wanted.owner or await world.person(NOBODY, wanted.side)
    row = tables.Budget(
        id=uuid7(),
        tenant_id=person.side.tenant_id,
        name=wanted.side.name("budget"),
        scope="user",
        user_id=person.user_id,
        window_kind="month",
        counts_from=1,
        amount_nano=10**15,
    )
    return await world.add(row)


MAKERS: Final[dict[str, Maker]] = {
    "ten": _tenant,
    "usr": _user,
    "rol": _role,
    "team": _team,
    "prj": _project,
    "key": _key,
    "run": _run,
    "prv": _provider,
    "crd": _credential,
    "mdl": _model,
    "prc": _price,
    "adj": _price_adjustment,
    "rtp": _route_policy,
    "grp": _guardrail_policy,
    "gra": _guardrail_attachment,
    "gre": _guardrail_exemption,
    "grv": _guardrail_event,
    "job": _job,
    "inv": _invitation,
    "idp": _identity_provider,
    "wlb": _binding,
    "ext": _external_identity,
    "ses": _session,
    "req": _request,
    "lim": _limit,
    "bud": _budget,
}


def shown(prefix: str, value: UUID) -> str:
    return format_id(prefix, value)
