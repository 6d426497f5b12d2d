"""`/api/v1/invitations`."""

from typing import Annotated, Final, Protocol

from fastapi import Depends, Request, Response

from tollkeeper.core.errors import Unauthenticated
from tollkeeper.core.ids import InvitationId, format_id
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.invitations.acceptance import Acceptance, Visitor
from tollkeeper.domains.invitations.schemas import (
    DEFAULT_DAYS,
    InvitationAccept,
    InvitationAccepted,
    InvitationCreate,
    InvitationResend,
    InvitationSent,
    InvitationStatus,
    InvitationView,
)
from tollkeeper.domains.invitations.service import Invitations
from tollkeeper.domains.mail.service import Mailing
from tollkeeper.web.caller import ControlServices, address_of, check_same_origin, prove_caller, request_uuid_of
from tollkeeper.web.deps import (
    CurrentCaller,
    ObjectSession,
    TargetTenant,
    TenantSession,
    Work,
    control_router,
    public,
    requires,
    withhold_answer,
)
from tollkeeper.web.etag import IfMatch, write_etag
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("invitations")
_LIST: Final = "invitations"


class LinkThrottle(Protocol):
    async def charge_link(self, address: str | None) -> None:
        """Raises RateLimited for an address that tries too many links."""
        ...


class InvitationServices(ControlServices, Protocol):
    @property
    def mail(self) -> Mailing: ...
    @property
    def login_throttle(self) -> LinkThrottle: ...


def _services(request: Request) -> InvitationServices:
    services: InvitationServices = request.app.state.services
    return services


Own = Annotated[InvitationServices, Depends(_services)]


def _invitations(services: Own) -> Invitations:
    return Invitations(services.mail, services.settings.origin, services.clock)


InvitationService = Annotated[Invitations, Depends(_invitations)]


@router.post("", status_code=201, dependencies=[requires(Permission.USERS_CREATE, fresh=True)])
async def create_invitation(
    body: InvitationCreate, caller: CurrentCaller, work: Work, invitations: InvitationService, response: Response
) -> InvitationSent:
    """Invite a person by address, to a role that grants at most what you may. `link` is shown when no mail is set up."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    sent = await invitations.create(session, caller, tenant_id, body)
    withhold_answer(session, format_id("inv", sent.id))
    write_etag(response, sent)
    return sent


@router.get("", dependencies=[requires(Permission.USERS_VIEW)])
async def list_invitations(
    session: TenantSession,
    tenant_id: TargetTenant,
    paging: Paging,
    invitations: InvitationService,
    status: InvitationStatus | None = None,
) -> Page[InvitationView]:
    """The invitations of the tenant, newest first."""
    after = paging.after_id(_LIST)
    rows = await invitations.list_page(session, tenant_id, status=status, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda listed: (listed.row.id,))
    return Page(data=[invitations.view(listed) for listed in page], next_cursor=next_cursor)


@router.post("/accept", dependencies=[public()])
async def accept_invitation(body: InvitationAccept, request: Request, services: Own) -> InvitationAccepted:
    """Join the tenant: with a new account, or with the one you are signed in to, if it has the invited address."""
    check_same_origin(request)
    await services.login_throttle.charge_link(address_of(request))
    visitor = Visitor(await _signed_in(request), address_of(request), request_uuid_of(request))
    return await Acceptance(services.database, services.passwords, services.clock).accept(body, visitor)


@router.get("/{invitation_id}", dependencies=[requires(Permission.USERS_VIEW)])
async def show_invitation(
    invitation_id: InvitationId, session: ObjectSession, invitations: InvitationService, response: Response
) -> InvitationView:
    listed = await invitations.get(session, invitation_id)
    write_etag(response, listed.row)
    return invitations.view(listed)


@router.post("/{invitation_id}/resend", dependencies=[requires(Permission.USERS_CREATE, fresh=True)])
async def resend_invitation(
    invitation_id: InvitationId,
    caller: CurrentCaller,
    session: ObjectSession,
    invitations: InvitationService,
    if_match: IfMatch,
    response: Response,
    body: InvitationResend | None = None,
) -> InvitationSent:
    """Give the invitation a new link and a new expiry; the link before works no longer."""
    days = DEFAULT_DAYS if body is None else body.expires_in_days
    sent = await invitations.resend(session, caller, invitation_id, days, if_match)
    withhold_answer(session, format_id("inv", sent.id))
    write_etag(response, sent)
    return sent


@router.delete("/{invitation_id}", status_code=204, dependencies=[requires(Permission.USERS_CREATE, fresh=True)])
async def revoke_invitation(
    invitation_id: InvitationId,
    caller: CurrentCaller,
    session: ObjectSession,
    invitations: InvitationService,
    if_match: IfMatch,
) -> None:
    """Take the invitation back: its link works no longer. It stays listed."""
    await invitations.revoke(session, caller, invitation_id, if_match)


async def _signed_in(request: Request) -> CurrentCaller | None:
    """An old cookie is no reason to turn a new person away."""
    try:
        return await prove_caller(request)
    except Unauthenticated:
        return None
