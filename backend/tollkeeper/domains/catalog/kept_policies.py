"""What route policies come to in the transaction at hand: what is stored now, with what the file and others declare."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import BadRequest, Conflict
from tollkeeper.domains.catalog import repository
from tollkeeper.domains.catalog.changes import record_change
from tollkeeper.domains.catalog.declared import declared_providers, refuse_declared
from tollkeeper.domains.catalog.policies import Fault, PolicyBook, PolicySource, tenants_in
from tollkeeper.domains.catalog.policy_fields import PolicyFields
from tollkeeper.domains.catalog.schemas import ManagedBy
from tollkeeper.domains.catalog.service import Catalog
from tollkeeper.domains.catalog.snapshot import book_of, builtin_catalog
from tollkeeper.domains.catalog.stored import read_model, read_policy
from tollkeeper.web.caller import Caller


class InvalidRoutePolicy(BadRequest):
    """A policy leads where there is nothing, or nowhere at all; `faults` has each with its path."""

    code = "invalid_route_policy"


class PolicyBroken(Conflict):
    """A published route policy leads to what would not be there any more, or not as it has to be."""

    code = "policy_in_use"


@dataclass(frozen=True, slots=True)
class DeclaredPolicy:
    """Of the configuration file; `place` for who may know where things stand."""

    id: UUID
    name: str
    description: str
    fields: PolicyFields
    place: str | None


class PolicyDesk:
    """What the catalogue does for the domain of route policies: names, checks, and what follows a change."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def declared(self) -> Iterator[DeclaredPolicy]:
        sources = self._catalog.sources
        for one in sources.policies:
            place = sources.policy_places.get(one.name)
            yield DeclaredPolicy(one.id, one.name, getattr(one.fields, "description", ""), one.fields, place)

    def refuse_declared(self, *, policy_id: UUID | None = None, name: str | None = None) -> None:
        """Raises `ManagedElsewhere` for a policy of the file, by its id or by a name like its own."""
        for one in self.declared():
            if one.id == policy_id or (name is not None and one.name.lower() == name.lower()):
                raise refuse_declared("route policy", one.name, ManagedBy.FILE, one.place)

    async def lock(self, session: AsyncSession) -> None:
        await repository.lock_policies(session)

    async def check(
        self, session: AsyncSession, *, policy_id: UUID, name: str, tenant_id: UUID | None, fields: PolicyFields
    ) -> None:
        """Raises `InvalidRoutePolicy` with every fault."""
        draft = PolicySource(name, fields, policy_id, tenant_id)
        book = await stored_book(session, self._catalog, draft=draft)
        book.tenants = await repository.list_known_tenants(session, tenants_in(fields))
        _, faults = book.resolve(draft)
        if faults:
            raise InvalidRoutePolicy(
                f"{told(faults)}.",
                param=path_of(faults[0]) or None,
                details={"faults": [{"path": path_of(fault), "message": fault.message} for fault in faults]},
            )

    async def refuse_broken(self, session: AsyncSession, param: str) -> None:
        """Raises `PolicyBroken` when what this transaction has changed breaks a policy that calls follow."""
        await refuse_broken(session, self._catalog, param)

    async def models_of(self, session: AsyncSession, name: str, tenant_id: UUID | None) -> Sequence[str]:
        return (await stored_book(session, self._catalog)).models_of(name, tenant_id)

    async def record(
        self,
        session: AsyncSession,
        caller: Caller,
        verb: str,
        policy_id: UUID,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Audit, event, and the announcement by which every worker loads the change."""
        action = f"route_policies.{verb}"
        await record_change(
            session, caller, action, object_type="route_policy", object_id=policy_id, before=before, after=after
        )


async def stored_book(
    session: AsyncSession, catalog: Catalog, *, draft: PolicySource | None = None, without: UUID | None = None
) -> PolicyBook:
    """`draft` takes the place of the published version of its name; the policy `without` is left out."""
    sources = catalog.sources
    rows = [read_policy(row) for row in await repository.list_published_policies(session)]
    taken = {without, None if draft is None else draft.id}
    policies = [*sources.policies, *([] if draft is None else [draft]), *(row for row in rows if row.id not in taken)]
    models = [
        *sources.file.models,
        *(read_model(row) for row in await repository.list_active_models(session)),
        *sources.environment.models,
        *builtin_catalog().models,
    ]
    providers = {one.config.name for one in declared_providers(sources)}
    return PolicyBook(policies, models, providers | set(await repository.list_provider_names(session)))


async def refuse_broken(session: AsyncSession, catalog: Catalog, param: str, *, book: PolicyBook | None = None) -> None:
    """Raises `PolicyBroken` when what this transaction has changed breaks a policy that calls follow.

    One that is broken already, because the file has changed under it, keeps nobody from changing other things.
    """
    await repository.lock_policies(session)
    after = (book or await stored_book(session, catalog)).faults_by_name()
    if not after:
        return
    known = book_of(catalog.sources, builtin_catalog().models)
    known.providers = frozenset(catalog.snapshot.providers)
    before = known.faults_by_name()
    for key, faults in after.items():
        if key not in before:
            raise PolicyBroken(
                f"The route policy {key[1]} would break: {told(faults)}. Change it first.",
                param=param,
                details={"policy": key[1]},
            )


def told(faults: Sequence[Fault]) -> str:
    """The first of them, with its path."""
    return f"{path_of(faults[0])} {faults[0].message}".strip()


def path_of(fault: Fault) -> str:
    text = ""
    for step in fault.path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")
