"""`/api/v1/budgets`: for how much, for whom, in which window; and what of it is left.

Who sees the tenant sees all its budgets; others those that their own calls meet, and of shared ones only their own part.
"""

from typing import Annotated

from fastapi import Depends, Response

from tollkeeper.core.ids import BudgetId
from tollkeeper.core.permissions import Permission
from tollkeeper.db.models import Budget
from tollkeeper.domains.budgets import service
from tollkeeper.domains.budgets.schemas import BudgetCreate, BudgetStatus, BudgetUpdate, BudgetView, HoldView
from tollkeeper.domains.budgets.service import Budgets
from tollkeeper.domains.budgets.status import BudgetReports
from tollkeeper.domains.limits import service as rules
from tollkeeper.domains.limits.service import Counters, ModelName, RuleListing, Subject, place_of_new
from tollkeeper.web.deps import CurrentCaller, ObjectSession, Services, Work, control_router, requires
from tollkeeper.web.etag import IfMatch, write_etag
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("budgets")
_LIST = "budgets"
_HOLDS = "budget holds"


def _budgets(services: Services) -> Budgets:
    return Budgets(services.clock)


def _reports(counters: Counters) -> BudgetReports:
    return BudgetReports(counters)


BudgetService = Annotated[Budgets, Depends(_budgets)]
Reports = Annotated[BudgetReports, Depends(_reports)]


@router.post("", status_code=201, dependencies=[requires(Permission.BUDGETS_CREATE)])
async def create_budget(
    body: BudgetCreate, caller: CurrentCaller, work: Work, budgets: BudgetService, response: Response
) -> BudgetView:
    """Give a budget; every worker follows within a second. What was spent before counts with `backfill` alone."""
    session, tenant_id = await place_of_new(work, caller, body)
    row = await budgets.create(session, caller, tenant_id, body)
    write_etag(response, row)
    return service.view(row)


@router.get("", dependencies=[requires(Permission.BUDGETS_VIEW)])
async def list_budgets(caller: CurrentCaller, listing: RuleListing, paging: Paging) -> Page[BudgetView]:
    """The budgets of the tenant, newest first, the one behind its `monthly_budget` among them."""
    after = paging.after_id(_LIST)
    rows = await rules.list_page(listing.session, caller, Budget, listing.wanted, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.id,))
    return Page(data=[service.view(row) for row in page], next_cursor=next_cursor)


@router.get("/{budget_id}", dependencies=[requires(Permission.BUDGETS_VIEW)])
async def show_budget(
    budget_id: BudgetId, caller: CurrentCaller, session: ObjectSession, response: Response
) -> BudgetView:
    row = await rules.get(session, caller, Budget, budget_id)
    write_etag(response, row)
    return service.view(row)


@router.get("/{budget_id}/status", dependencies=[requires(Permission.BUDGETS_VIEW)])
async def show_budget_status(
    budget_id: BudgetId,
    caller: CurrentCaller,
    session: ObjectSession,
    services: Services,
    reports: Reports,
    subject: Subject = None,
    model: ModelName = None,
) -> BudgetStatus:
    """What is spent, held and left of the present window, how fast it goes, and what calls under way hold."""
    row = await rules.get(session, caller, Budget, budget_id)
    viewer = await rules.viewer_of(session, caller)
    return await reports.status(session, row, services.clock.now(), viewer, subject=subject, model=model)


@router.get("/{budget_id}/holds", dependencies=[requires(Permission.BUDGETS_VIEW)])
async def list_budget_holds(
    budget_id: BudgetId,
    caller: CurrentCaller,
    session: ObjectSession,
    services: Services,
    reports: Reports,
    paging: Paging,
    subject: Subject = None,
    model: ModelName = None,
) -> Page[HoldView]:
    """The calls for which money of the present window is held; of very many the oldest."""
    row = await rules.get(session, caller, Budget, budget_id)
    viewer = await rules.viewer_of(session, caller)
    now, after = services.clock.now(), paging.after_id(_HOLDS)
    holds = await reports.holds_page(
        row, now, viewer, subject=subject, model=model, after=after, limit=paging.limit + 1
    )
    page, next_cursor = cut(holds, paging, _HOLDS, lambda hold: (hold.request_id,))
    return Page(data=list(page), next_cursor=next_cursor)


@router.patch("/{budget_id}", dependencies=[requires(Permission.BUDGETS_UPDATE)])
async def update_budget(
    budget_id: BudgetId,
    body: BudgetUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    budgets: BudgetService,
    if_match: IfMatch,
    response: Response,
) -> BudgetView:
    """Change what is sent; whom it is for and its window are for good. Below what is spent it admits nothing."""
    row = await budgets.update(session, caller, budget_id, body, if_match)
    write_etag(response, row)
    return service.view(row)


@router.delete("/{budget_id}", status_code=204, dependencies=[requires(Permission.BUDGETS_DELETE)])
async def delete_budget(
    budget_id: BudgetId, caller: CurrentCaller, session: ObjectSession, budgets: BudgetService, if_match: IfMatch
) -> None:
    """Take the budget away; what is held for calls under way is settled all the same."""
    await budgets.delete(session, caller, budget_id, if_match)
