"""How failures reach the official Python SDK: the right class, code and param, its own retries, and both ends of a cut."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.e2e.processes import Product, wait_for

MESSAGES: list[Any] = [{"role": "user", "content": "Fail, please."}]


def ask(client: OpenAI, model: str = "priced-chat", **fields: Any) -> Any:
    return client.chat.completions.create(**{"model": model, "messages": MESSAGES, **fields})


@pytest.mark.parametrize(
    ("call", "kind", "status", "code", "param"),
    [
        (lambda c: ask(c, messages=None), openai.BadRequestError, 400, "missing_required_parameter", "messages"),
        (lambda c: ask(c, temperature="hot"), openai.BadRequestError, 400, "invalid_type", "temperature"),
        (lambda c: ask(c, n=0), openai.BadRequestError, 400, "integer_below_min_value", "n"),
        (lambda c: ask(c, "no-such-model"), openai.NotFoundError, 404, "model_not_found", "model"),
        (lambda c: c.models.retrieve("no/such:model"), openai.NotFoundError, 404, "model_not_found", "model"),
        (lambda c: c.post("/no/such/path", cast_to=object, body={}), openai.NotFoundError, 404, None, None),
        (lambda c: c.get("/chat/completions", cast_to=object), openai.APIStatusError, 405, "method_not_allowed", None),
        (lambda c: ask(c, "up/simulated-context"), openai.BadRequestError, 400, "context_length_exceeded", None),
        (lambda c: ask(c, "up/simulated-status-422"), openai.BadRequestError, 400, None, None),
        (lambda c: ask(c, "up/simulated-status-429"), openai.RateLimitError, 429, "rate_limit_exceeded", None),
        (lambda c: ask(c, "up/simulated-status-500"), openai.InternalServerError, 502, "upstream_error", None),
        (lambda c: ask(c, "up/simulated-status-503"), openai.InternalServerError, 503, "upstream_error", None),
        (lambda c: ask(c, "up/simulated-garbage"), openai.InternalServerError, 502, "upstream_garbage", None),
        (lambda c: ask(c, "up/simulated-cut-after-2"), openai.InternalServerError, 502, "upstream_cut", None),
        (lambda c: ask(c, "up/simulated-hang"), openai.InternalServerError, 504, "upstream_timeout", None),
        (lambda c: ask(c, "up/simulated-quota"), openai.InternalServerError, 503, "upstream_quota", None),
        (lambda c: ask(c, "rejected-chat"), openai.InternalServerError, 502, "upstream_authentication", None),
        (lambda c: ask(c, "nowhere-chat"), openai.InternalServerError, 502, "upstream_unreachable", None),
        (lambda c: ask(c, "simulated-status-429"), openai.RateLimitError, 429, "rate_limit_exceeded", None),
        (lambda c: ask(c, "simulated-status-500"), openai.InternalServerError, 502, "upstream_error", None),
        (lambda c: ask(c, "simulated-nonsense"), openai.NotFoundError, 404, "model_not_found", "model"),
        (lambda c: ask(c, "simulated", extra_headers={"x-simulate": "status-503"}), openai.InternalServerError, 503, "upstream_error", None),
    ],
)  # fmt: skip
def test_each_failure_is_the_sdks_own_error(
    client: OpenAI,
    call: Callable[[OpenAI], Any],
    kind: type[openai.APIStatusError],
    status: int,
    code: str | None,
    param: str | None,
) -> None:
    with pytest.raises(kind) as caught:
        call(client)
    error = caught.value
    assert type(error) is kind
    assert error.status_code == status
    assert error.request_id
    assert error.message
    assert error.type
    assert error.code == code if code is not None else error.code
    assert error.param == param
    assert error.body is not None


def test_unknown_and_missing_keys_are_unauthorised(product: Product) -> None:
    for key in ("tk-live_aaaaaaaaaaaa_" + "b" * 38, "sk-something-else"):
        with OpenAI(base_url=product.base_url, api_key=key, max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                ask(client)
            assert caught.value.code == "invalid_api_key"
    answer = httpx.post(f"{product.base_url}/chat/completions", json={})
    assert answer.status_code == 401
    assert answer.json()["error"].keys() >= {"message", "type", "param", "code"}


def test_revoked_and_restricted_keys_are_refused(product: Product) -> None:
    limited = product.new_key("limited", allowed_models_override=["simulated"])
    admin_only = product.new_key("admin only", scopes=["admin"])
    testing = product.new_key("testing", environment="test")
    with OpenAI(base_url=product.base_url, api_key=limited["key"], max_retries=0) as client:
        assert ask(client, "simulated")
        with pytest.raises(openai.PermissionDeniedError) as caught:
            ask(client)
        assert (caught.value.code, caught.value.param) == ("model_not_allowed", "model")
        assert [model.id for model in client.models.list()] == ["simulated"]
        product.admin("POST", f"/keys/{limited['id']}/revoke")
        with pytest.raises(openai.AuthenticationError):
            wait_for(lambda: ask(client, "simulated") and False, seconds=2.0)
    for key in (admin_only, testing):
        with (
            OpenAI(base_url=product.base_url, api_key=key["key"], max_retries=0) as client,
            pytest.raises(openai.PermissionDeniedError),
        ):
            ask(client)


def test_a_body_that_is_too_large_is_413(client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, user="x" * (33 * 1024 * 1024))
    assert (caught.value.status_code, caught.value.code) == (413, "payload_too_large")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\x00", b'{"model": NaN}', b'"text"', b"\xff\xfe", b'{"a":' * 200])
def test_bodies_that_are_no_json_object_are_bad_requests(product: Product, body: bytes) -> None:
    headers = {"authorization": f"Bearer {product.api_key}", "content-type": "application/json"}
    answer = httpx.post(f"{product.base_url}/chat/completions", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"]


def test_a_body_of_another_kind_is_refused_before_any_upstream(product: Product) -> None:
    before = product.upstream.last_sequence()
    headers = {"authorization": f"Bearer {product.api_key}", "content-type": "text/plain"}
    answer = httpx.post(f"{product.base_url}/chat/completions", content=b"hello", headers=headers)
    assert answer.status_code in {400, 415}
    assert answer.json()["error"]["code"]
    assert product.upstream.last_sequence() == before


def test_rate_limit_says_when_and_the_sdk_counts_on_it(product: Product) -> None:
    key = product.new_key("slow", rate_limit_override=1)["key"]
    with OpenAI(base_url=product.base_url, api_key=key, max_retries=0) as client:
        first = client.chat.completions.with_raw_response.create(model="simulated", messages=MESSAGES)
        assert first.headers["x-ratelimit-limit-requests"] == "1"
        assert first.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client, "simulated")
    assert caught.value.code == "rate_limit_exceeded"
    assert 0 < float(caught.value.response.headers["retry-after"]) <= 60


def attempts(product: Product, before: int, model: str) -> int:
    return len(product.upstream.records(model, before))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_sdk_retries_what_passes(product: Product, status: int) -> None:
    model = f"up/simulated-status-{status}-times-2-retry-after-10ms"
    before = product.upstream.last_sequence()
    with OpenAI(base_url=product.base_url, api_key=product.api_key, max_retries=2) as client:
        answer = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES)
    assert answer.parse().choices[0].finish_reason == "stop"
    # The gateway's own repeats are among them.
    assert answer.retries_taken <= 2
    assert attempts(product, before, model) == 3


@pytest.mark.parametrize("model", ["up/simulated-context", "up/simulated-quota", "rejected-chat"])
def test_the_sdk_does_not_retry_what_will_not_pass(product: Product, model: str) -> None:
    before = product.upstream.last_sequence()
    with (
        OpenAI(base_url=product.base_url, api_key=product.api_key, max_retries=2) as client,
        pytest.raises(openai.APIStatusError),
    ):
        ask(client, model)
    # None where the credential was refused a moment ago: it is left alone for a while.
    assert product.upstream.last_sequence() - before <= 1


def test_the_next_target_answers_when_the_first_cannot(client: OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(model="failover-chat", messages=MESSAGES)
    assert answer.parse().choices[0].message.content
    assert answer.headers["x-tollkeeper-attempts"] == "3"
    assert answer.headers["x-tollkeeper-provider"] == "upstream"
    assert answer.headers["x-tollkeeper-model"] == "simulated"


@pytest.mark.parametrize("model", ["up/simulated-status-429", "simulated-status-429"])
def test_a_stream_that_is_refused_is_a_status(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, model, stream=True)
    assert caught.value.response.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("prefix", ["up/", ""])
@pytest.mark.parametrize("fault", ["cut-after-5", "error-after-5"])
def test_a_stream_that_breaks_is_an_error_and_never_an_end(client: OpenAI, prefix: str, fault: str) -> None:
    said: list[Any] = []
    with pytest.raises(openai.APIError) as caught:
        said.extend(ask(client, f"{prefix}simulated-{fault}", stream=True))
    assert all(chunk.choices[0].finish_reason is None for chunk in said)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == "This is a simulated"
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert caught.value.code


@pytest.mark.parametrize("prefix", ["up/", ""])
@pytest.mark.parametrize("fault", ["cut-after-0", "error-after-0", "garbage"])
def test_a_stream_that_breaks_before_its_first_word_is_a_status(client: OpenAI, prefix: str, fault: str) -> None:
    with pytest.raises(openai.InternalServerError):
        ask(client, f"{prefix}simulated-{fault}", stream=True)


@pytest.mark.parametrize("prefix", ["up/", ""])
def test_a_stream_without_its_done_is_whole_when_it_has_its_finish(client: OpenAI, prefix: str) -> None:
    chunks = list(ask(client, f"{prefix}simulated-no-done", stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_callers_own_deadline_is_kept(client: OpenAI, product: Product) -> None:
    before = product.upstream.last_sequence()
    began = time.monotonic()
    # Caller and gateway wait equally long: whichever is first to notice, the wait is over.
    with pytest.raises((openai.APITimeoutError, openai.InternalServerError)) as raised:
        ask(client.with_options(timeout=0.5), "up/simulated-slow-1400ms")
    assert getattr(raised.value, "status_code", 504) == 504
    assert time.monotonic() - began < 1.3
    # The upstream learns of it at once, not when its answer is ready.
    [record] = product.upstream.records("up/simulated-slow-1400ms", before)
    record = wait_for(
        lambda: next((r for r in product.upstream.stats(before)["records"] if r["outcome"] != "open"), None)
    )
    assert record["outcome"] == "cancelled"
    assert record["seconds"] < 1.3


def test_a_cancelled_stream_is_cancelled_at_the_upstream(client: OpenAI, product: Product) -> None:
    model = "up/simulated-pace-50ms-length-400"
    before = product.upstream.last_sequence()
    stream = ask(client, model, stream=True)
    for _, _ in zip(range(5), stream, strict=False):
        pass
    began = time.monotonic()
    stream.close()
    ended = wait_for(
        lambda: next((r for r in product.upstream.records(model, before) if r["outcome"] != "open"), None), seconds=3.0
    )
    assert ended["outcome"] == "cancelled"
    assert time.monotonic() - began < 2.0
    assert ended["tokens_sent"] < 40
