"""Who may change whom: nobody touches a member who may do more, nor leaves a tenant or the platform without anybody in charge."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import Conflict, Forbidden
from tollkeeper.core.permissions import Permission, Role
from tollkeeper.domains.roles.service import BeyondAuthority, GivenRole, check_may_give
from tollkeeper.domains.users import repository
from tollkeeper.domains.users.repository import Membership
from tollkeeper.web.caller import Caller

_PLATFORM: Final = frozenset({Role.PLATFORM_ADMIN.value})
_TENANT: Final = _PLATFORM | {Role.TENANT_ADMIN.value}


class OwnAccount(Conflict):
    """What an administrator may not do to themselves, so that one remains."""

    code = "own_account"


class LastAdministrator(Conflict):
    """Nobody would be left who administers the tenant, or the platform."""

    code = "last_admin"


class GuestRole(Forbidden):
    """A role over all tenants is held in the tenant that manages the account."""

    code = "guest_role"


def check_may_touch(caller: Caller, whom: Membership) -> None:
    """Raises BeyondAuthority."""
    if not caller.covers(whom.role.permissions):
        raise BeyondAuthority(f"The user is '{whom.role.name}', who may do more than you; ask one of them.")


def check_may_give_to(caller: Caller, given: GivenRole, whom: Membership) -> None:
    """Raises BeyondAuthority, GuestRole, OwnAccount."""
    check_may_give(caller, given)
    check_fits(given, is_guest=whom.is_guest)
    if whom.user_id == caller.user_id and (given.role, given.role_id) != (whom.role.role, whom.role.role_id):
        raise OwnAccount("You cannot change your own role; ask another administrator.")


def check_fits(given: GivenRole, *, is_guest: bool) -> None:
    """Whoever manages an account can take it over, by its password: not one that rules the platform from elsewhere."""
    if is_guest and Permission.PLATFORM in given.permissions:
        raise GuestRole(f"A guest cannot be '{given.name}': give the role in the tenant that manages the account.")


async def lock(session: AsyncSession, whom: Membership) -> None:
    """Before a member is locked who may lose a role. Two administrators who remove each other come one after the other."""
    await repository.lock_administrators(session, whom.tenant_id.hex)


async def check_somebody_remains(session: AsyncSession, whom: Membership) -> None:
    """Before an administrator is demoted, disabled or removed. Service accounts do not count: nobody signs in as one."""
    if not whom.is_active or whom.user.kind != "person":
        return
    if whom.role.role in _PLATFORM:
        await repository.lock_administrators(session, "platform")
        if not await repository.count_administrators(session, _PLATFORM, but=whom.user_id, tenant_id=None):
            raise LastAdministrator("This is the platform's last administrator; make another one first.")
    elif whom.role.role in _TENANT and not await repository.count_administrators(
        session, _TENANT, but=whom.user_id, tenant_id=whom.tenant_id
    ):
        raise LastAdministrator("This is the tenant's last administrator; make another one first.")
