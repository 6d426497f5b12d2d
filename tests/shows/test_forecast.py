"""Near a limit and without `max_tokens`: who can pay is let in, and nobody spends what is not there."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

import pytest

from tests.faults.gateway import UNHURRIED, Gateway, UpstreamProcess
from tests.faults.lines import know_key
from tests.shows.accounts import IS_FULL, NANO, Account, balance, money_config
from tests.shows.crowd import Outcome, Plan, run_crowd, statuses

pytestmark = [pytest.mark.fault]

PARALLEL: Final = 32
# Calls whose cost is left: what a caller may rightly expect to be served.
LEFT: Final = 100
# Enough for each worker to have seen twenty of them: what it knows is its own.
_LEARNED: Final = 160
# Answers of 50 to 150 tokens, a hundred a second.
# The name of a family whose tokens are counted; of one that nobody knows a token a byte is held.
MODEL: Final = "gpt-4o-cut-mixed150x10"
_ROUNDS: Final = range(20 if IS_FULL else 1)


@pytest.fixture(scope="module")
async def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    gateway = new_gateway(is_started=False, workers=2, environment=UNHURRIED)
    gateway.write_config(money_config(gateway.read_config()))
    gateway.start()
    await know_key(gateway)
    return gateway


def plans(dice: random.Random, count: int, first: int = 0) -> list[Plan]:
    """Half of them streamed to the caller."""
    return [Plan(first + number, MODEL, is_stream=dice.random() < 0.5) for number in range(count)]


async def by_turns(account: Account, all_plans: list[Plan]) -> list[Outcome]:
    """Never more than `PARALLEL` at once."""
    waiting = iter(all_plans)

    async def caller() -> list[Outcome]:
        return [(await run_crowd(account, [plan]))[0] for plan in waiting]

    return [outcome for some in await asyncio.gather(*[caller() for _ in range(PARALLEL)]) for outcome in some]


@pytest.mark.parametrize("seed", _ROUNDS)
async def test_calls_without_a_cap_are_admitted_while_there_is_money(
    gateway: Gateway, upstream: UpstreamProcess, seed: int
) -> None:
    dice = random.Random(seed)
    before = await Account.open(gateway, 1_000 * NANO)
    await by_turns(before, plans(dice, _LEARNED))
    learned = await balance(before, upstream)
    mean_nano = learned.charged_nano // len(learned.rows)

    account = await Account.open(gateway, LEFT * mean_nano)
    # Half of what is left: all of them can be paid.
    outcomes = await by_turns(account, plans(dice, LEFT // 2))
    assert (await balance(account, upstream)).charged_nano <= account.limit_nano
    admitted = sum(outcome.is_whole for outcome in outcomes)

    # And as many again as there is money for.
    await by_turns(account, plans(dice, 2 * LEFT, first=LEFT))
    books = await balance(account, upstream)
    assert books.charged_nano <= account.limit_nano
    assert admitted >= 0.95 * len(outcomes), statuses(outcomes)

    # What they have left, because all were gone before holds came back, is there for who asks now.
    turn = 0
    while (await run_crowd(account, [Plan(10_000 + turn, MODEL, is_stream=False)]))[0].is_whole:
        turn += 1
    books = await balance(account, upstream)
    assert account.limit_nano - 4 * mean_nano <= books.charged_nano <= account.limit_nano
