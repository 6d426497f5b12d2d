"""Files and batches as their users have them: OpenAI's SDK, the whole product, a provider that counts."""

import json
import time
from typing import Any

import pytest
from openai import APIStatusError, NotFoundError, OpenAI
from openai.types import Batch

from tests.e2e.processes import Product, wait_for
from tests.e2e.test_zz_ledger import CUT_BY_A_BUDGET, cost_usd, settled, tokens

OVER = {"completed", "failed", "expired", "cancelled"}
MODEL = "up/simulated-length-7"
COUNTED = "up/simulated-length-6"


def line(custom_id: str, url: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def chat(custom_id: str, model: str = MODEL, **fields: Any) -> dict[str, Any]:
    return line(custom_id, model=model, messages=[{"role": "user", "content": f"Line {custom_id}."}], **fields)


def create(client: OpenAI, lines: list[dict[str, Any]], endpoint: Any = "/v1/chat/completions") -> Batch:
    content = "".join(json.dumps(one) + "\n" for one in lines).encode()
    made = client.files.create(file=("lines.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=made.id, endpoint=endpoint, completion_window="24h")


def over(client: OpenAI, batch: Batch) -> Batch:
    found: list[Batch] = []

    def is_over() -> bool:
        found[:] = [client.batches.retrieve(batch.id)]
        return found[0].status in OVER

    wait_for(is_over, seconds=90)
    return found[0]


def answers(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [] if file_id is None else [json.loads(one) for one in client.files.content(file_id).text.splitlines()]


def test_a_batch_through_the_whole_product(client: OpenAI, product: Product) -> None:
    before = product.upstream.last_sequence()
    done = over(client, create(client, [*(chat(str(n), COUNTED) for n in range(12)), chat("odd", COUNTED, n="many")]))
    assert done.status == "completed", done
    good, errors = answers(client, done.output_file_id), answers(client, done.error_file_id)
    assert [one["custom_id"] for one in good] == [str(n) for n in range(12)]
    assert [(one["custom_id"], one["response"]["status_code"]) for one in errors] == [("odd", 400)]
    served = product.upstream.records(COUNTED, before)
    ledger = settled(product, {COUNTED}, 12)
    assert len(served) == len(ledger) == 12
    assert sorted(map(tokens, ledger)) == sorted(map(tokens, served))
    assert sorted(str(cost_usd(record)) for record in served) == sorted(record["cost_usd"] for record in ledger)
    assert {record["request_id"] for record in ledger} == {one["response"]["request_id"] for one in good}


def test_other_endpoints_have_batches_as_well(client: OpenAI) -> None:
    embeddings = over(
        client,
        create(
            client,
            [line(str(n), "/v1/embeddings", model="priced-embedding", input=f"text {n}") for n in range(3)],
            "/v1/embeddings",
        ),
    )
    assert len(answers(client, embeddings.output_file_id)) == 3, answers(client, embeddings.error_file_id)
    responses = over(
        client,
        create(client, [line("a", "/v1/responses", model="up/simulated-length-8", input="Hello.")], "/v1/responses"),
    )
    [answer] = answers(client, responses.output_file_id)
    # Kept as any other answer of that API: the next turn may go on from it.
    stored = client.responses.retrieve(answer["response"]["body"]["id"])
    assert stored.output_text == answer["response"]["body"]["output"][0]["content"][0]["text"]


def test_a_batch_is_cancelled_within_seconds(client: OpenAI) -> None:
    slow = [
        line(str(n), model="up/simulated-slow-1400ms", messages=[{"role": "user", "content": "Slowly."}])
        for n in range(200)
    ]
    made = create(client, slow)
    wait_for(lambda: client.batches.retrieve(made.id).status == "in_progress", seconds=60)
    began = time.monotonic()
    assert client.batches.cancel(made.id).status in {"cancelling", "cancelled"}
    done = over(client, made)
    # Far less than the calls that are left would take.
    assert time.monotonic() - began < 60
    assert done.status == "cancelled"
    good, errors = answers(client, done.output_file_id), answers(client, done.error_file_id)
    assert sorted(int(one["custom_id"]) for one in good + errors) == list(range(200))
    assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}


def test_an_input_with_mistakes_says_where(client: OpenAI) -> None:
    done = over(client, create(client, [chat("a"), chat("a"), {**chat("b"), "url": "/v1/embeddings"}]))
    assert done.status == "failed"
    assert done.errors is not None
    told = [(one.line, one.code) for one in done.errors.data or ()]
    assert told == [(2, "duplicate_custom_id"), (3, "invalid_url")]


def test_another_tenants_key_finds_nothing(client: OpenAI, product: Product) -> None:
    made = create(client, [chat("mine")])
    tenant = product.admin("POST", "/tenants", json={"name": "Strangers to batches"}).json()
    key = product.new_key("a stranger", tenant_id=tenant["id"])["key"]
    with OpenAI(base_url=product.base_url, api_key=key, max_retries=0) as other:
        for ask in (
            lambda: other.batches.retrieve(made.id),
            lambda: other.batches.cancel(made.id),
            lambda: other.files.retrieve(made.input_file_id),
            lambda: other.files.content(made.input_file_id),
            lambda: other.files.delete(made.input_file_id),
        ):
            with pytest.raises(NotFoundError):
                ask()
        assert list(other.files.list()) == []
        assert list(other.batches.list()) == []
    over(client, made)


def test_a_budget_ends_a_batch_to_the_nano_dollar(client: OpenAI, product: Product) -> None:
    created = product.new_key("of a small budget")
    scope = {"kind": "key", "id": created["id"]}
    terms = {"name": "of a batch", "scope": scope, "amount_usd": "0.0005", "window": "day", "mode": "hard"}
    budget = product.admin("POST", "/budgets", json=terms).json()
    with OpenAI(base_url=product.base_url, api_key=created["key"], max_retries=0, timeout=30) as bounded:
        lines = [chat(f"b{n}", CUT_BY_A_BUDGET, max_completion_tokens=20) for n in range(60)]
        done = over(bounded, create(bounded, lines))
        assert done.status == "completed"
        good, errors = answers(bounded, done.output_file_id), answers(bounded, done.error_file_id)
    assert len(good) + len(errors) == 60
    assert good
    assert {one["response"]["body"]["error"]["code"] for one in errors} == {"insufficient_quota"}

    def nothing_held() -> Any:
        status = product.admin("GET", f"/budgets/{budget['id']}/status").json()
        return status if float(status["held_usd"]) == 0 and float(status["spent_usd"]) > 0 else None

    status = wait_for(nothing_held, seconds=30)
    assert 0 < float(status["spent_usd"]) <= 0.0005


def test_what_is_too_large_is_refused(client: OpenAI) -> None:
    with pytest.raises(APIStatusError) as refused:
        client.files.create(file=("large", b"\0" * (201 * 1024 * 1024)), purpose="user_data", timeout=120)
    assert refused.value.status_code == 413
