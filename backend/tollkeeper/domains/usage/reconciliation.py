"""Compares the ledger with a provider's own export by day and model, and says where a difference comes from.

The provider's cost is held against `cost_nano`, what we say the provider takes, not against what tenants are charged.
Calls that the provider never billed (answers from our cache, attempts without a token) are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.money import usd_from_nano
from tollkeeper.domains.usage.provider_export import Amounts, Export, base_name
from tollkeeper.domains.usage.rollup import SUMS

# Zones reach from twelve hours behind UTC to fourteen ahead.
_OFFSETS: Final = tuple(range(-12, 15))
_NANO: Final = Decimal("0.000000001")
_HOURS: Final = f"""
    SELECT date_trunc('hour', created_at, 'UTC') AS hour, upstream_model AS model,
           sum({SUMS["requests"]})::bigint AS requests,
           sum({SUMS["prompt_tokens"]})::bigint AS input_tokens,
           sum({SUMS["completion_tokens"]})::bigint AS output_tokens,
           sum({SUMS["cost_nano"]})::bigint AS cost_nano,
           count(*) FILTER (WHERE is_estimated) AS estimated,
           coalesce(sum({SUMS["prompt_tokens"]} + {SUMS["completion_tokens"]}) FILTER (WHERE is_estimated), 0)::bigint
               AS estimated_tokens,
           count(*) FILTER (WHERE cost_nano IS NULL) AS unpriced
    FROM (SELECT * FROM usage_logs WHERE day >= :first AND day <= :last AND provider = :provider
          UNION ALL SELECT * FROM usage_late WHERE day >= :first AND day <= :last AND provider = :provider) AS ledger
    WHERE status <> 'cached' AND {SUMS["prompt_tokens"]} + {SUMS["completion_tokens"]} <> 0
    GROUP BY 1, 2
"""  # noqa: S608 - names of our own


@dataclass(slots=True)
class Ours:
    """What the ledger says of one hour or day and model."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    estimated: int = 0
    estimated_tokens: int = 0
    unpriced: int = 0

    def add(self, other: "Ours") -> None:
        for name in Ours.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Compared:
    """One day and model; `differences` are ours less theirs, of what the export says."""

    day: date
    model: str
    ours: Ours
    theirs: Amounts
    differences: Mapping[str, Decimal]
    is_over: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """`offset_hours`: where the export's days begin, when that explains what days of UTC do not."""

    entries: Sequence[Compared]
    offset_hours: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def is_over(self) -> bool:
        return any(entry.is_over for entry in self.entries)


Hours = Mapping[tuple[datetime, str], Ours]


async def read_ledger(session: AsyncSession, provider: str, export: Export) -> Hours:
    """By hour and model, with the days around the export's, because its days may begin elsewhere."""
    days = [day for day, _ in export]
    bounds = {"first": min(days) - timedelta(days=1), "last": max(days) + timedelta(days=1), "provider": provider}
    hours: dict[tuple[datetime, str], Ours] = {}
    for row in (await session.execute(text(_HOURS), bounds)).mappings():
        values = dict(row)
        key = (values.pop("hour"), base_name(values.pop("model")))
        hours.setdefault(key, Ours()).add(Ours(**values))
    return hours


def reconcile(hours: Hours, export: Export, *, tolerance: Decimal, offset_hours: int | None = None) -> Reconciliation:
    """`tolerance` is a share, 0.005 for half a percent. Without `offset_hours` the days' beginning is found out."""
    if offset_hours is not None:
        return Reconciliation(_compare(hours, export, tolerance, offset_hours), offset_hours)
    entries = _compare(hours, export, tolerance, 0)
    if any(entry.is_over for entry in entries):
        best = min(_OFFSETS, key=lambda offset: (_distance(_by_day(hours, export, offset), export), abs(offset)))
        shifted = _compare(hours, export, tolerance, best)
        if best and not any(entry.is_over for entry in shifted):
            note = f"Days of UTC do not fit, days of UTC{best:+d} do: the export is in another time zone."
            return Reconciliation(shifted, best, (note,))
    return Reconciliation(entries)


def _compare(hours: Hours, export: Export, tolerance: Decimal, offset: int) -> list[Compared]:
    ours = _by_day(hours, export, offset)
    keys = sorted({*ours, *export})
    return [_entry(key, ours.get(key, Ours()), export.get(key, Amounts()), tolerance, key in export) for key in keys]


def _by_day(hours: Hours, export: Export, offset: int) -> dict[tuple[date, str], Ours]:
    """Of the days between the export's first and last."""
    first, last = min(day for day, _ in export), max(day for day, _ in export)
    days: dict[tuple[date, str], Ours] = {}
    for (hour, model), values in hours.items():
        day = (hour.astimezone(UTC) + timedelta(hours=offset)).date()
        if first <= day <= last:
            days.setdefault((day, model), Ours()).add(values)
    return days


def _entry(key: tuple[date, str], ours: Ours, theirs: Amounts, tolerance: Decimal, is_exported: bool) -> Compared:
    pairs = dict(_pairs(ours, theirs, is_exported=is_exported))
    differences = {name: mine - other for name, (mine, other) in pairs.items()}
    rounding = theirs.cost_unit / 2 + _NANO * (ours.requests + 1)
    over = {
        name
        for name, (mine, other) in pairs.items()
        if name != "requests"
        and abs(mine - other) > max(tolerance * max(abs(mine), abs(other)), _slack(name, rounding))
    }
    reasons = tuple(_reasons(ours, theirs, differences, over, rounding, is_exported=is_exported))
    return Compared(*key, ours, theirs, differences, bool(over), reasons)


def _pairs(ours: Ours, theirs: Amounts, *, is_exported: bool) -> Iterable[tuple[str, tuple[Decimal, Decimal]]]:
    mine: dict[str, Decimal] = {
        "requests": Decimal(ours.requests),
        "input_tokens": Decimal(ours.input_tokens),
        "output_tokens": Decimal(ours.output_tokens),
        "cost": usd_from_nano(ours.cost_nano),
    }
    for name, value in mine.items():
        other: Any = getattr(theirs, name)
        if other is not None or not is_exported:
            yield name, (value, Decimal(other or 0))


def _slack(name: str, rounding: Decimal) -> Decimal:
    return rounding if name == "cost" else Decimal(0)


def _reasons(
    ours: Ours,
    theirs: Amounts,
    differences: Mapping[str, Decimal],
    over: set[str],
    rounding: Decimal,
    *,
    is_exported: bool,
) -> Iterable[str]:
    if not any(differences.values()):
        return
    if not is_exported:
        yield "not in the export: another account or project there, or a model by another name"
        return
    if not ours.requests:
        yield "not in the ledger: called without this gateway, or a model by another name"
        return
    missing = -int(differences.get("requests", 0))
    if missing > 0:
        yield f"{missing} calls are missing in the ledger"
    elif missing < 0:
        yield f"{-missing} calls are missing in the export"
    tokens = abs(differences.get("input_tokens", Decimal(0))) + abs(differences.get("output_tokens", Decimal(0)))
    if tokens and ours.estimated:
        yield f"{ours.estimated} calls are estimated, with {ours.estimated_tokens} tokens"
    cost = abs(differences.get("cost", Decimal(0)))
    if cost and cost <= rounding:
        yield "rounding of the amounts"
    elif cost and ours.unpriced:
        yield f"{ours.unpriced} calls have no price in the ledger"
    elif "cost" in over and theirs.input_tokens is not None and not tokens:
        yield "the tokens agree, so the prices differ"


def _distance(ours: Mapping[tuple[date, str], Ours], export: Export) -> Decimal:
    """How far apart, each measure as a share of the export's own total."""
    totals: dict[str, Decimal] = {}
    apart: dict[str, Decimal] = {}
    for key in {*ours, *export}:
        for name, (mine, other) in _pairs(ours.get(key, Ours()), export.get(key, Amounts()), is_exported=key in export):
            totals[name] = totals.get(name, Decimal(0)) + abs(other)
            apart[name] = apart.get(name, Decimal(0)) + abs(mine - other)
    return sum((apart[name] / totals[name] for name in totals if totals[name]), Decimal(0))
