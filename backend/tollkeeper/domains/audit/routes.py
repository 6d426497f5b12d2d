"""`/api/v1/audit`: reading the trail and proving it whole. Nothing here writes."""

from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime

from tollkeeper.core.permissions import Permission
from tollkeeper.domains.audit import service
from tollkeeper.domains.audit.schemas import AuditView, ChainReport
from tollkeeper.web.deps import TargetTenant, TenantSession, control_router, requires
from tollkeeper.web.pagination import Page, Paging, cut
from tollkeeper.web.schemas import Word

router = control_router("audit")
_LIST = "audit"


@router.get("", dependencies=[requires(Permission.AUDIT_VIEW)])
async def list_audit(
    session: TenantSession,
    tenant_id: TargetTenant,
    paging: Paging,
    action: Annotated[Word | None, Query(description="For example `keys.create`.")] = None,
    object_type: Word | None = None,
    object_id: Word | None = None,
    actor_id: Word | None = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="Inclusive.")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Exclusive.")] = None,
) -> Page[AuditView]:
    """The trail of the tenant, newest first."""
    wanted = service.Filter(action, object_type, object_id, actor_id, since, until)
    position = paging.position(_LIST, int)
    before = None if position is None else position[0]
    assert before is None or isinstance(before, int)
    rows = await service.list_page(session, tenant_id, wanted, before=before, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.sequence,))
    return Page(data=[service.view(row) for row in page], next_cursor=next_cursor)


@router.get("/verify", dependencies=[requires(Permission.AUDIT_VIEW)])
async def verify_audit(
    session: TenantSession,
    tenant_id: TargetTenant,
    head: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="A `head` noted earlier.")] = None,
) -> ChainReport:
    """Walk the chain and say whether every record is as it was written."""
    return await service.verify_chain(session, tenant_id, head=None if head is None else bytes.fromhex(head))
