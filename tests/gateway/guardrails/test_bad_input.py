"""What nobody sends by accident: rules that fail, texts of megabytes, texts in pieces, scripts in a mix, bytes that are none."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.gateway.guardrails.guarding import CARD, MAIL, guarded, pii, policy
from tests.gateway.guardrails.test_guard import said
from tests.gateway.serving import chat
from tests.gateway.upstream import answer, completion, good_stream, stream
from tollkeeper.contracts.guardrails import Action, Direction, OnFailure, RuleUse
from tollkeeper.gateway.guardrail import Finding, Part
from tollkeeper.gateway.guardrails import RULES
from tollkeeper.gateway.screen import FAILED, Screen

SETTINGS: dict[str, dict[str, Any]] = {
    "keywords": {"topics": {"t": ["Falke", "project x"]}},
    "regex": {"patterns": {"evil": "(a|aa)+b", "nested": "((a*)*)*b"}},
    "urls": {"deny": ["evil.example"]},
    "canaries": {"tokens": ["cnry-4711-zebra"]},
    "length": {"most_characters": 100_000_000},
    "language": {"allow": ["en"]},
    "tools": {"deny": ["x"]},
    "json_schema": {"answer": {}},
}
LOCAL = sorted(RULES.keys() - {"moderation", "webhook"})


class NoSettings(BaseModel):
    pass


class Nonsense:
    """Says what a test has put here."""

    NAME = "nonsense"
    TITLE = "Says what cannot be"
    Settings = NoSettings
    WINDOW = 10
    said: Any = ()

    def __init__(self, settings: NoSettings) -> None:
        del settings

    def check(self, part: Part) -> Any:
        del part
        return self.said() if callable(self.said) else self.said


def _raising() -> Any:
    yield Finding("x", "x", 0, 1)
    raise LookupError("in the middle")


NONSENSE = {
    "nothing": None,
    "a number": 7,
    "no findings": ["email"],
    "before the text": [Finding("x", "x", -1, 2)],
    "behind the text": [Finding("x", "x", 0, 10_000)],
    "an end before its start": [Finding("x", "x", 3, 1)],
    "no offsets": [Finding("x", "x", 0.5, 1)],  # type: ignore[arg-type]
    "a score that is none": [Finding("x", "x", 0, 1, float("nan"))],
    "too high a score": [Finding("x", "x", 0, 1, 7.0)],
    "no label": [Finding("x", None, 0, 1)],  # type: ignore[arg-type]
    "half an answer": _raising,
}


@pytest.mark.parametrize("on_failure", [OnFailure.BLOCK, OnFailure.FLAG])
@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_a_rule_that_says_what_cannot_be_is_no_pass(name: str, on_failure: OnFailure) -> None:
    kind = type(
        "Rule", (Nonsense,), {"said": staticmethod(NONSENSE[name]) if callable(NONSENSE[name]) else NONSENSE[name]}
    )
    rules: Any = {"nonsense": kind}
    screen = Screen([policy(RuleUse("n", "nonsense", on_failure=on_failure))], rules)
    [hit] = screen.input.look(Part("hello"))
    assert (hit.finding.label, hit.is_blocking) == (FAILED, on_failure is OnFailure.BLOCK)


def test_nothing_that_a_rule_raises_is_logged_with_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    def raising() -> Any:
        raise RuntimeError("the text was Falke")

    rules: Any = {"nonsense": type("Rule", (Nonsense,), {"said": staticmethod(raising)})}
    Screen([policy(RuleUse("n", "nonsense"))], rules).input.look(Part("about Falke"))
    logged = capsys.readouterr()
    assert "guardrail_failed" in logged.out + logged.err
    assert "Falke" not in logged.out + logged.err


LONG = {
    "one letter": "a" * 5_000_000,
    "one digit": "1" * 5_000_000,
    "words": "word " * 1_000_000,
    "brackets": "[{" * 2_500_000,
    "marks": "\u0301" * 2_500_000,
    "invisible": "\u200b" * 1_500_000,
    "escapes": "\\u0041" * 800_000,
    "addresses": "a@b." * 250_000,
    "scripts": "аΑa中ا" * 500_000,
}


@pytest.mark.parametrize("name", sorted(LONG))
async def test_five_megabytes_of_anything_end_soon_and_let_others_have_their_turn(name: str) -> None:
    uses = [RuleUse(rule, rule, Action.FLAG, settings=SETTINGS.get(rule, {})) for rule in LOCAL if rule != "injection"]
    screen = Screen([policy(*uses)], RULES)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    loop = asyncio.get_running_loop()
    began = loop.time()
    await screen.input.look_long(Part(LONG[name]))
    # Quadratic work would take hours.
    assert loop.time() - began < 120
    other.cancel()
    assert turns > 10


@pytest.mark.parametrize(
    "text",
    [
        f"карта {CARD} и почта {MAIL}",
        f"بطاقة {CARD} بريد {MAIL}",
        f"卡{CARD}，信{MAIL}。",
        "card ４１１１ １１１１ １１１１ １１１１, mail bob＠example.com",
        "card ٤١١١ ١١١١ ١١١١ ١١١١",
        f"\u202ecard {CARD}\u202c {MAIL}",
        f"c\u0301a\u0308rd {CARD}\u0301 {MAIL}",
    ],
)
async def test_scripts_in_a_mix_hide_nothing(text: str) -> None:
    hits = await Screen([policy(pii(Action.BLOCK))], RULES).input.look_long(Part(text))
    assert "card" in {hit.finding.label for hit in hits}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_bytes_that_are_no_text_break_no_stream(tmp_path: Path, size: int) -> None:
    """A vendor's stream with bytes that are no UTF-8, cut anywhere: refused or repaired, never let by unseen."""
    async with guarded(tmp_path, policy(pii(Action.REDACT))) as (gateway, vendor):
        whole = b"".join(good_stream(f"see \xff\xfe{MAIL} ".encode("latin-1").decode("latin-1"), "end"))
        broken = whole.replace(b"\\u00ff\\u00fe", b"\xff\xfe").replace("ÿþ".encode(), b"\xff\xfe")
        vendor.script = stream(*[broken[at : at + size] for at in range(0, len(broken), size)])
        response = await gateway.post(body=chat(stream=True))
        assert MAIL not in response.text
        vendor.script = answer(200, json.dumps(completion("X")).encode().replace(b"X", b"\xff " + MAIL.encode()))
        response = await gateway.post(body=chat())
        assert MAIL not in response.text


async def test_a_match_may_lie_across_parts_messages_do_not_share(tmp_path: Path) -> None:
    async with guarded(tmp_path, policy(pii(Action.BLOCK, directions=frozenset({Direction.INPUT})))) as (gateway, _):
        for cut in range(1, len(CARD)):
            parts = [{"type": "text", "text": f"card {CARD[:cut]}"}, {"type": "text", "text": f"{CARD[cut:]} ok"}]
            response = await gateway.post(body=chat(messages=[{"role": "user", "content": parts}]))
            assert response.status_code == 400, cut


async def test_every_cut_of_a_stream_is_seen_through(tmp_path: Path) -> None:
    text = f"mail {MAIL} now"
    async with guarded(tmp_path, policy(pii(Action.REDACT))) as (gateway, vendor):
        for cut in range(1, len(text)):
            vendor.script = stream(*good_stream(text[:cut], text[cut:]))
            response = await gateway.post(body=chat(stream=True))
            assert said(response.content) == "mail [EMAIL] now"
