"""The store of answers at its port, in memory; and a gateway that has one, in front of a scripted vendor."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.gateway.serving import Serving, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.responses import Item, StoredResponse
from tollkeeper.core.errors import DependencyUnavailable

Owner = tuple[UUID, UUID | None]


class FakeResponses:
    def __init__(self) -> None:
        self.kept: dict[tuple[Owner, UUID], StoredResponse] = {}
        self.is_down = False
        self.is_full = False

    async def find(self, principal: Principal, response_id: UUID) -> StoredResponse | None:
        self._ask()
        return self.kept.get((_owner(principal), response_id))

    async def history(self, principal: Principal, response_id: UUID) -> Sequence[StoredResponse] | None:
        found: list[StoredResponse] = []
        at: UUID | None = response_id
        while at is not None:
            stored = await self.find(principal, at)
            if stored is None:
                return None
            found.append(stored)
            at = stored.previous_id
        return found[::-1]

    async def items(self, principal: Principal, item_ids: Sequence[str]) -> Mapping[str, Item]:
        self._ask()
        return {
            item["id"]: item
            for (owner, _), stored in self.kept.items()
            for item in (*stored.input, *stored.response["output"])
            if owner == _owner(principal) and item["id"] in item_ids and item["id"] in stored.item_ids
        }

    async def keep(self, principal: Principal, stored: StoredResponse) -> bool:
        self._ask()
        if not self.is_full:
            self.kept[_owner(principal), stored.id] = stored
        return not self.is_full

    async def delete(self, principal: Principal, response_id: UUID) -> bool:
        self._ask()
        return self.kept.pop((_owner(principal), response_id), None) is not None

    def _ask(self) -> None:
        if self.is_down:
            raise DependencyUnavailable("PostgreSQL does not answer.")


def _owner(principal: Principal) -> Owner:
    return principal.tenant_id, principal.project_id


@asynccontextmanager
async def conversing(folder: Path, vendor: FakeUpstream, responses: Any, **fields: Any) -> AsyncIterator[Serving]:
    """`fields` of the vendor's configuration."""
    snap = snapshot(
        [provider("one", vendor.base_url, **fields)],
        [route("gpt-4o-mini", ("one", "gpt-4o-mini")), route("other", ("one", "other"))],
    )
    async with serving(folder, snap, responses=responses) as running:
        yield running
