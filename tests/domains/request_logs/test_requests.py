"""Calls that are over can be found again, by those who may see them, by whatever is known of them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.domains.request_logs.conftest import Ask
from tests.money.records import make_intent, make_principal, make_settlement
from tollkeeper.contracts.request_log import CallRecord
from tollkeeper.contracts.usage import CallStatus, LedgerKind
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.session import Database
from tollkeeper.domains.request_logs.partitions import DAYS
from tollkeeper.domains.request_logs.sink import RequestLogSink
from tollkeeper.domains.usage.sink import LedgerSink


def at(moment: datetime) -> UUID:
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))


def record(**fields: Any) -> CallRecord:
    values: dict[str, Any] = {
        "request_id": uuid7(),
        "principal": make_principal(),
        "operation": "chat",
        "dialect": "openai_chat",
        "model": "gpt-4o-mini",
        "is_stream": False,
        "end_user": None,
        "provider": "openai",
        "upstream_model": "gpt-4o-mini-2024-07-18",
        "attempts": 1,
        "ending": "done",
        "http_status": 200,
        "error_code": None,
        "seconds": 1.5,
        "overhead_seconds": 0.000_42,
        "first_token_seconds": 0.25,
        "prompt_tokens": 12,
        "completion_tokens": 30,
        "charge_nano": 19_800,
        "cache": None,
        "guardrail": None,
        "client_request_id": None,
    }
    return CallRecord(**(values | fields))


async def test_a_call_is_shown_as_it_ended(sink: RequestLogSink, ask: Ask) -> None:
    who = make_principal(user_id=uuid4(), project_id=uuid4(), run_id="nightly")
    call = record(principal=who, client_request_id="mine-1", end_user="ann")
    await sink.write([call])

    (shown,) = (await ask(caller_tenant=who.tenant_id)).json()["data"]

    assert shown["request_id"] == format_id("req", call.request_id)
    assert shown["api_key_id"] == format_id("key", who.key_id)
    assert shown["project_id"] == format_id("prj", who.project_id)
    assert (shown["client_request_id"], shown["end_user"], shown["run_id"]) == ("mine-1", "ann", "nightly")
    assert (shown["status"], shown["ended"], shown["http_status"]) == ("ok", "completed", 200)
    assert (shown["latency_ms"], shown["first_token_ms"], shown["overhead_ms"]) == (1500, 250, 0.42)
    assert (shown["prompt_tokens"], shown["completion_tokens"], shown["cost_usd"]) == (12, 30, "0.0000198")
    assert (shown["model"], shown["provider"], shown["attempts"]) == ("gpt-4o-mini", "openai", 1)


async def test_a_call_that_is_written_twice_is_there_once(sink: RequestLogSink, ask: Ask) -> None:
    call = record()
    await sink.write([call, record(principal=call.principal)])
    await sink.write([call])
    assert len((await ask(caller_tenant=call.principal.tenant_id)).json()["data"]) == 2


@pytest.mark.parametrize(
    ("fields", "status", "ended"),
    [
        (
            {"ending": "failed", "attempts": 0, "http_status": 429, "error_code": "insufficient_quota"},
            "error",
            "refused",
        ),
        ({"ending": "failed", "http_status": 502, "error_code": "upstream_error"}, "error", "failed"),
        ({"ending": "dropped"}, "cancelled", "cancelled"),
        ({"ending": "failed", "attempts": 0, "error_code": "guardrail_blocked"}, "blocked", "refused"),
        ({"cache": "semantic; score=0.970", "attempts": 0}, "cached", "completed"),
        ({"cache": "miss"}, "ok", "completed"),
    ],
)
async def test_how_a_call_ended_is_one_of_few_words(
    sink: RequestLogSink, ask: Ask, fields: dict[str, Any], status: str, ended: str
) -> None:
    call = record(**fields)
    await sink.write([call])
    (shown,) = (await ask(caller_tenant=call.principal.tenant_id)).json()["data"]
    assert (shown["status"], shown["ended"]) == (status, ended)


async def test_calls_are_found_by_what_is_known_of_them(sink: RequestLogSink, ask: Ask) -> None:
    who = make_principal(user_id=uuid4(), project_id=uuid4())
    other = make_principal(tenant_id=who.tenant_id)
    plain = record(principal=who)
    slow = record(principal=who, seconds=9.0)
    dear = record(principal=who, charge_nano=2_000_000_000)
    failed = record(principal=who, ending="failed", http_status=500, error_code="internal_error")
    theirs = record(principal=other, model="claude", provider="anthropic", client_request_id="trace-7")
    calls = [plain, slow, dear, failed, theirs]
    await sink.write(calls)

    async def found(**params: Any) -> set[UUID]:
        answer = await ask(caller_tenant=who.tenant_id, **params)
        assert answer.status_code == 200, answer.text
        ids = [row["request_id"] for row in answer.json()["data"]]
        assert ids == sorted(ids, reverse=True)
        return {UUID(hex=one.removeprefix("req_")) for one in ids}

    assert await found() == {one.request_id for one in calls}
    assert await found(min_latency_ms=9000) == {slow.request_id}
    assert await found(min_cost_usd="2") == {dear.request_id}
    assert await found(status="error") == {failed.request_id}
    assert await found(status=["error", "ok"]) == {one.request_id for one in calls}
    assert await found(api_key_id=format_id("key", other.key_id)) == {theirs.request_id}
    assert await found(user_id=format_id("usr", who.user_id)) == {one.request_id for one in calls[:4]}
    assert await found(project_id=format_id("prj", who.project_id), min_latency_ms=2000) == {slow.request_id}
    assert await found(model="claude") == await found(provider="anthropic") == {theirs.request_id}
    shown = format_id("req", theirs.request_id)
    for pasted in (shown, shown[:-3], shown.removeprefix("req_"), str(theirs.request_id), "trace-7"):
        assert theirs.request_id in await found(request_id=pasted)
        assert plain.request_id not in await found(request_id=shown)
    assert await found(request_id="trace-8") == await found(request_id="trace") == set()
    long_ago = datetime.now(UTC) - timedelta(days=3)
    assert await found(to=long_ago.isoformat()) == set()
    assert await found(**{"from": long_ago.isoformat()}) == {one.request_id for one in calls}


async def test_pages_go_on_where_the_one_before_ended(sink: RequestLogSink, database: Database, ask: Ask) -> None:
    who = make_principal()
    now = datetime.now(UTC)
    calls = [record(principal=who, request_id=at(now - timedelta(hours=7 * number))) for number in range(12)]
    await sink.write(calls)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(4):
        page = (await ask(caller_tenant=who.tenant_id, limit=5, **cursor)).json()
        seen += [row["request_id"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [format_id("req", one.request_id) for one in calls]


async def test_days_are_made_when_they_are_needed_and_dropped_when_they_have_expired(
    sink: RequestLogSink, database: Database, ask: Ask
) -> None:
    who = make_principal()
    now = datetime.now(UTC)
    old, gone = (
        record(principal=who, request_id=at(now - timedelta(days=20))),
        record(principal=who, request_id=at(now - timedelta(days=40))),
    )
    await sink.write([old, gone])
    since = {"from": (now - timedelta(days=60)).isoformat()}
    rows = (await ask(caller_tenant=who.tenant_id, **since)).json()["data"]
    assert [row["request_id"] for row in rows] == [format_id("req", old.request_id)]

    async with database.owner() as session:
        dropped = await DAYS.drop_expired(session, 10)
        assert await DAYS.ensure(session) == []
    assert dropped == [(now - timedelta(days=20)).date()]
    assert (await ask(caller_tenant=who.tenant_id, **since)).json()["data"] == []


async def test_a_developer_sees_the_calls_of_their_own_keys_alone(sink: RequestLogSink, ask: Ask) -> None:
    mine = record(principal=make_principal(user_id=uuid4()))
    tenant_id, user_id = mine.principal.tenant_id, mine.principal.user_id
    theirs = record(principal=make_principal(tenant_id=tenant_id, user_id=uuid4()))
    elsewhere = record(principal=make_principal(user_id=user_id))
    await sink.write([mine, theirs, elsewhere])

    as_developer = {"caller_tenant": tenant_id, "role": Role.DEVELOPER, "caller_user": user_id}
    rows = (await ask(**as_developer)).json()["data"]
    assert [row["request_id"] for row in rows] == [format_id("req", mine.request_id)]
    assert (await ask(f"/{format_id('req', mine.request_id)}", **as_developer)).status_code == 200
    refused = [
        await ask(f"/{format_id('req', one)}", **as_developer)
        for one in (theirs.request_id, elsewhere.request_id, uuid7(), UUID(int=(1 << 128) - 1))
    ]
    assert {answer.status_code for answer in refused} == {404}
    assert len({answer.json()["detail"] for answer in refused}) == 1


async def test_a_call_is_shown_with_its_attempts_as_they_truly_were(
    sink: RequestLogSink, database: Database, ask: Ask
) -> None:
    call = record(attempts=2)
    ledger = LedgerSink(database, SystemClock(), retention_days=400)
    tenant_id = call.principal.tenant_id
    first = make_intent(request_id=call.request_id, tenant_id=tenant_id, provider="one")
    second = make_intent(request_id=call.request_id, tenant_id=tenant_id, provider="two", attempt=2)
    failed = make_settlement(
        first, status=CallStatus.ERROR, http_status=502, error_code="upstream_cut", charge_nano=500
    )
    lost = make_settlement(second, kind=LedgerKind.INTERRUPTED, status=CallStatus.INTERRUPTED, charge_nano=9_000)
    await ledger.ship([failed, lost])
    await ledger.ship([make_settlement(second, charge_nano=7_000)])
    await sink.write([call])

    shown = (await ask(f"/{format_id('req', call.request_id)}", caller_tenant=tenant_id)).json()

    assert [(one["provider"], one["status"], one["cost_usd"]) for one in shown["billed"]] == [
        ("one", "error", "0.0000005"),
        ("two", "ok", "0.000007"),
    ]
    assert shown["attempts"] == 2


async def test_text_that_cannot_be_stored_loses_what_cannot(sink: RequestLogSink, ask: Ask) -> None:
    call = record(model="x\0y" + "z" * 1000, end_user='"\\\0', seconds=1e12)
    await sink.write([call])
    (shown,) = (await ask(caller_tenant=call.principal.tenant_id)).json()["data"]
    assert shown["model"].startswith("xyz")
    assert len(shown["model"]) <= 256
    assert shown["end_user"] == '"\\'
