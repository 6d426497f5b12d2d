"""How many calls of one tenant's batches are under way in this process: one tenant's batches leave room for others'."""

from uuid import UUID


class Shares:
    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[UUID, int] = {}

    def take(self, tenant_id: UUID, wanted: int) -> int:
        """How many of those wanted may begin now; each is given back."""
        taken = self._taken.get(tenant_id, 0)
        granted = max(0, min(wanted, self._most - taken))
        if granted:
            self._taken[tenant_id] = taken + granted
        return granted

    def give(self, tenant_id: UUID, count: int) -> None:
        left = self._taken.get(tenant_id, 0) - count
        if left > 0:
            self._taken[tenant_id] = left
        else:
            self._taken.pop(tenant_id, None)
