from dataclasses import replace
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.money.records import make_principal
from tollkeeper.contracts.catalog import EMPTY_SNAPSHOT, Adjustment, ModelRoute, Price, PriceTier, ServiceTier, Snapshot
from tollkeeper.contracts.chat import Call, Operation, Usage
from tollkeeper.contracts.money import Budget, RuleScope, ScopeKind, Window, WindowKind
from tollkeeper.contracts.routing import Target
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.appraise import OUTPUT, appraise, appraise_exactly
from tollkeeper.gateway.money.forecast import Forecasts
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.price import Measure, charge_nano, cost_nano, measure_of

PRINCIPAL = make_principal()
PLAIN = Price(uuid7(), input=2_000_000, output=8_000_000)
MODEL = "gpt-4o"
TEXT = {"messages": [{"role": "user", "content": "How do I bake bread?"}]}
CLASSES = ("cache_read", "cache_write", "cache_write_1h", "reasoning")


def route(price: Price | None = PLAIN, **fields: Any) -> ModelRoute:
    return ModelRoute(uuid7(), MODEL, (Target("openai", MODEL),), price=price, **fields)


def call_of(operation: Operation = Operation.CHAT, **fields: Any) -> Call:
    body = {"model": MODEL, **fields}
    return Call(operation, model=MODEL, is_stream=False, body=body, raw=orjson.dumps(body))


def appraised(call: Call, where: ModelRoute, **settings: Any) -> Appraisal:
    return appraise(call, where, PRINCIPAL, where.targets, Forecasts(), **settings)


pico = st.integers(0, 10**8)
rates = st.builds(
    Price,
    version=st.just(uuid7()),
    input=pico,
    output=pico,
    request=st.none() | pico,
    **{name: st.none() | pico for name in CLASSES},
)
tiers = st.lists(
    st.builds(
        PriceTier,
        rates,
        st.sampled_from(ServiceTier),
        st.sampled_from([0, 50, 150, 300, 1_000]),
    ),
    max_size=4,
    unique_by=lambda tier: (tier.service_tier, tier.over_input_tokens),
)
prices = st.builds(lambda price, steps: replace(price, tiers=tuple(steps)), rates, tiers)
bodies = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.builds(lambda text: {"role": "user", "content": text}, st.text(max_size=300)), min_size=1
        )
    },
    optional={
        "n": st.integers(1, 4),
        "service_tier": st.sampled_from(["auto", "default", "flex", "priority", None]),
        "tools": st.just([{"type": "function", "function": {"name": "f"}}]),
    },
)


@settings(deadline=None)
@given(bodies, prices, st.integers(1, 5_000), st.integers(0, 2), st.data())
def test_no_usage_that_fits_the_call_costs_more_than_its_worst_case(
    body: dict[str, Any], price: Price, cap: int, cap_place: int, data: st.DataObject
) -> None:
    caps = [{"max_tokens": cap}, {"max_completion_tokens": cap}, {}]
    call, where = call_of(**body, **caps[cap_place]), route(price, max_output_tokens=cap)
    found = appraised(call, where)
    left = data.draw(st.integers(0, len(call.raw or b"")), label="input")
    counts: dict[str, int] = {}
    for name in ("cache_read", "cache_write", "cache_write_1h"):
        # An hour costs more and has to be asked for.
        most = 0 if name == "cache_write_1h" and price_of_hour_is_unasked(call) else left
        counts[name] = data.draw(st.integers(0, most), label=name)
        left -= counts[name]
    total = data.draw(st.integers(0, cap * body.get("n", 1)), label="output")
    reasoning = data.draw(st.integers(0, total), label="reasoning")
    usage = Usage(input=left, output=total - reasoning, reasoning=reasoning, **counts)
    given_tier = data.draw(st.sampled_from([ServiceTier.STANDARD, measure_of(body.get("service_tier")).service_tier]))

    assert found.full_nano is not None
    assert cost_nano(usage, price, Measure(given_tier)) <= found.full_nano
    assert found.forecast_nano <= found.full_nano
    assert found.input_tokens <= found.input_bound


def price_of_hour_is_unasked(call: Call) -> bool:
    return b'"1h"' not in (call.raw or b"") and b"\\u00" not in (call.raw or b"")


@settings(deadline=None)
@given(st.text(max_size=200), st.text(min_size=1, max_size=200), prices, st.booleans())
def test_a_longer_call_is_never_worth_less(text: str, more: str, price: Price, is_capped: bool) -> None:
    caps = {"max_tokens": 100} if is_capped else {}
    short = appraised(call_of(messages=[{"role": "user", "content": text}], **caps), route(price))
    long = appraised(call_of(messages=[{"role": "user", "content": text + more}], **caps), route(price))

    # None: a tier that only the longer one reaches charges for output that has no end.
    assert long.full_nano is None or (short.full_nano or 0) <= long.full_nano
    assert short.forecast_nano <= long.forecast_nano
    assert short.input_tokens <= long.input_tokens


@settings(deadline=None)
@given(bodies, prices)
def test_counting_never_makes_the_worst_case_worse(body: dict[str, Any], price: Price) -> None:
    call, where = call_of(**body, max_tokens=50), route(price)
    bound, counted = appraised(call, where), appraised(call, where, is_exact=True)

    assert counted.input_bound <= bound.input_bound
    assert (counted.full_nano or 0) <= (bound.full_nano or 0)
    assert counted.forecast_nano <= (counted.full_nano or 0)


def test_counting_makes_a_long_text_much_cheaper() -> None:
    call = call_of(messages=[{"role": "user", "content": "the quick brown fox " * 500}], max_tokens=1)
    bound, counted = appraised(call, route()), appraised(call, route(), is_exact=True)

    assert 2_000 <= counted.input_bound < bound.input_bound / 4
    assert counted.input_tokens == pytest.approx(2_000, rel=0.02)


async def test_a_long_call_is_counted_off_the_loop_to_the_same_end() -> None:
    call = call_of(messages=[{"role": "user", "content": "the quick brown fox " * 10_000}], max_tokens=1)
    where = route()

    off = await appraise_exactly(call, where, PRINCIPAL, where.targets, Forecasts())

    assert off == appraised(call, where, is_exact=True)


def test_the_cap_counts_for_every_answer_that_was_asked_for() -> None:
    def cap(operation: Operation = Operation.CHAT, **fields: Any) -> int | None:
        return appraised(call_of(operation, **fields), route()).output_cap

    assert cap(**TEXT, max_tokens=10) == 10
    assert cap(**TEXT, max_tokens=10, n=3) == 30
    assert cap(**TEXT, max_tokens=10, max_completion_tokens=40) == 40
    assert cap(Operation.COMPLETIONS, prompt="a", max_tokens=10, best_of=5, n=2) == 50
    assert cap(Operation.COMPLETIONS, prompt=["a", "b", "c"], max_tokens=10, n=2) == 60
    assert cap(Operation.COMPLETIONS, prompt=[[1, 2], [3]], max_tokens=10) == 20
    assert cap(Operation.EMBEDDINGS, input="a") == 0


def test_a_prediction_can_be_charged_as_output() -> None:
    text = "word " * 200
    found = appraised(call_of(**TEXT, max_tokens=10, prediction={"type": "content", "content": text}), route())

    assert (found.output_cap or 0) >= 10 + len(text)


def test_without_a_cap_the_models_maximum_counts_and_else_nothing_bounds_it() -> None:
    known = appraised(call_of(**TEXT), route(max_output_tokens=16_384))
    unknown = appraised(call_of(**TEXT), route())

    assert (known.output_cap, known.has_caller_cap, known.needs_cap) == (16_384, False, False)
    assert known.full_nano is not None
    assert (unknown.full_nano, unknown.needs_cap, unknown.unbounded_because) == (None, True, OUTPUT)
    assert unknown.forecast_nano > 0
    assert appraised(call_of(**TEXT, max_tokens=5), route()).has_caller_cap


def test_what_only_the_vendor_sees_is_bounded_by_the_models_context_or_not_at_all() -> None:
    parts = [{"type": "file", "file": {"file_id": "file-1"}}]
    call = call_of(messages=[{"role": "user", "content": parts}], max_tokens=10)
    unknown, known = appraised(call, route()), appraised(call, route(context_tokens=128_000))

    assert (unknown.full_nano, unknown.needs_cap) == (None, False)
    assert unknown.unbounded_because == "a file has no known length."
    assert known.input_bound == 128_000
    assert known.full_nano == 128_000 * 2_000 + 10 * 8_000


def test_what_the_vendor_does_by_itself_has_no_bound_and_costs_nothing_where_nothing_costs() -> None:
    call = call_of(**TEXT, max_tokens=10, web_search_options={})
    free = Price(uuid7(), input=0, output=0)

    assert appraised(call, route(context_tokens=128_000)).unbounded_because is not None
    assert appraised(call, route(free)).full_nano == 0
    assert appraised(call_of(**TEXT), route(free)).full_nano == 0


def test_an_unpriced_call_has_no_amounts_but_tokens() -> None:
    found = appraised(call_of(**TEXT, max_tokens=70), route(None))

    assert (found.full_nano, found.forecast_nano) == (0, 0)
    assert (found.output_tokens, found.output_cap) == (70, 70)
    assert found.input_tokens > 5


def test_an_hour_in_the_cache_is_held_where_it_may_be_asked_for() -> None:
    price = replace(PLAIN, cache_write=2_500_000, cache_write_1h=4_000_000)
    part = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    usual = appraised(call_of(**TEXT, max_tokens=1), route(price))
    asked = appraised(call_of(messages=[{"role": "user", "content": [part]}], max_tokens=1), route(price))

    assert usual.full_nano == -(-(usual.input_bound * 2_500_000 + 8_000_000) // 1000)
    assert asked.full_nano == -(-(asked.input_bound * 4_000_000 + 8_000_000) // 1000)


def test_sound_and_pictures_are_held_at_their_own_rates() -> None:
    price = replace(PLAIN, input_audio=40_000_000, output_audio=80_000_000, input_image=5_000_000)
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 4_000, "format": "mp3"}}
    picture = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}

    def full(*parts: object, **fields: Any) -> tuple[int, Appraisal]:
        fields = {"modalities": ["text"], **fields}
        found = appraised(
            call_of(messages=[{"role": "user", "content": [*parts]}], max_tokens=1, **fields), route(price)
        )
        assert found.full_nano is not None
        return found.full_nano * 1000, found

    text, _ = full({"type": "text", "text": "Hi"})
    heard, of_sound = full(sound)
    seen, of_picture = full(picture)
    spoken, _ = full({"type": "text", "text": "Hi"}, modalities=["text", "audio"], audio={"voice": "alloy"})
    assert heard == of_sound.input_bound * 40_000_000 + 8_000_000
    assert seen == of_picture.input_bound * 5_000_000 + 8_000_000
    assert of_picture.input_bound > 765
    assert spoken > text + 70_000_000


def snapshot_of(*adjustments: Adjustment) -> Snapshot:
    return replace(EMPTY_SNAPSHOT, adjustments=MappingProxyType({PRINCIPAL.tenant_id: adjustments}))


@settings(deadline=None)
@given(st.integers(0, 3_000_000), st.integers(0, 1_000), st.integers(0, 400), st.integers(0, 100))
def test_what_is_held_covers_what_is_charged(factor: int, request_nano: int, text: int, output: int) -> None:
    adjustment = Adjustment(uuid7(), PRINCIPAL.tenant_id, factor, request_nano)
    call = call_of(messages=[{"role": "user", "content": "x" * text}], max_tokens=100)
    found = appraised(call, route(), snapshot=snapshot_of(adjustment))
    charge = charge_nano(cost_nano(Usage(input=text, output=output), PLAIN), adjustment)

    assert (charge or 0) <= (found.full_nano or 0)
    assert found.output_pico * 1_000_000 >= PLAIN.output * factor


def test_a_discount_does_not_shrink_what_the_platforms_own_budget_holds() -> None:
    half = snapshot_of(Adjustment(uuid7(), PRINCIPAL.tenant_id, 500_000))
    pool = Budget(uuid7(), RuleScope(ScopeKind.PROVIDER, "openai"), 10**9, Window(WindowKind.DAY), 0, is_platform=True)
    call, where = call_of(**TEXT, max_tokens=100), route()
    full = appraised(call, where).full_nano or 0
    counted = replace(PRINCIPAL, budgets=(pool,))

    assert appraised(call, where, snapshot=half).full_nano == -(-full // 2)
    assert appraise(call, where, counted, where.targets, Forecasts(), snapshot=half).full_nano == full


def test_the_dearest_target_decides() -> None:
    call = call_of(messages=[{"role": "user", "content": "Hi"}], max_tokens=1)
    here, there = Target("openai", MODEL), Target("anthropic", "claude-opus-5")
    both = ModelRoute(uuid7(), MODEL, (here, there), price=PLAIN)

    alone = appraise(call, both, PRINCIPAL, (here,), Forecasts()).input_bound
    assert appraise(call, both, PRINCIPAL, (here, there), Forecasts()).input_bound > alone
