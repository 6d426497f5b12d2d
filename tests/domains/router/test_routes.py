"""How targets are as callers see it, and a reset that every worker makes."""

from uuid import UUID

import pytest
import redis
from sqlalchemy import select, text

from tests.domains.router.conftest import OURS, THEIRS, TWO, Fleet, until
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AuditLog
from tollkeeper.gateway.hint_line import CHANNEL


async def test_health_tells_the_state_and_the_reason_of_each_target(fleet: Fleet) -> None:
    fleet.one.fail()
    assert fleet.one.lets_in(credential=TWO)

    answer = await fleet.ask("GET", "/health")

    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert page["worker_id"] == f"wrk_{fleet.one.targets.worker_id.hex}"
    first, second = page["data"]
    assert (first["provider"], first["model"]) == ("acme", "large")
    states = {row["credential_id"][-1]: row for row in (first, second)}
    assert (states["1"]["state"], states["1"]["why"]) == ("open", "3 failures in a row")
    assert states["1"]["until"] > states["1"]["since"]
    assert (states["1"]["calls_per_minute"], states["1"]["failures_per_minute"], states["1"]["error_share"]) == (
        3,
        3,
        1,
    )
    assert (states["2"]["state"], states["2"]["until"], states["2"]["error_share"]) == ("closed", None, None)


async def test_health_is_paged_and_may_be_of_one_provider(fleet: Fleet) -> None:
    for number in range(25):
        assert fleet.one.lets_in(model=f"m{number:02}")
    assert fleet.one.lets_in("beta", "large")

    seen, cursor = [], None
    while True:
        page = (await fleet.ask("GET", "/health", params={"limit": 10} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [(row["provider"], row["model"]) for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == [("acme", f"m{number:02}") for number in range(25)] + [("beta", "large")]
    only = (await fleet.ask("GET", "/health", params={"provider": "beta"})).json()["data"]
    assert [row["provider"] for row in only] == ["beta"]


@pytest.mark.parametrize(("tenant", "own"), [(OURS, "ours-alone"), (THEIRS, "theirs-alone")])
async def test_a_tenant_sees_the_targets_of_its_models_and_nobodys_traffic(
    fleet: Fleet, tenant: UUID, own: str
) -> None:
    fleet.one.fail()
    for model in ("ours-alone", "theirs-alone", "a name that a caller made up"):
        assert fleet.one.lets_in("beta", model)

    rows = (await fleet.ask("GET", "/health", role=Role.DEVELOPER, tenant=tenant)).json()["data"]

    assert [(row["provider"], row["model"]) for row in rows] == [("acme", "large"), ("beta", own)]
    hidden = ("credential_id", "why", "in_flight", "calls_per_minute", "failures_per_minute")
    assert {row[name] for row in rows for name in hidden} == {None}
    assert rows[0]["state"] == "open"


async def test_a_reset_is_made_by_every_worker_and_recorded(fleet: Fleet) -> None:
    for worker in (fleet.one, fleet.other):
        worker.fail()
        worker.fail(model="small")

    answer = await fleet.ask("POST", "/breakers/reset", json={"provider": "acme", "model": "large"})

    assert answer.status_code == 200, answer.text
    assert answer.json()["count"] == 1
    assert fleet.one.lets_in()
    await until(fleet.other.lets_in)
    assert not fleet.one.lets_in(model="small")
    assert not fleet.other.lets_in(model="small")
    async with fleet.database.platform() as session:
        record = (await session.scalars(select(AuditLog).where(AuditLog.action == "router.reset"))).one()
        events = await session.scalars(text("SELECT payload FROM outbox WHERE event = 'targets.reset'"))
        assert events.all() == [{"provider": "acme", "model": "large"}]
    assert record.after == {"provider": "acme", "model": "large", "credential_id": None}


async def test_a_reset_of_one_credential_leaves_the_other(fleet: Fleet) -> None:
    fleet.one.fail()
    fleet.one.fail(credential=TWO)

    answer = await fleet.ask("POST", "/breakers/reset", json={"provider": "acme", "credential_id": f"crd_{TWO.hex}"})

    assert answer.json()["count"] == 1
    assert fleet.one.lets_in(credential=TWO)
    assert not fleet.one.lets_in()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"provider": "nobody"}, 404),
        ({"provider": "acme", "credential_id": f"crd_{UUID(int=99).hex}"}, 404),
        ({"provider": "beta", "credential_id": f"crd_{TWO.hex}"}, 404),
        ({"provider": "acme", "model": ""}, 422),
        ({"provider": "acme", "model": "x" * 301}, 422),
        ({"provider": "acme", "state": "open"}, 422),
        ({}, 422),
    ],
)
async def test_a_reset_of_what_is_not_there_is_refused(fleet: Fleet, body: dict[str, str], status: int) -> None:
    answer = await fleet.ask("POST", "/breakers/reset", json=body)

    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("role", [Role.TENANT_ADMIN, Role.DEVELOPER, Role.VIEWER])
async def test_only_the_platforms_administrators_reset(fleet: Fleet, role: Role) -> None:
    answer = await fleet.ask("POST", "/breakers/reset", role=role, json={"provider": "acme"})

    assert answer.status_code == 403


async def test_an_opening_is_hinted_to_the_other_worker_over_redis(fleet: Fleet) -> None:
    fleet.one.fail()

    def is_hinted() -> bool:
        return any(health.is_suspect for health in fleet.other.targets.report(fleet.other.clock.monotonic()))

    await until(is_hinted)
    assert fleet.other.lets_in(), "a hint alone keeps nobody away"
    fleet.other.fail(times=1)

    assert not fleet.other.lets_in()


async def test_garbage_on_the_channel_changes_nothing(fleet: Fleet, valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        for message in (b"", b"\xff\x00", b"{}", b'{"kind":"opened"}', b"x" * 1_000_000):
            client.publish(CHANNEL, message)
    fleet.one.fail()

    def is_hinted() -> bool:
        return any(health.is_suspect for health in fleet.other.targets.report(fleet.other.clock.monotonic()))

    # What came after the garbage is heard.
    await until(is_hinted)
    assert [health.provider for health in fleet.other.targets.report(0.0)] == ["acme"]
