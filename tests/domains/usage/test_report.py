"""Sums by anything, over any period and in any zone, equal what the ledger's rows say."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.money.records import make_intent, make_settlement
from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.usage import CallStatus, LedgerKind, Settlement
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.money import format_usd
from tollkeeper.core.permissions import Role
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.days import close_days
from tollkeeper.domains.usage.sink import LedgerSink

Ask = Callable[..., Any]
BERLIN = ZoneInfo("Europe/Berlin")


def at(moment: datetime) -> UUID:
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))


def text(moment: datetime) -> str:
    return moment.isoformat()


def moment_of(settlement: Settlement) -> datetime:
    return datetime.fromtimestamp((settlement.intent.request_id.int >> 80) / 1000, UTC)


async def groups(ask: Ask, tenant: UUID, **params: Any) -> list[dict[str, Any]]:
    answer = await ask(caller_tenant=tenant, **params)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def test_a_call_belongs_to_its_team_project_tags_and_end_user(sink: LedgerSink, ask: Ask) -> None:
    tenant, team, project = uuid7(), uuid7(), uuid7()
    ours = make_intent(tenant_id=tenant, team_id=team, project_id=project, tags={"cost-centre": "42"}, end_user="alice")
    interrupted = make_settlement(ours, kind=LedgerKind.INTERRUPTED, status=CallStatus.INTERRUPTED)
    await sink.ship([interrupted, make_settlement(make_intent(tenant_id=tenant))])
    shown = {"team": format_id("team", team), "project": format_id("prj", project)}

    for word, field in (("team", "team_id"), ("project", "project_id")):
        found = {row[field]: row["requests"] for row in await groups(ask, tenant, group_by=word)}
        assert found == {shown[word]: 1, None: 1}
        assert [row["requests"] for row in await groups(ask, tenant, **{field: shown[word]})] == [1]
    by_tag = await groups(ask, tenant, group_by="tag:cost-centre,end_user")
    assert {(row["tags"]["cost-centre"], row["end_user"]) for row in by_tag} == {("42", "alice"), (None, None)}
    assert [row["requests"] for row in await groups(ask, tenant, tag="cost-centre:42", end_user="alice")] == [1]
    assert await groups(ask, tenant, tag="cost-centre:43") == []
    (record,) = (await ask("/records", caller_tenant=tenant, end_user="alice")).json()["data"]
    assert (record["team_id"], record["project_id"]) == (shown["team"], shown["project"])
    assert (record["tags"], record["end_user"]) == ({"cost-centre": "42"}, "alice")


@pytest.mark.parametrize("seed", range(3))
async def test_sums_of_any_period_equal_the_calls_in_it(
    database: Database, sink: LedgerSink, ask: Ask, seed: int
) -> None:
    chance = random.Random(seed)
    tenant, now = uuid7(), datetime.now(UTC)
    settlements = [
        make_settlement(
            make_intent(
                tenant_id=tenant,
                user_id=chance.choice([None, tenant]),
                request_id=at(now - timedelta(minutes=chance.randrange(60 * 24 * 3))),
                model=f"m{chance.randrange(3)}",
                tags={"t": "x"},
            ),
            usage=Usage(*[chance.randrange(1000) for _ in range(10)]),
            charge_nano=chance.randrange(10**9),
        )
        for _ in range(150)
    ]
    # Days are closed in between: the rest of the calls comes late.
    await sink.ship(settlements[:100])
    assert len(await close_days(database, SystemClock())) >= 2
    await sink.ship(settlements[100:])

    for _ in range(12):
        since, until = sorted(now - timedelta(minutes=chance.randrange(60 * 24 * 3), seconds=7) for _ in range(2))
        inside = [entry for entry in settlements if since <= moment_of(entry) < until]
        bounds = {"from": text(since), "to": text(until)}
        # By days, hours and their edges, by hours alone, and by the rows.
        for words in ("model", "hour", "tag:t"):
            answer = (await ask(caller_tenant=tenant, group_by=words, **bounds)).json()
            totals = answer["totals"]
            assert totals["requests"] == len(inside)
            assert totals["cost_usd"] == format_usd(sum(entry.charge_nano or 0 for entry in inside))
            assert totals["reasoning_tokens"] == sum(entry.usage.reasoning for entry in inside)
            assert totals["input_tokens"] == sum(entry.usage.input for entry in inside)
            assert totals["output_tokens"] == sum(entry.usage.output for entry in inside)
            assert totals["cache_write_1h_tokens"] == sum(entry.usage.cache_write_1h for entry in inside)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Auckland"])
async def test_days_weeks_and_months_begin_where_the_zone_says(
    database: Database, sink: LedgerSink, ask: Ask, zone: str
) -> None:
    tenant, here, now = uuid7(), ZoneInfo(zone), datetime.now(UTC)
    settlements = [
        make_settlement(make_intent(tenant_id=tenant, request_id=at(now - timedelta(minutes=37 * number))))
        for number in range(120)
    ]
    await sink.ship(settlements)
    await close_days(database, SystemClock())
    local = [moment_of(entry).astimezone(here).replace(minute=0, second=0, microsecond=0) for entry in settlements]
    days = [moment.replace(hour=0) for moment in local]
    expected = {
        "hour": local,
        "day": days,
        "week": [day - timedelta(days=day.weekday()) for day in days],
        "month": [day.replace(day=1) for day in days],
    }

    for word, moments in expected.items():
        rows = await groups(ask, tenant, group_by=word, tz=zone)
        counted = {datetime.fromisoformat(row[word]): row["requests"] for row in rows}
        assert counted == {moment.astimezone(UTC): moments.count(moment) for moment in moments}
        assert [row[word] for row in rows] == sorted(row[word] for row in rows)


async def test_dates_and_times_without_a_zone_are_meant_in_the_callers(sink: LedgerSink, ask: Ask) -> None:
    tenant = uuid7()
    midnight = (datetime.now(BERLIN) - timedelta(days=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    before, after = midnight - timedelta(minutes=5), midnight + timedelta(minutes=5)
    await sink.ship(
        [
            make_settlement(make_intent(tenant_id=tenant, model=name, request_id=at(moment)))
            for name, moment in (("before", before), ("after", after))
        ]
    )
    day = midnight.date().isoformat()

    async def models(**params: Any) -> set[str]:
        return {row["model"] for row in await groups(ask, tenant, **params)}

    assert await models(**{"from": day, "tz": "Europe/Berlin"}) == {"after"}
    assert await models(to=day, tz="Europe/Berlin") == {"before"}
    assert await models(**{"from": f"{day}T00:00:00", "tz": "Europe/Berlin"}) == {"after"}
    assert await models(**{"from": f"{day}T00:10:00", "tz": "Europe/Berlin"}) == set()
    assert await models(**{"from": text(midnight)}) == {"after"}
    report = (await ask(caller_tenant=tenant, tz="Europe/Berlin")).json()
    assert report["zone"] == "Europe/Berlin"
    assert datetime.fromisoformat(report["since"]).astimezone(BERLIN).hour == 0


async def test_percentiles_are_those_of_the_calls(sink: LedgerSink, ask: Ask) -> None:
    tenant = uuid7()
    await sink.ship(
        [
            make_settlement(make_intent(tenant_id=tenant, model=f"m{number % 2}"), latency_ms=number)
            for number in range(1, 101)
        ]
    )

    answer = (await ask(caller_tenant=tenant, percentiles="true")).json()
    without = (await ask(caller_tenant=tenant)).json()

    assert (answer["totals"]["p50_latency_ms"], answer["totals"]["p95_latency_ms"]) == (50, 95)
    assert {row["model"]: row["p50_latency_ms"] for row in answer["data"]} == {"m0": 50, "m1": 49}
    assert without["totals"]["p50_latency_ms"] is None


async def test_what_providers_take_is_for_the_platform_alone(sink: LedgerSink, ask: Ask) -> None:
    settlement = make_settlement(cost_nano=1_000_000_000, charge_nano=1_200_000_000)
    await sink.ship([settlement])
    tenant = settlement.intent.tenant_id

    (ours,) = await groups(ask, tenant)
    (theirs,) = await groups(ask, uuid7(), role=Role.PLATFORM_ADMIN, tenant_id=format_id("ten", tenant))

    assert (ours["cost_usd"], ours["provider_cost_usd"]) == ("1.2", None)
    assert (theirs["cost_usd"], theirs["provider_cost_usd"]) == ("1.2", "1")


async def test_questions_that_cannot_be_answered_are_refused_with_a_reason(ask: Ask) -> None:
    now = datetime.now(UTC)
    long_ago, too_old = (text(now - timedelta(days=days)) for days in (120, 1_000))
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"group_by": "model,key,user,team,project"}, 400, "too_many_groups"),
        ({"group_by": "tag:"}, 422, "malformed_payload"),
        ({"group_by": "tag:x,,model"}, 422, "malformed_payload"),
        ({"tz": "Mars/Olympus"}, 422, "malformed_payload"),
        ({"tz": "../../etc/passwd"}, 422, "malformed_payload"),
        ({"tag": "no-colon"}, 422, "malformed_payload"),
        ({"group_by": "end_user", "from": long_ago}, 400, "period_too_long"),
        ({"percentiles": "true", "from": too_old, "to": text(now - timedelta(days=990))}, 400, "period_too_long"),
        ({"group_by": "day", "tz": "Asia/Kolkata", "from": long_ago}, 400, "period_too_long"),
    ]
    for params, status, code in cases:
        answer = await ask(caller_tenant=uuid7(), **params)
        assert (answer.status_code, answer.json()["code"]) == (status, code), params
    assert (await ask(caller_tenant=uuid7(), group_by=["day", "model"], **{"from": too_old})).status_code == 200
