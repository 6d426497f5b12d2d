"""Usage as callers see it: groups, records, filters, pages, and no tenant but their own."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.money.records import make_intent, make_settlement
from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.usage import CallStatus, LedgerKind
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.domains.usage.sink import LedgerSink

Ask = Callable[..., Any]
FIELDS = {
    "request_id",
    "api_key_id",
    "user_id",
    "team_id",
    "project_id",
    "end_user",
    "run_id",
    "tags",
    "model",
    "provider",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "latency_ms",
    "status",
    "estimated",
    "created_at",
}


def at(moment: datetime) -> UUID:
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))


def text(moment: datetime) -> str:
    return moment.isoformat()


async def test_a_record_is_one_call_with_its_attempts_added_up(sink: LedgerSink, ask: Ask) -> None:
    intent = make_intent(user_id=uuid7())
    first = make_settlement(
        intent,
        usage=Usage(input=10, is_estimated=True),
        status=CallStatus.ERROR,
        cost_nano=1_000,
        charge_nano=1_000,
        latency_ms=100,
    )
    second = make_settlement(
        make_intent(request_id=intent.request_id, attempt=2, provider="other", user_id=intent.user_id),
        usage=Usage(input=12, cache_read=3, output=30, reasoning=5),
        charge_nano=2_500,
        latency_ms=140,
    )
    await sink.ship([second, first])

    answer = (await ask("/records", caller_tenant=intent.tenant_id)).json()

    assert answer["next_cursor"] is None
    (record,) = answer["data"]
    assert set(record) == FIELDS
    assert record == {
        "request_id": format_id("req", intent.request_id),
        "api_key_id": format_id("key", intent.key_id),
        "user_id": format_id("usr", intent.user_id),
        "team_id": None,
        "project_id": None,
        "end_user": None,
        "run_id": None,
        "tags": {},
        "model": "gpt-4o-mini",
        "provider": "other",
        "prompt_tokens": 25,
        "completion_tokens": 35,
        "cost_usd": "0.0000035",
        "latency_ms": 240,
        "status": "ok",
        "estimated": True,
        "created_at": record["created_at"],
    }


async def test_an_interruption_that_was_corrected_is_one_call_as_it_truly_was(sink: LedgerSink, ask: Ask) -> None:
    intent = make_intent(run_id="run_1")
    estimate = make_settlement(
        intent,
        kind=LedgerKind.INTERRUPTED,
        status=CallStatus.INTERRUPTED,
        usage=Usage(input=20, is_estimated=True),
        charge_nano=500,
        latency_ms=0,
    )
    await sink.ship([estimate])
    asked = {"caller_tenant": intent.tenant_id}
    (before,) = (await ask("/records", **asked)).json()["data"]

    await sink.ship([make_settlement(intent, usage=Usage(input=15, output=7), charge_nano=300, latency_ms=240)])

    (record,) = (await ask("/records", **asked)).json()["data"]
    assert (before["status"], before["estimated"], before["cost_usd"]) == ("interrupted", True, "0.0000005")
    assert (record["prompt_tokens"], record["completion_tokens"], record["cost_usd"]) == (15, 7, "0.0000003")
    assert (record["status"], record["estimated"], record["latency_ms"]) == ("ok", False, 240)
    assert record["run_id"] == "run_1"
    assert (await ask("/records", **asked, status="ok")).json()["data"] == [record]
    assert (await ask("/records", **asked, status="interrupted")).json()["data"] == []
    totals = (await ask(**asked)).json()["totals"]
    assert (totals["requests"], totals["errors"], totals["completion_tokens"]) == (1, 0, 7)
    assert totals["average_latency_ms"] == 240


async def test_a_status_is_that_of_the_last_attempt(sink: LedgerSink, ask: Ask) -> None:
    first = make_settlement(status=CallStatus.ERROR)
    second = make_settlement(make_intent(request_id=first.intent.request_id, attempt=2))
    await sink.ship([first, second])
    asked = {"caller_tenant": first.intent.tenant_id}

    assert (await ask("/records", **asked, status="error")).json()["data"] == []
    assert len((await ask("/records", **asked, status="ok")).json()["data"]) == 1


async def test_calls_are_told_apart_by_run(sink: LedgerSink, ask: Ask) -> None:
    tenant = uuid7()
    runs = ["run_1", "run_1", "run_2", None]
    await sink.ship([make_settlement(make_intent(tenant_id=tenant, run_id=run)) for run in runs])

    groups = (await ask(caller_tenant=tenant, group_by="run_id")).json()["data"]
    records = (await ask("/records", caller_tenant=tenant, run_id="run_1")).json()["data"]

    assert {group["run_id"]: group["requests"] for group in groups} == {"run_1": 2, "run_2": 1, None: 1}
    assert [record["run_id"] for record in records] == ["run_1", "run_1"]
    assert (await ask(caller_tenant=tenant, run_id=["run_2", "run_3"])).json()["totals"]["requests"] == 1


@pytest.mark.parametrize(("role", "sees_all"), [(role, role is not Role.DEVELOPER) for role in Role])
async def test_a_developer_sees_the_calls_of_their_own_keys_only(
    sink: LedgerSink, ask: Ask, role: Role, sees_all: bool
) -> None:
    tenant, me, other = uuid7(), uuid7(), uuid7()
    await sink.ship([make_settlement(make_intent(tenant_id=tenant, user_id=user)) for user in (me, other)])
    seen = {"caller_tenant": tenant, "caller_user": me, "role": role, "tenant_id": format_id("ten", tenant)}
    theirs = seen | {"user_id": format_id("usr", other)}

    records = (await ask("/records", **seen)).json()["data"]
    groups = (await ask(group_by="user", **seen)).json()["data"]

    expected = {format_id("usr", me)} | ({format_id("usr", other)} if sees_all else set())
    assert {record["user_id"] for record in records} == expected
    assert {group["user_id"] for group in groups} == expected
    assert len((await ask("/records", **theirs)).json()["data"]) == int(sees_all)
    assert (await ask(**theirs)).json()["totals"]["requests"] == int(sees_all)


async def test_an_unpriced_call_has_no_cost(sink: LedgerSink, ask: Ask) -> None:
    settlement = make_settlement(cost_nano=None, charge_nano=None)
    await sink.ship([settlement])

    (record,) = (await ask("/records", caller_tenant=settlement.intent.tenant_id)).json()["data"]
    (group,) = (await ask(caller_tenant=settlement.intent.tenant_id)).json()["data"]

    assert record["cost_usd"] is None
    assert (group["cost_usd"], group["unpriced_requests"]) == ("0", 1)


async def test_pages_hold_every_call_once_newest_first(sink: LedgerSink, ask: Ask) -> None:
    tenant = uuid7()
    now = datetime.now(UTC)
    # Several calls share a millisecond: only the id tells them apart.
    ids = [at(now - timedelta(milliseconds=number // 3)) for number in range(20)]
    await sink.ship([make_settlement(make_intent(request_id=each, tenant_id=tenant)) for each in ids])
    await sink.ship([make_settlement(make_intent(request_id=each, tenant_id=tenant, attempt=2)) for each in ids[::2]])

    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(10):
        page = (await ask("/records", caller_tenant=tenant, limit=7, **cursor)).json()
        seen += [record["request_id"] for record in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    newest_first = sorted(ids, key=lambda each: (each.int >> 80, each), reverse=True)
    assert seen == [format_id("req", each) for each in newest_first]


async def test_records_are_filtered(sink: LedgerSink, ask: Ask) -> None:
    tenant, key, user = uuid7(), uuid7(), uuid7()
    now = datetime.now(UTC)
    settlements = [
        make_settlement(make_intent(tenant_id=tenant, model="a", key_id=key)),
        make_settlement(make_intent(tenant_id=tenant, model="b", user_id=user), status=CallStatus.CANCELLED),
        make_settlement(make_intent(tenant_id=tenant, model="c", provider="p")),
        make_settlement(make_intent(tenant_id=tenant, model="d", request_id=at(now - timedelta(days=3)))),
    ]
    await sink.ship(settlements)

    async def models(**params: Any) -> str:
        answer = await ask("/records", caller_tenant=tenant, **params)
        return "".join(sorted(record["model"] for record in answer.json()["data"]))

    assert await models() == "abcd"
    assert await models(model="a") == "a"
    assert await models(api_key_id=format_id("key", key)) == "a"
    assert await models(user_id=format_id("usr", user)) == "b"
    assert await models(status="cancelled") == "b"
    assert await models(provider="p") == "c"
    assert await models(to=text(now - timedelta(days=1))) == "d"
    assert await models(**{"from": text(now - timedelta(days=1))}) == "abc"


async def test_groups_add_up_to_the_totals_and_to_the_records(sink: LedgerSink, ask: Ask) -> None:
    tenant, keys, users = uuid7(), [uuid7(), uuid7()], [None, uuid7()]
    now = datetime.now(UTC)
    await sink.ship(
        [
            make_settlement(
                make_intent(
                    tenant_id=tenant,
                    key_id=keys[number % 2],
                    user_id=users[number % 2],
                    model=f"model-{number % 3}",
                    provider=f"provider-{number % 2}",
                    request_id=at(now - timedelta(days=number % 4)),
                ),
                charge_nano=number * 1_000,
                status=CallStatus.ERROR if number % 5 == 0 else CallStatus.OK,
            )
            for number in range(24)
        ]
    )
    expected = {"model": 3, "key": 2, "tenant": 1, "user": 2, "provider": 2, "day": 4, "hour": 4}

    for word, count in expected.items():
        report = (await ask(caller_tenant=tenant, group_by=word)).json()
        assert len(report["data"]) == count, word
        assert report["totals"]["requests"] == 24
        assert report["totals"]["errors"] == 5
        assert report["totals"]["cost_usd"] == "0.000276"
        for name in ("requests", "prompt_tokens", "completion_tokens", "total_tokens", "errors"):
            assert sum(row[name] for row in report["data"]) == report["totals"][name]
    assert report["totals"]["average_latency_ms"] == 240

    fine = (await ask(caller_tenant=tenant, group_by=["model", "day"])).json()["data"]
    assert len(fine) == 12
    assert all(row["model"] and row["day"] and row["api_key_id"] is None for row in fine)
    assert [row["day"] for row in fine] == sorted(row["day"] for row in fine)
    dearest = (await ask(caller_tenant=tenant, group_by="key")).json()["data"]
    assert dearest[0]["api_key_id"] == format_id("key", keys[1])


async def test_no_usage_is_an_empty_report(ask: Ask, sink: LedgerSink) -> None:
    report = (await ask(caller_tenant=uuid7())).json()

    assert report["data"] == []
    assert (report["totals"]["requests"], report["totals"]["cost_usd"]) == (0, "0")
    assert report["totals"]["average_latency_ms"] == 0


async def test_a_tenant_sees_itself_alone(sink: LedgerSink, ask: Ask) -> None:
    ours, theirs = make_settlement(make_intent(tenant_id=uuid7())), make_settlement(make_intent(tenant_id=uuid7()))
    await sink.ship([ours, theirs])
    tenant, other = ours.intent.tenant_id, theirs.intent.tenant_id

    for role in (Role.TENANT_ADMIN, Role.FINANCE, Role.AUDITOR, Role.VIEWER):
        records = (await ask("/records", caller_tenant=tenant, role=role)).json()["data"]
        report = (await ask(caller_tenant=tenant, role=role, group_by="tenant")).json()
        refused = await ask("/records", caller_tenant=tenant, role=role, tenant_id=format_id("ten", other))
        assert [record["request_id"] for record in records] == [format_id("req", ours.intent.request_id)]
        assert [row["tenant_id"] for row in report["data"]] == [format_id("ten", tenant)]
        assert report["totals"]["requests"] == 1
        assert refused.status_code == 404


async def test_a_platform_administrator_sees_all_and_narrows(sink: LedgerSink, ask: Ask) -> None:
    settlements = [make_settlement(make_intent(tenant_id=uuid7())) for _ in range(3)]
    await sink.ship(settlements)
    admin = {"caller_tenant": uuid7(), "role": Role.PLATFORM_ADMIN}
    one = format_id("ten", settlements[1].intent.tenant_id)

    assert len((await ask("/records", **admin)).json()["data"]) == 3
    assert len((await ask(**admin, group_by="tenant")).json()["data"]) == 3
    narrowed = (await ask("/records", **admin, tenant_id=one)).json()["data"]
    assert [record["request_id"] for record in narrowed] == [format_id("req", settlements[1].intent.request_id)]


async def test_malformed_questions_are_refused(ask: Ask) -> None:
    now = datetime.now(UTC)
    cases: list[tuple[str, dict[str, str], int]] = [
        ("", {"group_by": "colour"}, 422),
        ("", {"from": "yesterday"}, 422),
        ("", {"from": text(now), "to": text(now - timedelta(days=1))}, 400),
        ("", {"api_key_id": "usr_" + "0" * 32}, 422),
        ("", {"model": "a\0b"}, 400),
        ("/records", {"limit": "0"}, 422),
        ("/records", {"cursor": "nonsense"}, 400),
        ("/records", {"status": "great"}, 422),
        ("", {"to": "9999-12-31T23:59:59Z", "from": "0001-01-01T00:00:00Z"}, 200),
        ("/records", {"to": "9999-12-31T23:59:59Z", "from": "0001-01-01T00:00:00Z"}, 200),
        ("/records", {"to": "0001-01-01T00:00:00Z"}, 400),
    ]

    answers = [await ask(path, caller_tenant=uuid7(), **params) for path, params, _ in cases]

    assert [answer.status_code for answer in answers] == [status for _, _, status in cases]


async def test_readers_and_shippers_do_not_disturb_each_other(sink: LedgerSink, ask: Ask) -> None:
    tenant = uuid7()

    async def ship() -> None:
        for _ in range(10):
            await sink.ship([make_settlement(make_intent(tenant_id=tenant)) for _ in range(20)])

    async def read() -> None:
        for _ in range(10):
            report = (await ask(caller_tenant=tenant, group_by="hour")).json()
            assert sum(row["requests"] for row in report["data"]) == report["totals"]["requests"]

    await asyncio.gather(ship(), ship(), read())

    report = (await ask(caller_tenant=tenant)).json()
    assert report["totals"]["requests"] == 400
