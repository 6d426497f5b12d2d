"""What Anthropic's refusals mean for routing and for the caller."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.gateway.anthropic import wire
from tollkeeper.gateway.provider import Failure, FailureClass
from tollkeeper.gateway.providers.anthropic import Anthropic


def failure(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Failure:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Anthropic().failure(status, headers or {}, data)


@pytest.mark.parametrize(
    ("status", "kind", "said", "expected", "code"),
    [
        (401, "authentication_error", "invalid x-api-key", FailureClass.CREDENTIAL, "upstream_authentication"),
        (402, "billing_error", "pay", FailureClass.CREDENTIAL, "upstream_quota"),
        (403, "permission_error", "no", FailureClass.CREDENTIAL, "upstream_authentication"),
        (
            400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.",
            FailureClass.CREDENTIAL, "upstream_quota",
        ),
        (
            400, "invalid_request_error", "You have reached your specified API usage limits. You will regain access on",
            FailureClass.CREDENTIAL, "upstream_quota",
        ),
        (400, "invalid_request_error", "This organization has been disabled.", FailureClass.CREDENTIAL, "upstream_authentication"),
        (429, "rate_limit_error", "slow", FailureClass.RATE, "rate_limit_exceeded"),
        (529, "overloaded_error", "Overloaded", FailureClass.SERVER, "upstream_overloaded"),
        (500, "api_error", "Internal server error", FailureClass.SERVER, "upstream_error"),
        (504, "timeout_error", "late", FailureClass.TIMEOUT, "upstream_timeout"),
        (404, "not_found_error", "model: claude-0", FailureClass.SERVER, "model_not_found"),
        (413, "request_too_large", "Request exceeds the maximum size", FailureClass.REQUEST, "request_too_large"),
        (400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum", FailureClass.CONTEXT_WINDOW, "context_length_exceeded"),
        (
            400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000",
            FailureClass.CONTEXT_WINDOW, "context_length_exceeded",
        ),
        (400, "invalid_request_error", "Output blocked by content filtering policy", FailureClass.CONTENT_POLICY, "content_filter"),
        (400, "invalid_request_error", "messages.0: all messages must have non-empty content", FailureClass.REQUEST, "invalid_request"),
    ],
)  # fmt: skip
def test_refusal_is_classed_by_what_it_says(
    status: int, kind: str, said: str, expected: FailureClass, code: str
) -> None:
    found = failure(status, wire.error(kind, said))
    assert (found.kind, found.error.code) == (expected, code)


def test_words_about_our_account_do_not_reach_the_caller() -> None:
    found = failure(
        400, wire.error("invalid_request_error", "Your credit balance is too low to access the Anthropic API.")
    )
    assert "balance" not in found.error.message
    assert found.error.status == 503
    assert found.error.should_retry is False


def test_words_about_the_call_do() -> None:
    said = "messages.0: all messages must have non-empty content"
    found = failure(400, wire.error("invalid_request_error", said))
    assert (found.error.message, found.error.status) == (said, 400)


@pytest.mark.parametrize("named", ["your credit balance is too low", "incorrect api key provided"])
def test_a_callers_field_does_not_speak_for_our_account(named: str) -> None:
    found = failure(400, wire.error("invalid_request_error", f"{named}: Extra inputs are not permitted"))
    assert (found.kind, found.error.status) == (FailureClass.REQUEST, 400)


def test_wait_that_is_asked_for_is_passed_on() -> None:
    found = failure(429, wire.error("rate_limit_error"), {"retry-after": "7"})
    assert found.retry_after_seconds == found.error.retry_after_seconds == 7
    busy = failure(529, wire.error("overloaded_error"), {"retry-after": "3"})
    assert (busy.error.status, busy.error.retry_after_seconds) == (503, 3)


def test_too_large_a_request_is_told_as_such() -> None:
    assert failure(413, b"<html>413</html>").error.status == 413


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"error":7}', b'{"error":{"message":[]}}', b"\xff"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 502, 529])
def test_body_of_any_shape_is_a_failure(status: int, body: bytes) -> None:
    assert failure(status, body).error.message
