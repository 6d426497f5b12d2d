"""What a rollup is: the ledger's rows of one hour and one key, added up; and what rows charge to a counter. Pure.

The sink adds by it, the verification recomputes by it, and reports read rows by it where an hour is too coarse: one
definition, so the three cannot disagree.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final
from uuid import UUID

from tollkeeper.contracts.money import PLATFORM

# Stands for "none" where a primary key holds no NULL.
NONE: Final = UUID(int=0)

_INPUT: Final = "input_tokens + cache_read_tokens + cache_write_tokens + cache_write_1h_tokens + input_audio_tokens + input_image_tokens"
_OUTPUT: Final = "output_tokens + reasoning_tokens + output_audio_tokens + output_image_tokens"

# Column of a rollup → its value of one ledger row.
KEY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tenant_id": "tenant_id",
        "hour": "date_trunc('hour', created_at, 'UTC')",
        "api_key_id": "api_key_id",
        "user_id": f"coalesce(user_id, '{NONE}'::uuid)",
        "team_id": f"coalesce(team_id, '{NONE}'::uuid)",
        "project_id": f"coalesce(project_id, '{NONE}'::uuid)",
        "model": "model",
        "provider": "provider",
    }
)
# Column of a rollup → what one ledger row adds to it. A correction is no call; its tokens, money and time are differences
# to an interruption, which counted as an error.
SUMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "requests": "(kind <> 'correction')::int",
        "errors": "(status IN ('error', 'interrupted'))::int - (kind = 'correction')::int",
        "prompt_tokens": _INPUT,
        "completion_tokens": _OUTPUT,
        "cache_read_tokens": "cache_read_tokens",
        "cache_write_tokens": "cache_write_tokens",
        "cache_write_1h_tokens": "cache_write_1h_tokens",
        "input_audio_tokens": "input_audio_tokens",
        "input_image_tokens": "input_image_tokens",
        "reasoning_tokens": "reasoning_tokens",
        "output_audio_tokens": "output_audio_tokens",
        "output_image_tokens": "output_image_tokens",
        "cost_nano": "coalesce(cost_nano, 0)",
        "charge_nano": "coalesce(charge_nano, 0)",
        "latency_ms_sum": "latency_ms",
        "unpriced_requests": "(kind <> 'correction' AND charge_nano IS NULL)::int",
    }
)
COLUMNS: Final = (*KEY, *SUMS)
# The same by UTC days: of the ledger's rows, and of rollups.
DAY_KEY: Final[Mapping[str, str]] = MappingProxyType(
    {"day" if name == "hour" else name: "day" if name == "hour" else expression for name, expression in KEY.items()}
)
DAY_COLUMNS: Final = (*DAY_KEY, *SUMS)
_DAY_OF_ROLLUP: Final[Mapping[str, str]] = MappingProxyType(
    {name: "(hour AT TIME ZONE 'UTC')::date" if name == "day" else name for name in DAY_KEY}
)


def select_from(source: str) -> str:
    """The rollups of all rows of `source`, in the order of their key."""
    return _select(source, KEY, SUMS)


def days_from(source: str) -> str:
    """The days of all rows of `source`, as `select_from`."""
    return _select(source, DAY_KEY, SUMS)


def days_from_rollups(source: str) -> str:
    return _select(source, _DAY_OF_ROLLUP, {name: name for name in SUMS})


def grow(table: str, columns: Iterable[str], key: Iterable[str], select: str) -> str:
    """Adds what `select` yields to the sums of a table."""
    grown = ", ".join(f"{name} = total.{name} + excluded.{name}" for name in SUMS)
    return f"""
        INSERT INTO {table} AS total ({", ".join(columns)}) {select}
        ON CONFLICT ({", ".join(key)}) DO UPDATE SET {grown}
    """


def _select(source: str, key: Mapping[str, str], sums: Mapping[str, str]) -> str:
    columns = [f"{expression} AS {name}" for name, expression in key.items()]
    columns += [f"sum({expression}) AS {name}" for name, expression in sums.items()]
    places = ", ".join(str(place) for place in range(1, len(key) + 1))
    return f"SELECT {', '.join(columns)} FROM {source} GROUP BY {places} ORDER BY {places}"  # noqa: S608 - our own names


def spent_from(source: str) -> str:
    """What the rows of `source` have charged to each counter they name; those of the platform take the cost."""
    return f"""
        SELECT CASE WHEN ref LIKE '@%' THEN '{PLATFORM}'::uuid ELSE tenant_id END AS tenant_id, ltrim(ref, '@') AS ref,
               coalesce(sum(CASE WHEN ref LIKE '@%' THEN cost_nano ELSE charge_nano END), 0)::bigint AS nano
        FROM {source}, unnest(budgets) AS ref
        GROUP BY 1, 2
    """  # noqa: S608 - our own names
