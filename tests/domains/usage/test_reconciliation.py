"""A provider's export is held against the ledger by day and model, and differences are explained."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.money.records import make_intent, make_settlement
from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.usage import CallStatus, Settlement
from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.provider_export import Export, UnreadableExport, read_export
from tollkeeper.domains.usage.reconciliation import Hours, Ours, read_ledger, reconcile
from tollkeeper.domains.usage.sink import LedgerSink

DAY = date(2026, 1, 31)
MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
HALF_A_PERCENT = Decimal("0.005")


def bucket(results: list[dict[str, Any]], day: datetime = MIDNIGHT, hours: int = 24) -> dict[str, Any]:
    start = int(day.timestamp())
    return {"object": "bucket", "start_time": start, "end_time": start + 3600 * hours, "results": results}


def page(*buckets: dict[str, Any]) -> str:
    return json.dumps({"object": "page", "data": list(buckets), "has_more": False, "next_page": None})


def usage(model: str | None = "gpt-4o-2024-08-06", **fields: Any) -> dict[str, Any]:
    values = {"input_tokens": 1000, "output_tokens": 500, "input_cached_tokens": 800, "num_model_requests": 5}
    return {"object": "organization.usage.completions.result", **values, "model": model, **fields}


def cost(value: Any, line_item: str | None = "gpt-4o-2024-08-06, input") -> dict[str, Any]:
    amount = {"value": value, "currency": "usd"}
    return {"object": "organization.costs.result", "amount": amount, "line_item": line_item}


def at(moment: datetime, **fields: Any) -> Settlement:
    request_id = UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))
    values: dict[str, Any] = {"usage": Usage(input=200, output=100), "cost_nano": 12_000_000, "charge_nano": 99}
    intent = {"request_id": request_id, "provider": "openai", "upstream_model": "gpt-4o"}
    names = set(intent) & set(fields)
    intent |= {name: fields.pop(name) for name in names}
    return make_settlement(make_intent(**intent), **(values | fields))


async def ledger(sink: LedgerSink, database: Database, export: Export, settlements: list[Settlement]) -> Hours:
    await sink.ship(settlements)
    async with database.platform() as session:
        return await read_ledger(session, "openai", export)


def five() -> list[Settlement]:
    return [at(MIDNIGHT + timedelta(hours=number)) for number in (0, 5, 10, 15, 23)]


def test_openais_pages_are_read_with_snapshots_under_their_models_name() -> None:
    found = read_export(page(bucket([usage(), usage("gpt-4o", input_audio_tokens=7)]), bucket([usage("o3")], hours=1)))
    assert found[DAY, "gpt-4o"].requests == 10
    assert (found[DAY, "gpt-4o"].input_tokens, found[DAY, "gpt-4o"].output_tokens) == (2007, 1000)
    assert found[DAY, "o3"].cost is None
    costs = read_export(page(bucket([cost(0.06), cost("0.001", "gpt-4o-2024-08-06, cached input")])))
    assert costs[DAY, "gpt-4o"].cost == Decimal("0.061")


def test_a_csv_is_read_by_known_names_or_by_those_one_tells() -> None:
    known = "date,model,num_model_requests,input_tokens,output_tokens,cost_usd\n2026-01-31,gpt-4o,5,1000,500,$0.06\n"
    told = "\ufeffTag,SKU,Betrag\n2026-01-31T00:00:00Z,gpt-4o,0.06\n"
    assert read_export(known)[DAY, "gpt-4o"].input_tokens == 1000
    found = read_export(told, {"day": "Tag", "model": "SKU", "cost": "Betrag"})[DAY, "gpt-4o"]
    assert (found.cost, found.requests) == (Decimal("0.06"), None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{nonsense", "no JSON"),
        ('{"data": [{"start_time": "x"}]}', "pages of buckets"),
        (page(bucket([usage(None)])), "group_by=model"),
        (page(bucket([cost(1, None)])), "group_by=line_item"),
        (page(bucket([usage()], hours=168)), "bucket_width=1d"),
        (page(bucket([])), "no usage"),
        ("a,b\n1,2\n", "--column day=NAME"),
        ("date,model,cost\nyesterday,m,1\n", "no day"),
        ("date,model,cost\n2026-01-31,m,NaN\n", "no number"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(text: str, says: str) -> None:
    with pytest.raises(UnreadableExport, match=says):
        read_export(text)


async def test_what_agrees_has_no_difference(sink: LedgerSink, database: Database) -> None:
    export = read_export(page(bucket([usage()]), bucket([cost("0.06")])))
    ours = [*five(), at(MIDNIGHT, provider="other"), at(MIDNIGHT, status=CallStatus.CACHED)]
    ours += [at(MIDNIGHT, usage=Usage(), cost_nano=0, status=CallStatus.ERROR)]

    result = reconcile(await ledger(sink, database, export, ours), export, tolerance=Decimal(0))

    (entry,) = result.entries
    assert set(entry.differences.values()) == {Decimal(0)}
    assert not result.is_over
    assert (entry.reasons, result.offset_hours) == ((), 0)


async def test_differences_are_explained(sink: LedgerSink, database: Database) -> None:
    day = page(bucket([usage(), usage("o3"), usage("only-theirs")]), bucket([cost("0.06"), cost("0.09", "o3, output")]))
    export = read_export(day)
    estimate = Usage(input=300, output=100, is_estimated=True)
    ours = [*five()[:4], at(MIDNIGHT, usage=estimate), at(MIDNIGHT, upstream_model="only-ours")]
    ours += [at(MIDNIGHT + timedelta(hours=hour), upstream_model="o3") for hour in range(5)]

    result = reconcile(await ledger(sink, database, export, ours), export, tolerance=HALF_A_PERCENT)

    found = {entry.model: entry for entry in result.entries}
    assert result.is_over
    assert all(entry.is_over for entry in found.values())
    assert found["gpt-4o"].differences["input_tokens"] == 100
    assert found["gpt-4o"].reasons == ("1 calls are estimated, with 400 tokens",)
    assert found["o3"].reasons == ("the tokens agree, so the prices differ",)
    assert "without this gateway" in found["only-theirs"].reasons[0]
    assert "not in the export" in found["only-ours"].reasons[0]


async def test_missing_calls_and_rounding_are_told_apart(sink: LedgerSink, database: Database) -> None:
    lost = read_export(page(bucket([usage(num_model_requests=7, input_tokens=1400)])))
    rounded = read_export("date,model,cost\n2026-01-31,gpt-4o,0.1\n")
    hours = await ledger(sink, database, lost, five())

    (entry,) = reconcile(hours, lost, tolerance=HALF_A_PERCENT).entries
    (off,) = reconcile(hours, rounded, tolerance=HALF_A_PERCENT).entries

    assert entry.reasons == ("2 calls are missing in the ledger",)
    assert entry.is_over
    assert off.reasons == ("rounding of the amounts",)
    assert not off.is_over


def test_days_of_another_zone_are_recognised() -> None:
    hours = {
        (MIDNIGHT + timedelta(hours=hour), "gpt-4o"): Ours(requests=1, input_tokens=100 + hour * hour, cost_nano=1_000)
        for hour in range(-24, 72)
    }
    for offset in (-8, 0, 9):
        lines = ["date,model,input_tokens"]
        for ahead in range(2):
            begin = 24 * ahead - offset
            tokens = sum(100 + hour * hour for hour in range(begin, begin + 24))
            lines.append(f"{DAY + timedelta(days=ahead)},gpt-4o,{tokens}")
        export = read_export("\n".join(lines))

        result = reconcile(hours, export, tolerance=Decimal(0))

        assert (result.offset_hours, result.is_over) == (offset, False)
        assert bool(result.notes) == bool(offset)
        assert reconcile(hours, export, tolerance=Decimal(0), offset_hours=3).is_over
