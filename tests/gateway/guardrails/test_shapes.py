"""One pass over all shapes finds what each would find alone, and of an unfinished text nothing begun is let go."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.guardrails.samples import PII
from tests.gateway.guardrails.test_secrets import TOKENS
from tollkeeper.gateway.folding import fold
from tollkeeper.gateway.guardrail import MOST_HELD, Shape
from tollkeeper.gateway.guardrails.pii import Pii
from tollkeeper.gateway.guardrails.secrets import Secrets
from tollkeeper.gateway.shapes import Shapes

RULES = [("pii", Pii().shapes()), ("secrets", Secrets().shapes())]
ALL = Shapes(RULES)
PIECES = (
    [text for _, text, _ in PII]
    + [f"key {token} end" for token in TOKENS.values()]
    + ["\n", "é", "🙂", " \u200b", "<", "7"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=6).map(" ".join), st.data())
def test_together_they_find_what_each_finds_alone(text: str, data: st.DataObject) -> None:
    rule, shape = data.draw(st.sampled_from([(rule, shape) for rule, shapes in RULES for shape in shapes]))
    alone = Shapes([(rule, [shape])]).find(text)
    together = ALL.find(text)
    assert all(finding in together for finding in alone)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_can_be_looked_through(text: str) -> None:
    for finding in ALL.find(text):
        assert 0 <= finding.start < finding.end <= len(text)
    assert 0 <= ALL.held_from(text) <= len(text)


def test_half_of_a_surrogate_pair_is_no_obstacle() -> None:
    assert [finding.label for finding in ALL.find("\ud83d a@b.io")] == ["email"]


@pytest.mark.parametrize("text", [text for _, text, _ in PII] + [f"key {token} end" for token in TOKENS.values()])
def test_nothing_begun_is_let_go_before_it_is_whole(text: str) -> None:
    for finding in ALL.find(text):
        if finding.end - finding.start > MOST_HELD:
            continue
        for cut in range(finding.start + 1, finding.end):
            assert ALL.held_from(text[:cut]) <= finding.start, (finding.label, text[:cut])


@pytest.mark.parametrize("text", ["All is well. ", "I think so,\n", "Das war's! ", "okay; "])
def test_plain_words_wait_for_nothing(text: str) -> None:
    assert ALL.held_from(text) == len(text)


@given(st.text(max_size=2_000))
def test_what_waits_is_bounded(text: str) -> None:
    assert len(text) - ALL.held_from(text) <= MOST_HELD


@given(st.text())
def test_folding_keeps_every_character_in_its_place(text: str) -> None:
    folded, places = fold(text)
    if places is None:
        assert len(folded) == len(text)
    else:
        assert len(places) == len(folded)
        assert list(places) == sorted(set(places))


def test_no_shape_at_all_finds_nothing() -> None:
    assert Shapes([]).find("a@b.io") == []
    assert Shapes([]).held_from("abc") == 3
    assert Shapes([("one", [Shape("x", "x+")])]).find("") == []
