"""What calls other than text come to: tokens of the pictures, speech and transcripts they ask for, and what is charged
beside tokens. Pure; what a vendor does not publish has no most, and then a hard budget needs an operator's word for it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tollkeeper.contracts.catalog import Price, ServiceTier
from tollkeeper.contracts.chat import Amounts, Call, Operation, Usage
from tollkeeper.gateway.money.price import Measure

IMAGES: Final = frozenset({Operation.IMAGE_GENERATIONS, Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS})
SOUNDS: Final = frozenset({Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS})
# They answer with verdicts, scores and vectors, which are no tokens.
WITHOUT_OUTPUT: Final = frozenset({Operation.EMBEDDINGS, Operation.MODERATIONS, Operation.RERANK})
TEXTS: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})

# Tokens of a square picture of 1024 pixels; others by their area ("Image generation", OpenAI's guide, 2026-10: 272, 1,056
# and 4,160 square, 408, 1,584 and 6,240 upright).
_OF_QUALITY: Final[Mapping[str, int]] = {"low": 272, "medium": 1_056, "high": 4_160, "standard": 1_056, "auto": 4_160}
_SQUARE: Final = 1_024 * 1_024
_LARGEST: Final = 1_024 * 1_536
# The same page: a partial picture.
_PARTIAL: Final = 100
# Of which all that is known; the ones after them have sizes and qualities of their own.
_KNOWN: Final = ("gpt-image-1", "chatgpt-image")
# Of speech, by characters: about 900 are said in a minute of 1,250 tokens ("gpt-4o-mini-tts", OpenAI, 2025-03).
_SPEECH_PERCENT: Final = 140
# Whisper writes at most 448 tokens for each window of 30 seconds; people say about four in one.
_TRANSCRIPT_MOST: Final = 15
_TRANSCRIPT_USUAL: Final = 4
_WINDOW: Final = 448
BYTES_PER_TOKEN: Final = 4


def output_tokens(call: Call, model: str, most_of_model: int | None) -> tuple[int, int | None]:
    """The likely count of an answer, and the most; None: nobody says. `model` by the vendor's name for it."""
    operation = call.operation
    if operation in WITHOUT_OUTPUT:
        return 0, 0
    if operation in IMAGES:
        return _image_tokens(call, model, most_of_model)
    if operation in SOUNDS:
        likely, most = call.asked or Amounts(), call.at_most or call.asked or Amounts()
        bound = most.audio_ms * _TRANSCRIPT_MOST // 1000 + _WINDOW
        bound = bound if most_of_model is None else min(bound, most_of_model)
        return min(likely.audio_ms * _TRANSCRIPT_USUAL // 1000 + 1, bound), bound
    usual = (call.asked or Amounts()).characters * _SPEECH_PERCENT // 100
    return usual if most_of_model is None else min(usual, most_of_model), most_of_model


def _image_tokens(call: Call, model: str, most_of_model: int | None) -> tuple[int, int | None]:
    body = call.body
    count = (asked_of(call) or Amounts()).images
    partial = body.get("partial_images")
    added = _PARTIAL * partial if type(partial) is int else 0
    each: int | None = None
    if model.lower().rpartition("/")[2].startswith(_KNOWN):
        of_square = _OF_QUALITY.get(body.get("quality") or "auto")
        area = _area(body.get("size"))
        if of_square is not None and area is not None:
            each = -(-of_square * area // _SQUARE) + added
    if each is None:
        usual = -(-_OF_QUALITY["high"] * _LARGEST // _SQUARE) + added
        return count * min(usual, most_of_model or usual), None if most_of_model is None else count * most_of_model
    return count * each, count * each


def _area(size: Any) -> int | None:
    if size is None or size == "auto":
        return _LARGEST
    width, _, height = size.partition("x") if isinstance(size, str) else ("", "", "")
    is_size = all(side.isascii() and side.isdigit() and len(side) <= 5 for side in (width, height))
    return int(width) * int(height) if is_size else None


def asked_of(call: Call) -> Amounts | None:
    """What the call asks for as it goes out: an operator may have set how many pictures."""
    asked = call.asked
    if asked is None or call.operation not in IMAGES:
        return asked
    count = call.body.get("n")
    if type(count) is not int or count == asked.images:
        return asked
    return replace(asked, images=count)


def measure(amounts: Amounts, service_tier: ServiceTier = ServiceTier.STANDARD) -> Measure:
    return Measure(service_tier, amounts.units, amounts.images, amounts.audio_ms, amounts.characters)


def has_token_rates(price: Price) -> bool:
    return any(
        (price.input, price.output, price.input_audio, price.input_image, price.output_audio, price.output_image)
    ) or any(has_token_rates(tier.rates) for tier in price.tiers)


def uncounted_usage(
    call: Call, model: str, price: Price | None, amounts: Amounts | None, input_tokens: int, text_length: int
) -> Usage:
    """Of an attempt whose vendor counted no tokens. Where none are charged for, none have to be guessed.

    `amounts` None: no answer was seen. A picture is made whole or not at all, so it is charged as asked for.
    """
    is_estimated = amounts is None or amounts.is_estimated
    if price is not None and not has_token_rates(price):
        return Usage(is_estimated=is_estimated)
    if call.operation in WITHOUT_OUTPUT:
        return Usage(input=input_tokens, is_estimated=True)
    if call.operation in SOUNDS:
        return Usage(input_audio=input_tokens, output=-(-text_length // BYTES_PER_TOKEN), is_estimated=True)
    output, _ = output_tokens(call, model, None)
    if call.operation in IMAGES:
        asked = max((asked_of(call) or Amounts()).images, 1)
        output = output if amounts is None else output // asked * amounts.images
        return Usage(input=input_tokens, output_image=output, is_estimated=True)
    return Usage(input=input_tokens, output_audio=output, is_estimated=True)
