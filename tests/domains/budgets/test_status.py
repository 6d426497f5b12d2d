"""What `/budgets/{id}/status` and `/holds` tell, live and while Redis is away."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.domains.budgets.test_routes import make
from tests.domains.control_plane import ControlPlane
from tollkeeper.contracts.money import counter_ref
from tollkeeper.contracts.ports import CounterState, OpenHold
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import BudgetSpend, UsageLog
from tollkeeper.domains.budgets.repository import as_platform

USD = 1_000_000_000


def counter(budget: dict[str, Any], subject: str = "", start: int = 0) -> str:
    return counter_ref(parse_id("bud", budget["id"]), start, subject)


async def put(plane: ControlPlane, budget: dict[str, Any], nano: int, *, subject: str = "", start: int = 0) -> None:
    async with plane.database.platform() as session:
        session.add(
            BudgetSpend(
                tenant_id=plane.tenant_id,
                ref=counter(budget, subject, start),
                budget_id=parse_id("bud", budget["id"]),
                window_start=datetime.fromtimestamp(start, tz=UTC),
                subject=subject,
                spent_nano=nano,
                version=1,
            )
        )


async def test_live_figures_come_from_the_counters(plane: ControlPlane) -> None:
    counters, key = plane.services.counter_view, uuid7()
    request, worker = uuid7(), uuid7()
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await make(admin, amount_usd="10")
        path, ref = f"/api/v1/budgets/{made['id']}", counter(made)
        await put(plane, made, 4 * USD)
        away = (await admin.get(path + "/status")).json()
        counters.is_away = False
        counters.states[plane.tenant_id, ref] = CounterState(ref, 5 * USD, 3 * USD)
        counters.open_holds[plane.tenant_id, ref] = [OpenHold(request, worker, 3 * USD, 1.5, False, "gpt-4o", key)]
        live = (await admin.get(path + "/status")).json()
        counters.states[plane.tenant_id, ref] = CounterState(ref, None, None)
        building = (await admin.get(path + "/status")).json()
    assert [away[name] for name in ("is_live", "spent_usd", "held_usd", "remaining_usd")] == [False, "4", None, "6"]
    assert [live[name] for name in ("is_live", "spent_usd", "held_usd", "remaining_usd")] == [True, "5", "3", "2"]
    assert [building[name] for name in ("is_live", "spent_usd", "held_usd")] == [False, "4", None]
    assert live["holds"] == [
        {
            "request_id": format_id("req", request),
            "amount_usd": "3",
            "age_seconds": 1.5,
            "owner": worker.hex,
            "key_id": format_id("key", key),
            "model": "gpt-4o",
            "is_settled": False,
        }
    ]
    assert away["holds"] == []
    assert (live["window_start"], live["window_end"], live["thresholds_passed"]) == (None, None, [])


async def test_what_is_overspent_has_passed_its_thresholds(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await make(admin, amount_usd="10", thresholds=[50, 80, 100])
        await put(plane, made, 9 * USD)
        before = (await admin.get(f"/api/v1/budgets/{made['id']}/status")).json()
        await admin.patch(f"/api/v1/budgets/{made['id']}", json={"amount_usd": "5"})
        after = (await admin.get(f"/api/v1/budgets/{made['id']}/status")).json()
    assert (before["thresholds_passed"], before["remaining_usd"]) == ([50, 80], "1")
    assert (after["thresholds_passed"], after["remaining_usd"]) == ([50, 80, 100], "0")


async def test_an_increase_and_what_rolled_over_are_in_the_amount(plane: ControlPlane) -> None:
    day = int(plane.clock.now().replace(hour=0, minute=0, second=0, microsecond=0).timestamp())
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await make(
            admin,
            amount_usd="10",
            window="day",
            rolls_over=True,
            increase_usd="5",
            increase_until=(plane.clock.now() + timedelta(hours=30)).isoformat(),
        )
        path = f"/api/v1/budgets/{made['id']}/status"
        first = (await admin.get(path)).json()
        await put(plane, made, 4 * USD, start=day)
        plane.clock.ahead = 86_400
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        second = (await admin.get(path)).json()
    assert (first["amount_usd"], second["amount_usd"]) == ("15", "21")
    assert datetime.fromisoformat(second["window_start"]).timestamp() == day + 86_400


async def test_burn_rate_and_forecast(plane: ControlPlane) -> None:
    now = plane.clock.now()
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await make(admin, amount_usd="10", window="custom", window_seconds=7200, backfill=True)
        start = int(datetime.fromisoformat(made["counts_from"]).timestamp())
        await put(plane, made, 6 * USD, start=start)
        ref = counter(made, start=start)
        async with plane.database.platform() as session:
            session.add_all(
                UsageLog(
                    tenant_id=plane.tenant_id,
                    day=when.date(),
                    request_id=uuid7(),
                    attempt=1,
                    kind="settled",
                    api_key_id=uuid7(),
                    environment="live",
                    operation="chat",
                    model="m",
                    provider="p",
                    upstream_model="m",
                    status="ok",
                    http_status=200,
                    latency_ms=1,
                    charge_nano=2 * USD,
                    cost_nano=0,
                    budgets=budgets,
                    created_at=when,
                )
                for when, budgets in (
                    (now - timedelta(minutes=10), [ref]),
                    (now - timedelta(minutes=20), ["other", ref]),
                    (now - timedelta(minutes=5), ["other"]),
                    (now - timedelta(minutes=90), [ref]),
                )
            )
        status = (await admin.get(f"/api/v1/budgets/{made['id']}/status")).json()
    assert (status["burn_rate_usd_per_hour"], status["remaining_usd"]) == ("4", "4")
    elapsed = plane.clock.now().timestamp() - start
    assert float(status["forecast"]["window_usd"]) == pytest.approx(6 * 7200 / max(elapsed, 60), rel=0.1, abs=0.2)
    runs_out = status["forecast"]["runs_out_at"]
    if elapsed < 3600:
        assert datetime.fromisoformat(runs_out).timestamp() == pytest.approx(now.timestamp() + 3600, abs=5)
    else:
        assert runs_out is None


async def test_each_value_apart_is_asked_for_by_name(plane: ControlPlane) -> None:
    mine, theirs = await plane.new_user(Role.DEVELOPER), await plane.new_user(Role.DEVELOPER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_user(mine) as developer:
        made = await make(admin, "user", "*", amount_usd="2")
        await put(plane, made, USD, subject=mine.hex)
        await put(plane, made, USD // 2, subject=theirs.hex)
        path = f"/api/v1/budgets/{made['id']}/status"
        whole = (await admin.get(path)).json()
        one = (await admin.get(path, params={"subject": format_id("usr", theirs)})).json()
        own = (await developer.get(path)).json()
        peek = await developer.get(path, params={"subject": format_id("usr", theirs)})
        wrong = await admin.get(path, params={"subject": "nobody"})
    ids = [format_id("usr", mine), format_id("usr", theirs)]
    assert whole["subjects"] == [{"subject": ids[0], "spent_usd": "1"}, {"subject": ids[1], "spent_usd": "0.5"}]
    assert (whole["spent_usd"], whole["remaining_usd"]) == ("1.5", None)
    assert (one["subject"], one["spent_usd"], one["remaining_usd"]) == (ids[1], "0.5", "1.5")
    assert [entry["subject"] for entry in own["subjects"]] == [ids[0]]
    assert (peek.status_code, wrong.status_code) == (403, 422)


async def test_holds_are_paged_and_others_are_not_shown(plane: ControlPlane) -> None:
    counters, developer_id = plane.services.counter_view, await plane.new_user(Role.DEVELOPER)
    key_id, _ = await plane.new_key(developer_id)
    keys = [parse_id("key", key_id), *(uuid7() for _ in range(4))]
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_user(developer_id) as developer:
        made = await make(admin)
        path, ref = f"/api/v1/budgets/{made['id']}/holds", counter(made)
        counters.is_away = False
        counters.open_holds[plane.tenant_id, ref] = [
            OpenHold(uuid7(), UUID(int=1), USD, float(index), True, None, key) for index, key in enumerate(keys)
        ]
        first = (await admin.get(path, params={"limit": 3})).json()
        second = (await admin.get(path, params={"limit": 3, "cursor": first["next_cursor"]})).json()
        own = (await developer.get(path)).json()
    seen = [hold["key_id"] for hold in first["data"] + second["data"]]
    assert sorted(seen) == sorted(format_id("key", key) for key in keys)
    assert (len(first["data"]), second["next_cursor"]) == (3, None)
    assert [hold["key_id"] for hold in own["data"]] == [key_id]


async def test_the_ledgers_counters_are_written_as_the_platform_alone(plane: ControlPlane) -> None:
    async with plane.database.tenant(plane.tenant_id) as session:
        async with as_platform(session):
            pass
        role = (await session.execute(text("SELECT current_user"))).scalar_one()
    assert role == "tk_app"
