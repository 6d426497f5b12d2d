"""Kills, flushes and drains in the middle of traffic under a hard budget: every served call has exactly one row, and the
counters are the ledger's.
"""

import asyncio
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.faults import processes
from tests.faults.gateway import UNHURRIED, Gateway, UpstreamProcess, eventually
from tests.faults.lines import know_key
from tests.faults.test_budgets import flush
from tests.shows.accounts import IS_FULL, NANO, Account, balance, money_config, verify_ledger
from tests.shows.crowd import Plan, plan_crowd, run_crowd

pytestmark = [pytest.mark.fault]

WORKERS: Final = 2
# In every run each kind once, in another order; with --full a thousand of them.
_TURNS: Final = 1_000 if IS_FULL else 0
_SEED: Final = 11
_CALLERS: Final = 60
_SPREAD_SECONDS: Final = 1.5
_MODELS: Final = (("up-ok", False), ("up-wait60", False), ("up-stream8x20", True), ("up-stream20x30", True))
# A dead worker's journal is adopted, or its records are settled, in seconds; drains of what nobody waits for take longer.
_SETTLED_SECONDS: Final = 60.0
_SERVED_SECONDS: Final = 40.0


@pytest.fixture(scope="module")
async def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    gateway = new_gateway(is_started=False, workers=WORKERS, environment=UNHURRIED)
    gateway.write_config(money_config(gateway.read_config()))
    gateway.start()
    await know_key(gateway)
    return gateway


def _kill_worker(gateway: Gateway, dice: random.Random) -> None:
    processes.send(dice.choice(gateway.worker_pids()), signal.SIGKILL)


def _kill_workers(gateway: Gateway, dice: random.Random) -> None:
    for pid in gateway.worker_pids():
        processes.send(pid, signal.SIGKILL)


def _kill_postgres(gateway: Gateway, dice: random.Random) -> None:
    processes.send(gateway.postmaster_pid(), signal.SIGKILL)


def _kill_redis(gateway: Gateway, dice: random.Random) -> None:
    processes.send(gateway.valkey_pid(), signal.SIGKILL)


def _flush(gateway: Gateway, dice: random.Random) -> None:
    asyncio.run(flush(gateway))


def _drain(gateway: Gateway, dice: random.Random) -> None:
    gateway.terminate()
    gateway.wait(60)
    gateway.start()


def _lose_worker(gateway: Gateway, dice: random.Random) -> None:
    """Its journal goes with it: what it had not shipped is known to Redis alone."""
    pid = dice.choice(gateway.worker_pids())
    processes.send(pid, signal.SIGSTOP)
    for path in _journals_of(gateway, pid):
        path.unlink()
    processes.send(pid, signal.SIGKILL)


def _journals_of(gateway: Gateway, pid: int) -> list[Path]:
    folder = gateway.data_dir / "journal"
    targets = {link.resolve() for link in Path(f"/proc/{pid}/fd").iterdir() if link.exists()}
    return [path for path in targets if path.is_relative_to(folder)]


FAULTS: Final = (_kill_worker, _kill_workers, _kill_postgres, _kill_redis, _flush, _drain, _lose_worker)


def _turns() -> list[Callable[[Gateway, random.Random], None]]:
    dice = random.Random(_SEED)
    if not _TURNS:
        return dice.sample(FAULTS, len(FAULTS))
    # One kill in ten takes the journal along.
    return [dice.choice(FAULTS[:-1]) if dice.random() > 0.1 else _lose_worker for _ in range(_TURNS)]


async def _serves(account: Account) -> None:
    """A call is answered again, however long a start takes."""

    async def is_served() -> bool:
        numbers.append(len(numbers))
        [outcome] = await run_crowd(account, [Plan(10_000_000 * 10 + turn * 1_000 + len(numbers), "up-ok", False)])
        return outcome.is_whole

    turn, numbers = random.randrange(10**6), list[int]()
    await eventually(is_served, seconds=_SERVED_SECONDS, what="a call is served again")


async def test_every_served_call_has_one_row_whatever_is_killed(gateway: Gateway, upstream: UpstreamProcess) -> None:
    dice = random.Random(_SEED)
    account = await Account.open(gateway, 100 * NANO)
    for number, fault in enumerate(_turns()):
        turn = await Account.open(gateway, NANO)

        async def strike(fault: Callable[[Gateway, random.Random], None] = fault) -> None:
            await asyncio.sleep(dice.uniform(0.2, _SPREAD_SECONDS))
            await asyncio.to_thread(fault, gateway, dice)

        plans = plan_crowd(
            _SEED * 1_000 + number, _CALLERS, _MODELS, spread=_SPREAD_SECONDS, leaving=0.2, max_tokens=64
        )
        await run_crowd(turn, plans, also=strike)
        await _serves(account)
        books = await balance(turn, upstream, seconds=_SETTLED_SECONDS)
        assert books.served, fault.__name__
    await balance(account, upstream, seconds=_SETTLED_SECONDS)

    verified = await asyncio.to_thread(verify_ledger, gateway)
    assert verified["budgets"]["wrong"] == []
