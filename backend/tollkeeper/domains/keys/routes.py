"""`/api/v1/keys`."""

from collections.abc import Sequence
from typing import Annotated, Final, Protocol

from fastapi import Depends, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.principal import Environment
from tollkeeper.core.ids import KeyId, ProjectId, TeamId, UserId, format_id
from tollkeeper.core.permissions import Permission
from tollkeeper.core.run_keys import RunKeys
from tollkeeper.db.models import ApiKey
from tollkeeper.domains.keys.effective import Explanations
from tollkeeper.domains.keys.effective_schemas import Effective
from tollkeeper.domains.keys.importing import Importing
from tollkeeper.domains.keys.lookup import SqlKeyLookup
from tollkeeper.domains.keys.run_schemas import RunCreate, RunCreated, RunId
from tollkeeper.domains.keys.runs import Runs
from tollkeeper.domains.keys.schemas import (
    KeyCreate,
    KeyCreated,
    KeyImport,
    KeyImported,
    KeyRotate,
    KeysImported,
    KeyStatus,
    KeyUpdate,
    KeyView,
    placed,
)
from tollkeeper.domains.keys.service import Filter, Keys
from tollkeeper.domains.projects.service import teams_of
from tollkeeper.web.deps import (
    ControlServices,
    CurrentCaller,
    ObjectSession,
    Services,
    TargetTenant,
    TenantSession,
    Work,
    control_router,
    requires,
    withhold_answer,
)
from tollkeeper.web.etag import IfMatch, write_etag
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("keys")
_LIST = "keys"
_RUN: Final = Permission.API_KEYS_UPDATE
_END_RUN: Final = Permission.API_KEYS_DELETE
_LOOK_SECONDS: Final = 2.0


def _keys(services: Services) -> Keys:
    return Keys(services.key_hasher, services.clock)


KeyService = Annotated[Keys, Depends(_keys)]


class RunServices(ControlServices, Protocol):
    @property
    def run_keys(self) -> RunKeys: ...


def _runs(request: Request, keys: KeyService) -> Runs:
    services: RunServices = request.app.state.services
    records = SqlKeyLookup(services.database, deadline_seconds=_LOOK_SECONDS)
    return Runs(keys, services.run_keys, records, services.clock)


RunService = Annotated[Runs, Depends(_runs)]


@router.post("", status_code=201, dependencies=[requires(Permission.API_KEYS_CREATE, fresh=True)])
async def create_key(
    body: KeyCreate, caller: CurrentCaller, work: Work, keys: KeyService, response: Response
) -> KeyCreated:
    """Make a key. `key` in the answer is its secret, shown here and never again."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    row, secret = await keys.create(session, caller, tenant_id, body)
    withhold_answer(session, format_id("key", row.id))
    write_etag(response, row)
    return KeyCreated(**dict(await _view(session, keys, row)), key=secret)


@router.post("/import", status_code=201, dependencies=[requires(Permission.API_KEYS_IMPORT, fresh=True)])
async def import_keys(
    body: KeyImport, caller: CurrentCaller, work: Work, keys: KeyService, services: Services
) -> KeysImported:
    """Take over keys of another gateway by the SHA-256 of each: their holders change nothing. All rows or none."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    rows = await Importing(keys, services.key_hasher, services.database).take(session, caller, tenant_id, body.keys)
    return KeysImported(data=[KeyImported(row=number, id=row.id, name=row.name) for number, row in enumerate(rows)])


@router.get("", dependencies=[requires(Permission.API_KEYS_VIEW)])
async def list_keys(
    caller: CurrentCaller,
    session: TenantSession,
    tenant_id: TargetTenant,
    paging: Paging,
    keys: KeyService,
    services: Services,
    status: KeyStatus | None = None,
    environment: Environment | None = None,
    user_id: Annotated[UserId | None, Query()] = None,
    team_id: Annotated[TeamId | None, Query(description="Keys of the team itself, not of its projects.")] = None,
    project_id: Annotated[ProjectId | None, Query()] = None,
) -> Page[KeyView]:
    """The keys of the tenant, newest first; for who may not see users, their own."""
    after = paging.after_id(_LIST)
    wanted = Filter(services.clock.now(), status, environment, user_id, team_id, project_id)
    rows = await keys.list_page(session, caller, tenant_id, wanted, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.id,))
    return Page(data=await _views(session, keys, page), next_cursor=next_cursor)


@router.get("/{key_id}", dependencies=[requires(Permission.API_KEYS_VIEW)])
async def show_key(
    key_id: KeyId, caller: CurrentCaller, session: ObjectSession, keys: KeyService, response: Response
) -> KeyView:
    row = await keys.get(session, caller, key_id)
    write_etag(response, row)
    return await _view(session, keys, row)


@router.get("/{key_id}/effective", dependencies=[requires(Permission.API_KEYS_VIEW)])
async def explain_key(
    key_id: KeyId, caller: CurrentCaller, session: ObjectSession, keys: KeyService, services: Services
) -> Effective:
    """What holds for the key: every limit and attribute, with the level it comes from and what each level says."""
    row = await keys.get(session, caller, key_id)
    explanations = Explanations(
        services.database, default_requests_per_minute=services.settings.default_requests_per_minute
    )
    return await explanations.of_key(row.tenant_id, row.id, services.clock.now())


@router.patch("/{key_id}", dependencies=[requires(Permission.API_KEYS_UPDATE, fresh=True)])
async def update_key(
    key_id: KeyId,
    body: KeyUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    keys: KeyService,
    if_match: IfMatch,
    response: Response,
) -> KeyView:
    """Change what is sent. Workers follow within a second."""
    row = await keys.update(session, caller, key_id, body, if_match)
    write_etag(response, row)
    return await _view(session, keys, row)


@router.post("/{key_id}/rotate", dependencies=[requires(Permission.API_KEYS_UPDATE, fresh=True)])
async def rotate_key(
    key_id: KeyId,
    caller: CurrentCaller,
    session: ObjectSession,
    keys: KeyService,
    if_match: IfMatch,
    response: Response,
    body: KeyRotate | None = None,
) -> KeyCreated:
    """Give the key a new secret, shown here and never again; the old one works for `grace_seconds`."""
    grace_seconds = 0 if body is None else body.grace_seconds
    row, secret = await keys.rotate(session, caller, key_id, grace_seconds, if_match)
    withhold_answer(session, format_id("key", row.id))
    write_etag(response, row)
    return KeyCreated(**dict(await _view(session, keys, row)), key=secret)


@router.post("/{key_id}/revoke", dependencies=[requires(Permission.API_KEYS_DELETE)])
async def revoke_key(
    key_id: KeyId, caller: CurrentCaller, session: ObjectSession, keys: KeyService, response: Response
) -> KeyView:
    """Refuse the key from now on, on every worker within a second. It stays listed."""
    row = await keys.revoke(session, caller, key_id)
    write_etag(response, row)
    return await _view(session, keys, row)


@router.delete("/{key_id}", status_code=204, dependencies=[requires(Permission.API_KEYS_DELETE)])
async def delete_key(
    key_id: KeyId, caller: CurrentCaller, session: ObjectSession, keys: KeyService, if_match: IfMatch
) -> None:
    """The same as revoking it: the row stays, because usage and the audit trail name it."""
    await keys.revoke(session, caller, key_id, if_match)


@router.post("/{key_id}/runs", status_code=201, dependencies=[requires(_RUN, fresh=True, or_itself=True)])
async def issue_run_key(
    key_id: KeyId, caller: CurrentCaller, session: ObjectSession, runs: RunService, body: RunCreate | None = None
) -> RunCreated:
    """Exchange the key for a run key: short-lived, narrower, and over with the key. A key may do this to itself."""
    made = await runs.issue(session, caller, key_id, body or RunCreate())
    withhold_answer(session, format_id("run", made.run_id))
    return made


@router.delete("/{key_id}/runs/{run_id}", status_code=204, dependencies=[requires(_END_RUN, or_itself=True)])
async def end_run(
    key_id: KeyId, run_id: RunId, caller: CurrentCaller, session: ObjectSession, runs: RunService
) -> None:
    """Refuse every run key of the run from now on, on every worker within a second."""
    await runs.end(session, caller, key_id, run_id)


async def _view(session: AsyncSession, keys: Keys, row: ApiKey) -> KeyView:
    [view] = await _views(session, keys, [row])
    return view


async def _views(session: AsyncSession, keys: Keys, rows: Sequence[ApiKey]) -> list[KeyView]:
    teams = await teams_of(session, {row.project_id for row in rows if row.project_id is not None})
    return placed([keys.view(row) for row in rows], teams)
