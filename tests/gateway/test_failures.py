"""What becomes of a vendor's failures: the caller's status, the next target, and what the ledger says."""

from pathlib import Path
from typing import Any

import pytest

from tests.gateway.serving import Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import (
    FakeUpstream,
    Script,
    answer,
    answer_json,
    answer_raw,
    completion,
    event,
    good_stream,
    running_upstream,
    silent,
    stream,
)
from tollkeeper.contracts.catalog import Credential
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import DependencyUnavailable, RateLimited
from tollkeeper.core.ids import uuid7


def error(message: str = "no", code: Any = None, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "x", "param": None, "code": code, **fields}}


CASES = [
    (answer_json(error("bad temperature", "bad_value", param="temperature"), 400), 400, "bad_value"),
    (answer_json(error("too long", "context_length_exceeded"), 400), 400, "context_length_exceeded"),
    (
        answer_json(
            {"error": {"message": "exceeds context size", "type": "exceed_context_size_error", "code": 400}}, 400
        ),
        400,
        "context_length_exceeded",
    ),
    (answer_json(error("filtered", "content_filter"), 400), 400, "content_filter"),
    (
        answer_json({"object": "error", "message": "vLLM says no", "type": "BadRequestError", "code": 400}, 400),
        400,
        "invalid_request",
    ),
    (answer_json({"detail": [{"msg": "field required"}]}, 422), 400, "invalid_request"),
    (answer_json({"error": "just a string"}, 400), 400, "invalid_request"),
    (
        answer_json([{"error": {"code": 400, "message": "google says no", "status": "INVALID_ARGUMENT"}}], 400),
        400,
        "invalid_request",
    ),
    (
        answer_json(error("Incorrect API key provided: secret-of-one", "invalid_api_key"), 401),
        502,
        "upstream_authentication",
    ),
    (answer_json(error("forbidden"), 403), 502, "upstream_authentication"),
    (
        # xAI
        answer_json({"code": "invalid argument", "error": "Incorrect API key provided: se***ne."}, 400),
        502,
        "upstream_authentication",
    ),
    (
        # Google
        answer_json([{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}], 400),
        502,
        "upstream_authentication",
    ),
    (answer_json(error("secret-of-one is unknown", "invalid_api_key"), 400), 502, "upstream_authentication"),
    (answer_json(error("org-1 has no money", "insufficient_quota")), 503, "upstream_quota"),
    (answer_json(error("pay"), 402), 503, "upstream_quota"),
    (answer_json(error("quota", "insufficient_quota"), 429), 503, "upstream_quota"),
    (answer_json(error("unknown model", "model_not_found"), 404), 404, "model_not_found"),
    (answer_json(error("slow down"), 429), 429, "rate_limit_exceeded"),
    (answer_json(error("boom"), 500), 502, "upstream_error"),
    (answer(502, b"<html>bad gateway</html>", content_type="text/html"), 502, "upstream_error"),
    (answer_json(error("busy"), 503), 503, "upstream_error"),
    (answer_json(error("overloaded"), 529), 503, "upstream_error"),
    (answer_json(error("late"), 504), 504, "upstream_timeout"),
    (answer(302, b"", [("location", "http://127.0.0.1:1/")]), 502, "upstream_error"),
    (answer(200, b"not json"), 502, "upstream_garbage"),
    (answer_json([1]), 502, "upstream_garbage"),
    (answer_json({"choices": []}), 502, "upstream_garbage"),
    (answer_json(error("hidden in a 200", "overloaded")), 502, "overloaded"),
    (answer_json({"object": "error", "message": "vLLM in a 200", "code": 500}), 502, "upstream_error"),
    (answer_raw(b"SMTP ready\r\n\r\n"), 502, "upstream_garbage"),
    (answer_raw(b""), 502, "upstream_disconnected"),
    (answer_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"), 502, "upstream_cut"),
]


@pytest.mark.parametrize(("script", "status", "code"), CASES)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_lone_targets_failure_reaches_the_caller_normalised(
    gateway: Serving, vendor: FakeUpstream, script: Script, status: int, code: str, is_stream: bool
) -> None:
    vendor.script = script
    response = await gateway.post(body=chat(stream=is_stream))
    assert response.status_code == status
    body = response.json()["error"]
    if not (is_stream and status == 502):
        assert body["code"] == code
    assert isinstance(body["message"], str)
    assert "secret-of-one" not in response.text
    assert response.headers["content-type"] == "application/json"
    (row,) = await gateway.settled()
    assert (row.status, row.http_status) == (CallStatus.ERROR, status)
    assert row.error_code == body["code"]


async def test_vendors_words_about_the_request_reach_the_caller(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(error("bad temperature", "bad_value", param="temperature"), 400)
    body = (await gateway.post()).json()["error"]
    assert (body["message"], body["param"], body["type"]) == ("bad temperature", "temperature", "invalid_request_error")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("retry-after", "7")], "7"),
        ([("retry-after-ms", "1500")], "2"),
        ([("retry-after", "9999")], "120"),
        ([], None),
    ],
)
async def test_429_before_the_first_chunk_is_a_429_with_retry_after(
    gateway: Serving, vendor: FakeUpstream, headers: list[tuple[str, str]], expected: str | None
) -> None:
    """Case 50."""
    vendor.script = answer_json(error("slow down"), 429, headers)
    response = await gateway.post(body=chat(stream=True))
    assert response.status_code == 429
    assert response.headers.get("retry-after") == expected
    # A wait that no SDK makes is not worth a try.
    assert (response.headers.get("x-should-retry") == "false") is (expected == "120")
    assert response.headers["x-request-id"].startswith("req_")


async def test_refused_attempt_costs_nothing_and_a_cut_one_its_input(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(error("boom"), 500)
    await gateway.post()
    vendor.script = answer_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")
    await gateway.post()
    refused, cut = await gateway.settled(2)
    assert (refused.cost_nano, refused.usage.prompt_tokens) == (0, 0)
    assert cut.usage.is_estimated
    assert cut.usage.input == cut.intent.estimated_input_tokens
    assert cut.cost_nano == cut.usage.input * 150


class Pair:
    """Two vendors behind one model."""

    def __init__(self, first: FakeUpstream, second: FakeUpstream, gateway: Serving) -> None:
        self.first, self.second, self.gateway = first, second, gateway


@pytest.fixture
async def pair(tmp_path: Path, vendor: FakeUpstream) -> Any:
    async with running_upstream() as second:
        snap = snapshot(
            [provider("one", vendor.base_url), provider("two", second.base_url)],
            [route("gpt-4o-mini", ("one", "a"), ("two", "b"))],
        )
        async with serving(tmp_path, snap, upstream_first_byte_seconds=0.2, upstream_total_seconds=2) as gateway:
            yield Pair(vendor, second, gateway)


@pytest.mark.parametrize(
    "script",
    [
        answer_json(error("key"), 401),
        answer_json(error("slow"), 429),
        answer_json(error("boom"), 500),
        answer_json(error("gone"), 404),
        answer_raw(b""),
        answer(200, b"garbage"),
        silent(),
        stream(event({"error": {"message": "at once"}})),
        stream(),
    ],
)
async def test_next_target_answers_when_the_first_fails(pair: Pair, script: Script) -> None:
    pair.first.script = script
    pair.second.script = stream(*good_stream("from two"))
    response = await pair.gateway.post(body=chat(stream=True))
    assert response.status_code == 200
    assert "from two" in response.text
    assert "event" not in response.text
    assert response.headers["x-tollkeeper-provider"] == "two"
    assert response.headers["x-tollkeeper-attempts"] == "2"
    assert pair.second.seen[0].json()["model"] == "b"


async def test_unbilled_failure_leaves_no_row_beside_the_answer(pair: Pair) -> None:
    pair.first.script = answer_json(error("boom"), 500)
    await pair.gateway.post()
    (row,) = await pair.gateway.settled()
    assert (row.intent.attempt, row.intent.provider, row.status) == (2, "two", CallStatus.OK)
    assert [attempt for _, attempt in pair.gateway.journal.voided] == [1]


async def test_failure_that_may_have_cost_has_its_own_row(pair: Pair) -> None:
    pair.first.script = answer(200, b"garbage")
    await pair.gateway.post()
    first, second = await pair.gateway.settled(2)
    assert (first.intent.attempt, first.status, first.usage.is_estimated) == (1, CallStatus.ERROR, True)
    assert (second.intent.attempt, second.status) == (2, CallStatus.OK)
    assert pair.gateway.log[0]["attempts"] == 2


async def test_callers_own_mistake_is_not_tried_elsewhere(pair: Pair) -> None:
    pair.first.script = answer_json(error("bad", "bad_value"), 400)
    assert (await pair.gateway.post()).status_code == 400
    assert pair.second.seen == []


async def test_when_all_fail_each_ones_reason_is_told(pair: Pair) -> None:
    pair.first.script = answer_json(error("slow"), 429, [("retry-after", "9")])
    pair.second.script = answer_json(error("boom"), 500)
    response = await pair.gateway.post()
    assert response.status_code == 503
    body = response.json()["error"]
    assert body["code"] == "no_target_available"
    assert "one/a: 429 rate_limit_exceeded; two/b: 502 upstream_error" in body["message"]
    assert response.headers["retry-after"] == "9"


async def test_vendor_that_cannot_be_reached_is_502_and_free(tmp_path: Path) -> None:
    snap = snapshot([provider("one", "http://127.0.0.1:9/v1")], [route("gpt-4o-mini", ("one", "a"))])
    async with serving(tmp_path, snap) as gateway:
        response = await gateway.post()
        (row,) = await gateway.settled()
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_unreachable")
    assert row.cost_nano == 0


@pytest.mark.parametrize("is_stream", [False, True])
async def test_callers_own_deadline_ends_the_wait(gateway: Serving, vendor: FakeUpstream, is_stream: bool) -> None:
    vendor.script = silent()
    response = await gateway.post(body=chat(stream=is_stream), headers={"x-tollkeeper-timeout-ms": "150"})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")


async def test_sdk_read_timeout_bounds_whole_answers(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = silent()
    response = await gateway.post(headers={"x-stainless-read-timeout": "0.15"})
    assert response.status_code == 504


async def test_second_credential_stands_in_for_a_refused_one(tmp_path: Path, vendor: FakeUpstream) -> None:
    async def refuse_the_first(seen: Any, writer: Any) -> bool | None:
        is_first = seen.header("authorization") == "Bearer first"
        return await (answer_json(error("key"), 401) if is_first else answer_json(completion()))(seen, writer)

    vendor.script = refuse_the_first
    credentials = (Credential(uuid7(), "first"), Credential(uuid7(), "second"))
    snap = snapshot([provider("one", vendor.base_url, credentials=credentials)], [route("gpt-4o-mini", ("one", "a"))])
    async with serving(tmp_path, snap) as gateway:
        response = await gateway.post()
    assert (response.status_code, response.headers["x-tollkeeper-attempts"]) == (200, "2")


async def test_power_safe_journal_is_synced_before_a_call_is_sent(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "a"))])
    async with serving(tmp_path, snap, journal_sync="power") as gateway:
        assert (await gateway.post()).status_code == 200

        async def refuse() -> None:
            raise DependencyUnavailable("the disk does not answer")

        gateway.journal.sync = refuse  # type: ignore[method-assign]
        assert (await gateway.post()).status_code == 503
        served, refused = await gateway.settled(2)
    assert (served.status, refused.status, refused.cost_nano) == (CallStatus.OK, CallStatus.ERROR, 0)
    assert len(vendor.seen) == 1


async def test_full_journal_refuses_a_priced_call_before_it_is_sent(gateway: Serving, vendor: FakeUpstream) -> None:
    def refuse(intent: object, _line: bytes | None = None) -> None:
        raise DependencyUnavailable("full", retry_after_seconds=5)

    gateway.journal.intent = refuse  # type: ignore[method-assign]
    response = await gateway.post()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "dependency_unavailable")
    assert vendor.seen == []


async def test_unpriced_model_is_refused_where_policy_says_so(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot(
        [provider("one", vendor.base_url)],
        [
            route("gpt-4o-mini", ("one", "a"), price=None, blocks_unpriced=True),
            route("free", ("one", "a"), price=None),
        ],
    )
    async with serving(tmp_path, snap) as gateway:
        refused = await gateway.post()
        allowed = await gateway.post(body=chat(model="free"))
        (row,) = await gateway.settled()
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unpriced_model")
    assert allowed.status_code == 200
    assert "x-tollkeeper-cost-usd" not in allowed.headers
    assert (row.cost_nano, row.charge_nano, row.intent.price_version) == (None, None, None)


async def test_rate_limit_refusal_and_headers(gateway: Serving, vendor: FakeUpstream) -> None:
    gateway.admission.headers = {"x-ratelimit-limit-requests": "5", "x-ratelimit-remaining-requests": "4"}
    response = await gateway.post()
    assert response.headers["x-ratelimit-remaining-requests"] == "4"
    gateway.admission.refusal = RateLimited(
        "slow down", retry_after_seconds=1.2, headers={"x-ratelimit-limit-requests": "5"}
    )
    response = await gateway.post()
    assert response.status_code == 429
    assert (response.headers["retry-after"], response.headers["retry-after-ms"]) == ("2", "1200")
    assert response.headers["x-ratelimit-limit-requests"] == "5"
    assert len(vendor.seen) == 1
