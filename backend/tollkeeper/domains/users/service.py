"""Making, changing and removing users.

Nobody gives a role that grants more than their own, nor touches a user who may do more. A changed role or password and
a disabled account end every session of the user at once. Nobody changes their own role or removes themselves.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Conflict, Forbidden, NotFound
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.passwords import Passwords
from tollkeeper.core.permissions import Role, permissions_of
from tollkeeper.db.models import Member, User
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.keys.service import Keys
from tollkeeper.domains.users import repository
from tollkeeper.domains.users.repository import Membership
from tollkeeper.domains.users.schemas import UserCreate, UserUpdate, UserView
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on

Listed = tuple[User, Membership]

_ENDS_SESSIONS: Final = frozenset({"role", "password", "is_active", "email"})


class UserNotFound(NotFound):
    """No user of that id in the tenant."""


class EmailTaken(Conflict):
    """One address signs in to one account, over all tenants."""

    code = "email_taken"


class BeyondAuthority(Forbidden):
    """The role, or the user, stands above the caller."""

    code = "beyond_authority"


class OwnAccount(Conflict):
    """What an administrator may not do to themselves, so that one remains."""

    code = "own_account"


class Users:
    def __init__(self, passwords: Passwords, keys: Keys, clock: Clock) -> None:
        self._passwords = passwords
        self._keys = keys
        self._clock = clock

    async def create(self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: UserCreate) -> Listed:
        if not caller.covers(permissions_of(wanted.role)):
            raise BeyondAuthority(f"You may not give the role '{wanted.role}': it grants more than your own.")
        if not await repository.tenant_exists(session, tenant_id):
            raise NotFound("There is no such tenant.")
        password = None
        if wanted.password is not None:
            password = await self._passwords.hash(wanted.password.get_secret_value())
        row = User(
            tenant_id=tenant_id,
            email=wanted.email,
            name=wanted.name or wanted.email,
            password_hash=password,
        )
        return row, await add(session, caller, row, wanted.role)

    async def get(self, session: AsyncSession, user_id: UUID) -> Listed:
        row = await repository.find(session, user_id)
        return await self._listed(session, row)

    async def list_page(
        self, session: AsyncSession, tenant_id: UUID, *, role: Role | None, after: UUID | None, limit: int
    ) -> Sequence[Listed]:
        return await repository.list_page(session, tenant_id, role=role, after=after, limit=limit)

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        user_id: UUID,
        changed: UserUpdate,
        if_match: frozenset[int] | None,
    ) -> Listed:
        row, member = await self._for_change(session, caller, user_id)
        check_match(if_match, row)
        fields = {name: getattr(changed, name) for name in changed.model_fields_set}
        _check_fields(caller, row, member, fields)
        before = _facts(row, member)
        role = fields.pop("role", None)
        password = fields.pop("password", None)
        if password is not None:
            row.password_hash = await self._passwords.hash(password.get_secret_value())
        altered = {name for name, value in fields.items() if getattr(row, name) != value}
        for name in altered:
            setattr(row, name, fields[name])
        if role is not None and role.value != member.row.role:
            member.row.role, member.row.role_id = role.value, None
            member = repository.Membership(member.row, role.value, permissions_of(role))
            altered.add("role")
        if password is not None:
            altered.add("password")
        if not altered:
            return row, member
        ends_sessions = bool(altered & _ENDS_SESSIONS)
        if ends_sessions:
            row.session_epoch += 1
        with refuse_on(uq_users_email=_taken()):
            await session.flush()
        if ends_sessions:
            await repository.end_sessions(session, row.id, self._clock.now())
        old, new = audit.changes(before, _facts(row, member))
        if password is not None:
            new["is_password_changed"] = True
        await audit.record(session, caller, "users.update", "user", _id(row), old, new, tenant_id=row.tenant_id)
        await events.emit(session, row.tenant_id, events.UserChanged(row.id, sorted(altered)))
        await announce(session, Topic.USER, row.id)
        return row, member

    async def delete(
        self, session: AsyncSession, caller: Caller, user_id: UUID, if_match: frozenset[int] | None
    ) -> None:
        """Revoke the user's keys, end the sessions, forget the person."""
        row, _ = await self._for_change(session, caller, user_id)
        check_match(if_match, row)
        if row.id == caller.user_id:
            raise OwnAccount("You cannot delete your own account; ask another administrator.")
        await self._erase(session, caller, row)

    async def delete_all_of(self, session: AsyncSession, caller: Caller, tenant_id: UUID) -> None:
        """With their tenant, which the platform's administrator deletes."""
        for row in await repository.list_of_tenant(session, tenant_id):
            await self._erase(session, caller, row)

    def view(self, row: User, member: Membership) -> UserView:
        return UserView(
            id=row.id,
            tenant_id=row.tenant_id,
            email=row.email,
            name=row.name,
            role=member.role,
            is_active=row.is_active,
            has_password=row.password_hash is not None,
            preferences=row.preferences,
            last_login_at=row.last_login_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
            version=row.version,
        )

    async def _erase(self, session: AsyncSession, caller: Caller, row: User) -> None:
        await self._keys.revoke_all_of(session, caller, row.id, "its owner was deleted", tenant_id=row.tenant_id)
        row.email = f"{row.id.hex}{repository.DELETED_DOMAIN}"
        row.name, row.password_hash, row.preferences, row.is_active = "Deleted user", None, {}, False
        row.session_epoch += 1
        await session.flush()
        await repository.end_sessions(session, row.id, self._clock.now())
        await audit.record(session, caller, "users.delete", "user", _id(row), None, None, tenant_id=row.tenant_id)
        await events.emit(session, row.tenant_id, events.UserChanged(row.id, ["deleted"]))
        await announce(session, Topic.USER, row.id)

    async def _for_change(self, session: AsyncSession, caller: Caller, user_id: UUID) -> Listed:
        row, member = await self._listed(session, await repository.find_locked(session, user_id))
        if not caller.covers(member.permissions):
            raise BeyondAuthority(f"The user is '{member.role}', who may do more than you; ask one of them.")
        return row, member

    async def _listed(self, session: AsyncSession, row: User | None) -> Listed:
        member = None if row is None else await repository.find_membership(session, row.id, row.tenant_id)
        if row is None or member is None:
            raise _not_found()
        return row, member


async def add_service_account(session: AsyncSession, caller: Caller | audit.Actor, tenant_id: UUID) -> User:
    """The owner of keys that belong to no person; it has no password and cannot sign in."""
    user_id = uuid7()
    row = User(
        id=user_id,
        tenant_id=tenant_id,
        email=f"service-{user_id.hex}@tollkeeper.invalid",
        name="Service account",
        kind="service",
        password_hash=None,
    )
    await add(session, caller, row, Role.TENANT_ADMIN)
    return row


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    return await repository.find_by_email(session, email)


async def find(session: AsyncSession, user_id: UUID) -> User | None:
    return await repository.find(session, user_id)


async def end_sessions(session: AsyncSession, user_id: UUID, now: datetime) -> None:
    await repository.end_sessions(session, user_id, now)


async def add(session: AsyncSession, caller: Caller | audit.Actor, row: User, role: Role) -> Membership:
    repository.add(session, row)
    with refuse_on(uq_users_email=_taken()):
        await session.flush()
    member = Membership(
        Member(tenant_id=row.tenant_id, user_id=row.id, role=role.value), role.value, permissions_of(role)
    )
    repository.add(session, member.row)
    await session.flush()
    facts = _facts(row, member)
    await audit.record(session, caller, "users.create", "user", _id(row), None, facts, tenant_id=row.tenant_id)
    await events.emit(session, row.tenant_id, events.UserCreated(row.id, member.role))
    return member


def _check_fields(caller: Caller, row: User, member: Membership, fields: dict[str, Any]) -> None:
    role = fields.get("role")
    if role is not None and not caller.covers(permissions_of(role)):
        raise BeyondAuthority(f"You may not give the role '{role}': it grants more than your own.")
    if row.id != caller.user_id:
        return
    if role is not None and role != member.role:
        raise OwnAccount("You cannot change your own role; ask another administrator.")
    if fields.get("is_active") is False:
        raise OwnAccount("You cannot disable your own account; ask another administrator.")


def _not_found() -> UserNotFound:
    return UserNotFound("There is no such user.")


def _taken() -> EmailTaken:
    return EmailTaken("This address belongs to an account already; take another.", param="email")


def _id(row: User) -> str:
    return format_id("usr", row.id)


def _facts(row: User, member: Membership) -> dict[str, Any]:
    """What the audit trail keeps of a user: not the preferences, which are nobody's business, and no password."""
    return {"email": row.email, "name": row.name, "role": member.role, "is_active": row.is_active}
