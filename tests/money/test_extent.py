"""What calls beside text may come to: exact where the call tells, never below the bill, refused where nobody can know."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.forms import HEADERS, form, transcription
from tests.money.records import make_principal
from tollkeeper.contracts.catalog import ModelRoute, Price
from tollkeeper.contracts.chat import Amounts, Call, Operation, Usage
from tollkeeper.contracts.routing import Target
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.dialects.openai_images import OpenAIImages
from tollkeeper.gateway.dialects.openai_moderations import OpenAIModerations
from tollkeeper.gateway.dialects.openai_rerank import OpenAIRerank
from tollkeeper.gateway.dialects.openai_speech import OpenAISpeech
from tollkeeper.gateway.dialects.openai_transcriptions import OpenAITranscriptions
from tollkeeper.gateway.money.appraise import appraise, appraise_exactly
from tollkeeper.gateway.money.extent import measure
from tollkeeper.gateway.money.forecast import Forecasts
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.price import cost_nano
from tollkeeper.gateway.simulator import media

PRINCIPAL = make_principal()
# Pico-dollars: 0.04 $ a picture, 0.0001 $ a second, 0.000015 $ a character, 0.002 $ a search.
BESIDE = Price(uuid7(), 0, 0, image=4 * 10**10, audio_second=10**8, character=15 * 10**6, request=2 * 10**9)
TOKENS = Price(uuid7(), input=5_000_000, output=40_000_000, input_image=10_000_000, input_audio=6_000_000)
WAV = media.wav(2.0)


def appraised(call: Call, price: Price, **fields: Any) -> Appraisal:
    model = call.model
    route = ModelRoute(uuid7(), model, (Target("openai", model),), price=price, **fields)
    return appraise(call, route, PRINCIPAL, route.targets, Forecasts())


def draw(**fields: Any) -> Call:
    body = {"model": "gpt-image-1", "prompt": "a cat", **fields}
    return OpenAIImages().read_call(orjson.dumps(body), {}, "")


def speak(text: str, **fields: Any) -> Call:
    body = {"model": "tts-1", "voice": "alloy", "input": text, **fields}
    return OpenAISpeech().read_call(orjson.dumps(body), {}, "")


def listen(sound: bytes) -> Call:
    return OpenAITranscriptions().read_call(transcription(sound), HEADERS, "")


def rank(documents: list[Any], query: str = "q") -> Call:
    body = {"model": "rerank-v3.5", "query": query, "documents": documents}
    return OpenAIRerank().read_call(orjson.dumps(body), {}, "")


@pytest.mark.parametrize(
    ("call", "nano"),
    [
        (draw(), 42_000_000),
        (draw(n=3), 122_000_000),
        (speak("x" * 100), 3_500_000),
        (speak("ü" * 100), 3_500_000),
        # 2.003 seconds, the head of the file included; rounded up.
        (listen(WAV), 2_200_301),
        (rank(["a"] * 100), 2_000_000),
        (rank(["a"] * 101), 4_000_000),
    ],
    ids=["picture", "pictures", "speech", "speech of umlauts", "sound", "ranking", "ranking of more"],
)
def test_hold_is_exact_where_the_call_tells(call: Call, nano: int) -> None:
    appraisal = appraised(call, BESIDE)
    assert appraisal.full_nano == appraisal.forecast_nano == nano
    assert not appraisal.needs_cap


def test_pictures_that_an_operator_adds_are_held_as_well() -> None:
    assert appraised(draw(n=1).replace(n=3), BESIDE).full_nano == 122_000_000
    assert appraised(draw().replace(n=2), TOKENS).output_cap == 12_480


def test_sound_of_unknown_length_is_bounded_by_its_size() -> None:
    appraisal = appraised(listen(bytes(750_000)), BESIDE)
    assert appraisal.full_nano is not None
    assert appraisal.full_nano >= 1_000 * 100_000


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"quality": "low", "size": "1024x1024"}, 272),
        ({"quality": "medium", "size": "1024x1536"}, 1_584),
        ({"quality": "high", "size": "1536x1024"}, 6_240),
        ({}, 6_240),
        ({"size": "auto", "quality": "auto", "n": 2}, 12_480),
        ({"quality": "low", "size": "1024x1024", "partial_images": 3, "stream": True}, 572),
    ],
)
def test_pictures_by_tokens_are_held_by_size_and_quality(fields: dict[str, Any], tokens: int) -> None:
    appraisal = appraised(draw(**fields), TOKENS)
    assert (appraisal.output_cap, appraisal.output_tokens) == (tokens, tokens)


@pytest.mark.parametrize(
    "call",
    [
        draw(model="gpt-image-3"),
        draw(quality="max"),
        draw(size="huge"),
        draw(output_format="svg"),
        draw(frame_count=8),
        speak("Hello."),
    ],
    ids=["unknown model", "unknown quality", "unknown size", "drawing", "animation", "speech"],
)
def test_tokens_that_nobody_publishes_have_no_end(call: Call) -> None:
    appraisal = appraised(call, TOKENS)
    assert appraisal.full_nano is None
    assert not appraisal.needs_cap
    assert appraisal.unbounded_because


def test_ceiling_of_the_catalogue_is_an_end() -> None:
    assert appraised(draw(model="gpt-image-3", n=2), TOKENS, max_output_tokens=9_000).output_cap == 18_000
    assert appraised(speak("Hello."), TOKENS, max_output_tokens=2_000).output_cap == 2_000


def test_price_for_each_picture_needs_no_ceiling() -> None:
    assert appraised(draw(model="gpt-image-3"), BESIDE).full_nano == 42_000_000


def test_transcript_by_tokens_ends_with_its_sound() -> None:
    appraisal = appraised(listen(WAV), TOKENS)
    assert appraisal.output_cap is not None
    assert 448 < appraisal.output_cap < 500
    # Twenty tokens of sound and the texts of the form.
    assert appraisal.input_bound < 1_000


def test_pictures_that_are_edited_are_in_the_bound() -> None:
    texts = (("model", "gpt-image-1"), ("prompt", "a hat"))
    one, high = (
        OpenAIImages(Operation.IMAGE_EDITS).read_call(
            form(*texts, *more, ("image", media.png(b"abc"), "a.png")), HEADERS, ""
        )
        for more in ((), (("input_fidelity", "high"),))
    )
    plain = appraised(draw(prompt="a hat"), TOKENS).input_bound
    assert appraised(one, TOKENS).input_bound >= plain + 194
    assert appraised(high, TOKENS).input_bound >= plain + 6_240 + 194


def test_query_is_counted_with_each_document() -> None:
    assert appraised(rank(["a"] * 10, "x" * 100), TOKENS).input_bound >= 10 * 101


def test_moderation_has_no_output() -> None:
    body = {"model": "m", "input": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]}
    appraisal = appraised(OpenAIModerations().read_call(orjson.dumps(body), {}, ""), TOKENS)
    assert appraisal.output_cap == 0
    assert appraisal.input_bound > 1_000, "a picture nobody sees counts as the largest"


@given(
    st.integers(1, 10),
    st.sampled_from(["low", "medium", "high", "auto"]),
    st.sampled_from(["1024x1024", "1024x1536", "1536x1024", "auto"]),
    st.text(max_size=200),
)
async def test_bill_of_pictures_is_never_above_the_hold(n: int, quality: str, size: str, prompt: str) -> None:
    call = draw(n=n, quality=quality, size=size, prompt=f"a {prompt}")
    route = ModelRoute(uuid7(), "m", (Target("openai", "*"),), price=TOKENS)
    per_size = {
        "1024x1024": {"low": 272, "medium": 1_056, "high": 4_160},
        "1024x1536": {"low": 408, "medium": 1_584, "high": 6_240},
    }
    each = per_size["1024x1024" if size == "1024x1024" else "1024x1536"]["high" if quality == "auto" else quality]
    usage = Usage(input=len(call.body["prompt"].encode()), output_image=each * n)
    for appraisal in (
        appraise(call, route, PRINCIPAL, route.targets, Forecasts()),
        await appraise_exactly(call, route, PRINCIPAL, route.targets, Forecasts()),
    ):
        assert appraisal.full_nano is not None
        images_only = Usage(output_image=each * n)
        assert appraisal.full_nano >= cost_nano(images_only, TOKENS, measure(Amounts(images=n)))
    assert appraise(call, route, PRINCIPAL, route.targets, Forecasts()).full_nano >= cost_nano(usage, TOKENS)  # type: ignore[operator]
