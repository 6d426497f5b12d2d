"""A hard budget from the call to the counters: the pipeline, the admission and a real Redis together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.gateway.conftest import vendor
from tests.gateway.serving import KEY, PRICE, TENANT, Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import DONE, FakeUpstream, chunk, event, good_stream, stream
from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import Worker, hard_budget
from tollkeeper.gateway.money.appraiser import Appraiser
from tollkeeper.gateway.money.terms import Asked, counter_key

__all__ = ["vendor"]

WORDS = 200
IN_NANO, OUT_NANO = PRICE.input // 1000, PRICE.output // 1000
CALL_NANO = 10 * IN_NANO + WORDS * OUT_NANO
BUDGET = hard_budget(10 * CALL_NANO, TENANT)


@pytest.fixture
async def worker(open_worker: OpenWorker) -> Worker:
    return await open_worker()


@pytest.fixture
async def gateway(tmp_path: Path, worker: Worker, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    """Its vendor answers with 200 words, asked for or not, and stops when nobody listens."""
    usage = {"prompt_tokens": 10, "completion_tokens": WORDS, "total_tokens": 10 + WORDS}
    parts = [*good_stream(*[" the"] * WORDS)[:-2], event(chunk(None, usage=usage)), DONE]
    vendor.script = stream(*parts, pause=0.0005)
    one = provider("one", vendor.base_url, options={"cancel_stops_billing": True, "visible_output": True})
    snap = snapshot([one], [route("gpt-4o-mini", ("one", "gpt-4o-mini"))])
    admission = worker.admission
    async with serving(
        tmp_path / "gateway", snap, admission=admission, appraise=Appraiser(), holds=admission
    ) as running:
        running.keys.add(KEY, budgets=(BUDGET,))
        yield running


async def held_nano(worker: Worker, gateway: Serving) -> int:
    """What Redis has against the budget: no row is shipped here, so it is all of it."""
    await worker.flushed()
    who = gateway.keys.record(KEY).principal
    (terms,) = worker.admission.terms(who, Asked("gpt-4o-mini", "chat/completions", "one"))
    (ref,) = terms.refs
    return int(await worker.link.call("HGET", counter_key(TENANT, ref), "h") or 0)


@pytest.mark.parametrize("is_stream", [True, False], ids=["streams", "whole"])
async def test_calls_without_a_cap_never_spend_more_than_the_budget_and_use_it_up(
    gateway: Serving, worker: Worker, is_stream: bool
) -> None:
    body = chat(stream=is_stream)
    answers = await asyncio.gather(*(gateway.post(body=body) for _ in range(30)))
    for _ in range(12):
        answers.append(await gateway.post(body=body))
    assert {answer.status_code for answer in answers} == {200, 429}
    served = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.json()["error"]["code"] for answer in refused} == {"insufficient_quota"}
    assert {answer.headers["x-should-retry"] for answer in refused} == {"false"}
    rows = await gateway.settled(len(served))
    spent = sum(row.charge_nano or 0 for row in rows)
    assert spent <= BUDGET.amount_nano
    assert spent > BUDGET.amount_nano * 3 // 4, "used up as far as answers go"
    assert await held_nano(worker, gateway) == spent, "nothing but what was charged stands in Redis"
    assert gateway.metrics.registry.get_sample_value("tollkeeper_hold_exceeded_total") == 0


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
async def test_an_answer_without_end_is_cut_where_the_budget_ends(
    gateway: Serving, worker: Worker, vendor: FakeUpstream, is_stream: bool
) -> None:
    vendor.script = stream(*good_stream(*[" the"] * 20_000)[:-2], pause=0.0002)
    answer = await gateway.post(body=chat(stream=is_stream))
    assert answer.status_code == 200
    assert '"finish_reason":"length"' in answer.text
    (row,) = await gateway.settled()
    assert row.usage.is_estimated
    assert BUDGET.amount_nano // 2 < (row.charge_nano or 0) <= BUDGET.amount_nano
    assert gateway.metrics.registry.get_sample_value("tollkeeper_hold_exceeded_total") == 0
    assert await held_nano(worker, gateway) == row.charge_nano


async def test_callers_that_leave_at_any_time_leave_nothing_held(gateway: Serving, worker: Worker) -> None:
    async def leave(seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(gateway.post(body=chat(stream=True)), seconds)

    await gateway.post()
    await asyncio.gather(*(leave(0.02 * number) for number in range(1, 20)))

    async def is_settled() -> bool:
        charges = sum(row.charge_nano or 0 for row in gateway.settlements)
        return await held_nano(worker, gateway) == charges

    async with asyncio.timeout(10):
        while not await is_settled():
            await asyncio.sleep(0.02)
    assert CALL_NANO <= await held_nano(worker, gateway) <= BUDGET.amount_nano
