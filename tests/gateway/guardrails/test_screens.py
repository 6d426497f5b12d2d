"""Which policies hold for a call: by every name it may be answered under, also when one cannot be made here any more."""

import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import structlog

from tests.gateway.guardrails.guarding import MAIL, guarded, pii, policy
from tests.gateway.serving import KEY, TENANT, Serving, chat, principal, provider, route, snapshot
from tollkeeper.contracts.catalog import REST, ModelRoute, Snapshot
from tollkeeper.contracts.guardrails import Action, Attachment, Direction, Exemption, GuardrailPolicy, Level, RuleUse
from tollkeeper.contracts.routing import FallbackKind, Target
from tollkeeper.core.ids import uuid7
from tollkeeper.domains.catalog.policies import PolicyBook, PolicySource, all_targets
from tollkeeper.domains.catalog.policy_fields import PolicyFields
from tollkeeper.gateway.guardrail import Part, PartKind
from tollkeeper.gateway.guardrails import RULES
from tollkeeper.gateway.screens import Screens, policies_for, reached

WHO = principal()


def holding(guardrails: tuple[Attachment, ...], *routes: ModelRoute, version: int = 1) -> Snapshot:
    made = snapshot([provider("one", "http://127.0.0.1:9/v1")], list(routes))
    return replace(made, version=version, guardrails=MappingProxyType({TENANT: guardrails}))


def routed(name: str, models: dict[str, Target], **fields: Any) -> ModelRoute:
    """A model whose route policy leads to other models of the catalogue."""
    source = PolicySource("steps", PolicyFields.model_validate(fields), uuid7())
    known = [ModelRoute(uuid7(), model, (target,)) for model, target in models.items()]
    made, faults = PolicyBook([source], known).resolve(source)
    assert not faults
    return ModelRoute(uuid7(), name, all_targets(made), policy_name="steps", policy=made)


def test_a_fallback_is_no_way_around_a_policy() -> None:
    way = routed(
        "fast",
        {"careful": Target("one", "claude-opus"), "spare": Target("two", "gpt-4o-mini")},
        branches=[{"model": "careful"}],
        fallbacks={"context_window": [{"model": "spare"}]},
    )
    assert way.policy is not None
    assert FallbackKind.CONTEXT_WINDOW in way.policy.fallbacks
    for subject in ("fast", "careful", "spare", "claude-*", "gpt-4o-mini", "two/*"):
        held = Attachment(policy(pii(Action.BLOCK)), Level.MODEL, subject)
        found = list(policies_for(holding((held,), way), WHO, "fast"))
        assert found == [held.policy], f"a policy of {subject} does not hold"
    others = tuple(Attachment(policy(pii(Action.BLOCK)), Level.MODEL, name) for name in ("slow", "gpt-4o", "careful-*"))
    assert list(policies_for(holding(others, way), WHO, "fast")) == []


def test_names_that_stand_for_others_are_opened() -> None:
    routes = (
        ModelRoute(uuid7(), "house/*", (Target("one", REST),)),
        ModelRoute(uuid7(), "any-*", (Target("one", "*"),)),
    )
    known = holding((), *routes)
    wild = replace(known, models=MappingProxyType({}), wildcards=routes)
    assert reached(wild, TENANT, "house/gpt-4o") == {"house/gpt-4o", "gpt-4o", "one/gpt-4o"}
    assert "any-thing" in reached(wild, TENANT, "any-thing")
    assert "one/any-thing" in reached(wild, TENANT, "any-thing")
    assert reached(wild, TENANT, "nowhere") == {"nowhere"}


def test_a_policy_that_cannot_be_made_keeps_its_last_good_version() -> None:
    good = policy(pii(Action.BLOCK))
    broken = replace(good, version=2, rules=(RuleUse("personal", "of-a-later-release"),))
    screens = Screens(RULES)
    way = route("gpt-4o", ("one", "gpt-4o"))
    first = screens.find(holding((Attachment(good, Level.TENANT, TENANT),), way), WHO, "gpt-4o")
    with structlog.testing.capture_logs() as logs:
        second = screens.find(holding((Attachment(broken, Level.TENANT, TENANT),), way, version=2), WHO, "gpt-4o")
    assert first is not None
    assert second is not None
    part = Part(f"to {MAIL}", PartKind.TEXT, "user", Direction.INPUT)
    assert [hit.finding.label for hit in second.input.look(part)] == ["email"]
    (told,) = [entry for entry in logs if entry["event"] == "guardrail_policy_unusable"]
    assert (told["version"], told["holds_version"]) == (2, 1)


@pytest.mark.parametrize("settings", [{"only": ["soul"]}, {"no": "such setting"}])
def test_a_rule_that_cannot_be_made_is_no_pass(settings: dict[str, Any]) -> None:
    use = RuleUse("personal", "pii", settings=MappingProxyType(settings))
    held = Attachment(policy(use, RuleUse("other", "pii", Action.FLAG)), Level.TENANT, TENANT)
    screen = Screens(RULES).find(holding((held,), route("gpt-4o", ("one", "gpt-4o"))), WHO, "gpt-4o")
    assert screen is not None
    hits = screen.input.look(Part("harmless", PartKind.TEXT, "user", Direction.INPUT))
    assert [(hit.finding.label, hit.is_blocking) for hit in hits] == [("scanner_failed", True)]


def exempted(made: GuardrailPolicy, *, seconds: float, key: Any = None, label: str | None = None) -> GuardrailPolicy:
    return replace(made, exemptions=(Exemption("personal", key or WHO.key_id, time.time() + seconds, label),))


def put_in_force(gateway: Serving, *policies: GuardrailPolicy) -> None:
    snap = gateway.snapshots.snapshot
    held = tuple(Attachment(one, Level.TENANT, TENANT) for one in policies)
    gateway.snapshots.snapshot = replace(snap, version=snap.version + 1, guardrails=MappingProxyType({TENANT: held}))


@pytest.mark.parametrize(
    ("exemption", "status"),
    [
        ({"seconds": 3600}, 200),
        ({"seconds": 3600, "label": "email"}, 200),
        ({"seconds": 3600, "label": "card"}, 400),
        ({"seconds": -1}, 400),
        ({"seconds": 3600, "key": uuid7()}, 400),
    ],
)
async def test_an_exemption_holds_for_its_key_its_find_and_its_time(
    tmp_path: Path, exemption: dict[str, Any], status: int
) -> None:
    """The policy was in use before, and its version is the same: nothing that was made of it may be kept."""
    made = policy(pii(Action.BLOCK))
    body = chat(messages=[{"role": "user", "content": f"write to {MAIL}"}])
    async with guarded(tmp_path, made) as (gateway, _):
        assert (await gateway.post(body=body)).status_code == 400
        own = {"key": gateway.keys.record(KEY).principal.key_id}
        put_in_force(gateway, exempted(made, **{**own, **exemption}))
        assert (await gateway.post(body=body)).status_code == status
        put_in_force(gateway, made)
        assert (await gateway.post(body=body)).status_code == 400


async def test_an_exemption_from_ones_own_policy_is_none_from_anothers_rule_of_that_name(tmp_path: Path) -> None:
    law, own = policy(pii(Action.BLOCK), name="law"), policy(pii(Action.BLOCK), name="own")
    async with guarded(tmp_path, law, own) as (gateway, _):
        key_id = gateway.keys.record(KEY).principal.key_id
        put_in_force(gateway, law, exempted(own, seconds=3600, key=key_id))
        answer = await gateway.post(body=chat(messages=[{"role": "user", "content": f"write to {MAIL}"}]))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "guardrail_blocked")
        assert "'law'" in answer.json()["error"]["message"]
