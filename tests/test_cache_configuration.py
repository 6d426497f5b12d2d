"""Cache policies in `tollkeeper.yaml`: whole, or refused with the place of the fault."""

from pathlib import Path
from typing import Any

import pytest

from tollkeeper.configuration import ConfigError, load_configuration
from tollkeeper.contracts.cache import CoalesceRule, ExactRule, SemanticRule, Settle, Sharing
from tollkeeper.contracts.guardrails import Level
from tollkeeper.gateway.providers import provider_kinds


def load(folder: Path, text: str) -> Any:
    (folder / "tollkeeper.yaml").write_text(text)
    return load_configuration(folder / "tollkeeper.yaml", {}, kinds=provider_kinds())


def test_a_policy_is_read_with_its_rules_and_where_it_holds(tmp_path: Path) -> None:
    configuration = load(
        tmp_path,
        """
cache:
  - name: house
    exact: {ttl_seconds: 60, sharing: key}
    coalesce: {settle: shared}
    semantic: {delta: 0.01, opt_in: true}
    prompt_cache_marks: true
  - name: never
    off: true
    attach: [{model: "gpt-*"}]
""",
    )
    house, never = configuration.caches
    assert (house.level, never.level, never.subject) == (Level.PLATFORM, Level.MODEL, "gpt-*")
    assert house.policy.exact == ExactRule(ttl_seconds=60, sharing=Sharing.KEY)
    assert house.policy.coalesce == CoalesceRule(Settle.SHARED)
    assert house.policy.semantic == SemanticRule(delta_millionths=10_000, is_opt_in=True)
    assert house.policy.marks
    assert (never.policy.exact, never.policy.coalesce, never.policy.semantic) == (None, None, None)
    assert house.policy.is_managed_by_file


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ("{}", "off: true"),
        ("{exact: {}, off: true}", "off: true"),
        ("{exact: {ttl_seconds: 0}}", "ttl_seconds"),
        ("{exact: {sharing: everyone}}", "sharing"),
        ("{exact: {operations: [passthrough]}}", "operations"),
        ("{semantic: {delta: 0}}", "delta"),
        ("{semantic: {treshold: 0.9}}", "treshold"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, fields: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f"cache:\n  - {{name: house, {fields[1:]}\n")
    assert fault in str(raised.value.problems[0])
    assert "tollkeeper.yaml:2" in str(raised.value.problems[0])


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the same name"):
        load(tmp_path, "cache:\n  - {name: a, exact: {}}\n  - {name: A, exact: {}}\n")
