"""Reads what a provider says was used: OpenAI's usage and cost pages (JSON), or any CSV with days, models and amounts.

Shapes: https://platform.openai.com/docs/api-reference/usage (2026-08). `input_tokens` there are text tokens with the
cached ones inside, audio is beside them. Days are the export's own; amounts are read as decimals, never as floats.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

from tollkeeper.core.errors import BadRequest

# Names under which a column is known without being told.
ALIASES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "day": ("day", "date", "usage_date", "start_time_iso", "start_time", "timestamp"),
        "model": ("model", "snapshot_id", "line_item", "model_name"),
        "requests": ("requests", "num_model_requests", "num_requests", "n_requests"),
        "input_tokens": ("input_tokens", "n_context_tokens_total", "prompt_tokens"),
        "input_audio_tokens": ("input_audio_tokens",),
        "output_tokens": ("output_tokens", "n_generated_tokens_total", "completion_tokens"),
        "output_audio_tokens": ("output_audio_tokens",),
        "cost": ("cost_usd", "cost", "amount_value", "amount", "cost_in_major"),
    }
)
# `gpt-4o-2024-08-06` and `claude-…-20250219` are snapshots of the model; the ledger may know it by its alias.
_SNAPSHOT: Final = re.compile(r"-(\d{4}-\d\d-\d\d|\d{8})$")
_DAY_SECONDS: Final = 86_400


class UnreadableExport(BadRequest):
    """The file is no export of a kind we know."""

    code = "unreadable_export"


@dataclass(slots=True)
class Amounts:
    """Of one day and model; None is what the export does not say. `cost_unit` is the last decimal it writes."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Decimal | None = None
    cost_unit: Decimal = Decimal(0)

    def add(self, other: "Amounts") -> None:
        for name in ("requests", "input_tokens", "output_tokens", "cost"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if theirs is not None:
                setattr(self, name, theirs if ours is None else ours + theirs)
        # Each rounded amount may be off by half a unit.
        self.cost_unit += other.cost_unit


Export = dict[tuple[date, str], Amounts]


def base_name(model: str) -> str:
    return _SNAPSHOT.sub("", model.strip())


def read_export(text: str, columns: Mapping[str, str] | None = None) -> Export:
    """JSON or CSV, told apart by the first character. `columns`: our word → the CSV's column."""
    found: Export = {}
    entries = _from_json(text) if text.lstrip()[:1] in ("{", "[") else _from_csv(text, columns or {})
    for day, model, amounts in entries:
        found.setdefault((day, base_name(model)), Amounts()).add(amounts)
    if not found:
        raise UnreadableExport("The export holds no usage.")
    return found


def _from_json(text: str) -> Iterable[tuple[date, str, Amounts]]:
    try:
        pages = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise UnreadableExport(f"The export is no JSON: {error}.") from error
    for page in pages if isinstance(pages, list) else [pages]:
        for bucket in page.get("data", [page]):
            try:
                start, end = int(bucket["start_time"]), int(bucket["end_time"])
                results = bucket.get("results", bucket.get("result"))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise UnreadableExport("Expected pages of buckets as OpenAI's usage and costs APIs answer.") from error
            if end - start > _DAY_SECONDS:
                raise UnreadableExport("A bucket is longer than a day: ask for bucket_width=1d.")
            day = datetime.fromtimestamp(start, UTC).date()
            for result in results or ():
                yield day, *_result(result)


def _result(result: Mapping[str, Any]) -> tuple[str, Amounts]:
    if "amount" in result:
        if result["amount"].get("currency", "usd").lower() != "usd":
            raise UnreadableExport("Only amounts in US dollars can be compared.")
        cost = _decimal(result["amount"].get("value"))
        # "gpt-4o-2024-08-06, cached input": the model, then what of it.
        model = str(result.get("line_item") or "").partition(",")[0]
        _need_model(model, "group_by=line_item")
        return model, Amounts(cost=cost, cost_unit=_unit(cost))
    model = str(result.get("model") or "")
    _need_model(model, "group_by=model")
    return model, Amounts(
        requests=_sum(result, "num_model_requests"),
        input_tokens=_sum(result, "input_tokens", "input_audio_tokens"),
        output_tokens=_sum(result, "output_tokens", "output_audio_tokens"),
    )


def _from_csv(text: str, columns: Mapping[str, str]) -> Iterable[tuple[date, str, Amounts]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    names = reader.fieldnames or ()
    unknown = [*set(columns) - set(ALIASES), *[name for name in columns.values() if name not in names]]
    if unknown:
        raise UnreadableExport(f"There is no column '{unknown[0]}'. The file has: {', '.join(names)}.")
    place = {
        word: columns.get(word) or next((name for name in known if name in names), None)
        for word, known in ALIASES.items()
    }
    if place["day"] is None or place["model"] is None:
        raise UnreadableExport(
            f"No column for the day or the model. The file has: {', '.join(names)}. Name them: --column day=NAME."
        )
    for row in reader:
        values = {word: row[name].strip() for word, name in place.items() if name is not None and row.get(name)}
        if "day" not in values or "model" not in values:
            continue
        cost = _decimal(values["cost"]) if "cost" in values else None
        yield (
            _day(values["day"]),
            values["model"].partition(",")[0],
            Amounts(
                requests=_sum(values, "requests"),
                input_tokens=_sum(values, "input_tokens", "input_audio_tokens"),
                output_tokens=_sum(values, "output_tokens", "output_audio_tokens"),
                cost=cost,
                cost_unit=Decimal(0) if cost is None else _unit(cost),
            ),
        )


def _need_model(model: str, option: str) -> None:
    if not model:
        raise UnreadableExport(f"The export does not tell models apart: ask the provider with {option}.")


def _sum(values: Mapping[str, Any], *names: str) -> int | None:
    given = [values[name] for name in names if values.get(name) is not None]
    return int(sum(_decimal(value) for value in given)) if given else None


def _decimal(value: Any) -> Decimal:
    try:
        amount = Decimal(str(value).replace("$", ""))
    except InvalidOperation as error:
        raise UnreadableExport(f"'{value}' is no number.") from error
    if not amount.is_finite():
        raise UnreadableExport(f"'{value}' is no number.")
    return amount


def _unit(amount: Decimal) -> Decimal:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal(1).scaleb(min(exponent, 0))


def _day(text: str) -> date:
    try:
        return datetime.fromtimestamp(int(text), UTC).date() if text.isdecimal() else date.fromisoformat(text[:10])
    except (ValueError, OverflowError) as error:
        raise UnreadableExport(f"'{text}' is no day such as 2026-01-31.") from error
