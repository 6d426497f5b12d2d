"""`route_policies:` of the configuration file: checked as a whole when it is read, each fault with its line."""

from pathlib import Path

import pytest

from tests.domains.catalog.kinds import KINDS
from tollkeeper.configuration import ConfigError, load_configuration

HEAD = "providers: [{name: acme, kind: openai, api_key: x}]\n"


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "tollkeeper.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_configuration(path, {}, kinds=KINDS)
    return [str(problem) for problem in caught.value.problems]


def test_a_file_with_policies_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tollkeeper.yaml"
    path.write_text(
        HEAD
        + """
route_policies:
  - name: night
    description: Cheap while nobody waits.
    strategy: canary
    canary: {share: 0.05}
    branches:
      - {model: direct}
      - provider: acme
        model: gpt-4o-mini
        when: {hours: [{zone: Europe/Berlin, since: "22:00", until: "06:00", weekdays: [mon, tue]}], tags: [team]}
    fallbacks: {budget: [{provider: simulated, model: simulated}]}
    deadlines: {first_token: 2.5}
models:
  - {name: direct, targets: [{provider: acme, model: gpt-4o}]}
  - {name: routed, policy: night}
""",
        encoding="utf-8",
    )
    configuration = load_configuration(path, {}, kinds=KINDS)
    (policy,) = configuration.policies
    assert (policy.name, policy.is_managed_by_file) == ("night", True)
    assert configuration.policy_places == {"night": "tollkeeper.yaml:4"}
    assert [model.policy_name for model in configuration.catalog.models] == [None, "night"]


def test_every_fault_has_its_line_and_its_path(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """route_policies:
  - name: one
    strategy: weighted
    branches:
      - {provider: acme, model: m, weight: 0}
  - name: two
    branches:
      - {provider: nobody, model: m}
      - {policy: three}
      - {model: nothing}
  - name: three
    branches:
      - policy: two
  - name: ONE
    branches: [{provider: acme, model: "{rest}"}]
models:
  - {name: m1, policy: twoo}
  - {name: m2, policy: ONE}
""",
    )
    assert [problem.split(": ", 2)[:2] for problem in found] == [
        ["tollkeeper.yaml:15", "route_policies[3].name"],
        ["tollkeeper.yaml:5", "route_policies[0].branches"],
        ["tollkeeper.yaml:9", "route_policies[1].branches[0].provider"],
        ["tollkeeper.yaml:10", "route_policies[1].branches[1].policy"],
        ["tollkeeper.yaml:11", "route_policies[1].branches[2].model"],
        ["tollkeeper.yaml:14", "route_policies[2].branches[0].policy"],
        ["tollkeeper.yaml:18", "models[0].policy"],
        ["tollkeeper.yaml:19", "models[1].policy"],
    ]
    assert "did you mean two?" in found[6]
    assert "leads back to itself: policy two → policy three → policy two" in found[3]


def test_a_model_with_targets_and_a_policy_is_refused(tmp_path: Path) -> None:
    text = """route_policies: [{name: p, branches: [{provider: acme, model: m}]}]
models:
  - {name: m, policy: p, targets: [{provider: acme, model: m}]}
  - {name: n}
"""
    assert [problem.split(": ", 2)[:2] for problem in problems(tmp_path, text)] == [
        ["tollkeeper.yaml:4", "models[0]"],
        ["tollkeeper.yaml:5", "models[1]"],
    ]
