"""SQL of stored responses. The session is one tenant's; what a key sees of them is what its own project has, live
or test as the key is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text

from tollkeeper.contracts.principal import Principal
from tollkeeper.db.models.responses import StoredResponse


@dataclass(frozen=True, slots=True)
class Link:
    """A turn of a conversation, without its envelope."""

    id: UUID
    previous_id: UUID | None
    size: int


async def find(session: AsyncSession, principal: Principal, response_id: UUID) -> StoredResponse | None:
    row: StoredResponse | None = await session.scalar(
        select(StoredResponse).where(StoredResponse.id == response_id, _visible(principal))
    )
    return row


async def chain(session: AsyncSession, principal: Principal, response_id: UUID, *, most: int) -> list[Link]:
    """The response and what it continues, newest first, at most so many."""
    columns = (StoredResponse.id, StoredResponse.previous_id, func.octet_length(StoredResponse.envelope).label("size"))
    first = select(*columns, literal(1).label("depth")).where(StoredResponse.id == response_id, _visible(principal))
    links = first.cte("links", recursive=True)
    older = (
        select(*columns, links.c.depth + 1)
        .join(links, StoredResponse.id == links.c.previous_id)
        .where(links.c.depth < most, _visible(principal))
    )
    links = links.union_all(older)
    rows = await session.execute(select(links.c.id, links.c.previous_id, links.c.size).order_by(links.c.depth))
    return [Link(*row) for row in rows]


async def with_items(session: AsyncSession, principal: Principal, item_ids: Sequence[str], *, most: int) -> list[Link]:
    """Responses that hold one of these items, newest first."""
    size = func.octet_length(StoredResponse.envelope)
    rows = await session.execute(
        select(StoredResponse.id, StoredResponse.previous_id, size)
        .where(StoredResponse.item_ids.overlap(literal(list(item_ids), ARRAY(Text()))), _visible(principal))
        .order_by(StoredResponse.id.desc())
        .limit(most)
    )
    return [Link(*row) for row in rows]


async def list_by_ids(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, StoredResponse]:
    """Of links that were just found."""
    rows = await session.scalars(select(StoredResponse).where(StoredResponse.id.in_(ids)))
    return {row.id: row for row in rows}


async def remove(session: AsyncSession, principal: Principal, response_id: UUID) -> bool:
    removed = await session.scalar(
        delete(StoredResponse).where(StoredResponse.id == response_id, _visible(principal)).returning(StoredResponse.id)
    )
    return removed is not None


def _visible(principal: Principal) -> ColumnElement[bool]:
    return and_(
        StoredResponse.project_id.is_not_distinct_from(principal.project_id),
        StoredResponse.environment == principal.environment.value,
        # What has expired is gone, whenever it is cleared away.
        StoredResponse.expires_at > func.now(),
    )
