"""`tollkeeper guardrails`: a text is tried, and the kinds of rules are listed."""

import json
from pathlib import Path

from tests.commands.conftest import Tollkeeper

TEXT = "my card is 4111 1111 1111 1111"


def test_a_text_is_tried_for_people_and_for_programs(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    said = tollkeeper("guardrails", "test", TEXT, "--starter", "strict-pii")
    assert said.code == 0
    assert "card" in said.out
    assert "my card is <CARD_1>" in said.out
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"rule": "keywords", "action": "flag", "settings": {"topics": {"c": ["card"]}}}]))
    answer = tollkeeper("guardrails", "test", TEXT, "--rules", str(rules), "--json").json
    assert [(found["label"], found["start"], found["end"]) for found in answer["findings"]] == [("c", 3, 7)]
    assert answer["action"] == "flag"
    nothing = tollkeeper("guardrails", "test", TEXT)
    assert nothing.code == 0
    assert "allow" in nothing.out
    rules.write_text("{}")
    assert tollkeeper("guardrails", "test", TEXT, "--rules", str(rules)).code != 0
    assert tollkeeper("guardrails", "test", TEXT, "--starter", "none-such").code != 0


def test_rules_are_listed(tollkeeper: Tollkeeper) -> None:
    assert "injection" in tollkeeper("guardrails", "rules").out
