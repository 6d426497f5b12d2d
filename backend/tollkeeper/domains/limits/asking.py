"""What the routes of limits and of budgets are asked alike: which rules, in whose place, and the live counters."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.key_bounds import endpoint_of
from tollkeeper.contracts.ports import CounterView
from tollkeeper.core.errors import MalformedPayload
from tollkeeper.core.ids import parse_id
from tollkeeper.domains.limits.repository import Filter
from tollkeeper.domains.limits.schemas import PREFIXES, Kind, NewRule, Value
from tollkeeper.web.caller import Caller
from tollkeeper.web.deps import CurrentCaller, TargetTenant, Work, WorkUnit


@dataclass(frozen=True, slots=True)
class Listing:
    """The rules asked for, and a transaction that sees them."""

    session: AsyncSession
    wanted: Filter


async def _listing(
    work: Work,
    tenant_id: TargetTenant,
    scope_kind: Annotated[Kind | None, Query(description="Rules on these.")] = None,
    scope_id: Annotated[
        Value | None, Query(description="Rules on this one: `key_…`, or the value; with `scope_kind`.")
    ] = None,
    *,
    is_platform: Annotated[bool, Query(description="The platform's own rules; for platform administrators.")] = False,
) -> Listing:
    named, value = _named(scope_kind, scope_id)
    if is_platform:
        return Listing(await work.platform(), Filter(None, scope_kind, named, value))
    return Listing(await work.tenant(tenant_id), Filter(tenant_id, scope_kind, named, value))


RuleListing = Annotated[Listing, Depends(_listing)]


async def place_of_new(work: WorkUnit, caller: Caller, body: NewRule) -> tuple[AsyncSession, UUID | None]:
    """The transaction a new rule is written in, and its tenant; None is the platform."""
    if body.is_platform:
        return await work.platform(), None
    tenant_id = caller.tenant_for(body.tenant_id)
    return await work.tenant(tenant_id), tenant_id


def _counter_view(request: Request, _caller: CurrentCaller) -> CounterView:
    view: CounterView = request.app.state.services.counter_view
    return view


Counters = Annotated[CounterView, Depends(_counter_view)]
Subject = Annotated[
    Value | None, Query(description="Of a rule that counts each value apart: which one. `key_…`, or the value.")
]
ModelName = Annotated[Value | None, Query(description="Of a rule that counts each model apart: which one.")]


def _named(kind: Kind | None, text: str | None) -> tuple[UUID | None, str | None]:
    if text is None:
        return None, None
    if kind is None:
        raise MalformedPayload("Send scope_kind together with scope_id.", param="scope_kind")
    if kind not in PREFIXES:
        return None, endpoint_of(text) if kind == "endpoint" else text
    try:
        return parse_id(PREFIXES[kind], text), None
    except ValueError as error:
        raise MalformedPayload(f"scope_id: {error}.", param="scope_id") from error
