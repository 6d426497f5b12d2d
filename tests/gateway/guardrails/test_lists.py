"""Terms, patterns, addresses, planted words and lengths: what is found, what is not, and what is refused as a setting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.gateway.guardrails.guarding import policy
from tollkeeper.contracts.guardrails import RuleUse
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.guardrails import RULES
from tollkeeper.gateway.guardrails.keywords import Keywords, KeywordSettings
from tollkeeper.gateway.guardrails.urls import host_of
from tollkeeper.gateway.screen import Screen

TERMS = {"topics": {"project": ("Project X", "Falke", "straße"), "weapons": ("nerve agent",)}}


def found(rule: str, settings: dict[str, object], text: str, *, is_final: bool = True) -> list[tuple[str, str]]:
    screen = Screen([policy(RuleUse(rule, rule, settings=settings))], RULES)
    part = Part(text, is_final=is_final)
    return [(h.finding.label, text[h.finding.start : h.finding.end]) for h in screen.input.look(part)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("About PROJECT X today", [("project", "PROJECT X")]),
        ("Ｐｒｏｊｅｃｔ\u3000Ｘ", [("project", "Ｐｒｏｊｅｃｔ\u3000Ｘ")]),
        ("the falke, and a nerve agent.", [("project", "falke"), ("weapons", "nerve agent")]),
        ("project\nx", [("project", "project\nx")]),
        ("Projection X-ray falken", []),
        ("a nerve-agent", [("weapons", "nerve-agent")]),
        ("a nerve  \n agent", [("weapons", "nerve  \n agent")]),
        ("the fal-ke flies", [("project", "fal-ke")]),
        ("the f a l k e flies", [("project", "f a l k e")]),
        ("the F.a.l.k.e", [("project", "F.a.l.k.e")]),
        ("the f_a*l_k*e", [("project", "f_a*l_k*e")]),
        ("the fаlkе", [("project", "fаlkе")]),
        ("proj\u00adect x", [("project", "proj\u00adect x")]),
        ("a b c falkner e x", []),
        ("Die Straße.", [("project", "Straße")]),
        ("DIE STRASSE", [("project", "STRASSE")]),
        ("Straßen", []),
        ("project\rx", [("project", "project\rx")]),
        ("fal\0ke", [("project", "fal\0ke")]),
        ("f\u0332a\u0332l\u0332k\u0332e", [("project", "f\u0332a\u0332l\u0332k\u0332e")]),
        ("ﬁre Falke", [("project", "Falke")]),
    ],
)
def test_terms_are_found_as_whole_words_in_any_case(text: str, expected: list[tuple[str, str]]) -> None:
    assert found("keywords", TERMS, text) == expected


@pytest.mark.parametrize("term", ["Münster", "Mu\u0308nster"])
@pytest.mark.parametrize("text", ["in Münster,", "in MÜNSTER,", "in Mu\u0308nster,", "in MU\u0308NSTER,"])
def test_a_letter_is_the_same_with_its_mark_apart(term: str, text: str) -> None:
    assert found("keywords", {"topics": {"t": [term]}}, text) == [("t", text[3:-1])]


def test_inside_longer_words_where_that_is_wanted() -> None:
    assert found("keywords", {"topics": {"t": ["機密"]}, "whole_words": False}, "これは機密です") == [("t", "機密")]


def test_ten_thousand_terms_and_no_more() -> None:
    terms = [f"term number {number}" for number in range(10_000)]
    assert found("keywords", {"topics": {"t": terms}}, "It is term number 9999!") == [("t", "term number 9999")]
    with pytest.raises(ValidationError):
        KeywordSettings(topics={"a": tuple(terms[:6000]), "b": tuple(terms[:6000])})


@given(st.text(alphabet="projectx falk-._ßsuü\u0308", max_size=40))
def test_no_term_is_let_go_half(text: str) -> None:
    rule = Keywords(KeywordSettings(topics={"t": ("project x", "falk", "laß", "fü")}))
    whole = [(one.start, one.end) for one in rule.check(Part(text))]
    for start, end in whole:
        for cut in range(start + 1, end):
            assert rule.held_from(text[:cut]) <= start


def test_patterns_are_found_by_their_label() -> None:
    settings = {"patterns": {"staff": r"emp-[0-9]{3}"}, "ignore_case": True}
    assert found("regex", settings, "ask EMP-007") == [("staff", "EMP-007")]


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", r"(?=a)b", r"(?<!a)b", "(", "a{1001}", "", "a*", "(a|)", "x" * 2_001, r"[[:nonsense:]]"]
)
def test_patterns_that_are_not_linear_or_match_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        found("regex", {"patterns": {"p": pattern}}, "text")


@pytest.mark.parametrize("text", ["a" * 200_000, "aaaa!" * 40_000, "(" * 100_000, "x@" * 100_000])
def test_hostile_texts_are_only_texts(text: str) -> None:
    found("regex", {"patterns": {"evil": r"(a|aa)+$", "nested": r"((a*)*)*b", "mail": r"([a-z]+@)+[a-z]+\.com"}}, text)
    found("pii", {}, text)
    found("secrets", {}, text)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/x", "example.com"),
        ("HTTPS://EXAMPLE.com:443/?q", "example.com"),
        ("https://example.com@evil.io/x", "evil.io"),
        ("https://evil.io\\@example.com/", "evil.io"),
        ("https://evil.io#@example.com", "evil.io"),
        ("https://example.com.", "example.com"),
        ("www.evil.io/a", "www.evil.io"),
    ],
)
def test_a_host_is_read_as_browsers_read_it(url: str, host: str) -> None:
    assert host_of(url) == host


def test_only_allowed_hosts_may_be_named() -> None:
    settings = {"allow": ["example.com", "*.example.org"]}
    text = "See https://example.com/a, https://docs.example.org/b and ![x](https://evil.io/?d=secret)"
    assert found("urls", settings, text) == [("url", "https://evil.io/?d=secret")]
    assert found("urls", {"deny": ["evil.io"]}, text) == [("url", "https://evil.io/?d=secret")]
    with pytest.raises(ValidationError):
        found("urls", {}, text)


def test_a_planted_word_is_found_forwards_and_backwards() -> None:
    settings = {"tokens": ["cnry-4711-zebra"]}
    assert found("canaries", settings, "the prompt says cnry-4711-zebra") == [("canary", "cnry-4711-zebra")]
    assert found("canaries", settings, "it is arbez-1174-yrnc") == [("canary", "arbez-1174-yrnc")]


def test_a_text_can_be_too_long() -> None:
    assert found("length", {"most_characters": 5}, "123456789") == [("too_long", "6789")]
    assert found("length", {"most_characters": 5}, "12345") == []
    assert found("length", {"most_characters": 5}, "123456789", is_final=False) == []


async def test_a_long_text_is_looked_at_in_windows_and_once_as_a_whole() -> None:
    mail, text = "bob@example.com", ""
    while len(text) < 300_000:
        text += "word " * 3_000 + mail + " "
    rules = (RuleUse("pii", "pii"), RuleUse("length", "length", settings={"most_characters": 100_000}))
    hits = await Screen([policy(*rules)], RULES).input.look_long(Part(text))
    assert [text[h.finding.start : h.finding.end] for h in hits if h.finding.label == "email"] == [mail] * text.count(
        mail
    )
    assert [h.finding.start for h in hits if h.finding.label == "too_long"] == [100_000]


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_tells_what_it_takes(name: str) -> None:
    schema = RULES[name].Settings.model_json_schema()
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    for field in schema.get("properties", {}).values():
        assert field.get("description", ".").endswith(".")


def test_invisible_letters_hide_no_word() -> None:
    rule = Keywords(KeywordSettings(topics={"projects": ("Falke",)}))
    [found] = rule.check(Part("about fa\u200bl\u00adke, say"))
    assert (found.start, found.end) == (6, 13)
    assert rule.held_from("about fa\u200bl") == 6


@pytest.mark.parametrize(
    "settings", [{"only": ["kard"]}, {"ignore": ["kard"]}, {"only": []}, {"only": ["card"], "ignore": ["card"]}]
)
def test_labels_that_nothing_has_are_refused(settings: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError, match=r"kard|nothing to look for"):
        RULES["pii"].Settings.model_validate(settings)


def test_what_stands_behind_ten_thousand_matches_is_not_let_through() -> None:
    text = "P1 é" + "P2 " * 9_999 + "and P3 is the one"
    spans = found("regex", {"patterns": {"project": r"P\d"}}, text)
    assert spans[0] == ("project", "P1")
    assert "P3" in spans[-1][1]
    assert text.endswith(spans[-1][1])


def test_a_pattern_too_large_to_run_is_refused() -> None:
    pattern = "|".join(f"a{{1,900}}b{number}" for number in range(100))
    with pytest.raises(ValidationError, match="too large"):
        RULES["regex"].Settings.model_validate({"patterns": {"evil": pattern}})
