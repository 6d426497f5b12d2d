"""A key with a hard budget of its own, and its books: ledger, counters and what the upstream says it served."""

import asyncio
import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tests.faults.gateway import Gateway, UpstreamProcess, clean_environment, eventually
from tests.faults.upstream import PROMPT_TOKENS, WHOLE_TOKENS

IS_FULL: Final = os.environ.get("TOLLKEEPER_TEST_FULL") == "1"
NANO: Final = 1_000_000_000
FLAT_NANO: Final = NANO // 10
# Nano-dollars a token, as `tests.faults.gateway.PRICE` says.
INPUT_NANO: Final = 1_000
OUTPUT_NANO: Final = 2_000
_SHIPPED_SECONDS: Final = 60.0


def money_config(document: dict[str, Any]) -> dict[str, Any]:
    """`flat-…` costs the same whatever it answers; `gpt-4o-cut-…` leads to a vendor whose bill ends when the caller leaves."""
    up = next(provider for provider in document["providers"] if provider["name"] == "up")
    patient = {**up, "timeouts": {"connect": 10, "first_byte": 30, "idle": 30, "total": 60}}
    cuttable = {**patient, "name": "cuttable", "options": {"cancel_stops_billing": True, "visible_output": True}}
    price = next(model["price"] for model in document["models"] if model["name"] == "up-*")
    flat = {"per_request": "0.1", "input_per_million": "0", "output_per_million": "0"}
    return {
        **document,
        "providers": [*(patient if other is up else other for other in document["providers"]), cuttable],
        "models": [
            *document["models"],
            {"name": "flat-*", "targets": [{"provider": "up", "model": "*"}], "price": flat},
            {
                "name": "gpt-4o-cut-*",
                "targets": [{"provider": "cuttable", "model": "*"}],
                "price": price,
                "max_output_tokens": 4_096,
            },
        ],
    }


def cost_nano(entry: dict[str, Any]) -> int:
    """What a call that the upstream served to its end costs by the vendor's usage."""
    if entry["model"].startswith("flat-"):
        return FLAT_NANO
    output = entry["chunks"] or WHOLE_TOKENS
    return PROMPT_TOKENS * INPUT_NANO + output * OUTPUT_NANO


@dataclass(frozen=True)
class Account:
    gateway: Gateway
    key: str
    key_id: str
    budget_id: str
    limit_nano: int

    @classmethod
    async def open(cls, gateway: Gateway, limit_nano: int) -> "Account":
        made = await asyncio.to_thread(gateway.new_key)
        budget = await asyncio.to_thread(
            gateway.ask,
            "POST",
            "/api/v1/budgets",
            {
                "name": made["id"],
                "scope": {"kind": "key", "id": made["id"]},
                "amount_usd": str(Decimal(limit_nano) / NANO),
                "window": "total",
                "mode": "hard",
            },
        )
        return cls(gateway, made["key"], made["id"], budget["id"], limit_nano)

    async def status(self) -> dict[str, Any]:
        return await asyncio.to_thread(self.gateway.ask, "GET", f"/api/v1/budgets/{self.budget_id}/status")

    async def rows(self) -> list[dict[str, Any]]:
        return await self.gateway.sql(
            "SELECT request_id, attempt, kind, status, end_user, is_estimated, charge_nano FROM usage_logs "
            "WHERE api_key_id = $1 ORDER BY created_at",
            _uuid(self.key_id),
        )

    async def spent_in_ledger(self) -> int:
        [row] = await self.gateway.sql(
            "SELECT coalesce(sum(spent_nano), 0)::bigint AS nano FROM budget_spend WHERE budget_id = $1",
            _uuid(self.budget_id),
        )
        return int(row["nano"])


@dataclass(frozen=True)
class Books:
    """Once nothing is under way any more."""

    rows: Sequence[dict[str, Any]]
    served: Sequence[dict[str, Any]]
    charged_nano: int


async def balance(account: Account, upstream: UpstreamProcess, *, seconds: float = _SHIPPED_SECONDS) -> Books:
    """Wait for the end of all holds; then spent = ledger = what the upstream served, each call exactly once."""
    word = _word_of(account)

    async def is_at_rest() -> bool:
        status = await account.status()
        charged = sum(row["charge_nano"] or 0 for row in await account.rows())
        served = {entry["user"] for entry in upstream.log() if entry["user"].startswith(word)}
        known = {row["end_user"] for row in await account.rows()}
        figures = (_nano(status["spent_usd"]), await account.spent_in_ledger())
        seen.update(held=status["held_usd"], spent=figures, charged=charged, missing=served - known)
        return (
            bool(status["is_live"])
            and _nano(status["held_usd"]) == 0
            and figures == (charged, charged)
            and served <= known
            and not any(entry["ended"] is None for entry in upstream.log() if entry["user"].startswith(word))
        )

    seen: dict[str, Any] = {}
    try:
        await eventually(is_at_rest, seconds=seconds, what="holds 0, and spent = ledger")
    except AssertionError as error:
        raise AssertionError(f"{error}; seen last: {seen}") from None
    rows = await account.rows()
    entries = [entry for entry in upstream.log() if entry["user"].startswith(word)]
    _check_each_once(rows, entries)
    return Books(rows, entries, sum(row["charge_nano"] or 0 for row in rows))


def _check_each_once(rows: Sequence[dict[str, Any]], entries: Sequence[dict[str, Any]]) -> None:
    served = Counter(entry["user"] for entry in entries)
    assert max(served.values(), default=1) == 1, "the gateway sent a call twice"
    first = Counter(row["end_user"] for row in rows if row["kind"] != "correction")
    assert max(first.values(), default=1) == 1, f"rows twice: {[user for user, count in first.items() if count > 1]}"
    surplus = [row for row in rows if row["end_user"] not in served and not _is_unsent(row)]
    assert {row["kind"] for row in surplus} <= {"interrupted", "correction"}, surplus
    charged = Counter[str]()
    is_exact: dict[str, bool] = {}
    for row in rows:
        charged[row["end_user"]] += row["charge_nano"] or 0
        # A correction tells the truth about what was interrupted.
        is_exact[row["end_user"]] = is_exact.get(row["end_user"], False) or not row["is_estimated"]
    wrong = [
        (entry, charged[entry["user"]])
        for entry in entries
        if entry["outcome"] == "served" and is_exact[entry["user"]] and charged[entry["user"]] != cost_nano(entry)
    ]
    assert not wrong, f"charged otherwise than the vendor's usage: {wrong[:3]}"


def _is_unsent(row: dict[str, Any]) -> bool:
    """Its caller left before the request did: the row says so, and that nothing was taken."""
    return row["status"] == "cancelled" and row["charge_nano"] == 0 and not row["is_estimated"]


def verify_ledger(gateway: Gateway) -> dict[str, Any]:
    """`tollkeeper ledger verify`, in a process of its own."""
    done = subprocess.run(
        gateway.command("ledger", "verify", "--json"),
        cwd=gateway.folder,
        env=clean_environment(TOLLKEEPER_DATA_DIR=str(gateway.data_dir)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def user_of(account: Account, number: int | str) -> str:
    """The `user` of a call, by which ledger and upstream know it."""
    return f"{_word_of(account)}{number}"


def _word_of(account: Account) -> str:
    return f"{account.key_id}."


def _uuid(public_id: str) -> str:
    return public_id.rpartition("_")[2]


def _nano(usd: str | None) -> int:
    return -1 if usd is None else int(Decimal(usd) * NANO)
