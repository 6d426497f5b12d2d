"""What happens to an erased account's memberships in other tenants, which its own tenant does not see."""

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

from tollkeeper.core.clock import Clock
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.users.service import end_guest_memberships


class Delivery(Protocol):
    """What of an event's delivery is read here."""

    @property
    def payload(self) -> Mapping[str, Any]: ...


class EndGuestMemberships:
    """Listens to `user.deleted`. Being told twice changes nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, delivery: Delivery) -> None:
        user_id = UUID(delivery.payload["user_id"])
        async with self._database.platform() as session:
            await end_guest_memberships(session, audit.SYSTEM, user_id, self._clock.now())
