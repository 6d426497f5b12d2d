"""Proving trails whole: the chain in the database against the heads signed outside it."""

from collections.abc import AsyncIterator
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.session import Database
from tollkeeper.domains.audit import repository, service
from tollkeeper.domains.audit.heads import HeadForged, Heads
from tollkeeper.domains.audit.schemas import ChainReport

_TENANTS = 500


async def verify(session: AsyncSession, heads: Heads, tenant_id: UUID, *, head: bytes | None = None) -> ChainReport:
    """One tenant's chain. A head that we did not sign is a problem of its own: whoever left it may have cut the chain."""
    try:
        signed = await heads.all(tenant_id)
    except HeadForged as error:
        report = await service.verify_chain(session, tenant_id, head=head)
        return report.model_copy(update={"is_intact": False, "problem": report.problem or str(error)})
    return await service.verify_chain(session, tenant_id, head=head, signed=signed)


async def renew_heads(database: Database, heads: Heads) -> tuple[int, list[UUID]]:
    """Sign all heads again with the current master key: how many, and the tenants with one that nobody here signed."""
    count, forged = 0, []
    async for end in _ends(database):
        try:
            count += await heads.renew(end.tenant_id)
        except HeadForged:
            forged.append(end.tenant_id)
    return count, forged


async def verify_all(database: Database, heads: Heads) -> AsyncIterator[ChainReport]:
    """Each tenant's chain, one after the other."""
    async for end in _ends(database):
        async with database.platform() as session:
            yield await verify(session, heads, end.tenant_id)


async def _ends(database: Database) -> AsyncIterator[repository.End]:
    after: UUID | None = None
    while True:
        async with database.platform() as session:
            ends = await repository.ends(session, after=after, limit=_TENANTS)
        for end in ends:
            yield end
        if len(ends) < _TENANTS:
            return
        after = ends[-1].tenant_id
