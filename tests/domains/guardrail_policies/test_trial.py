"""The box in which a text is tried: what holds for the tenant, or what is asked for, and nobody called."""

from types import MappingProxyType
from uuid import UUID

import pytest

from tests.callers import someone
from tests.domains.catalog.conftest import new_box
from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.contracts.guardrails import Action, Attachment, GuardrailPolicy, Level, Mode, RuleUse
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.domains.guardrail_policies.schemas import GuardrailTest, RuleFields
from tollkeeper.domains.guardrail_policies.trying import GuardrailTrials
from tollkeeper.gateway.guard_trial import GuardTrial

OURS, THEIRS = uuid7(), uuid7()
TEXT = "My card is 4111 1111 1111 1111, mail bob@example.com."


def attached(
    name: str, level: Level, subject: UUID | str | None, *rules: RuleUse, mode: Mode = Mode.ENFORCE
) -> Attachment:
    return Attachment(GuardrailPolicy(uuid7(), name, 1, rules, mode=mode), level, subject)


def box(*attachments: Attachment) -> GuardrailTrials:
    snapshot = Snapshot(1, MappingProxyType({}), MappingProxyType({}), guardrails={None: attachments})
    return GuardrailTrials(GuardTrial(), lambda: snapshot, new_box())


async def test_those_that_hold_for_the_tenant_and_model_are_asked() -> None:
    policies = box(
        attached("all", Level.PLATFORM, None, RuleUse("pii", "pii", Action.FLAG)),
        attached("theirs", Level.TENANT, THEIRS, RuleUse("pii", "pii", Action.BLOCK)),
        attached("gpt", Level.MODEL, "gpt-*", RuleUse("pii", "pii", Action.REDACT)),
    )
    who = someone(OURS, Role.DEVELOPER)
    plain = await policies.test(who, GuardrailTest(text=TEXT))
    assert (plain.policies, plain.action, plain.text) == (("all",), Action.FLAG, TEXT)
    named = await policies.test(who, GuardrailTest(text=TEXT, model="gpt-4o"))
    assert (named.policies, named.action) == (("all", "gpt"), Action.REDACT)
    assert named.text == "My card is [CARD], mail [EMAIL]."


async def test_a_starter_can_be_tried_instead() -> None:
    tried = await box().test(someone(OURS, Role.DEVELOPER), GuardrailTest(text=TEXT, starter="strict-pii"))
    assert tried.text == "My card is <CARD_1>, mail <EMAIL_1>."
    assert [(found.label, TEXT[found.start : found.end]) for found in tried.findings] == [
        ("card", "4111 1111 1111 1111"),
        ("email", "bob@example.com"),
    ]


async def test_what_is_only_monitored_passes() -> None:
    policies = box(attached("watch", Level.PLATFORM, None, RuleUse("pii", "pii", Action.BLOCK), mode=Mode.MONITOR))
    tried = await policies.test(someone(OURS, Role.DEVELOPER), GuardrailTest(text=TEXT))
    assert (tried.action, tried.text) == (None, TEXT)
    assert all(found.is_monitored for found in tried.findings)


async def test_nothing_of_a_blocked_text_goes_on() -> None:
    asked = GuardrailTest(text=TEXT, rules=(RuleFields(rule="pii"),))
    tried = await box().test(someone(OURS, Role.DEVELOPER), asked)
    assert (tried.action, tried.text) == (Action.BLOCK, None)


async def test_settings_that_a_rule_does_not_take_are_refused_with_the_reason() -> None:
    asked = GuardrailTest(text=TEXT, rules=(RuleFields(rule="regex", settings={"patterns": {"p": r"(a)\1"}}),))
    with pytest.raises(BadRequest, match="back-references") as raised:
        await box().test(someone(OURS, Role.DEVELOPER), asked)
    assert (raised.value.code, raised.value.param) == ("guardrail_invalid", "rules[0]")


def test_rules_are_listed_with_the_schema_of_their_settings() -> None:
    found = {kind.name: kind for kind in box().rules()}
    assert {"pii", "secrets", "injection", "keywords", "regex", "urls", "canaries", "length"} <= set(found)
    assert all(kind.settings_schema["type"] == "object" for kind in found.values())
