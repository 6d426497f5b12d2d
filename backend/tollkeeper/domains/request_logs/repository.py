"""The SQL of the request log: keyset pages, newest first, and one call with its attempts."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.domains.request_logs.row import COLUMNS
from tollkeeper.domains.request_logs.schemas import Filters

_NAMES: Final = ", ".join(name for name, _ in COLUMNS)
_IDS: Final = ("api_key_id", "user_id", "project_id")
_TEXTS: Final = ("model", "provider", "status")
_LONGEST_HEX: Final = 32
_HEX: Final = frozenset("0123456789abcdef")


async def list_calls(
    session: AsyncSession, filters: Filters, after: tuple[Any, ...] | None, limit: int
) -> Sequence[RowMapping]:
    """`after` is (request_id,) of the last one of the page before: ids are in the order of time."""
    params: dict[str, Any] = {"limit": limit}
    where: list[str] = []
    if filters.request_text is not None:
        where.append(_named(filters.request_text, params))
    params |= {
        "since": _first_id(filters.since),
        "until": _first_id(filters.until),
        "from_day": filters.since.date(),
        "to_day": filters.until.date(),
    }
    # The day as well, so that other days' partitions are not even opened.
    where += [
        "day >= CAST(:from_day AS date)",
        "day <= CAST(:to_day AS date)",
        "request_id >= CAST(:since AS uuid)",
        "request_id < CAST(:until AS uuid)",
    ]
    where += _conditions(filters, params)
    if after is not None:
        where.append("request_id < CAST(:after AS uuid)")
        params["after"] = after[0]
        # No later day has to be looked at.
        params["to_day"] = min(filters.until.date(), _day_of(after[0]) or filters.until.date())
    sql = (
        f"SELECT {_NAMES} FROM request_logs WHERE {' AND '.join(where)} ORDER BY day DESC, request_id DESC LIMIT :limit"  # noqa: S608 - names of our own
    )
    return (await session.execute(text(sql), params)).mappings().all()


async def find_call(session: AsyncSession, request_id: UUID, owner_id: UUID | None) -> RowMapping | None:
    day = _day_of(request_id)
    if day is None:
        return None
    params: dict[str, Any] = {"request_id": request_id, "day": day}
    where = ["day = CAST(:day AS date)", "request_id = CAST(:request_id AS uuid)"]
    if owner_id is not None:
        where.append("user_id = CAST(:owner_id AS uuid)")
        params["owner_id"] = owner_id
    sql = f"SELECT {_NAMES} FROM request_logs WHERE {' AND '.join(where)}"  # noqa: S608 - names of our own
    return (await session.execute(text(sql), params)).mappings().one_or_none()


def _conditions(filters: Filters, params: dict[str, Any]) -> list[str]:
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
    if filters.min_latency_ms is not None:
        params["min_latency_ms"] = filters.min_latency_ms
        found.append("latency_ms >= :min_latency_ms")
    if filters.min_cost_nano is not None:
        params["min_cost_nano"] = filters.min_cost_nano
        found.append("charge_nano >= :min_cost_nano")
    return found


def _named(pasted: str, params: dict[str, Any]) -> str:
    """Our id or its beginning, with or without `req_`; anything else is the caller's own id, whole."""
    params["client_request_id"] = pasted
    theirs = "client_request_id = :client_request_id"
    digits = pasted.removeprefix("req_").replace("-", "").lower()
    if not (0 < len(digits) <= _LONGEST_HEX and set(digits) <= _HEX):
        return theirs
    params["first_id"] = UUID(hex=digits.ljust(_LONGEST_HEX, "0"))
    params["last_id"] = UUID(hex=digits.ljust(_LONGEST_HEX, "f"))
    return f"(request_id BETWEEN CAST(:first_id AS uuid) AND CAST(:last_id AS uuid) OR {theirs})"


def _first_id(moment: datetime) -> UUID:
    """Below every id that was made from this moment on."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def _day_of(request_id: UUID) -> date | None:
    try:
        return datetime.fromtimestamp((request_id.int >> 80) / 1000, UTC).date()
    except (OverflowError, ValueError, OSError):
        # None that we made.
        return None
