"""Finds stored responses for the data plane, as `contracts.ports.ResponseLookup`."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.responses import Item, StoredResponse
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import BadRequest
from tollkeeper.db.session import Database
from tollkeeper.domains.responses import repository
from tollkeeper.domains.responses.service import Access, can_be_found, unseal

# A caller waits for it, and has nothing to fall back on.
_SECONDS: Final = 2.0
_MOST_TURNS: Final = 1_000


class SqlResponses:
    def __init__(self, database: Database, box: SecretBox, *, max_bytes: int) -> None:
        """`max_bytes`: of all that one call reads; a call's own body may not be larger."""
        self._access = Access(database, seconds=_SECONDS)
        self._box = box
        self._max_bytes = max_bytes

    async def find(self, principal: Principal, response_id: UUID) -> StoredResponse | None:
        row = await self._access.run(
            principal.tenant_id, lambda session: repository.find(session, principal, response_id)
        )
        return None if row is None else unseal(self._box, row)

    async def history(self, principal: Principal, response_id: UUID) -> Sequence[StoredResponse] | None:
        async def read(session: AsyncSession) -> list[StoredResponse] | None:
            links = await repository.chain(session, principal, response_id, most=_MOST_TURNS)
            if not links:
                return None
            if links[-1].previous_id is not None:
                if len(links) == _MOST_TURNS:
                    raise _too_long(f"more than {_MOST_TURNS} turns")
                # One of its turns has been deleted, or has expired: what is left is another conversation.
                return None
            return await self._read(session, links)

        turns = await self._access.run(principal.tenant_id, read)
        return None if turns is None else turns[::-1]

    async def items(self, principal: Principal, item_ids: Sequence[str]) -> Mapping[str, Item]:
        wanted = set(filter(can_be_found, item_ids))
        if not wanted:
            return {}

        async def read(session: AsyncSession) -> list[StoredResponse]:
            links = await repository.with_items(session, principal, sorted(wanted), most=_MOST_TURNS)
            return await self._read(session, links)

        found: dict[str, Item] = {}
        for turn in await self._access.run(principal.tenant_id, read):
            known = wanted.intersection(turn.item_ids)
            for item in (*turn.response["output"], *turn.input):
                if item.get("id") in known:
                    found.setdefault(item["id"], item)
        return found

    async def close(self) -> None:
        await self._access.close()

    async def _read(self, session: AsyncSession, links: Sequence[repository.Link]) -> list[StoredResponse]:
        if sum(link.size for link in links) > self._max_bytes:
            raise _too_long(f"larger than {self._max_bytes} bytes")
        rows = await repository.list_by_ids(session, [link.id for link in links])
        return [unseal(self._box, rows[link.id]) for link in links if link.id in rows]


def _too_long(what: str) -> BadRequest:
    return BadRequest(
        f"The stored conversation is {what}; send what the model needs of it as 'input'.",
        code="conversation_too_long",
        param="previous_response_id",
    )
