"""A person's own account: the password, its reset by a link, and registration where it is turned on.

What a stranger asks for is answered the same for every address, at once; whether there is an account is found out by a
job afterwards (`tasks`), and told to the mailbox alone.
"""

from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.errors import BadRequest, Conflict, NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.core.passwords import refuse_weak
from tollkeeper.core.permissions import Permission
from tollkeeper.db.models import OneTimeLink, User
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity import credentials, links, messages, registration, repository
from tollkeeper.domains.identity.client import Client, actor_of
from tollkeeper.domains.identity.grants import Grant, end_everything, ended
from tollkeeper.domains.identity.repository import Account
from tollkeeper.domains.identity.service import SignIn, SignInServices
from tollkeeper.domains.jobs import service as jobs
from tollkeeper.domains.users import service as users
from tollkeeper.web.caller import Caller

log = structlog.get_logger(__name__)

RESET: Final = "identity.password_reset"
REGISTER: Final = "identity.register"


class SamePassword(BadRequest):
    """Nothing would change."""

    code = "same_password"


class PasswordChangedMeanwhile(Conflict):
    """Another request was faster."""

    code = "password_changed"


class Accounts:
    def __init__(self, services: SignInServices, sign_in: SignIn) -> None:
        self._database = services.database
        self._passwords = services.passwords
        self._throttle = services.login_throttle
        self._settings = services.settings
        self._clock = services.clock
        self._box = services.secret_box
        self._mail = services.mail
        self._sign_in = sign_in

    async def change_password(self, caller: Caller, current: str, new: str, client: Client) -> Grant:
        """Ends every session; the caller's goes on with a new cookie. Raises NotProven, WeakPassword, RateLimited."""
        account = await self._sign_in.prove_password(caller, current, client)
        if new == current:
            raise SamePassword("This is the password you have; choose another one.", param="new_password")
        _refuse_weak(new, account, "new_password")
        hashed = await self._passwords.hash(new)
        async with self._database.platform() as session:
            user = await repository.lock_user(session, caller.user_id)
            if user is None:
                raise ended()
            if user.password_hash != account.password_hash:
                raise PasswordChangedMeanwhile("The password was changed by another request; sign in again.")
            await self._set_password(session, user, hashed)
            name = format_id("usr", user.id)
            await audit.record(session, caller, "auth.password_changed", "user", name, tenant_id=user.tenant_id)
            return await self._sign_in.grants.replace_all(session, caller, user, client, "password")

    async def ask_reset(self, email: str, client: Client) -> None:
        """Mails a link, if there is such an account and a way to mail. Raises RateLimited."""
        await self._throttle.charge_mail(email, client.address)
        if not self._mail.is_configured:
            return
        async with self._database.platform() as session:
            await jobs.enqueue_sealed(session, self._box, RESET, {"email": email})

    async def complete_reset(self, token: str, new: str, client: Client) -> None:
        """Sets the password and ends every session; signing in is next, second factor and all. Raises LinkInvalid."""
        await self._throttle.charge_link(client.address)
        now = self._clock.now()
        async with self._database.platform() as session:
            link = await links.get(session, "password_reset", token, now)
            account = await self._usable(session, link.user_id)
        _refuse_weak(new, account, "new_password")
        hashed = await self._passwords.hash(new)
        async with self._database.platform() as session:
            user = await repository.lock_user(session, link.user_id)
            if user is None or not await credentials.use_link(session, link.id, now):
                raise links.invalid()
            account = await self._usable(session, link.user_id)
            await _check_maker(session, link)
            if link.created_by is None and user.email_verified_at is None:
                # The link came by mail, so the mailbox is theirs.
                user.email_verified_at = now
            await self._set_password(session, user, hashed)
            await end_everything(session, user, now, "password")
            actor, name = actor_of(account.identity, client), format_id("usr", user.id)
            await audit.record(session, actor, "auth.password_reset", "user", name, tenant_id=user.tenant_id)

    async def register(self, email: str, password: str, name: str, organisation: str, client: Client) -> bool:
        """A tenant and its administrator. True when a mailed link must confirm the address first.

        The answer is the same for an address that has an account; its owner is told by mail.
        """
        if not self._settings.self_registration:
            raise NotFound("There is nothing at this address.")
        await self._throttle.charge_mail(email, client.address)
        refuse_weak(password, email, name, organisation)
        wanted = {
            "email": email,
            "name": name,
            "organisation": organisation,
            "password_hash": await self._passwords.hash(password),
        }
        async with self._database.platform() as session:
            if self._mail.is_configured:
                await jobs.enqueue_sealed(session, self._box, REGISTER, wanted)
                return True
            if await repository.find_account(session, email) is None:
                await registration.create(session, wanted, self._clock.now(), is_verified=True)
        return False

    async def verify_email(self, token: str, client: Client) -> None:
        """Opens the account of a registration. Raises LinkInvalid."""
        await self._throttle.charge_link(client.address)
        now = self._clock.now()
        async with self._database.platform() as session:
            link = await links.get(session, "email_verification", token, now)
            user = await repository.lock_user(session, link.user_id)
            tenant = await repository.find_tenant(session, link.tenant_id)
            account = await repository.find_account_of(session, link.user_id)
            if (
                user is None
                or tenant is None
                or account is None
                or not await credentials.use_link(session, link.id, now)
            ):
                raise links.invalid()
            user.email_verified_at = now
            if registration.is_unverified(tenant):
                tenant.is_active, tenant.suspension_reason = True, None
            await session.flush()
            actor, name = actor_of(account.identity, client), format_id("usr", user.id)
            await audit.record(session, actor, "auth.email_verified", "user", name, tenant_id=tenant.id)
            await announce(session, Topic.TENANT, tenant.id)

    async def _set_password(self, session: AsyncSession, user: User, hashed: str) -> None:
        user.password_hash, user.password_changed_at = hashed, self._clock.now()
        await credentials.delete_links(session, user.id, "password_reset")
        await messages.tell(session, self._mail, user, messages.PASSWORD_CHANGED)

    async def _usable(self, session: AsyncSession, user_id: UUID) -> Account:
        """A link opens nothing for who may not sign in. Raises LinkInvalid."""
        account = await repository.find_account_of(session, user_id)
        if account is None or account.identity.refusal is not None:
            raise links.invalid()
        return account


async def _check_maker(session: AsyncSession, link: OneTimeLink) -> None:
    """Who handed the link over may still do so: neither they nor the account became another meanwhile.

    Raises LinkInvalid.
    """
    if link.created_by is None:
        return
    held = await users.authority_of(session, link.created_by, link.tenant_id)
    whom = await users.find(session, link.user_id, link.tenant_id)
    if whom is None or not whom.role.permissions | {Permission.USERS_UPDATE} <= held:
        raise links.invalid()


def _refuse_weak(password: str, account: Account, param: str) -> None:
    identity = account.identity
    try:
        refuse_weak(password, identity.email, identity.name, identity.tenant_name)
    except BadRequest as refused:
        refused.param = param
        raise
