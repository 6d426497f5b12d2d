"""A call is charged at the tier the vendor served it in, else at the one it asked for."""

from pathlib import Path

import pytest

from tests.gateway.serving import chat, provider, route, serving, snapshot
from tests.gateway.upstream import USAGE, FakeUpstream, answer_json, chunk, completion, event, stream
from tollkeeper.contracts.catalog import Price, PriceTier, ServiceTier
from tollkeeper.core.ids import uuid7

# Ten tokens in and five out; nano-dollars: 15 at the standard rates, 150 with flex, 1,500 with priority.
PRICED = Price(
    uuid7(),
    1_000,
    1_000,
    tiers=(
        PriceTier(Price(uuid7(), 10_000, 10_000), ServiceTier.FLEX),
        PriceTier(Price(uuid7(), 100_000, 100_000), ServiceTier.PRIORITY),
    ),
)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("asked", "served", "cost"),
    [
        (None, None, 15),
        ("flex", "flex", 150),
        ("priority", "default", 15),
        ("auto", "priority", 1_500),
        ("flex", None, 150),
    ],
)
async def test_a_call_is_charged_at_the_tier_it_was_served_in(
    tmp_path: Path, vendor: FakeUpstream, asked: str | None, served: str | None, cost: int, *, is_stream: bool
) -> None:
    said = {} if served is None else {"service_tier": served}
    vendor.script = (
        stream(
            event(chunk({"role": "assistant", "content": "hello"}, **said)),
            event(chunk({}, "stop", **said)),
            event({**chunk(None, **said), "usage": USAGE}),
            b"data: [DONE]\n\n",
        )
        if is_stream
        else answer_json(completion(**said))
    )
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "gpt-4o-mini"), price=PRICED)])
    async with serving(tmp_path, snap) as gateway:
        await gateway.post(body=chat(stream=is_stream, **({} if asked is None else {"service_tier": asked})))
        (row,) = await gateway.settled()
    assert row.cost_nano == cost
    assert row.intent.price_version == PRICED.version
