"""What route policies come to in the transaction at hand: what is stored now, with what the file and others declare."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import Conflict
from tollkeeper.domains.catalog import repository
from tollkeeper.domains.catalog.declared import declared_providers
from tollkeeper.domains.catalog.policies import Fault, PolicyBook, PolicySource
from tollkeeper.domains.catalog.service import Catalog
from tollkeeper.domains.catalog.snapshot import book_of, builtin_catalog
from tollkeeper.domains.catalog.stored import read_model, read_policy


class PolicyBroken(Conflict):
    """A published route policy leads to what would not be there any more, or not as it has to be."""

    code = "policy_in_use"


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
