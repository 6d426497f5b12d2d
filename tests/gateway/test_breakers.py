"""Breakers, pauses and quarantines in front of real calls: who is asked, who is spared, what callers notice."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.gateway.serving import Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import (
    FakeUpstream,
    Script,
    answer_json,
    answer_raw,
    completion,
    good_stream,
    running_upstream,
    silent,
    stream,
)
from tollkeeper.contracts.catalog import Credential, Snapshot
from tollkeeper.contracts.routing import DEFAULT_BREAKER
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.routing.targets import Targets

DOWN = answer_json({"error": {"message": "boom"}}, 500)
BUSY = answer_json({"error": {"message": "slow"}}, 429, [("retry-after", "60")])
REFUSED = answer_json({"error": {"message": "no", "code": "invalid_api_key"}}, 401)

# Repeats that a provider's traffic pays for, and trials of a test that takes a minute on a busy machine.
MORE = 6


@dataclass
class Gated:
    """A model behind two vendors, and the gate in front of them."""

    gateway: Serving
    first: FakeUpstream
    second: FakeUpstream
    targets: Targets

    async def call(self, times: int = 1, model: str = "chat") -> list[int]:
        return [(await self.gateway.post(body=chat(model=model))).status_code for _ in range(times)]

    def pass_seconds(self, seconds: float) -> None:
        self.gateway.clock.ahead += seconds


@pytest.fixture
async def gated(tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Gated]:
    async with running_upstream() as second:
        snap = snapshot(
            [provider("one", vendor.base_url), provider("two", second.base_url)],
            [route("chat", ("one", "a"), ("two", "b")), route("alone", ("one", "lone"))],
        )
        # No jitter, and no call is lucky enough for the floor's share.
        targets = Targets(lambda: snap, chance=lambda: 0.5)
        async with serving(
            tmp_path, snap, gate=targets, upstream_first_byte_seconds=0.5, upstream_total_seconds=5
        ) as gateway:
            yield Gated(gateway, vendor, second, targets)


@pytest.mark.parametrize("script", [DOWN, answer_raw(b"")], ids=["500", "hangs up"])
async def test_a_dead_target_is_left_alone_and_no_call_fails(gated: Gated, script: Script) -> None:
    gated.first.script = script

    statuses = await gated.call(30)

    assert statuses == [200] * 30
    assert len(gated.first.seen) <= DEFAULT_BREAKER.failures + MORE
    assert len(gated.second.seen) == 30


async def test_a_silent_target_costs_few_calls_the_wait_for_its_first_byte(gated: Gated) -> None:
    gated.first.script = silent()
    gated.second.script = stream(*good_stream("whole"))

    answers = [await gated.gateway.post(body=chat(model="chat", stream=True)) for _ in range(15)]

    assert [answer.status_code for answer in answers] == [200] * 15
    assert len(gated.first.seen) <= DEFAULT_BREAKER.failures + MORE


async def test_a_target_that_recovers_gets_its_calls_back_within_its_open_time(gated: Gated) -> None:
    gated.first.script = DOWN
    await gated.call(10)
    asked = len(gated.first.seen)
    gated.pass_seconds(DEFAULT_BREAKER.open_seconds)
    assert await gated.call(3) == [200] * 3
    assert len(gated.first.seen) - asked in {1, 2}, "a trial failed, and there may have been time for another"
    asked = len(gated.first.seen)
    gated.first.script = answer_json(completion("well again"))

    gated.pass_seconds(DEFAULT_BREAKER.most_open_seconds)
    assert await gated.call(5) == [200] * 5

    assert len(gated.first.seen) == asked + 5
    assert {state for name, _, state in gated.targets.states(gated.gateway.clock.monotonic()) if name == "one"} == {
        "closed"
    }


async def test_retry_after_of_a_vendor_is_waited_for(gated: Gated) -> None:
    gated.first.script = BUSY
    assert await gated.call(5) == [200] * 5
    assert len(gated.first.seen) == 1

    gated.first.script = answer_json(completion())
    gated.pass_seconds(61)
    await gated.call(3)

    assert len(gated.first.seen) == 4


async def test_a_lone_target_that_asked_for_a_pause_is_a_429_until_then(gated: Gated) -> None:
    gated.first.script = BUSY

    answers = [await gated.gateway.post(body=chat(model="alone")) for _ in range(3)]

    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [
        (429, "rate_limit_exceeded")
    ] * 3
    assert len(gated.first.seen) == 1
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


async def test_a_lone_target_that_refused_our_credential_is_not_asked_again_at_once(gated: Gated) -> None:
    gated.first.script = REFUSED

    answers = [await gated.gateway.post(body=chat(model="alone")) for _ in range(3)]

    told = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert told == [(502, "upstream_authentication")] * 3
    assert len(gated.first.seen) == 1


async def test_a_lone_target_whose_account_has_no_credit_says_so_again(gated: Gated) -> None:
    gated.first.script = answer_json({"error": {"message": "pay", "code": "insufficient_quota"}}, 429)

    answers = [await gated.gateway.post(body=chat(model="alone")) for _ in range(3)]

    told = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert told == [(503, "upstream_quota")] * 3
    assert len(gated.first.seen) == 1


async def test_a_refused_credential_is_spared_and_its_sibling_serves(tmp_path: Path, vendor: FakeUpstream) -> None:
    bad, good = Credential(uuid7(), "bad-secret"), Credential(uuid7(), "good-secret")
    snap = snapshot([provider("one", vendor.base_url, credentials=(bad, good))], [route("chat", ("one", "a"))])
    served = answer_json(completion())

    async def by_secret(seen, writer):  # type: ignore[no-untyped-def]  # as `Script` has it
        is_bad = seen.header("authorization") == "Bearer bad-secret"
        return await (REFUSED if is_bad else served)(seen, writer)

    vendor.script = by_secret
    targets = Targets(lambda: snap)
    async with serving(tmp_path, snap, gate=targets) as gateway:
        statuses = [(await gateway.post(body=chat(model="chat"))).status_code for _ in range(10)]

    assert statuses == [200] * 10
    assert [seen.header("authorization") for seen in vendor.seen].count("Bearer bad-secret") == 1


async def test_when_every_breaker_is_open_each_reason_is_told(gated: Gated) -> None:
    gated.first.script = gated.second.script = BUSY
    await gated.call(1)

    answer = await gated.gateway.post(body=chat(model="chat"))

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_target_available"
    assert "one/a: paused" in answer.json()["error"]["message"]
    assert "two/b: paused" in answer.json()["error"]["message"]
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert len(gated.first.seen) == 1


async def test_a_lone_target_that_fails_now_and_then_still_gets_its_calls(gated: Gated) -> None:
    """Nothing can stand in for it: a breaker would make many failures out of some."""
    well, count = answer_json(completion()), 0

    async def shaky(seen, writer):  # type: ignore[no-untyped-def]  # as `Script` has it
        nonlocal count
        count += 1
        return await (DOWN if count % 5 < 3 else well)(seen, writer)

    gated.first.script = shaky
    statuses = await gated.call(60, model="alone")

    assert statuses.count(200) >= 20
    assert statuses.count(503) == 0


async def test_a_lone_target_that_is_dead_is_not_asked_again_and_again(gated: Gated) -> None:
    gated.first.script = DOWN

    statuses = await gated.call(40, model="alone")

    assert len(gated.first.seen) <= 2 * DEFAULT_BREAKER.failures + MORE
    assert statuses.count(503) >= 40 - 2 * DEFAULT_BREAKER.failures - MORE


async def test_a_stream_that_breaks_off_counts_against_its_target(gated: Gated) -> None:
    gated.first.script = stream(*good_stream("half an ans")[:1], ends=False)
    gated.second.script = stream(*good_stream("whole"))

    for _ in range(12):
        answer = await gated.gateway.post(body=chat(model="chat", stream=True))
        assert answer.status_code == 200

    assert len(gated.first.seen) <= DEFAULT_BREAKER.failures + MORE
    assert "whole" in answer.text


async def test_callers_mistakes_open_no_breaker(gated: Gated) -> None:
    gated.first.script = answer_json({"error": {"message": "bad", "code": "bad_value"}}, 400)
    assert await gated.call(20) == [400] * 20

    gated.first.script = answer_json(completion())

    assert await gated.call(1) == [200]
    assert gated.second.seen == []


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
async def test_a_caller_in_a_hurry_opens_no_breaker(gated: Gated, *, is_stream: bool) -> None:
    gated.first.script = silent()
    body = chat(model="chat", stream=is_stream)
    hasty = {"x-tollkeeper-timeout-ms": "100"}
    for _ in range(DEFAULT_BREAKER.failures + 1):
        assert (await gated.gateway.post(body=body, headers=hasty)).status_code in {408, 504}

    gated.first.script = answer_json(completion())

    assert await gated.call(1) == [200]
    assert gated.second.seen == []


@pytest.mark.parametrize(
    "told",
    [
        "Invalid value: 'Incorrect API key provided'. Supported values are: 'low' and 'high'.",
        "Unrecognized request argument supplied: invalid api key",
        "API key not valid: Extra inputs are not permitted",
    ],
)
async def test_a_caller_whose_text_a_vendor_repeats_does_not_speak_for_it(gated: Gated, told: str) -> None:
    gated.first.script = answer_json({"error": {"message": told}}, 400)
    assert await gated.call(4) == [400] * 4

    gated.first.script = answer_json(completion())

    assert await gated.call(1) == [200]
    assert gated.second.seen == []


async def test_one_model_in_trouble_keeps_nobody_from_another_there(gated: Gated) -> None:
    gated.first.script = DOWN
    await gated.call(10)
    gated.first.script = answer_json(completion())
    before = len(gated.first.seen)

    assert await gated.call(1, model="alone") == [200]

    assert len(gated.first.seen) == before + 1


async def test_nothing_is_in_flight_when_all_calls_have_ended(gated: Gated) -> None:
    for script in (DOWN, BUSY, answer_raw(b""), answer_json(completion())):
        gated.first.script = script
        await gated.call(5)
        gated.pass_seconds(60)
    gated.first.script = stream(*good_stream("text"))
    await gated.gateway.post(body=chat(model="chat", stream=True))

    assert {health.in_flight for health in gated.targets.report(gated.gateway.clock.monotonic())} == {0}


async def test_a_provider_that_is_configured_anew_starts_clean(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = DOWN
    held: list[Snapshot] = [snapshot([provider("one", vendor.base_url)], [route("chat", ("one", "a"))])]
    targets = Targets(lambda: held[0])
    async with serving(tmp_path, held[0], gate=targets) as gateway, running_upstream() as moved:
        for _ in range(20):
            await gateway.post(body=chat(model="chat"))
        old = held[0].providers["one"]
        held[0] = replace(held[0], providers={"one": replace(old, base_url=moved.base_url)})
        gateway.snapshots.snapshot = held[0]

        targets.look(gateway.clock.monotonic())

        assert (await gateway.post(body=chat(model="chat"))).status_code == 200
