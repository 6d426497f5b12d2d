"""Which target a call goes to next: what the gate says, what each failure means, and what callers are told."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.gateway.dispatching import BOTH, ONE, TWO, credentials, fork, pair
from tests.gateway.serving import KEY, FakeAdmission, chat
from tests.gateway.test_settlement import BROKEN, Slow, leave
from tests.gateway.upstream import (
    DONE,
    STREAM_HEAD,
    USAGE,
    Script,
    Seen,
    answer,
    answer_json,
    answer_raw,
    chunk,
    completion,
    event,
    good_stream,
    http_chunk,
    stream,
)
from tests.money.records import FakeHolds
from tollkeeper.contracts.money import Limit, Period, RuleScope, ScopeKind, Unit
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import FallbackKind, RetryRule, RoutePolicy, Target
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.admission import Admitted
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.terms import Asked, Terms, terms_of

GOOD = answer_json(completion("hello"))
STREAMED = stream(*good_stream("hello"))
AT_ONCE = RetryRule(base_seconds=0.0)


def refusal(status: int, code: str = "x", headers: Any = ()) -> Script:
    return answer_json({"error": {"message": "no", "type": "x", "param": None, "code": code}}, status, headers)


def in_turn(*scripts: Script) -> Script:
    left = list(scripts)

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        return await (left.pop(0) if len(left) > 1 else left[0])(seen, writer)

    return script


ENDS = [
    (GOOD, False, "answered"),
    (STREAMED, True, "answered"),
    (refusal(400), False, "request"),
    (refusal(401), False, "credential"),
    (refusal(429), False, "rate"),
    (refusal(500), True, "server"),
    (refusal(400, "context_length_exceeded"), False, "context_window"),
    (refusal(400, "content_filter"), False, "content_policy"),
    (answer_raw(b""), False, "server"),
    (answer(200, b"garbage"), False, "server"),
    (stream(), True, "server"),
    (stream(*BROKEN, ends=False), True, "server"),
    (stream(*BROKEN, event({"error": {"message": "no"}})), True, "server"),
]


@pytest.mark.parametrize(("script", "is_stream", "end"), ENDS)
async def test_the_gate_is_told_one_end_of_each_attempt(
    tmp_path: Path, script: Script, is_stream: bool, end: str
) -> None:
    policy = RoutePolicy(fork(ONE), retry=RetryRule(most_attempts=1))
    async with pair(tmp_path, policy, targets=[ONE]) as both:
        both.one.script = script
        await both.gateway.post(body=chat(stream=is_stream))
        await both.gateway.settled()
        assert both.gate.ends == [(end,)]
        assert both.gate.tickets[0].place.provider == "one"
        assert both.gate.tickets[0].has_spoken is (is_stream and script in (STREAMED, ENDS[-2][0], ENDS[-1][0]))
        both.gateway.metrics.flush()
        assert both.metric("upstream_attempts_total", provider="one", outcome=end) == 1


@pytest.mark.parametrize("left_at", [None, 0, 2])
@pytest.mark.parametrize("is_billed_on", [False, True])
async def test_the_gate_learns_nothing_of_a_target_whose_caller_left(
    tmp_path: Path, left_at: int | None, is_billed_on: bool
) -> None:
    slow = Slow(left_at)
    async with pair(tmp_path, targets=[ONE], first={"options": {"cancel_stops_billing": not is_billed_on}}) as both:
        both.one.script = slow
        await leave(both.gateway, both.one, chat(stream=left_at is not None), "char" if left_at else None)
        slow.go.set()
        await both.gateway.settled()
        assert both.gate.ends == [("left",)]


async def test_a_target_that_is_not_let_through_is_left_out(tmp_path: Path) -> None:
    async with pair(tmp_path) as both:
        both.gate.closed["one"] = ("breaker_open", 1.5)
        response = await both.gateway.post()
        assert (response.status_code, response.headers["x-tollkeeper-provider"]) == (200, "two")
        assert response.headers["x-tollkeeper-attempts"] == "1"
        assert both.one.seen == []
        both.gateway.metrics.flush()
        assert both.metric("upstream_attempts_total", provider="one", outcome="skipped") == 1
        (row,) = await both.gateway.settled()
        assert (row.intent.attempt, row.intent.provider) == (1, "two")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1beta/models/gpt-4o-mini:generateContent"])
async def test_where_no_target_may_be_tried_each_ones_reason_is_told(tmp_path: Path, path: str) -> None:
    body: dict[str, Any] = {"contents": [{"parts": [{"text": "x"}]}]} if "v1beta" in path else chat(max_tokens=9)
    async with pair(tmp_path) as both:
        both.gate.closed |= {"one": ("breaker_open", 7.2), "two": ("paused", 3.0)}
        response = await both.gateway.post(path, body)
        # Anthropic's own word for a vendor that is overloaded is 529.
        assert (response.status_code, response.headers["retry-after"]) == (529 if "messages" in path else 503, "3")
        assert "one/a: breaker_open" in response.text
        assert "two/b: paused" in response.text
        assert both.gateway.settlements == []
        assert (both.one.seen, both.two.seen) == ([], [])


async def test_all_reasons_are_members_of_the_error_in_openais_shape(tmp_path: Path) -> None:
    async with pair(tmp_path) as both:
        both.gate.closed["one"] = ("breaker_open", 7.0)
        both.two.script = refusal(503, headers=[("retry-after", "20")])
        error = (response := await both.gateway.post()).json()["error"]
        assert (response.status_code, error["code"], response.headers["retry-after"]) == (
            503,
            "no_target_available",
            "7",
        )
        assert error["targets"] == [
            {"target": "two/b", "reason": "503 upstream_error"},
            {"target": "one/a", "reason": "breaker_open"},
        ]


async def test_a_target_that_was_left_out_is_tried_when_nothing_else_helps(tmp_path: Path) -> None:
    async with pair(tmp_path, RoutePolicy(BOTH, retry=AT_ONCE)) as both:
        both.gate.closed["one"] = ("breaker_open", 7.0)
        both.gate.has_mercy = True
        both.two.script = refusal(500)
        response = await both.gateway.post()
        assert (response.status_code, response.headers["x-tollkeeper-provider"]) == (200, "one")
        assert [len(vendor.seen) for vendor in (both.one, both.two)] == [1, 1]


async def test_a_credential_that_is_not_let_through_is_passed_over(tmp_path: Path) -> None:
    keys = credentials(2)
    async with pair(tmp_path, targets=[ONE], first={"credentials": keys}) as both:
        both.gate.closed[keys[0].id] = ("quarantined", 60.0)
        assert (await both.gateway.post()).status_code == 200
        assert [seen.header("authorization") for seen in both.one.seen] == [f"Bearer {keys[1].secret}"]


async def test_a_credential_that_was_refused_is_not_used_again_in_the_same_call(tmp_path: Path) -> None:
    other = Target("one", "c")
    async with pair(tmp_path, targets=[ONE, other, TWO]) as both:
        both.one.script = refusal(401)
        response = await both.gateway.post()
        assert response.headers["x-tollkeeper-provider"] == "two"
        assert len(both.one.seen) == 1


async def test_a_rate_limited_credential_gives_way_to_the_next_one(tmp_path: Path) -> None:
    async with pair(tmp_path, targets=[ONE], first={"credentials": credentials(2)}) as both:
        both.one.script = in_turn(refusal(429, headers=[("retry-after", "60")]), GOOD)
        assert (await both.gateway.post()).status_code == 200
        assert len({seen.header("authorization") for seen in both.one.seen}) == 2


# Repeats


@pytest.mark.parametrize(
    "script", [refusal(500), refusal(503), refusal(429), refusal(429, "x", [("retry-after-ms", "30")])]
)
async def test_a_passing_trouble_of_the_last_target_is_tried_once_more(tmp_path: Path, script: Script) -> None:
    async with pair(tmp_path, RoutePolicy(BOTH, retry=AT_ONCE)) as both:
        both.one.script = refusal(500)
        both.two.script = in_turn(script, GOOD)
        response = await both.gateway.post()
        assert (response.status_code, response.headers["x-tollkeeper-attempts"]) == (200, "3")
        assert [len(vendor.seen) for vendor in (both.one, both.two)] == [1, 2]
        (row,) = await both.gateway.settled()
        assert row.intent.attempt == 3
        assert [attempt for _, attempt in both.gateway.journal.voided] == [1, 2]


async def test_a_policy_may_want_a_repeat_before_the_next_target(tmp_path: Path) -> None:
    async with pair(tmp_path, RoutePolicy(BOTH, retry=RetryRule(base_seconds=0.0, before_next=True))) as both:
        both.one.script = in_turn(refusal(500), GOOD)
        response = await both.gateway.post()
        assert response.headers["x-tollkeeper-provider"] == "one"
        assert both.two.seen == []


async def test_nothing_is_repeated_that_may_have_been_billed(tmp_path: Path) -> None:
    async with pair(tmp_path, RoutePolicy(fork(ONE), retry=AT_ONCE), targets=[ONE]) as both:
        both.one.script = in_turn(answer(200, b"garbage"), GOOD)
        assert (await both.gateway.post()).status_code == 502
        assert len(both.one.seen) == 1


@pytest.mark.parametrize("script", [refusal(400), refusal(404), refusal(401)])
async def test_what_will_not_pass_is_not_repeated(tmp_path: Path, script: Script) -> None:
    async with pair(tmp_path, RoutePolicy(fork(ONE), retry=AT_ONCE), targets=[ONE]) as both:
        both.one.script = script
        assert (await both.gateway.post()).status_code >= 400
        assert len(both.one.seen) == 1


async def test_repeats_end_where_the_budget_does(tmp_path: Path) -> None:
    """RULING 25: a storm of failures is sent 1.1 times, not twice."""
    policy = RoutePolicy(fork(ONE), retry=AT_ONCE)
    async with pair(tmp_path, policy, targets=[ONE]) as both:
        both.one.script = refusal(500)
        for _ in range(40):
            await both.gateway.post()
        # A tenth of the calls, and the three that a quiet provider has.
        assert len(both.one.seen) <= 40 + 4 + 3


async def test_a_wait_that_is_longer_than_the_policys_is_the_callers(tmp_path: Path) -> None:
    async with pair(tmp_path, targets=[ONE]) as both:
        both.one.script = in_turn(refusal(429, headers=[("retry-after", "9")]), GOOD)
        response = await both.gateway.post()
        assert (response.status_code, response.headers["retry-after"]) == (429, "9")
        assert len(both.one.seen) == 1


async def test_no_wait_goes_beyond_the_callers_deadline(tmp_path: Path) -> None:
    policy = RoutePolicy(fork(ONE), retry=RetryRule(most_seconds=60.0))
    async with pair(tmp_path, policy, targets=[ONE]) as both:
        both.one.script = in_turn(refusal(429, headers=[("retry-after", "30")]), GOOD)
        response = await both.gateway.post(headers={"x-tollkeeper-timeout-ms": "20000"})
        assert (response.status_code, len(both.one.seen)) == (429, 1)


# Fallbacks


FALLBACKS = RoutePolicy(
    fork(ONE), fallbacks={FallbackKind.CONTEXT_WINDOW: fork(TWO), FallbackKind.CONTENT_POLICY: fork(TWO)}, retry=AT_ONCE
)


def filtered(text: str) -> dict[str, Any]:
    document = completion(text)
    document["choices"][0]["finish_reason"] = "content_filter"
    return document


@pytest.mark.parametrize("script", [refusal(400, "context_length_exceeded"), refusal(400, "content_filter")])
async def test_what_a_target_does_not_take_goes_where_the_policy_sends_it(tmp_path: Path, script: Script) -> None:
    async with pair(tmp_path, FALLBACKS, targets=[ONE]) as both:
        both.one.script = script
        response = await both.gateway.post()
        assert (response.status_code, response.headers["x-tollkeeper-provider"]) == (200, "two")


@pytest.mark.parametrize("code", ["context_length_exceeded", "content_filter"])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_refusal_under_status_200_goes_there_as_well(tmp_path: Path, code: str, is_stream: bool) -> None:
    document = {"error": {"message": "no", "type": "x", "code": code}}
    async with pair(tmp_path, FALLBACKS, targets=[ONE]) as both:
        both.one.script = stream(event(document)) if is_stream else answer_json(document)
        both.two.script = STREAMED if is_stream else GOOD
        response = await both.gateway.post(body=chat(stream=is_stream))
        assert (response.status_code, response.headers["x-tollkeeper-provider"]) == (200, "two")


async def test_without_a_fallback_the_refusal_is_the_callers(tmp_path: Path) -> None:
    async with pair(tmp_path) as both:
        both.one.script = refusal(400, "context_length_exceeded")
        response = await both.gateway.post()
        assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert both.two.seen == []


async def test_a_fallback_that_refuses_as_well_is_the_end(tmp_path: Path) -> None:
    async with pair(tmp_path, FALLBACKS, targets=[ONE]) as both:
        both.one.script = both.two.script = refusal(400, "context_length_exceeded")
        response = await both.gateway.post()
        assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert [len(vendor.seen) for vendor in (both.one, both.two)] == [1, 1]


EMPTY_STREAM = stream(event(chunk({"role": "assistant", "content": ""})), event(chunk({}, "content_filter")))


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answer_that_a_filter_left_empty_is_asked_for_elsewhere_and_billed(
    tmp_path: Path, is_stream: bool
) -> None:
    async with pair(tmp_path, FALLBACKS, targets=[ONE]) as both:
        both.one.script = EMPTY_STREAM if is_stream else answer_json(filtered(""))
        both.two.script = STREAMED if is_stream else GOOD
        response = await both.gateway.post(body=chat(stream=is_stream))
        assert (response.status_code, response.headers["x-tollkeeper-provider"]) == (200, "two")
        assert "hello" in response.text
        assert "content_filter" not in response.text
        first, second = await both.gateway.settled(2)
        assert (first.status, first.error_code) == (CallStatus.ERROR, "content_filter")
        assert (first.cost_nano or 0) > 0
        assert second.status is CallStatus.OK


async def test_a_stream_that_a_filter_left_empty_is_billed_as_its_vendor_counts(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def script(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        role, end = event(chunk({"role": "assistant", "content": ""})), event(chunk({}, "content_filter"))
        writer.write(STREAM_HEAD + http_chunk(role + end))
        async with asyncio.timeout(10):
            await go.wait()
        writer.write(http_chunk(event(chunk(None, usage=USAGE)) + DONE) + b"0\r\n\r\n")
        await writer.drain()
        return True

    options = {"options": {"cancel_stops_billing": False}}
    async with pair(tmp_path, FALLBACKS, targets=[ONE], first=options) as both:
        both.one.script, both.two.script = script, STREAMED
        response = await both.gateway.post(body=chat(stream=True))
        assert response.headers["x-tollkeeper-provider"] == "two"
        assert both.gateway.settlements == [], "not before the vendor's own count is known"
        go.set()
        first, _ = await both.gateway.settled(2)
        assert (first.error_code, first.usage.is_estimated, first.usage.output) == ("content_filter", False, 5)


async def test_an_answer_with_content_stays_though_a_filter_ended_it(tmp_path: Path) -> None:
    async with pair(tmp_path, FALLBACKS, targets=[ONE]) as both:
        both.one.script = answer_json(filtered("so far"))
        assert (await both.gateway.post()).json()["choices"][0]["message"]["content"] == "so far"
        assert both.two.seen == []


# Providers with rules of their own


class Rules(FakeAdmission):
    """What the rules about providers say: `full` ones refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.full: set[str] = set()
        self.asked: list[set[str | None]] = []

    def terms(self, principal: Principal, asked: Asked) -> Sequence[Terms]:
        return list(terms_of(principal, asked, time.time()))

    async def admit(self, terms: Sequence[Terms], request_id: UUID, appraisal: Appraisal, **kept: object) -> Admitted:
        subjects = {place.rule.scope.subject for one in terms for place in one.rates if place.rule is not None}
        self.asked.append(subjects)
        if subjects & self.full:
            raise RateLimited("No room at this provider.", retry_after_seconds=4)
        return await super().admit(terms, request_id, appraisal, **kept)


@pytest.mark.parametrize("is_full", [False, True])
async def test_each_provider_is_entered_by_its_own_rules(tmp_path: Path, is_full: bool) -> None:
    rules = Rules()
    limits = [
        Limit(uuid7(), RuleScope(ScopeKind.PROVIDER, name), Unit.REQUESTS, 9, Period.DAY) for name in ("one", "two")
    ]
    async with pair(tmp_path, admission=rules, holds=FakeHolds()) as both:
        both.gateway.keys.add(KEY, limits=tuple(limits))
        both.one.script = refusal(500)
        rules.full = {"two"} if is_full else set()
        response = await both.gateway.post()
        assert rules.asked == [{"one"}, {"two"}]
        if is_full:
            assert response.status_code == 503
            assert "two/b: 429 rate_limit_exceeded" in response.text
            assert both.two.seen == []
        else:
            assert (response.status_code, response.headers["x-tollkeeper-provider"]) == (200, "two")
