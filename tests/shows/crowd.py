"""Many callers at once who do what callers do: wait for the whole, stream, or leave in the middle. Seeded."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.shows.accounts import Account, user_of


@dataclass(frozen=True)
class Plan:
    """`leaves_after`: seconds until the caller hangs up; None: stays to the end."""

    number: int
    model: str
    is_stream: bool
    starts_after: float = 0.0
    leaves_after: float | None = None
    max_tokens: int | None = None


@dataclass
class Outcome:
    plan: Plan
    status: int | None = None
    code: str | None = None
    is_whole: bool = False


def plan_crowd(
    seed: int, count: int, models: Sequence[tuple[str, bool]], *, spread: float, leaving: float, max_tokens: int | None
) -> list[Plan]:
    """`leaving`: the part of them that hangs up, sooner or later within `spread` seconds."""
    dice = random.Random(seed)
    plans = []
    for number in range(count):
        model, is_stream = dice.choice(models)
        leaves = dice.uniform(0.001, spread + 0.2) if dice.random() < leaving else None
        plans.append(Plan(number, model, is_stream, dice.uniform(0, spread), leaves, max_tokens))
    return plans


async def run_crowd(account: Account, plans: Sequence[Plan], *, also: Callable[[], Any] | None = None) -> list[Outcome]:
    """All of them at once; `also` is awaited among them."""
    headers = {"authorization": f"Bearer {account.key}"}
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        calls = [_play(session, account, plan) for plan in plans]
        extra = [] if also is None else [also()]
        outcomes = await asyncio.gather(*calls, *extra)
    return outcomes[: len(plans)]


def statuses(outcomes: Sequence[Outcome]) -> Counter[tuple[int | None, str | None]]:
    return Counter((outcome.status, outcome.code) for outcome in outcomes)


async def _play(session: aiohttp.ClientSession, account: Account, plan: Plan) -> Outcome:
    await asyncio.sleep(plan.starts_after)
    outcome = Outcome(plan)
    # Who leaves has no outcome but what was there until then.
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(plan.leaves_after):
            await _call(session, account, plan, outcome)
    return outcome


async def _call(session: aiohttp.ClientSession, account: Account, plan: Plan, outcome: Outcome) -> None:
    document = {
        "model": plan.model,
        "messages": [{"role": "user", "content": "say some words"}],
        "user": user_of(account, plan.number),
        **({"stream": True} if plan.is_stream else {}),
        **({"max_tokens": plan.max_tokens} if plan.max_tokens is not None else {}),
    }
    async with session.post(f"{account.gateway.origin}/v1/chat/completions", json=document) as answer:
        outcome.status = answer.status
        body = await answer.read()
    if answer.status != 200:
        outcome.code = json.loads(body)["error"]["code"]
    else:
        outcome.is_whole = body.endswith(b"data: [DONE]\n\n") if plan.is_stream else b'"choices"' in body
