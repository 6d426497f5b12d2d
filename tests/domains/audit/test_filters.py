"""Every filter narrows to exactly what it names; a filter that cannot be is refused."""

from typing import Any

import pytest

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.domains.audit import service as audit

REQUESTS = [uuid7() for _ in range(4)]


@pytest.fixture(scope="module")
async def trail(plane: ControlPlane) -> None:
    """Four records, each unlike the others, in the other tenant; nobody else writes there."""
    rows: list[tuple[str, str, str, str, str | None, str]] = [
        ("keys.create", "usr_1", "key", "key_1", "10.0.0.5", "success"),
        ("keys.revoke", "usr_2", "key", "key_2", "10.0.1.5", "success"),
        ("keys_x.create", "usr_1", "other", "key_1", "2001:db8::1", "success"),
        ("auth.login_refused", "usr_1", "user", "usr_1", None, "refused"),
    ]
    async with plane.database.tenant(plane.other_tenant_id) as session:
        for request_id, (action, actor, kind, object_id, address, outcome) in zip(REQUESTS, rows, strict=True):
            await audit.record(
                session, audit.Actor("user", actor, actor, request_id, address), action, kind, object_id,
                tenant_id=plane.other_tenant_id, outcome=outcome,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"action": "keys.create"}, [1]),
        ({"action": "keys.*"}, [2, 1]),
        ({"action": "keys*"}, [3, 2, 1]),
        ({"action": "key"}, []),
        ({"object_type": "key"}, [2, 1]),
        ({"object_id": "key_1"}, [3, 1]),
        ({"actor_id": "usr_1"}, [4, 3, 1]),
        ({"address": "10.0.0.5"}, [1]),
        ({"address": "10.0.0.0/23"}, [2, 1]),
        ({"address": "2001:db8::/32"}, [3]),
        ({"request_id": format_id("req", REQUESTS[1])}, [2]),
        ({"outcome": "refused"}, [4]),
        ({"outcome": "success", "actor_id": "usr_1"}, [3, 1]),
        ({"from": "2999-01-01T00:00:00Z"}, []),
        ({"to": "2999-01-01T00:00:00Z", "object_type": "other"}, [3]),
    ],
)
async def test_filter_finds_what_it_names(
    plane: ControlPlane, trail: None, wanted: dict[str, str], found: list[int]
) -> None:
    async with plane.as_role(Role.AUDITOR, other=True) as auditor:
        answer = await auditor.get("/api/v1/audit", params=wanted)
    assert [item["sequence"] for item in answer.json()["data"]] == found, answer.text


@pytest.mark.parametrize(
    "wanted",
    [
        {"action": "%"},
        {"action": "keys.%"},
        {"address": "10.0.0.1/8"},
        {"address": "somewhere"},
        {"request_id": "1"},
        {"outcome": "maybe"},
        {"actor": "usr_1"},
    ],
)
async def test_filter_that_cannot_be_is_refused(plane: ControlPlane, wanted: dict[str, str]) -> None:
    async with plane.as_role(Role.AUDITOR, other=True) as auditor:
        assert (await auditor.get("/api/v1/audit", params=wanted)).status_code == 422


async def test_secrets_handed_over_by_mistake_are_hidden(plane: ControlPlane) -> None:
    given: dict[str, Any] = {
        "name": "ours",
        "key_prefix": "tk-live_AbCdEfGh1234",
        "password": "hunter2",
        "client_secret": "shh",
        "nested": [{"api_key": "sk-1234567890abcdef"}],
        "note": "use sk-1234567890abcdef or http://user:pw@proxy.example",
        "has_credential": True,
        "credential": None,
        "max_tokens": 5,
    }
    async with plane.database.tenant(plane.tenant_id) as session:
        await audit.record(session, audit.SYSTEM, "a.masked", "thing", "x", given, given, tenant_id=plane.tenant_id)
    async with plane.as_role(Role.AUDITOR) as auditor:
        [item] = (await auditor.get("/api/v1/audit", params={"action": "a.masked"})).json()["data"]
    assert item["before"] == item["after"]
    assert item["after"] == given | {
        "password": "[hidden]",
        "client_secret": "[hidden]",
        "nested": [{"api_key": "[hidden]"}],
        "note": "use sk-*** or http://***@proxy.example",
    }
