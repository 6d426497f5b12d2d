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
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import User
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.keys.service import Keys
from tollkeeper.domains.users import repository
from tollkeeper.domains.users.schemas import UserCreate, UserUpdate, UserView
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on

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

    async def create(self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: UserCreate) -> User:
        if not caller.covers(wanted.role):
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
            role=wanted.role.value,
            password_hash=password,
        )
        await add(session, caller, row)
        return row

    async def get(self, session: AsyncSession, user_id: UUID) -> User:
        row = await repository.find(session, user_id)
        if row is None:
            raise _not_found()
        return row

    async def list_page(
        self, session: AsyncSession, tenant_id: UUID, *, role: Role | None, after: UUID | None, limit: int
    ) -> Sequence[User]:
        return await repository.list_page(session, tenant_id, role=role, after=after, limit=limit)

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        user_id: UUID,
        changed: UserUpdate,
        if_match: frozenset[int] | None,
    ) -> User:
        row = await self._for_change(session, caller, user_id)
        check_match(if_match, row)
        fields = {name: getattr(changed, name) for name in changed.model_fields_set}
        _check_fields(caller, row, fields)
        before = _facts(row)
        password = fields.pop("password", None)
        if password is not None:
            row.password_hash = await self._passwords.hash(password.get_secret_value())
        altered = {name for name, value in fields.items() if getattr(row, name) != value}
        for name in altered:
            setattr(row, name, fields[name].value if isinstance(fields[name], Role) else fields[name])
        if password is not None:
            altered.add("password")
        if not altered:
            return row
        ends_sessions = bool(altered & _ENDS_SESSIONS)
        if ends_sessions:
            row.session_epoch += 1
        with refuse_on(uq_users_email=_taken()):
            await session.flush()
        if ends_sessions:
            await repository.end_sessions(session, row.id, self._clock.now())
        old, new = audit.changes(before, _facts(row))
        if password is not None:
            new["is_password_changed"] = True
        await audit.record(session, caller, "users.update", "user", _id(row), old, new, tenant_id=row.tenant_id)
        await events.emit(session, row.tenant_id, events.UserChanged(row.id, sorted(altered)))
        await announce(session, Topic.USER, row.id)
        return row

    async def delete(
        self, session: AsyncSession, caller: Caller, user_id: UUID, if_match: frozenset[int] | None
    ) -> None:
        """Revoke the user's keys, end the sessions, forget the person."""
        row = await self._for_change(session, caller, user_id)
        check_match(if_match, row)
        if row.id == caller.user_id:
            raise OwnAccount("You cannot delete your own account; ask another administrator.")
        await self._erase(session, caller, row)

    async def delete_all_of(self, session: AsyncSession, caller: Caller, tenant_id: UUID) -> None:
        """With their tenant, which the platform's administrator deletes."""
        for row in await repository.list_of_tenant(session, tenant_id):
            await self._erase(session, caller, row)

    def view(self, row: User) -> UserView:
        return UserView(
            id=row.id,
            tenant_id=row.tenant_id,
            email=row.email,
            name=row.name,
            role=Role(row.role),
            is_active=row.is_active,
            has_password=row.password_hash is not None,
            preferences=row.preferences,
            last_login_at=row.last_login_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
            version=row.version,
        )

    async def _erase(self, session: AsyncSession, caller: Caller, row: User) -> None:
        await self._keys.revoke_all_of(session, caller, row.id, "its owner was deleted")
        row.email = f"{row.id.hex}{repository.DELETED_DOMAIN}"
        row.name, row.password_hash, row.preferences, row.is_active = "Deleted user", None, {}, False
        row.session_epoch += 1
        await session.flush()
        await repository.end_sessions(session, row.id, self._clock.now())
        await audit.record(session, caller, "users.delete", "user", _id(row), None, None, tenant_id=row.tenant_id)
        await events.emit(session, row.tenant_id, events.UserChanged(row.id, ["deleted"]))
        await announce(session, Topic.USER, row.id)

    async def _for_change(self, session: AsyncSession, caller: Caller, user_id: UUID) -> User:
        row = await repository.find_locked(session, user_id)
        if row is None:
            raise _not_found()
        if not caller.covers(Role(row.role)):
            raise BeyondAuthority(f"The user is '{row.role}', who may do more than you; ask one of them.")
        return row


async def add_service_account(session: AsyncSession, caller: Caller | audit.Actor, tenant_id: UUID) -> User:
    """The owner of keys that belong to no person; it has no password and cannot sign in."""
    user_id = uuid7()
    row = User(
        id=user_id,
        tenant_id=tenant_id,
        email=f"service-{user_id.hex}@tollkeeper.invalid",
        name="Service account",
        role=Role.TENANT_ADMIN.value,
        password_hash=None,
    )
    await add(session, caller, row)
    return row


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    return await repository.find_by_email(session, email)


async def find(session: AsyncSession, user_id: UUID) -> User | None:
    return await repository.find(session, user_id)


async def end_sessions(session: AsyncSession, user_id: UUID, now: datetime) -> None:
    await repository.end_sessions(session, user_id, now)


async def add(session: AsyncSession, caller: Caller | audit.Actor, row: User) -> None:
    repository.add(session, row)
    with refuse_on(uq_users_email=_taken()):
        await session.flush()
    await audit.record(session, caller, "users.create", "user", _id(row), None, _facts(row), tenant_id=row.tenant_id)
    await events.emit(session, row.tenant_id, events.UserCreated(row.id, row.role))


def _check_fields(caller: Caller, row: User, fields: dict[str, Any]) -> None:
    role = fields.get("role")
    if role is not None and not caller.covers(role):
        raise BeyondAuthority(f"You may not give the role '{role}': it grants more than your own.")
    if row.id != caller.user_id:
        return
    if role is not None and role != row.role:
        raise OwnAccount("You cannot change your own role; ask another administrator.")
    if fields.get("is_active") is False:
        raise OwnAccount("You cannot disable your own account; ask another administrator.")


def _not_found() -> UserNotFound:
    return UserNotFound("There is no such user.")


def _taken() -> EmailTaken:
    return EmailTaken("This address belongs to an account already; take another.", param="email")


def _id(row: User) -> str:
    return format_id("usr", row.id)


def _facts(row: User) -> dict[str, Any]:
    """What the audit trail keeps of a user: not the preferences, which are nobody's business, and no password."""
    return {"email": row.email, "name": row.name, "role": row.role, "is_active": row.is_active}
