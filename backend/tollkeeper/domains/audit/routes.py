"""`/api/v1/audit`: reading the trail, taking it out and proving it whole. Nothing here writes, but that it was read."""

from typing import Annotated, Literal, Protocol

from fastapi import Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, IPvAnyNetwork

from tollkeeper.core.ids import RequestId
from tollkeeper.core.permissions import Permission
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service, verification
from tollkeeper.domains.audit.heads import Heads
from tollkeeper.domains.audit.schemas import AuditView, ChainReport, Outcome
from tollkeeper.web.deps import CurrentCaller, TargetTenant, TenantSession, control_router, requires
from tollkeeper.web.pagination import Page, Paging, cut
from tollkeeper.web.schemas import Word

router = control_router("audit")
_LIST = "audit"


class AuditServices(Protocol):
    @property
    def database(self) -> Database: ...
    @property
    def audit_heads(self) -> Heads: ...


def _services(request: Request) -> AuditServices:
    services: AuditServices = request.app.state.services
    return services


Mine = Annotated[AuditServices, Depends(_services)]


def _filter(
    action: Annotated[Word | None, Query(description="`keys.create`, or `keys.*` for all that begin so.")] = None,
    object_type: Word | None = None,
    object_id: Word | None = None,
    actor_id: Annotated[Word | None, Query(description="For example `usr_…` or `key_…`.")] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="Inclusive.")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Exclusive.")] = None,
    address: Annotated[IPvAnyNetwork | None, Query(description="An address, or a network in CIDR form.")] = None,
    request_id: RequestId | None = None,
    outcome: Outcome | None = None,
) -> service.Filter:
    return service.Filter(
        action=action,
        object_type=object_type,
        object_id=object_id,
        actor_id=actor_id,
        since=since,
        until=until,
        address=None if address is None else str(address),
        request_id=request_id,
        outcome=None if outcome is None else outcome.value,
    )


Wanted = Annotated[service.Filter, Depends(_filter)]


@router.get("", dependencies=[requires(Permission.AUDIT_VIEW)])
async def list_audit(
    session: TenantSession, tenant_id: TargetTenant, paging: Paging, wanted: Wanted
) -> Page[AuditView]:
    """The trail of the tenant, newest first."""
    position = paging.position(_LIST, int)
    before = None if position is None else position[0]
    assert before is None or isinstance(before, int)
    rows = await service.list_page(session, tenant_id, wanted, before=before, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.sequence,))
    return Page(data=[service.view(row) for row in page], next_cursor=next_cursor)


@router.get(
    "/export",
    dependencies=[requires(Permission.AUDIT_EXPORT, fresh=True)],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One record a line, oldest first.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
async def export_audit(
    session: TenantSession,
    caller: CurrentCaller,
    tenant_id: TargetTenant,
    wanted: Wanted,
    services: Mine,
    export_format: Annotated[Literal["jsonl"], Query(alias="format")] = "jsonl",
) -> StreamingResponse:
    """The trail as JSON lines, up to the moment of asking. An answer that is cut short breaks the connection."""
    last = await service.begin_export(session, caller, tenant_id, wanted)
    name = f"audit-{tenant_id.hex}-{last}.{export_format}"
    return StreamingResponse(
        service.export(services.database, tenant_id, wanted, last=last),
        media_type="application/x-ndjson",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


@router.get("/verify", dependencies=[requires(Permission.AUDIT_VIEW)])
async def verify_audit(
    session: TenantSession,
    tenant_id: TargetTenant,
    services: Mine,
    head: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="A `head` noted earlier.")] = None,
) -> ChainReport:
    """Walk the chain and say whether every record is as it was written, and whether those signed for are there."""
    noted = None if head is None else bytes.fromhex(head)
    return await verification.verify(session, services.audit_heads, tenant_id, head=noted)
