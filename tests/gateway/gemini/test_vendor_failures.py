"""Google's refusals: their class for routing, and what the caller learns of them."""

import json
from typing import Any

import pytest

from tests.gateway.gemini.wire import KEY_INVALID, RETRY_INFO, error
from tollkeeper.gateway.dialects.gemini import read_failure
from tollkeeper.gateway.dialects.gemini.vendor_failures import read_duration
from tollkeeper.gateway.provider import Failure, FailureClass


def failure(status: int, document: Any) -> Failure:
    return read_failure(status, {}, document if isinstance(document, bytes) else json.dumps(document).encode())


@pytest.mark.parametrize(
    ("status", "document", "kind", "told"),
    [
        (400, error(400, "INVALID_ARGUMENT"), FailureClass.REQUEST, (400, "invalid_request")),
        (400, [error(400, "INVALID_ARGUMENT")], FailureClass.REQUEST, (400, "invalid_request")),
        (
            400,
            error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", KEY_INVALID),
            FailureClass.CREDENTIAL,
            (502, "upstream_authentication"),
        ),
        (
            400,
            error(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
            FailureClass.CREDENTIAL,
            (502, "upstream_authentication"),
        ),
        (
            400,
            error(400, "FAILED_PRECONDITION", "Gemini API free tier is not available in your country."),
            FailureClass.CREDENTIAL,
            (502, "upstream_authentication"),
        ),
        (
            400,
            error(400, "INVALID_ARGUMENT", "Request had a problem.", KEY_INVALID),
            FailureClass.CREDENTIAL,
            (502, "upstream_authentication"),
        ),
        (401, error(401, "UNAUTHENTICATED"), FailureClass.CREDENTIAL, (502, "upstream_authentication")),
        (403, error(403, "PERMISSION_DENIED"), FailureClass.CREDENTIAL, (502, "upstream_authentication")),
        (
            400,
            error(
                400,
                "INVALID_ARGUMENT",
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            ),
            FailureClass.CONTEXT_WINDOW,
            (400, "context_length_exceeded"),
        ),
        (404, error(404, "NOT_FOUND"), FailureClass.SERVER, (404, "model_not_found")),
        (429, error(429, "RESOURCE_EXHAUSTED"), FailureClass.RATE, (429, "rate_limit_exceeded")),
        (499, error(499, "CANCELLED"), FailureClass.SERVER, (502, "upstream_error")),
        (500, error(500, "INTERNAL"), FailureClass.SERVER, (502, "upstream_error")),
        (503, error(503, "UNAVAILABLE"), FailureClass.SERVER, (503, "upstream_error")),
        (504, error(504, "DEADLINE_EXCEEDED"), FailureClass.TIMEOUT, (504, "upstream_timeout")),
        (502, b"<html>Bad gateway</html>", FailureClass.SERVER, (502, "upstream_error")),
        (400, b"<html>", FailureClass.REQUEST, (400, "invalid_request")),
        (400, {"error": {"details": [7, {"reason": 7}], "status": 7}}, FailureClass.REQUEST, (400, "invalid_request")),
    ],
)
def test_class_and_error(status: int, document: Any, kind: FailureClass, told: tuple[int, str]) -> None:
    found = failure(status, document)
    assert (found.kind, (found.error.status, found.error.code)) == (kind, told)


def test_callers_mistake_is_told_in_the_vendors_words_and_our_account_is_not() -> None:
    words = "* GenerateContentRequest.contents: contents is not specified"
    assert failure(400, error(400, "INVALID_ARGUMENT", words)).error.message == words
    told = failure(403, error(403, "PERMISSION_DENIED", "Project 1234567 has no access")).error.message
    assert "1234567" not in told


def test_retry_info_becomes_retry_after() -> None:
    found = failure(429, error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", RETRY_INFO))
    assert found.retry_after_seconds == pytest.approx(34.07, abs=0.01)
    assert found.error.retry_after_seconds == found.retry_after_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("34s", 34.0), ("0.5s", 0.5), ("999999999s", 86_400.0), ("s", None), ("-1s", None), ("1e9s", None), (5, None)],
)
def test_durations(text: Any, seconds: float | None) -> None:
    assert read_duration(text) == seconds
