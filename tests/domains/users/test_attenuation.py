"""Nobody gives what they lack: random people do random things, and after each one nobody holds more than its doer allows.

A doer may add to a member at most what they hold themselves, and may touch only members who hold no more than they do.
Set `TOLLKEEPER_TEST_SEEDS` for more runs; a seed that fails fails again.
"""

import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import and_, select

from tests.domains.control_plane import ControlPlane
from tests.domains.members import address
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import GRANTABLE, Permission, permissions_of
from tollkeeper.core.permissions import Role as BuiltInRole
from tollkeeper.db.models import ApiKey, Member, Role, Tenant, User

SEEDS = range(int(os.environ.get("TOLLKEEPER_TEST_SEEDS", "3")))
STEPS = 60
MANAGING = sorted(
    permission
    for permission in GRANTABLE
    if permission.partition(":")[0] in {"users", "roles", "api_keys"} or permission is Permission.ME_VIEW
)
CHANGING = {permission for permission in MANAGING if not permission.endswith(":view")}
EVERYTHING = sorted(Permission)


@dataclass(frozen=True)
class Standing:
    """What somebody is and holds."""

    permissions: frozenset[Permission]
    row: tuple[object, ...]


@dataclass(frozen=True)
class Picture:
    """A tenant at one moment: its members, and its keys by owner and content."""

    members: Mapping[UUID, Standing]
    keys: Mapping[UUID, tuple[UUID, tuple[object, ...]]]


@dataclass
class World:
    plane: ControlPlane
    tenant_id: UUID
    dice: random.Random
    people: list[UUID]
    held: frozenset[Permission] = frozenset()
    secrets: list[tuple[UUID, str]] = field(default_factory=list)
    roles: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[UUID, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def picture(self) -> Picture:
        async with self.plane.database.platform() as session:
            query = (
                select(Member, User, Role.permissions)
                .join(User, User.id == Member.user_id)
                .outerjoin(Role, and_(Role.tenant_id == Member.tenant_id, Role.id == Member.role_id))
                .where(Member.tenant_id == self.tenant_id, Member.removed_at.is_(None))
            )
            members = {
                member.user_id: Standing(
                    permissions_of(member.role, own),
                    (member.role, member.role_id, member.is_active, user.is_active, user.email, user.password_hash),
                )
                for member, user, own in await session.execute(query)
            }
            rows = await session.scalars(select(ApiKey).where(ApiKey.tenant_id == self.tenant_id))
            keys = {row.id: (row.user_id, (tuple(row.scopes), row.status, row.digest)) for row in rows}
        return Picture(members, keys)

    @asynccontextmanager
    async def acting(self, user_id: UUID) -> AsyncIterator[httpx.AsyncClient]:
        """By a session, or by one of their keys."""
        own = [secret for owner, secret in self.secrets if owner == user_id]
        if own and self.dice.random() < 0.4:
            async with self.plane.client(authorization=f"Bearer {self.dice.choice(own)}") as client:
                yield client
        else:
            async with self.plane.as_user(user_id) as client:
                yield client

    def choose(self, now: Picture) -> UUID:
        """Somebody who may do something, mostly."""
        able = [user_id for user_id in self.people if now.members[user_id].permissions & CHANGING]
        doer = self.dice.choice(able if able and self.dice.random() < 0.9 else self.people)
        self.held = now.members[doer].permissions
        return doer

    def some_permissions(self) -> list[str]:
        """Of what the doer holds, of what there is to manage, or of everything."""
        pool = self.dice.choice([sorted(self.held & set(MANAGING)), MANAGING, MANAGING, EVERYTHING]) or MANAGING
        return sorted(self.dice.sample(pool, self.dice.randint(1, min(6, len(pool)))))

    def some_role(self) -> str:
        own = [name for _, name in self.roles]
        return self.dice.choice(own) if own and self.dice.random() < 0.7 else self.dice.choice(list(BuiltInRole))

    def somebody(self) -> str:
        return format_id("usr", self.dice.choice(self.people))

    def noted(self, answer: httpx.Response) -> Any:
        """The answer's object when something was made."""
        self.statuses.append(answer.status_code)
        assert answer.status_code < 500, answer.text
        return answer.json() if answer.status_code in {200, 201} else None


async def make_role(world: World, client: httpx.AsyncClient, _doer: UUID) -> None:
    body = {"name": f"role {uuid7().hex}", "permissions": world.some_permissions()}
    if (made := world.noted(await client.post("/api/v1/roles", json=body))) is not None:
        world.roles.append((made["id"], made["name"]))


async def change_role(world: World, client: httpx.AsyncClient, _doer: UUID) -> None:
    if world.roles:
        role_id, _ = world.dice.choice(world.roles)
        world.noted(await client.patch(f"/api/v1/roles/{role_id}", json={"permissions": world.some_permissions()}))


async def make_user(world: World, client: httpx.AsyncClient, _doer: UUID) -> None:
    body = {"email": address(), "role": world.some_role()}
    if (made := world.noted(await client.post("/api/v1/users", json=body))) is not None:
        world.people.append(parse_id("usr", made["id"]))


async def make_account(world: World, client: httpx.AsyncClient, _doer: UUID) -> None:
    body = {"name": "robot", "role": world.some_role()}
    if (made := world.noted(await client.post("/api/v1/service-accounts", json=body))) is not None:
        world.people.append(parse_id("usr", made["id"]))


async def change_user(world: World, client: httpx.AsyncClient, _doer: UUID) -> None:
    change = world.dice.choice(
        [{"role": world.some_role()}, {"role": world.some_role()}, {"email": address()}, {"email": address()}]
    )
    world.noted(await client.patch(f"/api/v1/users/{world.somebody()}", json=change))


async def make_key(world: World, client: httpx.AsyncClient, doer: UUID) -> None:
    owner = world.somebody() if world.dice.random() < 0.6 else format_id("usr", doer)
    scopes = world.dice.choice([["admin"], ["inference"], ["admin", "inference"]])
    body = {"name": "k", "user_id": owner, "scopes": scopes}
    if (made := world.noted(await client.post("/api/v1/keys", json=body))) is not None:
        world.secrets.append((parse_id("usr", made["user_id"]), made["key"]))


async def invite(world: World, client: httpx.AsyncClient, doer: UUID) -> None:
    body = {"email": address(), "role": world.some_role()}
    if (made := world.noted(await client.post("/api/v1/invitations", json=body))) is not None:
        world.links.append((doer, made["link"].partition("#token=")[2]))


ACTIONS: list[Callable[[World, httpx.AsyncClient, UUID], Coroutine[Any, Any, None]]] = [
    make_role,
    change_role,
    make_user,
    make_account,
    change_user,
    change_user,
    make_key,
    invite,
]


async def accept_one(world: World) -> UUID:
    """Whoever holds the link; what comes of it is the inviter's doing."""
    inviter, token = world.links.pop(world.dice.randrange(len(world.links)))
    async with world.plane.client() as nobody:
        body = {"token": token, "password": "correct horse battery"}
        made = world.noted(await nobody.post("/api/v1/invitations/accept", json=body))
    if made is not None:
        world.people.append(parse_id("usr", made["user_id"]))
    return inviter


def check(doer: UUID, before: Picture, after: Picture) -> None:
    held = before.members[doer].permissions
    for user_id, now in after.members.items():
        was = before.members.get(user_id)
        gained = now.permissions - (was.permissions if was is not None else frozenset())
        assert gained <= held, f"{sorted(gained - held)} were given by who lacks them"
        if was is not None and was != now:
            assert was.permissions <= held, "somebody who may do more was touched"
    for key_id, (owner, content) in after.keys.items():
        known = before.keys.get(key_id)
        if known is None or known[1] != content:
            assert before.members[owner].permissions <= held, "a key of somebody who may do more"


@pytest.mark.parametrize("seed", SEEDS)
async def test_nobody_gives_or_takes_more_than_they_hold(plane: ControlPlane, seed: int) -> None:
    plane.services.__post_init__()
    world = await new_world(plane, random.Random(seed))
    for _ in range(STEPS):
        before = await world.picture()
        if world.links and world.dice.random() < 0.1:
            doer = await accept_one(world)
        else:
            doer = world.choose(before)
            async with world.acting(doer) as client:
                await world.dice.choice(ACTIONS)(world, client, doer)
        check(doer, before, await world.picture())
    assert {201, 403} <= set(world.statuses), "the dice tried what is allowed and what is not"


async def new_world(plane: ControlPlane, dice: random.Random) -> World:
    """A tenant with an administrator, and people whose roles of its own let them manage something."""
    tenant_id = uuid7()
    async with plane.database.platform() as session:
        session.add(Tenant(id=tenant_id, name=f"world {tenant_id.hex}", slug=f"world-{tenant_id.hex}"))
    world = World(plane, tenant_id, dice, [await plane.new_user(BuiltInRole.TENANT_ADMIN, tenant_id)])
    for _ in range(6):
        role = Role(id=uuid7(), tenant_id=tenant_id, name=f"role {uuid7().hex}")
        role.permissions = sorted({*dice.sample(MANAGING, dice.randint(4, len(MANAGING))), Permission.ME_VIEW})
        user_id = await plane.new_user(BuiltInRole.VIEWER, tenant_id)
        async with plane.database.platform() as session:
            session.add(role)
            await session.flush()
            member = (await session.scalars(select(Member).where(Member.user_id == user_id))).one()
            member.role, member.role_id = "custom", role.id
        world.people.append(user_id)
        world.roles.append((format_id("rol", role.id), role.name))
    return world
