"""`/api/v1/budgets` through the whole control plane."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from tests.domains.control_plane import ControlPlane
from tollkeeper.contracts.money import counter_ref
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.core.secrets import parse_key
from tollkeeper.db.models import AnnouncementRow, Budget, BudgetSpend, UsageRollup

NONE = UUID(int=0)


async def make(
    client: httpx.AsyncClient, kind: str = "tenant", named: str | None = None, **body: Any
) -> dict[str, Any]:
    scope = {"kind": kind} if named is None else {"kind": kind, "id": named}
    wanted = {"scope": scope, "amount_usd": "1.00", "window": "total", "mode": "hard", **body}
    answer = await client.post("/api/v1/budgets", json=wanted)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def spend(plane: ControlPlane, when: datetime, nano: int, **columns: Any) -> None:
    """What an hour of calls has cost."""
    row: dict[str, Any] = {
        "tenant_id": plane.tenant_id,
        "api_key_id": uuid7(),
        "user_id": NONE,
        "team_id": NONE,
        "project_id": NONE,
    }
    row |= {
        "model": "gpt-4o",
        "provider": "openai",
        "requests": 1,
        "charge_nano": nano,
        "cost_nano": 2 * nano,
        **columns,
    }
    async with plane.database.platform() as session:
        session.add(UsageRollup(hour=when.replace(minute=0, second=0, microsecond=0), **row))


async def counters_of(plane: ControlPlane, budget: dict[str, Any]) -> dict[str, tuple[int, int]]:
    async with plane.database.platform() as session:
        rows = await session.execute(
            select(BudgetSpend.ref, BudgetSpend.spent_nano, BudgetSpend.version).where(
                BudgetSpend.budget_id == parse_id("bud", budget["id"])
            )
        )
        return {ref: (nano, version) for ref, nano, version in rows}


async def test_a_budget_as_the_issue_writes_it(plane: ControlPlane) -> None:
    key_id, _ = await plane.new_key(await plane.new_user(Role.DEVELOPER))
    body = {"scope": {"kind": "key", "id": key_id}, "amount_usd": "1.00", "window": "total", "mode": "hard"}
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await admin.post("/api/v1/budgets", json=body)
        shown = await admin.get(f"/api/v1/budgets/{made.json()['id']}")
        status = await admin.get(f"/api/v1/budgets/{made.json()['id']}/status")
    assert made.status_code == 201, made.text
    assert (shown.json(), shown.headers["etag"]) == (made.json(), '"1"')
    assert made.json()["amount_usd"] == "1"
    assert (made.json()["thresholds"], made.json()["refusal_status"]) == ([80, 100], 429)
    assert [status.json()[name] for name in ("spent_usd", "held_usd", "remaining_usd", "is_live")] == [
        "0",
        None,
        "1",
        False,
    ]
    assert await plane.audited(made.json()["id"]) == ["budgets.create"]


async def test_what_is_sent_is_kept_and_shown(plane: ControlPlane) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    wanted = {
        "name": "Search a day",
        "description": "In Berlin",
        "scope": {"kind": "end_user", "id": None, "value": None},
        "amount_usd": "12.5",
        "window": "day",
        "time_zone": "Europe/Berlin",
        "anchor": "2026-01-01T05:00:00Z",
        "mode": "soft",
        "models": ["gpt-*"],
        "is_per_model": True,
        "increase_usd": "2.5",
        "increase_until": until,
        "rolls_over": True,
        "refusal_status": 402,
        "thresholds": [50, 90],
    }
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await admin.post("/api/v1/budgets", json={**wanted, "thresholds": [90, 50, 90]})
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "body",
    [
        {"amount_usd": 1.5},
        {"amount_usd": "-1"},
        {"amount_usd": "9000001"},
        {"window": "fortnight"},
        {"window": "custom"},
        {"window_seconds": 600},
        {"window": "custom", "window_seconds": 10},
        {"window": "day", "time_zone": "Mars/Olympus"},
        {"window": "day", "anchor": "1960-01-01T00:00:00Z"},
        {"rolls_over": True},
        {"thresholds": [0]},
        {"refusal_status": 418},
        {"increase_usd": "1"},
        {"amount_usd": "8999999", "increase_usd": "2", "increase_until": "2099-01-01T00:00:00Z"},
        {"increase_usd": "1", "increase_until": "2020-01-01T00:00:00Z"},
        {"scope": {"kind": "endpoint", "value": "chat/completions"}, "backfill": True},
        {"colour": "red"},
    ],
)
async def test_nonsense_is_refused(plane: ControlPlane, body: dict[str, Any]) -> None:
    wanted = {"scope": {"kind": "tenant"}, "amount_usd": "1", "window": "total", **body}
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        answer = await admin.post("/api/v1/budgets", json=wanted)
    assert answer.status_code == 422, answer.text


async def test_changes_are_announced_recorded_and_versioned(plane: ControlPlane) -> None:
    key_id, _ = await plane.new_key(await plane.new_user(Role.DEVELOPER))
    until = (plane.clock.now() + timedelta(hours=1)).isoformat()
    async with plane.as_role(Role.FINANCE) as finance:
        made = await make(finance, "key", key_id)
        path = f"/api/v1/budgets/{made['id']}"
        raised = await finance.patch(
            path, json={"increase_usd": "5", "increase_until": until}, headers={"if-match": '"1"'}
        )
        stale = await finance.patch(path, json={"amount_usd": "3"}, headers={"if-match": '"1"'})
        plane.clock.ahead = 7200
    async with plane.as_role(Role.FINANCE) as finance:
        lowered = await finance.patch(path, json={"amount_usd": "0.5"})
        back = await finance.patch(path, json={"increase_usd": None, "increase_until": None})
        scope = await finance.patch(path, json={"scope": {"kind": "tenant"}})
        assert (await finance.delete(path)).status_code == 204
    assert (raised.json()["increase_usd"], stale.status_code, scope.status_code) == ("5", 412, 422)
    assert (lowered.json()["amount_usd"], back.json()["increase_usd"]) == ("0.5", None)
    async with plane.database.platform() as session:
        query = select(func.count()).where(
            AnnouncementRow.subject == parse_id("key", key_id), AnnouncementRow.kind == "rules"
        )
        assert await session.scalar(query) == 5
    assert await plane.audited(made["id"]) == ["budgets.create", *["budgets.update"] * 3, "budgets.delete"]


async def test_backfill_counts_what_the_window_has_cost(plane: ControlPlane) -> None:
    now = plane.clock.now()
    key_id, _ = await plane.new_key(await plane.new_user(Role.DEVELOPER))
    key = parse_id("key", key_id)
    long_ago = now - timedelta(days=400)
    await spend(plane, now, 300, api_key_id=key)
    await spend(plane, now, 70, api_key_id=key, model="o3")
    await spend(plane, long_ago, 5000, api_key_id=key)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        without = await make(admin, "key", key_id, window="month")
        month = await make(admin, "key", key_id, window="month", backfill=True)
        total = await make(admin, "key", key_id, backfill=True)
        of_model = await make(admin, "key", key_id, window="month", models=["gpt-*"], backfill=True)
        each = await make(admin, "key", "*", window="month", is_per_model=True, backfill=True)
        status = (await admin.get(f"/api/v1/budgets/{month['id']}/status")).json()
    start = int(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())

    def ref(budget: dict[str, Any], subject: str = "", since: int = start) -> str:
        return counter_ref(parse_id("bud", budget["id"]), since, subject)

    assert await counters_of(plane, without) == {}
    assert await counters_of(plane, month) == {ref(month): (370, 1)}
    assert await counters_of(plane, total) == {ref(total, since=0): (5370, 1)}
    assert await counters_of(plane, of_model) == {ref(of_model): (300, 1)}
    found = await counters_of(plane, each)
    assert found[ref(each, f"{key.hex}|gpt-4o")] == (300, 1)
    assert found[ref(each, f"{key.hex}|o3")] == (70, 1)
    assert (status["spent_usd"], status["remaining_usd"]) == ("0.00000037", "0.99999963")
    assert datetime.fromisoformat(month["counts_from"]).timestamp() == start


async def test_a_platforms_budget_counts_costs_over_all_tenants(plane: ControlPlane) -> None:
    now, pool = plane.clock.now(), f"pool-{uuid7().hex}"
    await spend(plane, now, 100, provider=pool)
    await spend(plane, now, 10, provider=pool, tenant_id=plane.other_tenant_id)
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        made = await make(platform, "provider", pool, window="year", is_platform=True, backfill=True)
        status = (await platform.get(f"/api/v1/budgets/{made['id']}/status")).json()
    assert [nano for nano, _ in (await counters_of(plane, made)).values()] == [220]
    assert status["spent_usd"] == "0.00000022"


async def test_a_monthly_budget_is_a_hard_budget_that_counts_its_whole_month(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        tenant = (await platform.post("/api/v1/tenants", json={"name": f"Tenant {uuid7().hex}"})).json()
        tenant_id = parse_id("ten", tenant["id"])
        await spend(plane, plane.clock.now(), 1_000_000_000, tenant_id=tenant_id)
        path = f"/api/v1/tenants/{tenant['id']}"
        changed = (await platform.patch(path, json={"monthly_budget": 2})).json()
        params = {"tenant_id": tenant["id"]}
        listed = (await platform.get("/api/v1/budgets", params=params)).json()["data"]
        status = (await platform.get(f"/api/v1/budgets/{listed[0]['id']}/status")).json()
        refused = await platform.delete(f"/api/v1/budgets/{listed[0]['id']}")
        raised = (await platform.patch(path, json={"monthly_budget_usd": "3"})).json()
        same = (await platform.get("/api/v1/budgets", params=params)).json()["data"]
        await platform.patch(path, json={"monthly_budget": None})
        none = (await platform.get("/api/v1/budgets", params=params)).json()["data"]
    (budget,) = listed
    assert (changed["monthly_budget_usd"], changed["current_spend_usd"]) == ("2", "1")
    assert [budget[name] for name in ("origin", "window", "time_zone", "mode", "amount_usd")] == [
        "monthly_budget", "month", "UTC", "hard", "2",
    ]  # fmt: skip
    assert (status["spent_usd"], status["remaining_usd"]) == ("1", "1")
    assert (refused.status_code, refused.json()["code"]) == (409, "managed_elsewhere")
    assert (raised["monthly_budget"], same[0]["id"], same[0]["amount_usd"], none) == ("3", budget["id"], "3", [])


async def test_another_tenants_budget_does_not_exist(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_role(Role.TENANT_ADMIN, other=True) as other:
        path = f"/api/v1/budgets/{(await make(admin))['id']}"
        unknown = await other.get(f"/api/v1/budgets/{format_id('bud', uuid7())}")
        answers = [
            await other.get(path),
            await other.get(path + "/status"),
            await other.get(path + "/holds"),
            await other.patch(path, json={"amount_usd": "9"}),
            await other.delete(path),
        ]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["detail"] for answer in answers} == {unknown.json()["detail"]}


async def test_budgets_reach_the_keys_they_are_about(plane: ControlPlane) -> None:
    """One look-up brings the tenant's, the user's, the key's own and the platform's, and nobody else's."""
    user_id = await plane.new_user(Role.DEVELOPER)
    key_id, secret = await plane.new_key(user_id)
    other_key, _ = await plane.new_key(user_id)
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        own = await make(platform, "key", key_id, amount_usd="0.25", window="custom", window_seconds=600)
        others = await make(platform, "key", other_key)
        of_user = await make(platform, "user", format_id("usr", user_id), mode="soft")
        each = await make(platform, "tag", "team=*")
        shared = await make(platform, "provider", "openai", is_platform=True)
        foreign = await make(platform, "tenant", tenant_id=format_id("ten", plane.other_tenant_id))
        only_other = await make(platform, "tenant", format_id("ten", plane.other_tenant_id), is_platform=True)
    token = parse_key(secret)
    assert token is not None
    record = await plane.services.key_lookup.find_by_public_id(token.public_id)
    assert record is not None
    found = {format_id("bud", budget.id): budget for budget in record.principal.budgets}
    assert {own["id"], of_user["id"], each["id"], shared["id"]} <= found.keys()
    assert not {others["id"], foreign["id"], only_other["id"]} & found.keys()
    mine = found[own["id"]]
    assert (mine.amount_nano, mine.window.seconds, mine.scope.subject) == (
        250_000_000,
        600,
        parse_id("key", key_id).hex,
    )
    assert (found[of_user["id"]].is_hard, found[each["id"]].scope.subject) == (False, "team=*")
    assert found[shared["id"]].is_platform
    assert record.principal.budgets[-1].is_platform
    async with plane.database.platform() as session:
        row = await session.get_one(Budget, parse_id("bud", shared["id"]))
        await session.delete(row)
