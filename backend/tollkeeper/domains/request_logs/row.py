"""A finished call as a row, in the form the sink sends it: one JSON array of arrays, as the ledger's. Pure."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from tollkeeper.contracts.cache import HITS, result_of
from tollkeeper.contracts.request_log import CallRecord
from tollkeeper.core.ids import uuid7_unix_ms

_MOMENT: Final = "timestamptz 'epoch' + {0}::bigint * interval '1 millisecond'"
# Name, and PostgreSQL type or the expression that makes the value.
COLUMNS: Final = (
    ("tenant_id", "uuid"),
    ("day", f"(({_MOMENT}) AT TIME ZONE 'UTC')::date"),
    ("request_id", "uuid"),
    ("created_at", _MOMENT),
    ("client_request_id", "text"),
    ("api_key_id", "uuid"),
    ("user_id", "uuid"),
    ("team_id", "uuid"),
    ("project_id", "uuid"),
    ("environment", "text"),
    ("operation", "text"),
    ("dialect", "text"),
    ("model", "text"),
    ("provider", "text"),
    ("upstream_model", "text"),
    ("is_stream", "bool"),
    ("status", "text"),
    ("http_status", "smallint"),
    ("error_code", "text"),
    ("ended", "text"),
    ("attempts", "smallint"),
    ("latency_ms", "int"),
    ("first_token_ms", "int"),
    ("overhead_us", "int"),
    ("prompt_tokens", "bigint"),
    ("completion_tokens", "bigint"),
    ("charge_nano", "bigint"),
    ("cache", "text"),
    ("guardrail", "text"),
    ("run_id", "text"),
    ("end_user", "text"),
)
_NAMES: Final = ", ".join(name for name, _ in COLUMNS)


def _value(index: int, kind: str) -> str:
    return kind.format(f"(line ->> {index})") if "{" in kind else f"(line ->> {index})::{kind}"


# In the order of the key, so that two writers never wait for one another in a circle.
INSERT: Final = f"""
    INSERT INTO request_logs ({_NAMES})
    SELECT {", ".join(f"{_value(index, kind)} AS {name}" for index, (name, kind) in enumerate(COLUMNS))}
    FROM jsonb_array_elements($1::text::jsonb) AS lines (line)
    ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - names of our own

_MOST_TEXT: Final = 256
_LARGEST_INT: Final = 2_147_483_647
_NUL: Final = "\\u0000"
_ENDED: Final = {"done": "completed", "dropped": "cancelled"}
_STATUS: Final = {"done": "ok", "failed": "error", "dropped": "cancelled"}
_BLOCKED: Final = "guardrail_blocked"


def rows_json(records: Sequence[CallRecord]) -> str:
    rows = orjson.dumps([_row(record) for record in records]).decode()
    # The one character that PostgreSQL does not store.
    return rows.replace(_NUL, "") if _NUL in rows else rows


def _row(record: CallRecord) -> tuple[Any, ...]:
    principal = record.principal
    unix_ms = uuid7_unix_ms(record.request_id)
    first = record.first_token_seconds
    return (
        principal.tenant_id,
        unix_ms,
        record.request_id,
        unix_ms,
        _clip(record.client_request_id),
        principal.key_id,
        principal.user_id,
        principal.team_id,
        principal.project_id,
        principal.environment,
        record.operation,
        record.dialect,
        _clip(record.model),
        record.provider,
        _clip(record.upstream_model),
        record.is_stream,
        _status(record),
        record.http_status,
        record.error_code,
        # Nothing was sent anywhere: a limit, a budget, or the call itself.
        "refused" if record.ending == "failed" and not record.attempts else _ENDED.get(record.ending, "failed"),
        record.attempts,
        _whole(record.seconds * 1_000),
        None if first is None else _whole(first * 1_000),
        _whole(record.overhead_seconds * 1_000_000),
        record.prompt_tokens,
        record.completion_tokens,
        record.charge_nano,
        record.cache,
        record.guardrail,
        principal.run_id,
        _clip(record.end_user),
    )


def _status(record: CallRecord) -> str:
    if record.error_code == _BLOCKED:
        return "blocked"
    if record.ending == "done" and result_of(record.cache) in HITS:
        return "cached"
    return _STATUS[record.ending]


def _whole(number: float) -> int:
    return max(0, min(_LARGEST_INT, round(number)))


def _clip(text: str | None) -> str | None:
    return text if text is None or len(text) <= _MOST_TEXT else text[:_MOST_TEXT]
