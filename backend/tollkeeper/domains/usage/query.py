"""The one query builder of usage: every report, chart and export is a `Question`, and this makes its SQL. Pure.

Whole days that are over come from their sums, whole hours from the rollups; the edges of a period that lie inside an hour, and whatever a rollup does not know
(tags, end users, percentiles, days of a zone that is half an hour off), come from the ledger's rows. Both are read as
the same columns, so any sum is exact whatever the bounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import orjson

from tollkeeper.domains.usage.rollup import KEY, NONE, SUMS
from tollkeeper.domains.usage.schemas import FIELDS, FINER, TAG, TIMES, Filters, Question, zone_info

_IDS: Final = ("api_key_id", "user_id", "team_id", "project_id")
_TEXTS: Final = ("model", "provider")
_LEDGER: Final = (
    "(SELECT * FROM usage_logs AS part WHERE {0} UNION ALL SELECT * FROM usage_late AS part WHERE {0}) AS ledger"
)
# How the attempt ended that a row is a part of: an interruption that was corrected ended as its correction says.
STATUS: Final = """CASE WHEN kind = 'interrupted' THEN coalesce((
    SELECT corrected.status FROM usage_logs AS corrected WHERE corrected.tenant_id = part.tenant_id
    AND corrected.day = part.day AND corrected.request_id = part.request_id AND corrected.attempt = part.attempt
    AND corrected.is_correction
), status) ELSE status END"""
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Query:
    """`names` are the columns of the groups, in the order of `group_by`; a word without a value is the zero uuid or ''."""

    sql: str
    params: Mapping[str, Any]
    names: tuple[str, ...]


def needs_rows(question: Question) -> bool:
    """Whether the rollups cannot tell."""
    filters = question.filters
    words = question.group_by
    is_finer = bool(filters.end_user or filters.run_id or filters.tags or filters.status) or any(
        word in FINER or word.startswith(TAG) for word in words
    )
    return is_finer or question.with_percentiles or (bool(TIMES.intersection(words)) and _is_between_hours(question))


def fits_days(question: Question) -> bool:
    """Whether sums of days of UTC can tell, for a period of more than one."""
    times = TIMES.intersection(question.group_by)
    is_long = question.filters.until - question.filters.since > _DAY
    return is_long and not needs_rows(question) and "hour" not in times and (not times or question.zone == "UTC")


def build(
    question: Question,
    *,
    last_closed: date | None = None,
    after: Sequence[Any] | None = None,
    limit: int | None = None,
) -> Query:
    """Sums by group. Times first and in order, else the dearest first.

    `last_closed`: the last day that has sums of its own, or any earlier one; None: none has, or none of use. With `after` (a group's values, or () to begin) in the order of the groups themselves, for reading on page by page.
    """
    names = tuple(f"group_{place}" for place in range(len(question.group_by)))
    params: dict[str, Any] = {"zone": question.zone}
    groups = [
        f"{_group(word, place, params)} AS {name}"
        for place, (word, name) in enumerate(zip(question.group_by, names, strict=True))
    ]
    sums = [f"coalesce(sum({name}), 0)::bigint AS {name}" for name in SUMS]
    if question.with_percentiles:
        for name, share in (("p50_latency_ms", "0.5"), ("p95_latency_ms", "0.95")):
            sums.append(f"percentile_disc({share}) WITHIN GROUP (ORDER BY latency) AS {name}")
    sql = f"SELECT {', '.join([*groups, *sums])} FROM ({_facts(question, params, last_closed)}) AS facts"  # noqa: S608 - names of our own
    if names:
        sql += f" GROUP BY {', '.join(names)}"
    if after is not None:
        sql = f"SELECT * FROM ({sql}) AS sums"  # noqa: S608 - as above
        if after:
            kinds = [_kind(word) for word in question.group_by]
            marks = [f"CAST(:after_{place} AS {kind})" for place, kind in enumerate(kinds)]
            sql += f" WHERE ({', '.join(names)}) > ({', '.join(marks)})"
            params |= {f"after_{place}": value for place, value in enumerate(after)}
        sql += f" ORDER BY {', '.join(names)}"
    elif names:
        times = [name for word, name in zip(question.group_by, names, strict=True) if word in TIMES]
        sql += f" ORDER BY {', '.join([*times, 'charge_nano DESC', 'requests DESC', *names])}"
    if limit is not None:
        sql += f" LIMIT {limit}"
    return Query(sql, params, names)


def conditions(filters: Filters, params: dict[str, Any]) -> list[str]:
    """Of what rollups and rows have both; their values go into `params`."""
    found = []
    for name in ("tenant_id", "owner_id"):
        value = getattr(filters, name)
        if value is not None:
            params[name] = value
            found.append(f"{'user_id' if name == 'owner_id' else name} = CAST(:{name} AS uuid)")
    for names, kind in ((_IDS, "uuid"), (_TEXTS, "text")):
        for name in names:
            if getattr(filters, name):
                params[name] = list(getattr(filters, name))
                found.append(f"{name} = ANY(CAST(:{name} AS {kind}[]))")
    return found


def row_conditions(filters: Filters, params: dict[str, Any]) -> list[str]:
    """Of what only rows have."""
    found = []
    for name in FINER:
        if getattr(filters, name):
            params[name] = list(getattr(filters, name))
            found.append(f"{name} = ANY(CAST(:{name} AS text[]))")
    if filters.tags:
        params["tags"] = orjson.dumps(dict(filters.tags)).decode()
        found.append("tags @> CAST(:tags AS jsonb)")
    if filters.status is not None:
        params["status"] = filters.status.value
        found.append(f"{STATUS} = :status")
    return found


def _facts(question: Question, params: dict[str, Any], last_closed: date | None) -> str:
    """Sums and rows under one set of columns, `moment` and the groups' own first."""
    filters = question.filters
    since, until = filters.since, filters.until
    first, last = _ceil(since), _floor(until)
    same = conditions(filters, params)
    if needs_rows(question) or first >= last:
        return _rows(question, same, params, since, until, "0")
    parts = []
    first_day, end_day = _days(first, last, last_closed)
    if first_day < end_day:
        parts.append(_sums_of_days(question, same, params, first_day, end_day))
        spans = ((first, _midnight(first_day)), (_midnight(end_day), last))
    else:
        spans = ((first, last), (last, last))
    parts += [
        _rollups(question, same, params, start, end, str(place))
        for place, (start, end) in enumerate(spans)
        if start < end
    ]
    if since < first:
        parts.append(_rows(question, same, params, since, first, "1"))
    if last < until:
        parts.append(_rows(question, same, params, last, until, "2"))
    return " UNION ALL ".join(parts)


def _days(first: datetime, last: datetime, last_closed: date | None) -> tuple[date, date]:
    """The whole days between that are closed: the first of them, and the one after the last."""
    if last_closed is None:
        return first.date(), first.date()
    first_day = first.date() if first == _midnight(first.date()) else first.date() + _DAY
    return first_day, min(last.date(), last_closed + _DAY)


def _sums_of_days(
    question: Question, same: Sequence[str], params: dict[str, Any], first_day: date, end_day: date
) -> str:
    params |= {"first_day": first_day, "end_day": end_day}
    where = ["day >= CAST(:first_day AS date)", "day < CAST(:end_day AS date)", *same]
    columns = ["day::timestamp AT TIME ZONE 'UTC' AS moment", *_keys(question), *SUMS]
    return f"SELECT {', '.join(columns)} FROM usage_days WHERE {' AND '.join(where)}"  # noqa: S608 - names of our own


def _rollups(
    question: Question, same: Sequence[str], params: dict[str, Any], first: datetime, last: datetime, suffix: str
) -> str:
    params |= {f"first_{suffix}": first, f"last_{suffix}": last}
    where = [f"hour >= CAST(:first_{suffix} AS timestamptz)", f"hour < CAST(:last_{suffix} AS timestamptz)", *same]
    columns = ["hour AS moment", *_keys(question), *SUMS]
    return f"SELECT {', '.join(columns)} FROM usage_rollups WHERE {' AND '.join(where)}"  # noqa: S608 - names of our own


def _rows(
    question: Question, same: Sequence[str], params: dict[str, Any], since: datetime, until: datetime, suffix: str
) -> str:
    """The day as well, so that other days' partitions are not even opened."""
    params |= {f"since_{suffix}": since, f"until_{suffix}": until}
    params |= {f"from_day_{suffix}": since.date(), f"to_day_{suffix}": until.date()}
    where = [
        f"created_at >= CAST(:since_{suffix} AS timestamptz)",
        f"created_at < CAST(:until_{suffix} AS timestamptz)",
        f"day >= CAST(:from_day_{suffix} AS date)",
        f"day <= CAST(:to_day_{suffix} AS date)",
        *same,
        *row_conditions(question.filters, params),
    ]
    columns = ["created_at AS moment", *[f"{KEY[name]} AS {name}" for name in _keys(question)]]
    columns += [f"{expression} AS {name}" for name, expression in SUMS.items()]
    columns += [name for name in FINER if name in question.group_by]
    if any(word.startswith(TAG) for word in question.group_by):
        columns.append("tags")
    if question.with_percentiles:
        columns.append("CASE WHEN kind <> 'correction' THEN latency_ms END AS latency")
    source = _LEDGER.format(" AND ".join(where))
    return f"SELECT {', '.join(columns)} FROM {source}"  # noqa: S608 - names of our own


def _keys(question: Question) -> list[str]:
    """The groups' columns that rollups have."""
    return [FIELDS[word] for word in question.group_by if FIELDS.get(word) in KEY and word != "hour"]


def _group(word: str, place: int, params: dict[str, Any]) -> str:
    if word in TIMES:
        return f"date_trunc('{word}', moment, CAST(:zone AS text))"
    if word in FINER:
        return f"coalesce({word}, '')"
    if word.startswith(TAG):
        params[f"tag_{place}"] = word.removeprefix(TAG)
        return f"coalesce(tags ->> CAST(:tag_{place} AS text), '')"
    return FIELDS[word]


def _kind(word: str) -> str:
    if word in TIMES:
        return "timestamptz"
    return "uuid" if FIELDS.get(word, "").endswith("_id") else "text"


def value_of(word: str, value: Any) -> Any:
    """A group's value as people read it: None where there was none."""
    if word in TIMES:
        return value.astimezone(UTC)
    return None if value in (NONE, "") else value


def _is_between_hours(question: Question) -> bool:
    """Whether hours of the zone begin between hours of UTC anywhere in the period; asked for each month."""
    zone = zone_info(question.zone)
    at, until = question.filters.since, min(question.filters.until, question.filters.since + timedelta(days=366 * 5))
    while at < until:
        if (zone.utcoffset(at.astimezone(zone)) or timedelta()) % _HOUR:
            return True
        at += timedelta(days=28)
    return bool((zone.utcoffset(until.astimezone(zone)) or timedelta()) % _HOUR)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _floor(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _ceil(at: datetime) -> datetime:
    floor = _floor(at)
    return floor if floor == at else floor + _HOUR
