"""Guardrails in `tollkeeper.yaml`: whole, or refused with the place of the fault."""

from pathlib import Path

import pytest

from tollkeeper.configuration import ConfigError, load_configuration
from tollkeeper.contracts.guardrails import Action, Level, Mode
from tollkeeper.domains.guardrail_policies.starters import STARTERS
from tollkeeper.gateway.guardrails import RULES
from tollkeeper.gateway.providers import provider_kinds


def load(folder: Path, text: str) -> object:
    (folder / "tollkeeper.yaml").write_text(text)
    return load_configuration(folder / "tollkeeper.yaml", {}, kinds=provider_kinds())


def test_a_policy_is_read_with_its_rules_and_where_it_holds(tmp_path: Path) -> None:
    configuration = load(
        tmp_path,
        """
guardrails:
  - name: house
    starter: baseline
    mode: monitor
    rules:
      - {rule: keywords, name: words, action: flag, settings: {topics: {birds: [falke]}}}
    attach: [{everyone: true}, {model: "gpt-*"}]
""",
    )
    everyone, model = configuration.guardrails  # type: ignore[attr-defined]
    assert (everyone.level, model.level, model.subject) == (Level.PLATFORM, Level.MODEL, "gpt-*")
    assert everyone.policy == model.policy
    assert everyone.policy.mode is Mode.MONITOR
    assert everyone.policy.rules[-1].action is Action.FLAG
    assert len(everyone.policy.rules) == len(STARTERS["baseline"]) + 1


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("{rule: nonsense}", "no rule 'nonsense'"),
        ("{rule: regex, settings: {patterns: {p: '(a)\\1'}}}", "back-reference"),
        ("{rule: keywords}", "topics"),
        ("{rule: pii, settings: {onyl: [card]}}", "onyl"),
        ("{rule: pii, action: explode}", "action"),
        ("{rule: pii, directions: []}", "directions"),
        ("{rule: pii, sample_percent: 101}", "sample_percent"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, rule: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f"guardrails:\n  - name: house\n    rules:\n      - {rule}\n")
    [problem, *_] = raised.value.problems
    assert fault in str(problem)
    assert "tollkeeper.yaml:4" in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        "guardrails: [{name: a}]",
        "guardrails: [{name: a, starter: nothing}]",
        "guardrails: [{name: a, starter: baseline, attach: [{}]}]",
        "guardrails: [{name: a, starter: baseline, attach: [{everyone: true, model: x}]}]",
        "guardrails: [{name: a, starter: baseline}, {name: A, starter: baseline}]",
        "guardrails: [{name: a, rules: [{rule: pii}, {rule: pii}]}]",
    ],
)
def test_what_says_nothing_or_two_things_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, text)


def test_starters_name_rules_that_there_are() -> None:
    for rules in STARTERS.values():
        for rule in rules:
            RULES[rule.rule].Settings.model_validate(rule.settings)
