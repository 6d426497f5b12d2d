"""Hard budgets while Redis or PostgreSQL is dead, stalled or emptied: never overspent, refused where nothing is known."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from signal import SIGKILL
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.faults import processes
from tests.faults.calls import new_name
from tests.faults.gateway import Gateway, UpstreamProcess, eventually
from tests.faults.test_postgres_gone import is_ok, stopped

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-budgets")]

# What the upstream takes for one call: 10 tokens of the prompt, 5 of the answer.
CALL_NANO = 20_000


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway(workers=2)


@dataclass
class Spender:
    """A key under one budget."""

    gateway: Gateway
    key: str
    budget_id: str
    session: aiohttp.ClientSession
    word: str

    async def call(self, number: int = 0) -> tuple[int, str | None, Any]:
        document = {
            "model": "up-ok",
            "messages": [{"role": "user", "content": "say five words"}],
            "max_tokens": 5,
            "user": f"{self.word}.{number}",
        }
        headers = {"authorization": f"Bearer {self.key}"}
        async with self.session.post(
            f"{self.gateway.origin}/v1/chat/completions", json=document, headers=headers
        ) as answer:
            body = json.loads(await answer.read())
            return answer.status, body.get("error", {}).get("code"), answer.headers

    async def served(self, count: int) -> None:
        """So many calls answered; a busy machine may be late for a look-up, which is a 503."""
        for _ in range(count):
            await eventually(self.is_served, seconds=15, what="a call is served")

    async def is_served(self) -> bool:
        return (await self.call())[0] == 200

    async def answers(self, code: str) -> Any:
        """The headers of an answer with this code, once there is one."""

        async def ask() -> Any:
            _, told, headers = await self.call()
            return headers if told == code else None

        return await eventually(ask, seconds=15, what=code)

    async def ledger_nano(self) -> int:
        return sum(row["cost_nano"] for row in await self.gateway.ledger(self.word))

    async def is_settled(self) -> bool:
        """Nothing is held, and what is spent is what the ledger says."""
        status = await asyncio.to_thread(self.gateway.get, f"/api/v1/budgets/{self.budget_id}/status")
        if status.status_code != 200:
            return False
        told = status.json()
        if told["held_usd"] is None or Decimal(told["held_usd"]):
            return False
        return Decimal(told["spent_usd"]) == Decimal(await self.ledger_nano()) / 10**9


@asynccontextmanager
async def spending(gateway: Gateway, amount_nano: int, *, mode: str = "hard") -> AsyncIterator[Spender]:
    made = await asyncio.to_thread(gateway.new_key)
    amount = f"{Decimal(amount_nano) / 10**9:f}"
    scope = {"kind": "key", "id": made["id"]}
    budget = await asyncio.to_thread(
        gateway.ask,
        "POST",
        "/api/v1/budgets",
        {"scope": scope, "amount_usd": amount, "window": "total", "mode": mode},
    )
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield Spender(gateway, made["key"], budget["id"], session, new_name("budget"))


async def flush(gateway: Gateway) -> None:
    address = json.loads((gateway.data_dir / "valkey" / "address.json").read_text())
    password = (gateway.data_dir / "valkey" / "password").read_text().strip()
    url = f"redis://:{password}@127.0.0.1:{address['port']}/0"
    async with Redis.from_url(url) as client:
        await client.flushall()


async def budgets_mode(gateway: Gateway) -> str:
    report = await asyncio.to_thread(gateway.ready)
    message: str = report["dependencies"]["budgets"]["message"]
    return message.partition(":")[0]


async def test_a_killed_valkey_comes_back_with_counters_equal_to_the_ledger(gateway: Gateway) -> None:
    async with spending(gateway, 500 * CALL_NANO) as spender:
        await spender.served(4)

        victim = gateway.valkey_pid()
        processes.send(victim, SIGKILL)
        await eventually(lambda: gateway.valkey_pid() != victim, seconds=15, what="Valkey is started again")
        await spender.served(2)

        await eventually(spender.is_settled, seconds=15, what="nothing held, spent = ledger")
        assert await spender.ledger_nano() == 6 * CALL_NANO
    assert await eventually(lambda: is_ok(gateway), seconds=10, what="ready")
    assert await budgets_mode(gateway) == "exact"


async def test_a_stalled_valkey_refuses_under_hard_budgets_and_never_under_soft_ones(gateway: Gateway) -> None:
    async with spending(gateway, 50 * CALL_NANO) as hard, spending(gateway, CALL_NANO, mode="soft") as soft:
        await hard.served(2)
        await soft.served(2)
        with stopped([gateway.valkey_pid()]):
            headers = await hard.answers("budget_unavailable")
            mode = await eventually(lambda: _degraded_mode(gateway), seconds=10, what="/health/ready tells")
            await soft.served(3)
        await eventually(lambda: is_ok(gateway), seconds=10, what="ready again")
        await hard.served(1)
        await eventually(hard.is_settled, seconds=15, what="nothing held, spent = ledger")
        await eventually(soft.is_settled, seconds=15, what="nothing held, spent = ledger")
    assert int(headers["retry-after"]) >= 1
    assert mode == "refused"


async def _degraded_mode(gateway: Gateway) -> str | None:
    mode = await budgets_mode(gateway)
    return None if mode == "exact" else mode


async def test_flushes_under_load_overspend_nothing(gateway: Gateway, upstream: UpstreamProcess) -> None:
    budget = 30 * CALL_NANO
    async with spending(gateway, budget) as spender:

        async def press(number: int) -> None:
            for turn in range(8):
                await spender.call(100 * number + turn)

        async def flush_often() -> None:
            for _ in range(5):
                await asyncio.sleep(0.1)
                await flush(gateway)

        await asyncio.gather(flush_often(), *[press(number) for number in range(12)])

        await eventually(spender.is_settled, seconds=20, what="nothing held, spent = ledger")
        assert 0 < await spender.ledger_nano() <= budget
        assert (
            len([entry for entry in upstream.log() if entry["user"].startswith(spender.word)]) * CALL_NANO
            == await spender.ledger_nano()
        )


async def test_without_postgresql_budgets_are_exact_until_redis_is_emptied_too(gateway: Gateway) -> None:
    async with spending(gateway, 500 * CALL_NANO) as spender:
        await spender.served(2)
        with stopped(gateway.postgres_pids()):
            await spender.served(3)
            await flush(gateway)
            headers = await spender.answers("budget_unavailable")
        await spender.served(1)
        await eventually(spender.is_settled, seconds=20, what="nothing held, spent = ledger")
        assert await spender.ledger_nano() == 6 * CALL_NANO
    assert int(headers["retry-after"]) >= 1
