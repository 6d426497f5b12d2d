"""An export holds what the reports say, ends in their totals, harms no spreadsheet, and is in the audit trail."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.money.records import make_intent, make_settlement
from tollkeeper.contracts.usage import CallStatus, LedgerKind
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.money import format_usd
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AuditLog
from tollkeeper.db.session import Database
from tollkeeper.domains.usage import export
from tollkeeper.domains.usage.sink import LedgerSink

Ask = Callable[..., Any]


@pytest.fixture
async def tenant(database: Database) -> UUID:
    """One with an audit trail."""
    made = uuid7()
    async with database.platform() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            f"INSERT INTO tenants (id, name, slug) VALUES ('{made}', 'exporting', 'exporting')"
        )
    return made


async def lines(ask: Ask, tenant: UUID, **params: Any) -> list[dict[str, str]]:
    answer = await ask("/export", caller_tenant=tenant, **params)
    assert answer.status_code == 200, answer.text
    if params.get("format") == "jsonl":
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].endswith('.csv"')
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def spread(tenant: UUID, count: int) -> list[Any]:
    return [
        make_settlement(
            make_intent(tenant_id=tenant, key_id=uuid7(), model=f"m{number % 7}", end_user=f"u{number % 11}"),
            charge_nano=number * 1_001,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_sums_in_a_file_are_those_of_the_report_over_any_number_of_pages(
    sink: LedgerSink, ask: Ask, tenant: UUID, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_GROUPS", 7)
    await sink.ship(spread(tenant, 60))
    for words in ("key", "model", "day,model,end_user", "tag:none,user,team"):
        report = (await ask(caller_tenant=tenant, group_by=words)).json()
        *groups, total = await lines(ask, tenant, group_by=words, format=form)

        assert len(groups) == len(report["data"])
        assert [line["line"] for line in (*groups, total)] == ["group"] * len(groups) + ["total"]
        for name in ("requests", "prompt_tokens", "completion_tokens"):
            assert int(total[name]) == report["totals"][name] == sum(int(line[name]) for line in groups)
        assert total["cost_usd"] == report["totals"]["cost_usd"]
        assert total["zone"] == "UTC"
        assert "provider_cost_usd" not in total


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_calls_in_a_file_are_every_call_once(
    sink: LedgerSink, ask: Ask, tenant: UUID, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_CALLS", 7)
    settlements = spread(tenant, 45)
    await sink.ship(settlements)

    *calls, total = await lines(ask, tenant, format=form, tz="Europe/Berlin")

    expected = {format_id("req", entry.intent.request_id) for entry in settlements}
    assert len(calls) == 45
    assert {call["request_id"] for call in calls} == expected
    assert total["cost_usd"] == format_usd(sum(entry.charge_nano or 0 for entry in settlements))
    assert total["request_id"] == "45 calls"
    assert {call["zone"] for call in calls} == {"Europe/Berlin"}
    assert calls[0]["created_at"][-6:] in {"+01:00", "+02:00"}


async def test_days_in_a_file_read_as_in_the_zone(sink: LedgerSink, ask: Ask, tenant: UUID) -> None:
    settlement = make_settlement(make_intent(tenant_id=tenant))
    await sink.ship([settlement])

    (day, _total) = await lines(ask, tenant, group_by="day", tz="Pacific/Kiritimati")

    made = datetime.fromtimestamp((settlement.intent.request_id.int >> 80) / 1000, UTC)
    assert day["day"] == (made + timedelta(hours=14)).date().isoformat()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\tx", "\rx", "\nx", '=HYPERLINK("x","y")'])
async def test_text_of_callers_is_no_formula(sink: LedgerSink, ask: Ask, tenant: UUID, text: str) -> None:
    intent = make_intent(tenant_id=tenant, end_user=text, tags={"t": text})
    await sink.ship([make_settlement(intent, charge_nano=-5)])

    for params in ({}, {"group_by": "end_user,tag:t"}):
        line, _total = await lines(ask, tenant, **params)
        assert line["end_user"] == f"'{text}"
        assert line["cost_usd"] == "-0.000000005"
        assert not any(value.startswith(("=", "+", "@", "\t", "\r", "\n")) for value in line.values())
    (whole, _total) = await lines(ask, tenant, format="jsonl")
    assert whole["end_user"] == text


async def test_an_export_is_in_the_trail_and_holds_the_own_tenant_alone(
    sink: LedgerSink, ask: Ask, tenant: UUID, database: Database
) -> None:
    me = uuid7()
    ours = make_settlement(make_intent(tenant_id=tenant))
    mine = make_settlement(make_intent(tenant_id=tenant, user_id=me))
    theirs = make_settlement(make_intent(tenant_id=uuid7()))
    await sink.ship([ours, mine, theirs])

    everything = await lines(ask, tenant, group_by="tenant", model="gpt-4o-mini")
    own = await lines(ask, tenant, role=Role.DEVELOPER, caller_user=me)
    foreign = await ask("/export", caller_tenant=tenant, tenant_id=format_id("ten", theirs.intent.tenant_id))

    assert [line["tenant_id"] for line in everything] == [format_id("ten", tenant), ""]
    assert everything[-1]["requests"] == "2"
    assert [line["request_id"] for line in own] == [format_id("req", mine.intent.request_id), "1 calls"]
    assert foreign.status_code == 404
    async with database.platform() as session:
        records = (await session.scalars(select(AuditLog).order_by(AuditLog.sequence))).all()
    assert [(record.action, record.tenant_id) for record in records] == [("usage.export", tenant)] * 2
    assert records[0].after is not None
    assert (records[0].after["group_by"], records[0].after["filter"]["model"]) == (["tenant"], ["gpt-4o-mini"])


async def test_an_export_of_calls_that_are_gone_is_refused(ask: Ask, tenant: UUID) -> None:
    long_ago = {"from": "2010-01-01"}
    assert (await ask("/export", caller_tenant=tenant, **long_ago)).json()["code"] == "period_too_long"
    assert (await ask("/export", caller_tenant=tenant, group_by="model", **long_ago)).status_code == 200
    assert (await ask("/export", caller_tenant=tenant, format="xlsx")).status_code == 422


async def test_a_corrected_call_is_exported_under_the_status_it_truly_had(
    sink: LedgerSink, ask: Ask, tenant: UUID
) -> None:
    intent = make_intent(tenant_id=tenant, run_id="run_1")
    for kind, status, charge in (
        (LedgerKind.INTERRUPTED, CallStatus.INTERRUPTED, 500),
        (LedgerKind.SETTLED, CallStatus.OK, 300),
    ):
        await sink.ship([make_settlement(intent, kind=kind, status=status, charge_nano=charge)])

    group, total = await lines(ask, tenant, group_by="run_id", status="ok")
    interrupted = await lines(ask, tenant, group_by="run_id", status="interrupted")

    assert (group["run_id"], group["requests"], group["errors"]) == ("run_1", "1", "0")
    assert group["cost_usd"] == total["cost_usd"] == "0.0000003"
    assert [line["line"] for line in interrupted] == ["total"]
