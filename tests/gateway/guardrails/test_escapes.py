"""Letters that only the reader of JSON sees, in arguments of tools that are being written."""

import itertools
import json
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.guardrails.guarding import CARD, policy
from tollkeeper.contracts.chat import Batch, Chunk
from tollkeeper.contracts.guardrails import Action, RuleUse
from tollkeeper.gateway.guardrails import RULES
from tollkeeper.gateway.hold_back import Blocked, HoldBack
from tollkeeper.gateway.placeholders import Placeholders
from tollkeeper.gateway.screen import Screen
from tollkeeper.gateway.unescaping import begun, readings


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


def screen(action: Action) -> Screen:
    return Screen([policy(RuleUse("pii", "pii", action))], RULES)


REDACT, BLOCK = screen(Action.REDACT), screen(Action.BLOCK)
MAIL = "bob@example.com"
ARGUMENTS = {
    "plain": json.dumps({"to": MAIL, "note": "a\nb"}),
    "escaped": '{"to": "' + escaped(MAIL) + '", "note": "x"}',
    "half escaped": '{"to": "b' + escaped("ob@exa") + 'mple.com"}',
    "behind a line's end": '{"note": "card\\n' + CARD + '\\nthanks"}',
    "within a string of JSON": json.dumps({"payload": '{"to": "' + escaped(MAIL) + '"}'}),
    "behind an escaped backslash": '{"path": "c:\\\\\\\\' + escaped(MAIL) + '"}',
    "with letters that need two": '{"to": "\\ud83d\\ude00 ' + escaped(MAIL) + '"}',
}


async def streamed(text: str, cuts: list[int], of: Screen) -> str:
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(text)}), len(text)]

    async def rest() -> AsyncIterator[Batch]:
        for start, end in itertools.pairwise(edges):
            call = {"index": 0, "function": {"arguments": text[start:end]}}
            yield (Chunk({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}, raw=b"{}"),)
        yield (Chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}, is_final=True),)

    said = ""
    try:
        async for batch in HoldBack((), rest(), of.output, Placeholders(), lambda _hits, _part: None):
            for chunk in batch:
                for call in chunk.data["choices"][0]["delta"].get("tool_calls", ()):
                    said += call["function"]["arguments"]
    except Blocked:
        said += "⊘"
    return said


def read(text: str) -> str:
    """As a careless tool would read it: all strings within strings too."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict):
        return " ".join(read(inner) for inner in value.values())
    return read(value) if isinstance(value, str) else str(value)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
async def test_escaped_letters_hide_nothing_however_arguments_are_cut(name: str) -> None:
    text = ARGUMENTS[name]
    generator = random.Random(5)
    ways = [range(1, len(text), size) for size in (1, 2, 3, 5, 8, 13, 200)]
    for cuts in [*map(list, ways), *([generator.randint(0, len(text)) for _ in range(9)] for _ in range(30))]:
        redacted = await streamed(text, list(cuts), REDACT)
        shown = read(redacted)
        assert MAIL not in shown, cuts
        assert CARD not in shown, cuts
        assert "[EMAIL]" in shown or "[CARD]" in shown, cuts
        blocked = await streamed(text, list(cuts), BLOCK)
        assert blocked.endswith("⊘")
        for length in range(4, len(MAIL)):
            assert escaped(MAIL[:length]) not in blocked, cuts


@given(st.text(alphabet='ab\\u0041d83"nté😀', max_size=60))
def test_readings_say_what_json_says_and_know_where(text: str) -> None:
    quoted = json.dumps(text)[1:-1]
    for plain, places in readings(quoted)[:1]:
        assert plain == text
        assert len(places) == len(plain) + 1
        assert places[-1] == len(quoted)
        assert list(places) == sorted(places)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("abc", 3),
        ("abc\\", 3),
        ("abc\\u", 3),
        ("abc\\u00e", 3),
        ("abc\\u00e9", 9),
        ("abc\\\\", 5),
        ("abc\\\\u00", 8),
        ("abc\\\\\\u00", 5),
        ("\\ud83d", 0),
        ("\\ud83d\\", 0),
        ("\\ud83d\\ude0", 0),
        ("\\ud83d\\ude00", 12),
        ("\\n", 2),
    ],
)
def test_an_escape_without_its_end_waits(text: str, place: int) -> None:
    assert begun(text) == place
