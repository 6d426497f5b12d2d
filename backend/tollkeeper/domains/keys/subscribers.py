"""What happens to the keys of somebody who leaves a team."""

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

from tollkeeper.core.clock import Clock
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.keys.service import revoke_all_in


class Delivery(Protocol):
    """What of an event's delivery is read here."""

    @property
    def tenant_id(self) -> UUID: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...


class RevokeKeysOfTeam:
    """Listens to `team.member_removed`: a key in a team ends with its owner's membership. Twice changes nothing.

    Somebody who came back in the meantime keeps the keys.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, delivery: Delivery) -> None:
        team_id, user_id = UUID(delivery.payload["team_id"]), UUID(delivery.payload["user_id"])
        async with self._database.tenant(delivery.tenant_id) as session:
            await revoke_all_in(session, audit.SYSTEM, delivery.tenant_id, team_id, user_id, self._clock.now())
