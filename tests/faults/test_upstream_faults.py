"""Callers that leave and vendors that fail, over the whole product: statuses, failover, error events, and one row each."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.calls import Call, Caller, new_name, read_events, shipped
from tests.faults.gateway import Gateway, UpstreamProcess, eventually

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-upstream")]

# The promise is 250 ms; the machine of a test may be busy.
CANCELLED_SECONDS = 1.0


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway()


@pytest.fixture(autouse=True)
def _nothing_held_against_vendors(gateway: Gateway) -> None:
    """Each test begins with breakers, pauses and quarantines as at the start."""
    for provider in ("up", "dead"):
        gateway.ask("POST", "/api/v1/router/breakers/reset", {"provider": provider})


async def only_row(gateway: Gateway, user: str) -> dict[str, Any]:
    """The one row of a call; a second one would have come along with it."""
    rows = await shipped(gateway, user, 1)
    await asyncio.sleep(0.5)
    rows = await gateway.ledger(user)
    assert len(rows) == 1, rows
    return rows[0]


async def left_at(upstream: UpstreamProcess, user: str) -> float:
    """When the vendor saw the gateway leave this call."""

    def look() -> float | None:
        [served] = upstream.find(user)
        return served["ended"] if served["outcome"] == "left" else None

    moment: float = await eventually(look, seconds=5, what="the upstream sees the cancel")
    return moment


# ── The caller leaves ──


async def test_caller_gone_in_mid_stream_cancels_the_upstream_and_is_settled_once(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    call = Call(new_name("mid-stream"))
    async with Caller(gateway.origin, gateway.key) as caller:
        async with caller.open("up-stream300x30", call) as answer:
            seen = 0
            async for _ in read_events(answer):
                seen += 1
                if seen == 6:
                    break
            gone = time.monotonic()
            answer.close()
        assert await left_at(upstream, call.user) - gone < CANCELLED_SECONDS
    row = await only_row(gateway, call.user)
    assert (row["kind"], row["status"], row["http_status"]) == ("settled", "cancelled", 200) or row[
        "http_status"
    ] == 499
    assert row["is_estimated"]
    [served] = upstream.find(call.user)
    # What was relayed, and not what would have come.
    assert 1 <= row["output_tokens"] <= 4 * served["chunks"]


@pytest.mark.parametrize(("model", "is_stream"), [("up-wait5000-stream3x1", True), ("up-wait5000", False)])
async def test_caller_gone_before_the_first_byte_cancels_the_upstream_and_is_settled_once(
    gateway: Gateway, upstream: UpstreamProcess, model: str, is_stream: bool
) -> None:
    user = new_name("before")
    async with Caller(gateway.origin, gateway.key) as caller:
        waiting = asyncio.create_task(caller.call(model, user=user, is_stream=is_stream))
        await eventually(lambda: upstream.find(user), seconds=5, what="the call is with the upstream")
        gone = time.monotonic()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await left_at(upstream, user) - gone < CANCELLED_SECONDS
    row = await only_row(gateway, user)
    assert (row["kind"], row["status"]) == ("settled", "cancelled")


async def test_many_callers_gone_at_once_leave_nothing_open(gateway: Gateway, upstream: UpstreamProcess) -> None:
    word = new_name("crowd")
    async with Caller(gateway.origin, gateway.key) as caller:
        waiting = [
            asyncio.create_task(caller.call("up-stream200x20", user=f"{word}-{number}", is_stream=True))
            for number in range(20)
        ]
        await eventually(
            lambda: len([entry for entry in upstream.log() if entry["user"].startswith(word)]) == 20,
            seconds=10,
            what="all are with the upstream",
        )
        for number, task in enumerate(waiting):
            await asyncio.sleep(0.01 * (number % 3))
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    await eventually(
        lambda: all(entry["outcome"] == "left" for entry in upstream.log() if entry["user"].startswith(word)),
        seconds=5,
        what="the upstream was left by all",
    )
    rows = await shipped(gateway, word, 20)
    assert len(rows) == 20
    assert {(row["kind"], row["status"]) for row in rows} == {("settled", "cancelled")}


# ── The vendor fails ──


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("dead", 502, None),
        ("up-hang", 504, "upstream_timeout"),
        ("up-garbage", 502, None),
        ("up-nonsense", 502, None),
        ("up-status500", 502, "upstream_error"),
        ("up-status503", 503, "upstream_error"),
        ("up-status401", 502, "upstream_authentication"),
        ("up-status429", 429, "rate_limit_exceeded"),
    ],
)
async def test_failing_vendor_is_a_status_in_openai_shape(
    gateway: Gateway, model: str, status: int, code: str | None, is_stream: bool
) -> None:
    user = new_name(f"fails-{model}")
    async with Caller(gateway.origin, gateway.key) as caller:
        call = await caller.call(model, user=user, is_stream=is_stream)
    assert (call.status, call.fault) == (status, None), call
    assert call.error is not None
    assert call.error.keys() >= {"message", "type", "param", "code"}
    assert code is None or call.code == code
    assert call.headers["x-request-id"].startswith("req_")
    assert "127.0.0.1" not in call.error["message"]
    row = await only_row(gateway, user)
    assert (row["kind"], row["status"], row["http_status"]) == ("settled", "error", status)
    # Refused, or never reached: nothing to pay. Without an answer the vendor may have worked.
    if model in {"dead", "up-status500", "up-status503", "up-status401", "up-status429"}:
        assert row["cost_nano"] == 0
    # A repeat where the first was for nothing, and nobody asked for a pause.
    assert call.headers.get("x-tollkeeper-attempts", "1") in {"1", "2"}


async def test_whole_answer_cut_off_is_no_success(gateway: Gateway) -> None:
    user = new_name("cut-whole")
    async with Caller(gateway.origin, gateway.key) as caller:
        call = await caller.call("up-cut0", user=user)
    assert (call.status, call.is_whole) == (502, False)
    assert (await only_row(gateway, user))["status"] == "error"


async def test_stream_cut_after_the_first_token_ends_with_an_error_event(gateway: Gateway) -> None:
    user = new_name("cut-stream")
    async with Caller(gateway.origin, gateway.key) as caller:
        call = await caller.call("up-stream20x5-cut4", user=user, is_stream=True)
    assert (call.status, call.fault, call.is_whole) == (200, None, False), call
    assert call.text == "word0 word1 word2 word3 "
    assert call.error is not None
    assert call.error.keys() >= {"message", "type", "param", "code"}
    row = await only_row(gateway, user)
    assert (row["kind"], row["status"], row["is_estimated"]) == ("settled", "error", True)
    assert row["output_tokens"] > 0


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("model", ["spare", "spare-500", "spare-garbage", "spare-hang", "spare-cut0"])
async def test_second_target_answers_and_the_caller_notices_nothing(
    gateway: Gateway, upstream: UpstreamProcess, model: str, is_stream: bool
) -> None:
    user = new_name(model)
    async with Caller(gateway.origin, gateway.key) as caller:
        call = await caller.call(model, user=user, is_stream=is_stream)
    assert (call.status, call.is_whole, call.error) == (200, True, None), call
    assert call.headers["x-tollkeeper-provider"] == "up"
    assert call.headers["x-tollkeeper-attempts"] == "2"
    assert [entry["outcome"] for entry in upstream.find(user)][-1:] == ["served"]
    rows = await shipped(gateway, user, 1)
    served = [row for row in rows if row["status"] == "ok"]
    assert [(row["attempt"], row["kind"]) for row in served] == [(2, "settled")]
    if model in {"spare", "spare-500"}:
        # Known not to be billed: the first attempt leaves no row.
        assert len(rows) == 1
    records = gateway.ask("GET", "/api/v1/usage/records?limit=50")["data"]
    assert [record["status"] for record in records if record["request_id"] == call.headers["x-request-id"]] == ["ok"]


async def test_no_second_target_after_the_first_token(gateway: Gateway, upstream: UpstreamProcess) -> None:
    user = new_name("no-second")
    async with Caller(gateway.origin, gateway.key) as caller:
        call = await caller.call("spare-cut3", user=user, is_stream=True)
    assert (call.status, call.is_whole, call.text) == (200, False, "word0 word1 word2 ")
    assert call.error is not None
    assert len(upstream.find(user)) == 1
    assert (await only_row(gateway, user))["status"] == "error"


async def test_gateway_serves_on_after_all_of_it(gateway: Gateway) -> None:
    async with Caller(gateway.origin, gateway.key) as caller:
        calls = await asyncio.gather(*(caller.call(is_stream=bool(number % 2)) for number in range(30)))
    assert all(call.is_whole for call in calls)
    assert b"call_failed" not in gateway.log_path.read_bytes()
    assert b"Traceback" not in gateway.log_path.read_bytes()
