"""The members of a tenant: its own accounts, service accounts, and guests whose accounts other tenants manage.

Nobody gives a role that grants more than their own, nor touches a member who may do more (`authority`). A changed role,
password or address and a disabled account end the member's sessions at once. How members leave stands in `departure`.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Conflict, Forbidden, NotFound
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.passwords import Passwords, refuse_weak
from tollkeeper.core.permissions import Permission, Role
from tollkeeper.core.tenant_settings import TenantSettings
from tollkeeper.db.models import Member, Tenant, User
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.keys.service import revoke_all_of
from tollkeeper.domains.roles.service import GivenRole, built_in, check_may_give, get_by_name
from tollkeeper.domains.users import authority, departure, repository
from tollkeeper.domains.users.authority import OwnAccount, check_may_touch
from tollkeeper.domains.users.repository import Filter, Membership
from tollkeeper.domains.users.schemas import UserCreate, UserTeam, UserUpdate, UserView
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on

__all__ = ["Filter", "Membership", "OwnAccount", "Users", "check_may_touch"]

# What is the membership's; all else is the account's, which its own tenant alone changes.
_OF_MEMBERSHIP: Final = frozenset({"role", "is_active"})
_ENDS_SESSIONS: Final = frozenset({"role", "password", "is_active", "email"})
_OF_PERSON: Final = frozenset({"email", "password"})


class UserNotFound(NotFound):
    """No member of that id in the tenant."""


class EmailTaken(Conflict):
    """One address signs in to one account, over all tenants."""

    code = "email_taken"


class EmailNotAllowed(Forbidden):
    """The tenant takes people of certain domains only."""

    code = "email_domain_not_allowed"


class NotHomeAccount(Forbidden):
    """Another tenant manages the account."""

    code = "not_home_account"


class IsServiceAccount(Conflict):
    """It has no address and no password, and never signs in."""

    code = "service_account"


class TeamNotFound(NotFound):
    """No team of that id in the tenant."""


class Users:
    def __init__(self, passwords: Passwords, clock: Clock) -> None:
        self._passwords = passwords
        self._clock = clock

    async def create(self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: UserCreate) -> Membership:
        """An account of the tenant's own."""
        tenant = await repository.find_tenant(session, tenant_id)
        if tenant is None:
            raise NotFound("There is no such tenant.")
        given = await get_by_name(session, tenant_id, wanted.role)
        check_may_give(caller, given)
        check_address(TenantSettings.read(tenant.settings), wanted.email)
        name = wanted.name or wanted.email
        password = await self._hash(wanted.password, wanted.email, name, tenant.name)
        row = User(
            tenant_id=tenant_id,
            email=wanted.email,
            name=name,
            password_hash=password,
            password_changed_at=None if password is None else self._clock.now(),
        )
        return await add(session, caller, row, given)

    async def get(
        self, session: AsyncSession, user_id: UUID, tenant_id: UUID, *, is_anywhere: bool = False
    ) -> Membership:
        """As a member of the tenant; `is_anywhere` falls back on the tenant that manages the account."""
        find = repository.find_nearest if is_anywhere else repository.find
        found = await find(session, user_id, tenant_id)
        if found is None:
            raise _not_found()
        return found

    async def list_page(
        self, session: AsyncSession, tenant_id: UUID, wanted: Filter, *, after: UUID | None, limit: int
    ) -> Sequence[Membership]:
        return await repository.list_page(session, tenant_id, wanted, after=after, limit=limit)

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        user_id: UUID,
        tenant_id: UUID,
        changed: UserUpdate,
        if_match: frozenset[int] | None,
    ) -> Membership:
        known = await self.get(session, user_id, tenant_id, is_anywhere=caller.is_platform)
        check_may_touch(caller, known)
        # Before any lock: it takes long.
        password = await self._hash(
            changed.password, changed.email or known.user.email, changed.name or known.user.name
        )
        whom = await self._for_change(session, caller, known)
        check_match(if_match, whom)
        before = _facts(whom)
        altered = {
            name
            for name in changed.model_fields_set - {"role", "password"}
            if getattr(changed, name) != _current(whom, name)
        } | changed.model_fields_set & {"password"}
        given = None
        if changed.role is not None:
            given = await get_by_name(session, whom.tenant_id, changed.role)
            authority.check_may_give_to(caller, given, whom)
            if (given.role, given.role_id) != (whom.role.role, whom.role.role_id):
                altered.add("role")
        _check_fields(caller, whom, changed, altered)
        if "email" in altered:
            await _check_address(session, whom, str(changed.email))
        if not altered:
            return whom
        if "role" in altered or changed.is_active is False:
            await authority.check_somebody_remains(session, whom)
        if "role" in altered and given is not None:
            whom.member.role, whom.member.role_id = given.role, given.role_id
            former, whom = whom.role.name, Membership(whom.user, whom.member, given)
            await events.emit(session, whom.tenant_id, events.MemberRoleChanged(whom.user_id, former, given.name))
        self._apply(whom, changed, altered, password)
        if altered & _ENDS_SESSIONS and not whom.is_guest:
            whom.user.session_epoch += 1
        role_gone = NotFound("The role was removed just now.")
        with refuse_on(uq_users_email=_taken(), fk_members_tenant_id_role_id=role_gone):
            await session.flush()
        if altered & _ENDS_SESSIONS:
            tenant = whom.tenant_id if whom.is_guest else None
            await repository.end_sessions(session, whom.user_id, self._clock.now(), tenant_id=tenant)
        if altered & _OF_PERSON:
            # A link that was mailed to the former address, or that undoes the new password.
            await repository.remove_links(session, whom.user)
        await self._tell(session, caller, whom, before, altered)
        return whom

    async def delete(
        self,
        session: AsyncSession,
        caller: Caller,
        user_id: UUID,
        tenant_id: UUID,
        if_match: frozenset[int] | None,
    ) -> None:
        """Erase the tenant's own account, or part with a guest."""
        known = await self.get(session, user_id, tenant_id, is_anywhere=caller.is_platform)
        whom = await self._for_change(session, caller, known)
        check_match(if_match, whom)
        if whom.user_id == caller.user_id:
            raise OwnAccount("You cannot remove yourself; ask another administrator.")
        await authority.check_somebody_remains(session, whom)
        await self._part(session, caller, whom)

    async def delete_all_of(self, session: AsyncSession, caller: Caller, tenant_id: UUID) -> None:
        """With their tenant, which the platform's administrator deletes."""
        for whom in await repository.list_of_tenant(session, tenant_id):
            await self._part(session, caller, whom)

    async def join_as_guest(
        self, session: AsyncSession, actor: Caller | audit.Actor, user: User, tenant_id: UUID, given: GivenRole
    ) -> Membership:
        """The person agreed, and `given` was checked. Who was a member before begins anew: no former key works again."""
        authority.check_fits(given, is_guest=user.tenant_id != tenant_id)
        member = await repository.find_left(session, user.id, tenant_id)
        if member is None:
            member = Member(tenant_id=tenant_id, user_id=user.id, role=given.role, role_id=given.role_id)
            repository.add(session, member)
        else:
            now = self._clock.now()
            await revoke_all_of(session, actor, tenant_id, user.id, "its owner left the tenant", now)
            member.role, member.role_id = given.role, given.role_id
            member.is_active, member.removed_at = True, None
        await session.flush()
        whom = Membership(user, member, given)
        facts, user_id = _facts(whom), format_id("usr", user.id)
        await audit.record(session, actor, "users.join", "user", user_id, None, facts, tenant_id=tenant_id)
        await events.emit(session, tenant_id, events.MemberAdded(user.id, given.name))
        await announce(session, Topic.USER, user.id)
        return whom

    async def views(self, session: AsyncSession, caller: Caller, rows: Sequence[Membership]) -> list[UserView]:
        """Of one tenant."""
        teams = await teams_of(session, caller, rows)
        return [_view(row, teams.get(row.user_id, [])) for row in rows]

    async def view(self, session: AsyncSession, caller: Caller, row: Membership) -> UserView:
        return (await self.views(session, caller, [row]))[0]

    def _apply(self, whom: Membership, changed: UserUpdate, altered: set[str], password: str | None) -> None:
        for name in altered - {"role", "password", "is_active"}:
            setattr(whom.user, name, getattr(changed, name))
        if "email" in altered:
            whom.user.email_verified_at = None
        if password is not None:
            whom.user.password_hash, whom.user.password_changed_at = password, self._clock.now()
        if changed.is_active is not None:
            whom.member.is_active = changed.is_active
            if not whom.is_guest:
                whom.user.is_active = changed.is_active

    async def _tell(
        self, session: AsyncSession, caller: Caller, whom: Membership, before: dict[str, Any], altered: set[str]
    ) -> None:
        old, new = audit.changes(before, _facts(whom))
        if "password" in altered:
            new["is_password_changed"] = True
        user = format_id("usr", whom.user_id)
        await audit.record(session, caller, "users.update", "user", user, old, new, tenant_id=whom.tenant_id)
        await events.emit(session, whom.tenant_id, events.UserChanged(whom.user_id, sorted(altered)))
        await announce(session, Topic.USER, whom.user_id)

    async def _part(self, session: AsyncSession, caller: Caller, whom: Membership) -> None:
        now = self._clock.now()
        if whom.is_guest:
            await departure.remove_guest(session, caller, whom.member, now)
        else:
            await departure.erase(session, caller, whom, now)

    async def _for_change(self, session: AsyncSession, caller: Caller, known: Membership) -> Membership:
        await authority.lock(session, known)
        whom = await repository.find_locked(session, known.user_id, known.tenant_id)
        if whom is None:
            raise _not_found()
        check_may_touch(caller, whom)
        return whom

    async def _hash(self, password: SecretStr | None, *context: str) -> str | None:
        if password is None:
            return None
        refuse_weak(password.get_secret_value(), *context)
        return await self._passwords.hash(password.get_secret_value())


async def add(
    session: AsyncSession,
    caller: Caller | audit.Actor,
    row: User,
    given: GivenRole,
    team_ids: Collection[UUID] = (),
) -> Membership:
    """A new account of the tenant's own; whether it may have the role was checked."""
    repository.add(session, row)
    with refuse_on(uq_users_email=_taken()):
        await session.flush()
    member = Member(tenant_id=row.tenant_id, user_id=row.id, role=given.role, role_id=given.role_id)
    repository.add(session, member)
    await session.flush()
    if team_ids:
        await set_teams(session, row.tenant_id, row.id, team_ids)
    whom = Membership(row, member, given)
    user = format_id("usr", row.id)
    await audit.record(session, caller, "users.create", "user", user, None, _facts(whom), tenant_id=row.tenant_id)
    await events.emit(session, row.tenant_id, events.UserCreated(row.id, given.name))
    return whom


async def give_role(
    session: AsyncSession, actor: audit.Actor, whom: Membership, given: GivenRole, now: datetime
) -> Membership:
    """To an account of the tenant's own, by the word of its identity provider; what was opened before ends.

    The last administrator keeps the role: a claim that is missing one morning leaves nobody without one.
    """
    await authority.lock(session, whom)
    try:
        await authority.check_somebody_remains(session, whom)
    except authority.LastAdministrator:
        return whom
    changed = Membership(whom.user, whom.member, given)
    before, former = _facts(whom), whom.role.name
    whom.member.role, whom.member.role_id = given.role, given.role_id
    whom.user.session_epoch += 1
    with refuse_on(fk_members_tenant_id_role_id=NotFound("The role was removed just now.")):
        await session.flush()
    await repository.end_sessions(session, whom.user_id, now, tenant_id=None)
    old, new = audit.changes(before, _facts(changed))
    user = format_id("usr", whom.user_id)
    await audit.record(session, actor, "users.update", "user", user, old, new, tenant_id=whom.tenant_id)
    await events.emit(session, whom.tenant_id, events.MemberRoleChanged(whom.user_id, former, given.name))
    await events.emit(session, whom.tenant_id, events.UserChanged(whom.user_id, ["role"]))
    await announce(session, Topic.USER, whom.user_id)
    return changed


async def add_service_account(
    session: AsyncSession,
    caller: Caller | audit.Actor,
    tenant_id: UUID,
    *,
    name: str = "Service account",
    given: GivenRole | None = None,
    team_ids: Collection[UUID] = (),
) -> Membership:
    """The owner of keys that belong to no person; it has no password and cannot sign in."""
    user_id = uuid7()
    row = User(
        id=user_id,
        tenant_id=tenant_id,
        email=f"service-{user_id.hex}@tollkeeper.invalid",
        name=name,
        kind="service",
        password_hash=None,
    )
    return await add(session, caller, row, given or built_in(Role.TENANT_ADMIN), team_ids)


async def find(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> Membership | None:
    return await repository.find(session, user_id, tenant_id)


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    """Of the accounts the transaction sees: a tenant's own and its guests', or all."""
    return await repository.find_by_email(session, email)


async def authority_of(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> frozenset[Permission]:
    """What somebody may do in a tenant now: as its member, or as one who acts on all. In a platform transaction."""
    held: frozenset[Permission] = frozenset()
    for whom in await repository.list_acting(session, user_id, tenant_id):
        if whom.tenant_id == tenant_id or Permission.PLATFORM in whom.role.permissions:
            held |= whom.role.permissions
    return held


async def end_sessions(session: AsyncSession, user_id: UUID, now: datetime) -> None:
    await repository.end_sessions(session, user_id, now)


async def end_guest_memberships(session: AsyncSession, actor: audit.Actor, user_id: UUID, now: datetime) -> int:
    """Wherever else an account that was erased was a member."""
    members = await repository.list_as_guest(session, user_id)
    for member in members:
        await departure.remove_guest(session, actor, member, now)
    return len(members)


async def find_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    return await repository.find_tenant(session, tenant_id)


async def team_ids_of(session: AsyncSession, tenant_id: UUID, user_id: UUID) -> set[UUID]:
    found = await repository.teams_of(session, tenant_id, [user_id])
    return {place.team_id for place in found.get(user_id, ())}


async def set_teams(session: AsyncSession, tenant_id: UUID, user_id: UUID, team_ids: Collection[UUID]) -> None:
    """Raises TeamNotFound."""
    distinct = set(team_ids)
    if await repository.count_teams(session, tenant_id, distinct) != len(distinct):
        raise TeamNotFound("There is no such team.")
    for team_id in await repository.set_teams(session, tenant_id, user_id, distinct):
        await events.emit(session, tenant_id, events.TeamMemberRemoved(team_id, user_id))


async def teams_of(session: AsyncSession, caller: Caller, rows: Sequence[Membership]) -> dict[UUID, list[UserTeam]]:
    """By user; of one tenant. Nothing for who may not see teams."""
    if not rows or not caller.may(Permission.TEAMS_VIEW):
        return {}
    found = await repository.teams_of(session, rows[0].tenant_id, [row.user_id for row in rows])
    return {
        user_id: [
            UserTeam.model_validate({"id": place.team_id, "name": place.name, "role": place.role}) for place in places
        ]
        for user_id, places in found.items()
    }


def check_address(settings: TenantSettings, email: str) -> None:
    """Raises EmailNotAllowed."""
    if not settings.admits(email):
        domains = ", ".join(settings.allowed_email_domains or ())
        raise EmailNotAllowed(f"This organisation takes addresses of these domains only: {domains}.", param="email")


async def _check_address(session: AsyncSession, whom: Membership, email: str) -> None:
    tenant = await repository.find_tenant(session, whom.tenant_id)
    assert tenant is not None, "a member's tenant is bound by a foreign key"
    check_address(TenantSettings.read(tenant.settings), email)


def _check_fields(caller: Caller, whom: Membership, changed: UserUpdate, altered: set[str]) -> None:
    if whom.is_guest and not altered <= _OF_MEMBERSHIP:
        names = ", ".join(sorted(altered - _OF_MEMBERSHIP))
        raise NotHomeAccount(f"Another tenant manages this account; only it changes {names}.")
    if whom.user.kind == "service" and altered & _OF_PERSON:
        raise IsServiceAccount("A service account has no address and no password, and never signs in.")
    if whom.user_id == caller.user_id and changed.is_active is False:
        raise OwnAccount("You cannot disable your own account; ask another administrator.")


def _current(whom: Membership, name: str) -> Any:
    return whom.is_active if name == "is_active" else getattr(whom.user, name)


def _view(whom: Membership, teams: list[UserTeam]) -> UserView:
    user, is_person = whom.user, whom.user.kind == "person"
    return UserView(
        id=user.id,
        tenant_id=whom.tenant_id,
        email=user.email if is_person else None,
        name=user.name,
        kind="person" if is_person else "service",
        role=whom.role.name,
        role_id=whom.role.role_id,
        is_guest=whom.is_guest,
        is_active=whom.is_active,
        has_password=None if whom.is_guest else user.password_hash is not None,
        preferences={} if whom.is_guest else user.preferences,
        teams=teams,
        last_login_at=None if whom.is_guest else user.last_login_at,
        created_at=whom.member.created_at,
        updated_at=whom.updated_at,
        version=whom.version,
    )


def _not_found() -> UserNotFound:
    return UserNotFound("There is no such user.")


def _taken() -> EmailTaken:
    return EmailTaken("This address belongs to an account already; take another.", param="email")


def _facts(whom: Membership) -> dict[str, Any]:
    """What the audit trail keeps of a member: not the preferences, which are nobody's business, and no password."""
    facts = {"name": whom.user.name, "role": whom.role.name, "is_active": whom.is_active}
    return facts if whom.user.kind == "service" else {"email": whom.user.email, **facts}
