"""A run on a real gateway of two workers: its budget holds over both, and the ledger tells what it has cost."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.faults.gateway import Gateway, UpstreamProcess, eventually

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-runs")]

# 10 tokens in, 5 out, at a thousandth and two thousandths of a cent each.
CALL_NANO = 20_000
CALLS = 100


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway(workers=2)


async def call(client: httpx.AsyncClient, token: str, user: str, **headers: str) -> tuple[int, str | None]:
    body = {"model": "up-wait5", "max_tokens": 5, "user": user, "messages": [{"role": "user", "content": "hi"}]}
    for _ in range(5):
        answer = await client.post(
            "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {token}", **headers}
        )
        if answer.status_code != 503:
            break
        # A crowded machine is late for the first look at a key or a counter.
        await asyncio.sleep(0.2)
    return answer.status_code, None if answer.status_code == 200 else answer.json()["error"]["code"]


async def cost_nano(gateway: Gateway, run_id: str) -> int:
    rows = await gateway.sql("SELECT coalesce(sum(charge_nano), 0) AS nano FROM usage_logs WHERE run_id = $1", run_id)
    return int(rows[0]["nano"])


async def test_budget_of_a_run_is_hard_on_all_workers_and_for_all_its_run_keys(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    key, user, run_id = gateway.new_key(), uuid4().hex, f"run_{uuid4().hex}"
    budget = {"run_id": run_id, "budget_usd": f"{CALL_NANO * CALLS / 1e9:.9f}"}
    # Two run keys of one run: neither brings more money.
    tokens = [gateway.ask("POST", f"/api/v1/keys/{key['id']}/runs", budget)["key"] for _ in range(2)]
    async with httpx.AsyncClient(base_url=gateway.origin, timeout=30) as client:
        said: Counter[tuple[int, str | None]] = Counter(
            await asyncio.gather(*(call(client, tokens[n % 2], user) for n in range(120)))
        )
        # What holds were larger than bills is there again, for one call after the other.
        while (last := await call(client, tokens[0], user))[0] == 200:
            said[last] += 1
        assert last == (429, "insufficient_quota")
        assert said.keys() <= {(200, None), (429, "insufficient_quota")}
        served = said[200, None]
        assert served == len(upstream.find(user))
        assert 0 < served <= CALLS
        # The run's money is not its parent's.
        assert await call(client, key["key"], uuid4().hex) == (200, None)

    async def is_shipped() -> bool:
        return await cost_nano(gateway, run_id) == served * CALL_NANO

    await eventually(is_shipped, seconds=20, what="the run's calls are in the ledger")
    grouped = gateway.get("/api/v1/usage", group_by="run_id", run_id=run_id).json()
    [row] = [row for row in grouped["data"] if row["run_id"] == run_id]
    assert (row["requests"], row["cost_usd"]) == (served, f"{served * CALL_NANO / 1e9:.9f}".rstrip("0"))


async def test_a_call_with_an_idempotency_key_is_made_once_on_all_workers(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    key, user, name = gateway.new_key(), uuid4().hex, uuid4().hex
    said: list[Any] = []
    # A connection each, so that both workers are asked.
    for _ in range(3):
        async with httpx.AsyncClient(base_url=gateway.origin, timeout=30) as client:
            said += await asyncio.gather(
                *(call(client, key["key"], user, **{"idempotency-key": name}) for _ in range(10))
            )
    assert [status for status, _ in said].count(200) == 1
    assert {code for status, code in said if status != 200} <= {"in_progress", "already_done"}
    assert len(upstream.find(user)) == 1
