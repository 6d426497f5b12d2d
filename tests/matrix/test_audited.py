"""Every change is in the audit trail, with who asked for it and by which request: generated from the mounted application."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import pytest
from sqlalchemy import select

from tests.matrix.calls import MADE, call, own_ids
from tests.matrix.operations import Operation, operations
from tests.matrix.recipes import RECIPES
from tests.matrix.world import World
from tollkeeper.core.ids import parse_id
from tollkeeper.core.permissions import Permission, Role
from tollkeeper.db.models import AuditLog

# Writes by method that change nothing anybody could ask about later.
_CHANGE_NOTHING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "POST /api/v1/catalog/providers/{provider_id}/test": "sends a probe",
        "POST /api/v1/router/explain": "says where a call would go",
        "POST /api/v1/guardrails/test": "tries a text",
        "POST /api/v1/guardrail-policies/{policy_id}/dry-run": "tries texts",
        "POST /api/v1/identity-providers/{provider_id}/test": "reads the issuer's documents",
    }
)
# Where the recipe's call would leave everything as it is: a body that does not.
_OTHERWISE_THE_SAME: Final[Mapping[str, object]] = MappingProxyType(
    {"PUT /api/v1/teams/{team_id}/members/{user_id}": {"role": "maintainer"}}
)
_RESUME: Final = "POST /api/v1/tenants/{tenant_id}/resume"
_WRITES: Final = [
    operation
    for operation in operations()
    if operation.is_write
    and operation.permission is not None
    and operation.permission != Permission.GATEWAY_USE
    and operation.name in RECIPES
    and operation.name not in _CHANGE_NOTHING
]


@pytest.mark.parametrize("operation", _WRITES, ids=str)
async def test_successful_write_is_recorded_with_its_actor_and_request(world: World, operation: Operation) -> None:
    admin = await world.new_person(Role.PLATFORM_ADMIN)
    ids = await own_ids(world, operation, admin)
    if operation.name == _RESUME:
        suspended = await world.new_side()
        await world.suspend(suspended)
        ids = {"tenant_id": suspended.tenant_id}
    answer = await call(world, operation, admin, ids, body=_OTHERWISE_THE_SAME.get(operation.name, MADE))
    assert answer.status_code == operation.status, answer.text
    request_id = parse_id("req", answer.headers["x-request-id"])
    async with world.rows() as session:
        rows = (await session.scalars(select(AuditLog).where(AuditLog.request_id == request_id))).all()
    assert rows, f"{operation} left no record"
    assert {row.actor_id for row in rows} == {f"usr_{admin.user_id.hex}"}
    assert {row.outcome for row in rows} == {"success"}
    assert all(row.action and row.object_type and row.object_id for row in rows)


def test_exceptions_exist() -> None:
    special = {*_CHANGE_NOTHING, *_OTHERWISE_THE_SAME, _RESUME}
    assert special <= {operation.name for operation in operations()}
