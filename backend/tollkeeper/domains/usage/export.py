"""Usage as a file: sums or single calls as CSV or JSON lines, with the totals last and the zone on every line.

Read page by page in key order, each page in a transaction of its own: a slow reader holds nothing and memory stays
bounded. The totals are added up from the very lines that went out.
"""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.money import format_usd, nano_from_usd
from tollkeeper.domains.usage import repository, service
from tollkeeper.domains.usage.rollup import SUMS
from tollkeeper.domains.usage.schemas import FIELDS, TAG, TIMES, Question, UsageGroup, UsageRecord, UsageSums, zone_info

Format = Literal["csv", "jsonl"]
Transaction = Callable[[], AbstractAsyncContextManager[AsyncSession]]
Line = dict[str, Any]

MEDIA: Final[Mapping[str, str]] = MappingProxyType({"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"})
# Sums are made anew for each page.
_GROUPS: Final = 5_000
_CALLS: Final = 1_000
# What a spreadsheet would take for a formula; a quote before it makes it text (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_ADDED: Final = ("prompt_tokens", "completion_tokens", "latency_ms")


async def export_sums(
    transaction: Transaction, question: Question, form: Format, *, with_provider_cost: bool
) -> AsyncIterator[bytes]:
    """One line a group, in the order of the groups; `question.group_by` names at least one."""
    left_out = {"p50_latency_ms", "p95_latency_ms"} | (set() if with_provider_cost else {"provider_cost_usd"})
    measures = [name for name in UsageSums.model_fields if name not in left_out]
    labels = [_label(word) for word in question.group_by]
    writer = _Writer(form, ("line", *labels, *measures, "zone"))
    totals: dict[str, int] = dict.fromkeys(SUMS, 0)
    after: Sequence[Any] = ()
    yield writer.head()
    while True:
        async with transaction() as session:
            rows = await repository.list_groups_after(session, question, after, _GROUPS)
        lines = []
        for row in rows:
            for name in SUMS:
                totals[name] += row[name]
            shown = service.group(question, row, with_provider_cost=with_provider_cost)
            values = _plain(shown, measures)
            lines.append({"line": "group", **_labelled(question, shown), **values, "zone": question.zone})
        yield writer.body(lines)
        if len(rows) < _GROUPS:
            break
        after = [rows[-1][f"group_{place}"] for place in range(len(question.group_by))]
    sums = UsageSums(**service.sums(totals, with_provider_cost=with_provider_cost))
    yield writer.body([{"line": "total", **dict.fromkeys(labels), **_plain(sums, measures), "zone": question.zone}])


async def export_records(transaction: Transaction, question: Question, form: Format) -> AsyncIterator[bytes]:
    """One line a call, newest first."""
    fields = tuple(UsageRecord.model_fields)
    writer = _Writer(form, ("line", *fields, "zone"))
    totals: dict[str, int] = dict.fromkeys(_ADDED, 0)
    calls = nano = 0
    after: tuple[Any, ...] | None = None
    zone = zone_info(question.zone)
    yield writer.head()
    while True:
        async with transaction() as session:
            records = await service.list_records(session, question.filters, after, _CALLS)
        lines = []
        for record in records:
            calls += 1
            nano += nano_from_usd(Decimal(record.cost_usd or "0"))
            for name in _ADDED:
                totals[name] += getattr(record, name)
            moment = record.created_at.astimezone(zone).isoformat()
            lines.append({"line": "call", **_plain(record, fields), "created_at": moment, "zone": question.zone})
        yield writer.body(lines)
        if len(records) < _CALLS:
            break
        after = (records[-1].created_at, records[-1].request_id)
    end = {**dict.fromkeys(fields), **totals, "cost_usd": format_usd(nano), "request_id": f"{calls} calls"}
    yield writer.body([{"line": "total", **end, "zone": question.zone}])


class _Writer:
    def __init__(self, form: Format, columns: Sequence[str]) -> None:
        self._form = form
        self._columns = columns

    def head(self) -> bytes:
        return _csv([self._columns]) if self._form == "csv" else b""

    def body(self, lines: Sequence[Line]) -> bytes:
        if self._form == "jsonl":
            return b"".join(orjson.dumps(line) + b"\n" for line in lines)
        return _csv([_cell(line[name]) for name in self._columns] for line in lines)


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """Text of callers is quoted against formulas; amounts are ours, and may be negative."""
    if isinstance(value, dict):
        value = orjson.dumps(value).decode() if value else ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA) and not _is_amount(value):
        return f"'{value}"
    return value


def _is_amount(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal() and text.isascii()


def _label(word: str) -> str:
    return word if word.startswith(TAG) else FIELDS[word]


def _labelled(question: Question, shown: UsageGroup) -> Line:
    """The groups' values; times as they read in the zone."""
    line: Line = {}
    zone = zone_info(question.zone)
    for word in question.group_by:
        if word.startswith(TAG):
            tags: Mapping[str, Any] = shown.tags or {}
            line[word] = tags.get(word.removeprefix(TAG))
        elif word in TIMES:
            moment: datetime = getattr(shown, word).astimezone(zone)
            line[word] = moment.isoformat() if word == "hour" else moment.date().isoformat()
        else:
            line[FIELDS[word]] = shown.model_dump(mode="json", include={FIELDS[word]})[FIELDS[word]]
    return line


def _plain(shown: BaseModel, names: Sequence[str]) -> Line:
    dumped = shown.model_dump(mode="json", include=set(names))
    return {name: dumped[name] for name in names}
