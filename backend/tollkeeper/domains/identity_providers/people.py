"""The people behind a provider's subjects: found, made, given their role and their teams, or kept out.

An account is never found by its address, which its issuer may give to another person; only by the issuer's subject,
linked at the first sign-in or by the account's own holder. Roles and teams follow the claims at every sign-in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Conflict, Forbidden
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.core.tenant_settings import TenantSettings
from tollkeeper.db.models import ExternalIdentity, IdentityProvider, User
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity_providers import repository
from tollkeeper.domains.identity_providers.id_token import find_values, verified_email
from tollkeeper.domains.identity_providers.service import find_role
from tollkeeper.domains.roles.service import GivenRole
from tollkeeper.domains.users import service as users
from tollkeeper.web.schemas import Email, Name

log = structlog.get_logger(__name__)

_EMAIL: Final = TypeAdapter(Email)
_NAME: Final = TypeAdapter(Name)


class NotAdmitted(Forbidden):
    """The provider vouches for the person; the tenant does not let them in."""

    code = "oidc_not_admitted"


class AddressUnverified(Forbidden):
    """A new account, and a sign-in bounded to domains, need an address that the provider vouches for."""

    code = "oidc_email_unverified"


class AccountExists(Conflict):
    """The address belongs to an account that was never linked; only its holder can link it."""

    code = "oidc_account_exists"


class AlreadyLinked(Conflict):
    """The provider's account signs in to another account here."""

    code = "oidc_already_linked"


@dataclass(frozen=True, slots=True)
class Proven:
    """Whom a provider has proven, in its own words."""

    subject: str
    claims: Mapping[str, Any]

    @property
    def email(self) -> str | None:
        try:
            return _EMAIL.validate_python(verified_email(self.claims))
        except ValidationError:
            return None

    @property
    def name(self) -> str | None:
        try:
            return _NAME.validate_python(self.claims.get("name"))
        except ValidationError:
            return None


class People:
    """Every method works inside a transaction of the provider's tenant."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def admit(
        self, session: AsyncSession, provider: IdentityProvider, proven: Proven, actor: audit.Actor
    ) -> UUID:
        """The user who may now sign in. Raises `NotAdmitted`, `AddressUnverified`, `AccountExists`."""
        await repository.lock_subject(session, provider.id, proven.subject)
        if provider.email_domains is not None:
            if proven.email is None:
                raise AddressUnverified(
                    "The provider does not vouch for your e-mail address (claims email and email_verified), and only "
                    "verified addresses of certain domains may sign in here. Verify it there, or ask an administrator."
                )
            domain = proven.email.rpartition("@")[2]
            if domain not in provider.email_domains:
                raise NotAdmitted("Your address is of none of the domains that may sign in here.")
        external = await repository.find_external(session, provider.id, proven.subject)
        if external is None:
            external = await self._create(session, provider, proven, actor)
        else:
            await self._let_in_again(session, provider, external, proven, actor)
        await self._set_teams(session, provider, external.user_id, proven, actor)
        await repository.note_sign_in(session, external.id, proven.email, self._clock.now())
        return external.user_id

    async def link(
        self, session: AsyncSession, provider: IdentityProvider, proven: Proven, user_id: UUID, actor: audit.Actor
    ) -> None:
        """Of the account's own holder, who has just proven to be it here and there."""
        await repository.lock_subject(session, provider.id, proven.subject)
        known = await repository.find_external(session, provider.id, proven.subject)
        if known is not None and known.user_id != user_id:
            raise AlreadyLinked("This account at the provider signs in to another account here.")
        if known is None:
            await _add_external(session, provider, proven, user_id, actor)
            await events.emit(session, provider.tenant_id, events.UserChanged(user_id, ["identities"]))

    async def find_user(self, session: AsyncSession, provider: IdentityProvider, proven: Proven) -> UUID | None:
        external = await repository.find_external(session, provider.id, proven.subject)
        return None if external is None else external.user_id

    async def _create(
        self, session: AsyncSession, provider: IdentityProvider, proven: Proven, actor: audit.Actor
    ) -> ExternalIdentity:
        if not provider.creates_users:
            raise NotAdmitted(
                "No account here is linked to yours at the provider. Sign in as before and link it, or ask an administrator."
            )
        if proven.email is None:
            raise AddressUnverified(
                "The provider does not vouch for your e-mail address (claims email and email_verified), so no account "
                "can be made for it. Ask an administrator."
            )
        tenant = await repository.get_tenant(session, provider.tenant_id)
        users.check_address(TenantSettings.read(tenant.settings), proven.email)
        given = await self._role(session, provider, proven)
        if given is None:
            raise _no_role()
        row = User(
            id=uuid7(),
            tenant_id=provider.tenant_id,
            email=proven.email,
            name=proven.name or proven.email,
            password_hash=None,
            email_verified_at=self._clock.now(),
        )
        try:
            await users.add(session, actor, row, given)
        except users.EmailTaken:
            raise AccountExists(
                "An account with your address exists here and was never linked to the provider. Sign in to it as before, "
                "and link it under your profile."
            ) from None
        return await _add_external(session, provider, proven, row.id, actor)

    async def _let_in_again(
        self,
        session: AsyncSession,
        provider: IdentityProvider,
        external: ExternalIdentity,
        proven: Proven,
        actor: audit.Actor,
    ) -> None:
        whom = await users.find(session, external.user_id, provider.tenant_id)
        if whom is None or not whom.is_active or whom.is_guest:
            raise NotAdmitted("Your account here is disabled. Ask an administrator.")
        if provider.role_claim is None or Permission.PLATFORM in whom.role.permissions:
            # Given by hand. Who rules the platform is nobody's claim to decide.
            return
        given = await self._role(session, provider, proven)
        if given is None:
            raise _no_role()
        if (given.role, given.role_id) != (whom.role.role, whom.role.role_id):
            await users.give_role(session, actor, whom, given, self._clock.now())

    async def _role(self, session: AsyncSession, provider: IdentityProvider, proven: Proven) -> GivenRole | None:
        """Of all roles that the claims name the widest, else the default; a role that is no more gives nothing."""
        said = set() if provider.role_claim is None else set(find_values(proven.claims, provider.role_claim))
        names = [str(role) for value, role in provider.role_map.items() if value in said]
        found = [await find_role(session, provider.tenant_id, name) for name in dict.fromkeys(names)]
        known = [given for given in found if given is not None]
        if known:
            return max(known, key=lambda given: len(given.permissions))
        if names:
            log.warning("identity_provider_role_gone", provider_id=format_id("idp", provider.id))
        return (
            None
            if provider.default_role is None
            else await find_role(session, provider.tenant_id, provider.default_role)
        )

    async def _set_teams(
        self, session: AsyncSession, provider: IdentityProvider, user_id: UUID, proven: Proven, actor: audit.Actor
    ) -> None:
        if provider.group_claim is None:
            return
        said = set(find_values(proven.claims, provider.group_claim))
        wanted = {parse_id("team", team_id) for value, team_id in provider.group_map.items() if value in said}
        known = await repository.list_teams(session, provider.tenant_id, wanted)
        added, removed = await repository.set_teams(session, provider.tenant_id, user_id, known)
        if not added and not removed:
            return
        user = format_id("usr", user_id)
        after = {
            "teams_added": [format_id("team", team_id) for team_id in sorted(added)],
            "teams_removed": [format_id("team", team_id) for team_id in sorted(removed)],
        }
        await audit.record(session, actor, "users.update", "user", user, None, after, tenant_id=provider.tenant_id)
        for team_id in sorted(removed):
            await events.emit(session, provider.tenant_id, events.TeamMemberRemoved(team_id, user_id))
        await announce(session, Topic.USER, user_id)


async def _add_external(
    session: AsyncSession, provider: IdentityProvider, proven: Proven, user_id: UUID, actor: audit.Actor
) -> ExternalIdentity:
    row = ExternalIdentity(
        tenant_id=provider.tenant_id,
        provider_id=provider.id,
        subject=proven.subject,
        user_id=user_id,
        email=proven.email,
    )
    repository.add(session, row)
    await session.flush()
    after = {"provider": format_id("idp", provider.id), "email": proven.email}
    user = format_id("usr", user_id)
    await audit.record(session, actor, "auth.oidc_link", "user", user, None, after, tenant_id=provider.tenant_id)
    return row


def _no_role() -> NotAdmitted:
    return NotAdmitted("The provider gives you no role here. Ask an administrator.")
