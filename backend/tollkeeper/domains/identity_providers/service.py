"""Making, changing and trying identity providers.

Who may change a provider can sign in as everybody who comes through it. So its roles, those it gives and those its
people hold, must be covered by whoever touches it; the secret stays with the issuer it was entered for; and what may be
reached inside the network is the platform's word alone.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.addresses import find_location
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import Conflict, Forbidden, MalformedPayload, NotFound
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Permission, permissions_of
from tollkeeper.db.models import IdentityProvider
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity_providers import repository
from tollkeeper.domains.identity_providers.issuers import Issuer, Issuers, IssuerUnavailable, IssuerUnfit
from tollkeeper.domains.identity_providers.schemas import (
    IdentityProviderCreate,
    IdentityProviderUpdate,
    IdentityProviderView,
    ProviderTest,
)
from tollkeeper.domains.identity_providers.sealing import seal_client_secret
from tollkeeper.domains.roles import service as roles
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on

_MAPS: Final = frozenset({"default_role", "role_map", "group_map"})


class IdentityProviderNotFound(NotFound):
    """No identity provider of that id in the tenant."""


class NameTaken(Conflict):
    """Names are unique in a tenant, whatever their case."""

    code = "name_taken"


class CredentialBound(Conflict):
    """A client secret goes to the issuer it was entered for, and to no other."""

    code = "credential_bound"


class ProviderInUse(Conflict):
    """People sign in through the issuer: another one's subjects would be taken for them."""

    code = "identity_provider_in_use"


class BeyondAuthority(Forbidden):
    """The provider lets people in who may do more than the caller."""

    code = "beyond_authority"


class IdentityProviders:
    def __init__(self, box: SecretBox, issuers: Issuers, redirect_uri: str) -> None:
        self._box = box
        self._issuers = issuers
        self._redirect_uri = redirect_uri

    async def create(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: IdentityProviderCreate
    ) -> IdentityProvider:
        fields = wanted.model_dump(exclude={"client_secret", "tenant_id"})
        row = IdentityProvider(id=uuid7(), tenant_id=tenant_id, **fields)
        _check_address(caller, row)
        _check_completeness(row)
        await _check_maps(session, caller, row)
        if wanted.client_secret is not None:
            seal_client_secret(self._box, row, wanted.client_secret.get_secret_value())
        repository.add(session, row)
        no_tenant = NotFound("There is no such tenant.")
        with refuse_on(uq_identity_providers_tenant_id_name=_taken(), fk_identity_providers_tenant_id=no_tenant):
            await session.flush()
        await record(session, caller, row, "create", None, _facts(row))
        return row

    async def get(self, session: AsyncSession, provider_id: UUID) -> IdentityProvider:
        row = await repository.find(session, provider_id)
        if row is None:
            raise _not_found()
        return row

    async def list_page(
        self, session: AsyncSession, tenant_id: UUID, *, after: UUID | None, limit: int
    ) -> Sequence[IdentityProvider]:
        return await repository.list_page(session, tenant_id, after=after, limit=limit)

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        provider_id: UUID,
        changed: IdentityProviderUpdate,
        if_match: frozenset[int] | None,
    ) -> IdentityProvider:
        row = await get_for_change(session, caller, provider_id)
        check_match(if_match, row)
        before, former_issuer, was_private = _facts(row), row.issuer, row.allow_private_address
        fields = changed.model_dump(exclude_unset=True, exclude={"client_secret"})
        for name, value in fields.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        if row.issuer != former_issuer or row.allow_private_address != was_private:
            _check_address(caller, row)
        if row.issuer != former_issuer:
            await self._leave_issuer(session, row, changed)
        _check_completeness(row)
        if not _MAPS.isdisjoint(fields):
            # What it gave before was judged with the provider itself; a role or a team of it may be gone since.
            await _check_maps(session, caller, row)
        is_secret_sent = "client_secret" in changed.model_fields_set
        if changed.client_secret is not None:
            seal_client_secret(self._box, row, changed.client_secret.get_secret_value())
        elif is_secret_sent:
            row.client_secret = None
        old, new = audit.changes(before, _facts(row))
        if not new and not is_secret_sent:
            return row
        with refuse_on(uq_identity_providers_tenant_id_name=_taken()):
            await session.flush()
        if is_secret_sent:
            new["is_secret_changed"] = True
        await record(session, caller, row, "update", old, new)
        return row

    async def delete(
        self, session: AsyncSession, caller: Caller, provider_id: UUID, if_match: frozenset[int] | None
    ) -> None:
        """With its bindings. Who came through it keeps the account, and signs in by other means."""
        row = await get_for_change(session, caller, provider_id)
        check_match(if_match, row)
        await record(session, caller, row, "delete", _facts(row), None)
        await repository.remove(session, row)

    async def try_out(self, row: IdentityProvider) -> ProviderTest:
        """Ask the issuer anew for its endpoints and its keys, and say what is wrong."""
        try:
            metadata, keys = await self._issuers.examine(Issuer(row.issuer, row.allow_private_address))
        except (IssuerUnavailable, IssuerUnfit) as error:
            return ProviderTest(ok=False, problem=error.message)
        problem = None
        if row.allows_sign_in and (metadata.authorization_endpoint is None or metadata.token_endpoint is None):
            problem = "The issuer names no authorization_endpoint and token_endpoint: people cannot sign in through it."
        return ProviderTest(
            ok=problem is None,
            problem=problem,
            authorization_endpoint=metadata.authorization_endpoint,
            keys=len(keys),
        )

    def view(self, row: IdentityProvider) -> IdentityProviderView:
        return IdentityProviderView(
            id=row.id,
            tenant_id=row.tenant_id,
            name=row.name,
            issuer=row.issuer,
            client_id=row.client_id,
            has_client_secret=row.client_secret is not None,
            scopes=row.scopes,
            is_active=row.is_active,
            allows_sign_in=row.allows_sign_in,
            allows_workloads=row.allows_workloads,
            audience=row.audience,
            email_domains=row.email_domains,
            creates_users=row.creates_users,
            default_role=row.default_role,
            role_claim=row.role_claim,
            role_map=row.role_map,
            group_claim=row.group_claim,
            group_map=row.group_map,
            allow_private_address=row.allow_private_address,
            redirect_uri=self._redirect_uri,
            created_at=row.created_at,
            updated_at=row.updated_at,
            version=row.version,
        )

    async def _leave_issuer(
        self, session: AsyncSession, row: IdentityProvider, changed: IdentityProviderUpdate
    ) -> None:
        if await repository.list_held(session, row.id):
            raise ProviderInUse("People sign in through this issuer. Make another provider for the new one.")
        if row.client_secret is not None and "client_secret" not in changed.model_fields_set:
            raise CredentialBound("The client secret was entered for another issuer; send it again with the new one.")


async def get_for_change(session: AsyncSession, caller: Caller, provider_id: UUID) -> IdentityProvider:
    """Locked. Raises `IdentityProviderNotFound`, `BeyondAuthority`."""
    row = await repository.find_locked(session, provider_id)
    if row is None:
        raise _not_found()
    for held in await repository.list_held(session, row.id):
        if not caller.covers(permissions_of(held.role, held.permissions)):
            raise BeyondAuthority("People sign in through this provider who may do more than you; ask one of them.")
    for name in _mapped_roles(row):
        given = await find_role(session, row.tenant_id, name)
        if given is not None and not caller.covers(given.permissions):
            raise BeyondAuthority(f"The provider gives the role '{name}', which grants more than yours.")
    return row


async def find_role(session: AsyncSession, tenant_id: UUID, name: str) -> roles.GivenRole | None:
    """None for a role that is no more, or that no provider may give: what acts on every tenant."""
    try:
        given = await roles.get_by_name(session, tenant_id, name)
    except roles.UnknownRole:
        return None
    return None if Permission.PLATFORM in given.permissions else given


async def record(
    session: AsyncSession,
    caller: Caller,
    row: IdentityProvider,
    action: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    *,
    noun: str = "identity_providers",
    object_type: str = "identity_provider",
    object_id: str | None = None,
) -> None:
    """Of the provider, or of one of its bindings: the trail, the event, and word to the workers that know its keys."""
    object_id = object_id or format_id("idp", row.id)
    await audit.record(
        session, caller, f"{noun}.{action}", object_type, object_id, before, after, tenant_id=row.tenant_id
    )
    await events.emit(session, row.tenant_id, events.IdentityProviderChanged(row.id, action))
    for key_id in await repository.list_bound_keys(session, row.id):
        await announce(session, Topic.KEY, key_id)


def _check_address(caller: Caller, row: IdentityProvider) -> None:
    if row.allow_private_address and not caller.is_platform:
        raise BeyondAuthority(
            "Only the platform's administrators let a provider have a private address.", param="allow_private_address"
        )
    location = find_location(row.issuer)
    assert location is not None, "the schema has read it"
    if location.scheme != "https" and not row.allow_private_address:
        raise MalformedPayload("An issuer is an https address.", param="issuer")


def _check_completeness(row: IdentityProvider) -> None:
    if row.allows_sign_in and row.client_id is None:
        raise MalformedPayload("People sign in with a client_id; or set allows_sign_in to false.", param="client_id")
    if row.role_map and row.role_claim is None:
        raise MalformedPayload("role_map needs role_claim.", param="role_claim")
    if row.group_map and row.group_claim is None:
        raise MalformedPayload("group_map needs group_claim.", param="group_claim")


async def _check_maps(session: AsyncSession, caller: Caller, row: IdentityProvider) -> None:
    """Nobody maps to more than they hold, and nobody to a role over all tenants."""
    for name in _mapped_roles(row):
        given = await roles.get_by_name(session, row.tenant_id, name)
        if Permission.PLATFORM in given.permissions:
            raise BeyondAuthority(f"No identity provider gives the role '{name}'.", param="role_map")
        roles.check_may_give(caller, given)
    wanted = {parse_id("team", team_id) for team_id in row.group_map.values()}
    if wanted and wanted - await repository.list_teams(session, row.tenant_id, wanted):
        raise MalformedPayload("group_map names a team that the tenant does not have.", param="group_map")


def _mapped_roles(row: IdentityProvider) -> list[str]:
    named = [row.default_role, *row.role_map.values()]
    return list(dict.fromkeys(str(name) for name in named if name is not None))


def _facts(row: IdentityProvider) -> dict[str, Any]:
    names = (
        "name issuer client_id scopes is_active allows_sign_in allows_workloads audience email_domains creates_users "
        "default_role role_claim role_map group_claim group_map allow_private_address"
    )
    return {name: getattr(row, name) for name in names.split()}


def _not_found() -> IdentityProviderNotFound:
    return IdentityProviderNotFound("There is no such identity provider.")


def _taken() -> NameTaken:
    return NameTaken("The tenant has an identity provider of this name already; take another name.", param="name")
