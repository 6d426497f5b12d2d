"""The ledger after everything the other tests did: each call once, and the upstream's own numbers to the nano-dollar."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from openai import OpenAI

from tests.e2e.processes import PRICE, Product, wait_for

_PER_TOKEN = {name: Decimal(value) / 1_000_000 for name, value in PRICE.items()}
_NANO = Decimal("0.000000001")
MESSAGES: list[Any] = [{"role": "user", "content": "Count me."}]
# A hard budget may cut these short, which the gateway then charges by what it read, not by what the upstream counts.
CUT_BY_A_BUDGET = "up/simulated-length-11"


def cost_usd(record: dict[str, Any]) -> Decimal:
    """What a served request costs by the price list, rounded once."""
    uncached = record["prompt_tokens"] - record["cached_tokens"]
    exact = (
        uncached * _PER_TOKEN["input_per_million"]
        + record["cached_tokens"] * _PER_TOKEN["cached_input_per_million"]
        + record["completion_tokens"] * _PER_TOKEN["output_per_million"]
    )
    return exact.quantize(_NANO, ROUND_HALF_UP)


def settled(product: Product, models: set[str], number: int) -> list[dict[str, Any]]:
    """The ledger's records of these models, as soon as there are that many; they are shipped in the background."""
    found: list[dict[str, Any]] = []

    def enough() -> bool:
        found[:] = [record for record in product.usage_records() if record["model"] in models]
        return len(found) >= number

    wait_for(enough, seconds=30.0)
    return found


def test_every_kind_of_call_is_accounted_exactly(client: OpenAI, product: Product) -> None:
    before = product.upstream.last_sequence()
    model = "up/simulated-cached-5"
    client.chat.completions.create(model=model, messages=MESSAGES)
    list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
    list(
        client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    client.completions.create(model=model, prompt="Count me.")
    list(client.completions.create(model=model, prompt="Count me.", stream=True))
    served = product.upstream.records(model, before)
    ledger = settled(product, {model}, len(served))
    assert len(ledger) == len(served) == 5
    assert all(not record["estimated"] and record["status"] == "ok" for record in ledger)
    assert [tokens(record) for record in ledger] == [tokens(record) for record in served]
    assert [Decimal(record["cost_usd"]) for record in ledger] == [cost_usd(record) for record in served]


def test_embeddings_and_reasoning_are_accounted(client: OpenAI, product: Product) -> None:
    before = product.upstream.last_sequence()
    client.embeddings.create(model="up/simulated-embedding", input=["count", "me too"])
    client.chat.completions.create(model="up/simulated-reasoning-length-9", messages=MESSAGES)
    served = product.upstream.stats(before)["records"]
    ledger = settled(product, {"up/simulated-embedding", "up/simulated-reasoning-length-9"}, 2)
    assert [Decimal(record["cost_usd"]) for record in ledger[-2:]] == [cost_usd(record) for record in served]


def test_simulated_calls_cost_nothing_and_are_recorded(client: OpenAI, product: Product) -> None:
    client.chat.completions.create(model="simulated-length-3", messages=MESSAGES)
    [record] = settled(product, {"simulated-length-3"}, 1)
    assert (record["cost_usd"], record["completion_tokens"], record["provider"]) == ("0", 3, "simulated")


def test_a_cancelled_stream_is_charged_for_what_was_sent_and_marked(client: OpenAI, product: Product) -> None:
    model = "up/simulated-pace-20ms-length-300"
    before = product.upstream.last_sequence()
    with client.chat.completions.create(model=model, messages=MESSAGES, stream=True) as stream:
        for _, _ in zip(range(10), stream, strict=False):
            pass
    [record] = settled(product, {model}, 1)
    [served] = product.upstream.records(model, before)
    assert (record["status"], record["estimated"]) == ("cancelled", True)
    assert 0 < record["completion_tokens"] <= served["tokens_sent"] * 3
    assert Decimal(record["cost_usd"]) > 0


def test_the_ledger_is_what_the_upstream_served(product: Product) -> None:
    """Over the whole run: for every model that was answered in full, the same calls, tokens and dollars."""
    report = product.upstream.stats()
    whole: dict[str, list[dict[str, Any]]] = {}
    spoiled: set[str] = set()
    for record in report["records"]:
        if record["path"].endswith("/models"):
            continue
        if record["status"] == 200 and record["outcome"] == "complete":
            whole.setdefault(record["model"], []).append(record)
        elif record["status"] == 200 or record["outcome"] != "refused":
            spoiled.add(record["model"])
    # Names that reach the upstream as they are: one name here, one name there.
    names = {model for model in whole if model.startswith("up/") and model not in spoiled}
    names -= {model for model in names if "garbage" in model or "error-after" in model or "no-usage" in model}
    names.discard(CUT_BY_A_BUDGET)
    assert len(names) > 5
    served = [record for model in names for record in whole[model]]
    ledger = [record for record in settled(product, names, len(served)) if record["status"] == "ok"]
    assert len(ledger) == len(served)
    assert sorted(map(tokens, ledger)) == sorted(map(tokens, served))
    assert sum(Decimal(record["cost_usd"]) for record in ledger) == sum(map(cost_usd, served))


def test_the_rollups_are_what_the_records_are(product: Product) -> None:
    def agree() -> bool:
        records = product.usage_records()
        totals = product.admin("GET", "/usage", params={"group_by": "model"}).json()["totals"]
        return bool(
            totals["prompt_tokens"] == sum(record["prompt_tokens"] for record in records)
            and totals["completion_tokens"] == sum(record["completion_tokens"] for record in records)
            and Decimal(totals["cost_usd"]) == sum(Decimal(record["cost_usd"] or 0) for record in records)
        )

    assert wait_for(agree)


def tokens(record: dict[str, Any]) -> tuple[int, int]:
    return record["prompt_tokens"], record["completion_tokens"]
