"""200 callers at once against a budget for ten calls: never an eleventh, with Redis and with it killed in the middle."""

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from tests.faults import processes
from tests.faults.gateway import UNHURRIED, Gateway, UpstreamProcess
from tests.faults.lines import know_key
from tests.shows.accounts import FLAT_NANO, INPUT_NANO, IS_FULL, OUTPUT_NANO, Account, balance, money_config
from tests.shows.crowd import plan_crowd, run_crowd, statuses

pytestmark = [pytest.mark.fault]

ROUNDS: Final = range(100 if IS_FULL else 2)
CALLERS: Final = 200
AFFORDABLE: Final = 10
# Each answers as fast as it can or takes its time, whole or streamed.
_FLAT: Final = (("flat-ok", False), ("flat-wait40", False), ("flat-stream6x10", True), ("flat-stream3", True))
_CHUNKS: Final = 8
_PRICED: Final = (("up-ok", False), ("up-wait40", False), (f"up-stream{_CHUNKS}x10", True), ("up-stream3", True))
# More than the prompt can be, by any way of counting.
_PROMPT_TOKENS: Final = 200
_SPREAD_SECONDS: Final = 0.3


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
async def gateway(request: pytest.FixtureRequest, new_gateway: Callable[..., Gateway]) -> Gateway:
    gateway = new_gateway(is_started=False, workers=request.param, environment=UNHURRIED)
    gateway.write_config(money_config(gateway.read_config()))
    gateway.start()
    await know_key(gateway)
    return gateway


async def _kill_redis(gateway: Gateway, after: float) -> None:
    await asyncio.sleep(after)
    processes.send(gateway.valkey_pid(), signal.SIGKILL)


@pytest.mark.parametrize("seed", ROUNDS)
@pytest.mark.parametrize("is_redis_killed", [False, True], ids=["Redis alive", "Redis killed"])
async def test_no_more_is_admitted_than_the_budget_has(
    gateway: Gateway, upstream: UpstreamProcess, seed: int, is_redis_killed: bool
) -> None:
    """Every call costs the same, whatever becomes of it: what was admitted is what the upstream saw."""
    account = await Account.open(gateway, AFFORDABLE * FLAT_NANO)
    await know_key(gateway, account.key)
    plans = plan_crowd(seed, CALLERS, _FLAT, spread=_SPREAD_SECONDS, leaving=0.3, max_tokens=16)
    fault = partial(_kill_redis, gateway, 0.05 + 0.02 * (seed % 10)) if is_redis_killed else None
    outcomes = await run_crowd(account, plans, also=fault)

    books = await balance(account, upstream)
    assert len(books.served) <= AFFORDABLE
    assert books.charged_nano <= account.limit_nano
    said = statuses(outcomes).keys()
    refused = {(429, "insufficient_quota")} | ({(503, "budget_unavailable")} if is_redis_killed else set())
    assert said <= {(200, None), (None, None)} | refused, said
    if not is_redis_killed:
        # Who hung up before the call was sent has taken nothing.
        assert len(books.served) >= AFFORDABLE // 2


@pytest.mark.parametrize("seed", ROUNDS)
@pytest.mark.parametrize("is_redis_killed", [False, True], ids=["Redis alive", "Redis killed"])
async def test_what_is_given_back_is_spent_again_and_never_twice(
    gateway: Gateway, upstream: UpstreamProcess, seed: int, is_redis_killed: bool
) -> None:
    """Calls cost less than was held for them, and what is left serves the next: to the nano-dollar, and not one more."""
    worst = _PROMPT_TOKENS * INPUT_NANO + _CHUNKS * OUTPUT_NANO
    account = await Account.open(gateway, AFFORDABLE * worst)
    await know_key(gateway, account.key)
    plans = plan_crowd(seed, CALLERS, _PRICED, spread=_SPREAD_SECONDS, leaving=0.3, max_tokens=_CHUNKS)
    fault = partial(_kill_redis, gateway, 0.05 + 0.02 * (seed % 10)) if is_redis_killed else None
    await run_crowd(account, plans, also=fault)

    books = await balance(account, upstream)
    assert books.charged_nano <= account.limit_nano
    if not is_redis_killed:
        assert len(books.served) >= AFFORDABLE // 2
