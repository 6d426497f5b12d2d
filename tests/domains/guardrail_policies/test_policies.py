"""A stored policy from its draft to its end: what holds where, what is refused, who may do what, and who is exempt."""

import base64
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter
from sqlalchemy import select

from tests.domains.guardrail_policies.site import PII, Site, running_site, shown
from tests.gateway.serving import principal
from tollkeeper.contracts.guardrails import (
    Action,
    Attachment,
    Direction,
    Exemption,
    GuardrailPolicy,
    Level,
    Mode,
    RuleUse,
)
from tollkeeper.core.ids import parse_id, uuid7
from tollkeeper.core.sealed_file import to_json
from tollkeeper.db.models import GuardrailPolicy as GuardrailPolicyRow
from tollkeeper.db.models import GuardrailPolicyVersion
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.snapshot import StoredCatalog
from tollkeeper.domains.guardrail_policies import service
from tollkeeper.gateway.screens import policies_for

PATH = "/guardrail-policies"


@pytest.fixture
async def site(new_database: Callable[[], str], tmp_path: Path) -> AsyncIterator[Site]:
    database = Database(new_database(), pool_size=3)
    async with running_site(database, tmp_path) as site:
        yield site
    await database.close()


async def holding(site: Site, tenant_id: UUID, model: str = "gpt-4o", **who: Any) -> list[GuardrailPolicy]:
    """What holds for a call now."""
    return list(policies_for(await site.snapshot(), principal(tenant_id=tenant_id, **who), model))


async def test_calls_are_held_against_what_is_published_and_attached_and_nothing_else(site: Site) -> None:
    policy = await site.made(site.ours, "house")
    at = f"{PATH}/{policy['id']}"
    assert (policy["published_version"], policy["draft_version"], policy["is_platform"]) == (None, 1, False)
    attached = await site.ask(site.ours, "POST", f"{at}/attachments", {"tenant": shown("ten", site.our_tenant)})
    assert (attached.status_code, attached.json()["level"]) == (201, "tenant")
    assert await holding(site, site.our_tenant) == []

    published = await site.ask(site.ours, "POST", f"{at}/publish")
    assert (published.json()["published_version"], published.json()["draft_version"]) == (1, None)
    (held,) = await holding(site, site.our_tenant)
    assert (held.name, held.version, held.rules[0].action, held.mode) == ("house", 1, Action.REDACT, Mode.ENFORCE)
    assert await holding(site, site.their_tenant) == []

    rules = [{**PII, "action": "block", "sample_percent": 25}]
    draft = await site.ask(site.ours, "PATCH", at, {"rules": rules, "mode": "monitor"})
    assert (draft.json()["published_version"], draft.json()["draft_version"]) == (1, 2)
    assert [one.version for one in await holding(site, site.our_tenant)] == [1]
    await site.ask(site.ours, "POST", f"{at}/publish")
    (held,) = await holding(site, site.our_tenant)
    assert (held.version, held.mode, held.rules[0].sample_millionths) == (2, Mode.MONITOR, 250_000)

    back = await site.ask(site.ours, "POST", f"{at}/rollback", {})
    assert (back.json()["published_version"], back.json()["draft_version"]) == (1, None)
    assert [one.version for one in await holding(site, site.our_tenant)] == [1]
    versions = (await site.ask(site.ours, "GET", f"{at}/versions")).json()["data"]
    assert [(one["number"], one["is_published"], one["mode"]) for one in versions] == [
        (2, False, "monitor"),
        (1, True, "enforce"),
    ]

    gone = await site.ask(site.ours, "DELETE", f"{at}/attachments/{attached.json()['id']}")
    assert gone.status_code == 204
    assert await holding(site, site.our_tenant) == []
    assert (await site.ask(site.ours, "DELETE", at)).status_code == 204
    assert (await site.ask(site.ours, "GET", at)).status_code == 404
    actions = [row.action.removeprefix("guardrail_policies.") for row in await site.audited(policy["id"])]
    assert actions == ["create", "attach", "publish", "update", "publish", "rollback", "detach", "delete"]
    assert len(await site.emitted("guardrail_policy.changed")) == len(actions)


async def test_the_latest_versions_are_kept_and_the_one_that_holds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST_VERSIONS", 3)
    policy = await site.made(site.ours, "house", publish=True)
    at = f"{PATH}/{policy['id']}"
    for number in range(2, 7):
        changed = await site.ask(site.ours, "PATCH", at, {"message": f"Version {number}."})
        assert changed.json()["draft_version"] == number
        await site.ask(site.ours, "POST", f"{at}/publish")
        if number > 2:
            # An old one holds while others come and go.
            back = await site.ask(site.ours, "POST", f"{at}/rollback", {"version": 2})
            assert back.json()["published_version"] == 2
    versions = (await site.ask(site.ours, "GET", f"{at}/versions")).json()["data"]
    assert [(one["number"], one["is_published"]) for one in versions] == [
        (6, False),
        (5, False),
        (4, False),
        (2, True),
    ]


async def test_every_level_adds(site: Site) -> None:
    team_id, key_id = await site.new_team(site.our_tenant), await site.new_key(site.our_tenant)
    places = {
        "all": (site.admin, True, {"everyone": True}),
        "tenant": (site.ours, False, {"tenant": shown("ten", site.our_tenant)}),
        "team": (site.ours, False, {"team": shown("team", team_id)}),
        "key": (site.ours, False, {"key": shown("key", key_id)}),
        "model": (site.ours, False, {"model": "gpt-4*"}),
    }
    for name, (who, is_platform, place) in places.items():
        policy = await site.made(who, name, publish=True, is_platform=is_platform)
        answer = await site.ask(who, "POST", f"{PATH}/{policy['id']}/attachments", place)
        assert answer.status_code == 201, answer.text
        again = await site.ask(who, "POST", f"{PATH}/{policy['id']}/attachments", place)
        assert (again.status_code, again.json()["code"]) == (409, "already_attached")
    names = [one.name for one in await holding(site, site.our_tenant, team_id=team_id, key_id=key_id)]
    assert names == ["all", "tenant", "team", "key", "model"]
    assert [one.name for one in await holding(site, site.our_tenant, "claude")] == ["all", "tenant"]
    # A tenant's policy on a model is about the tenant's calls.
    assert [one.name for one in await holding(site, site.their_tenant)] == ["all"]


async def test_what_is_the_platforms_is_out_of_a_tenants_reach(site: Site) -> None:
    policy = await site.made(site.admin, "law", publish=True, is_platform=True)
    at = f"{PATH}/{policy['id']}"
    attached = (await site.ask(site.admin, "POST", f"{at}/attachments", {"everyone": True})).json()
    key = shown("key", await site.new_key(site.our_tenant))
    until = (site.clock.now() + timedelta(days=1)).isoformat()
    exemption = {"rule": "pii", "key": key, "reason": "because I say so", "expires_at": until}
    unknown = f"{PATH}/{shown('grp', uuid7())}"
    tries: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"mode": "monitor"}),
        ("POST", "/publish", None),
        ("POST", "/rollback", {}),
        ("POST", "/dry-run", {"texts": [{"text": "x"}]}),
        ("GET", "/attachments", None),
        ("DELETE", f"/attachments/{attached['id']}", None),
        ("POST", "/exemptions", exemption),
        ("DELETE", "", None),
    ]
    for method, rest, body in tries:
        answers = [await site.ask(site.ours, method, base + rest, body) for base in (at, unknown)]
        assert [answer.status_code for answer in answers] == [404, 404], f"{method} {rest}"
        assert len({answer.json()["detail"] for answer in answers}) == 1
    listed = (await site.ask(site.ours, "GET", PATH)).json()["data"]
    assert listed == []
    refused = await site.ask(site.ours, "POST", PATH, {"name": "mine", "rules": [PII], "is_platform": True})
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    mine = await site.made(site.ours, "mine", publish=True)
    everyone = await site.ask(site.ours, "POST", f"{PATH}/{mine['id']}/attachments", {"everyone": True})
    assert (everyone.status_code, everyone.json()["code"]) == (400, "wrong_attachment")
    assert [one.name for one in await holding(site, site.our_tenant)] == ["law"]


async def test_another_tenants_objects_are_not_there(site: Site) -> None:
    theirs = await site.made(site.theirs, "secret-name", publish=True)
    assert (await site.ask(site.ours, "GET", f"{PATH}/{theirs['id']}")).status_code == 404
    assert (await site.ask(site.ours, "GET", PATH)).json()["data"] == []
    # The same name is free here.
    ours = await site.made(site.ours, "secret-name")
    taken = await site.ask(site.ours, "POST", PATH, {"name": "Secret-Name", "rules": [PII]})
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
    foreign = {
        "tenant": shown("ten", site.their_tenant),
        "team": shown("team", await site.new_team(site.their_tenant)),
        "key": shown("key", await site.new_key(site.their_tenant)),
    }
    for level, subject in foreign.items():
        answer = await site.ask(site.ours, "POST", f"{PATH}/{ours['id']}/attachments", {level: subject})
        assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no such {level}.")
    until = (site.clock.now() + timedelta(hours=1)).isoformat()
    body = {"rule": "pii", "key": foreign["key"], "reason": "testing", "expires_at": until}
    answer = await site.ask(site.ours, "POST", f"{PATH}/{ours['id']}/exemptions", body)
    assert answer.status_code == 404


async def test_policies_of_the_file_are_shown_and_cannot_be_changed(site: Site) -> None:
    listed = (await site.ask(site.admin, "GET", PATH)).json()["data"]
    (filed,) = listed
    assert (filed["name"], filed["managed_by"], filed["starter"]) == ("from-file", "file", "baseline")
    assert filed["declared_at"] == "tollkeeper.yaml:3"
    at = f"{PATH}/{filed['id']}"
    assert (await site.ask(site.admin, "GET", at)).json()["name"] == "from-file"
    for method, rest, body in (("PATCH", "", {"mode": "monitor"}), ("DELETE", "", None), ("POST", "/publish", None)):
        refused = await site.ask(site.admin, method, at + rest, body)
        assert (refused.status_code, refused.json()["code"]) == (409, "managed_elsewhere")
        assert "tollkeeper.yaml:3" in refused.json()["detail"]
    same = await site.ask(site.admin, "POST", PATH, {"name": "From-File", "rules": [PII], "is_platform": True})
    assert (same.status_code, same.json()["code"]) == (409, "managed_elsewhere")


@pytest.mark.parametrize(
    ("rules", "path", "told"),
    [
        ([{"rule": "regex", "settings": {"patterns": {"p": r"(a)\1"}}}], "rules[0]", "back-references"),
        ([PII, {"rule": "oracle"}], "rules[1]", "there is no rule 'oracle'"),
        ([PII, PII], "rules[1]", "two rules are called 'pii'"),
        ([{"rule": "pii", "settings": {"only": ["soul"]}}], "rules[0]", "soul"),
        ([{"rule": "regex", "settings": {"patterns": {"p": "((a{100}){100}){100}"}}}], "rules[0]", "p"),
        ([{"rule": "regex", "settings": {"patterns": {f"p{n}": "x" for n in range(101)}}}], "rules[0]", "patterns"),
        (
            [
                {"rule": "regex", "name": f"r{rule}", "settings": {"patterns": {f"p{n}": f"x{n}" for n in range(90)}}}
                for rule in range(3)
            ],
            "rules[2]",
            "more than 200 patterns",
        ),
    ],
)
async def test_a_fault_is_told_with_its_path_and_nothing_is_saved(site: Site, rules: Any, path: str, told: str) -> None:
    answer = await site.ask(site.ours, "POST", PATH, {"name": "bad", "rules": rules})
    assert (answer.status_code, answer.json()["code"]) == (400, "guardrail_invalid"), answer.text
    assert answer.json()["param"] == path
    assert told in answer.json()["detail"]
    assert (await site.ask(site.ours, "GET", PATH)).json()["data"] == []
    good = await site.made(site.ours, "good", publish=True)
    changed = await site.ask(site.ours, "PATCH", f"{PATH}/{good['id']}", {"rules": rules})
    assert (changed.status_code, changed.json()["draft_version"] if changed.is_success else None) == (400, None)


async def test_a_policy_has_an_end_to_its_size(site: Site) -> None:
    terms = ["x" * 60] * 9_000
    answer = await site.ask(
        site.ours, "POST", PATH, {"name": "big", "rules": [{"rule": "keywords", "settings": {"terms": terms}}]}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "guardrail_invalid")
    assert "KiB" in answer.json()["detail"]


async def test_not_any_number_of_policies_holds_at_one_place(site: Site) -> None:
    place = {"tenant": shown("ten", site.our_tenant)}
    answers = []
    for number in range(11):
        policy = await site.made(site.ours, f"p{number}")
        answers.append(await site.ask(site.ours, "POST", f"{PATH}/{policy['id']}/attachments", place))
    assert [answer.status_code for answer in answers] == [201] * 10 + [409]
    assert answers[-1].json()["code"] == "too_many_guardrails"
    elsewhere = await site.ask(site.ours, "POST", f"{PATH}/{policy['id']}/attachments", {"model": "gpt-4o"})
    assert elsewhere.status_code == 201


async def test_changes_made_for_an_older_version_are_refused(site: Site) -> None:
    policy = await site.made(site.ours, "house")
    at, headers = f"{PATH}/{policy['id']}", {"if-match": '"1"'}
    assert (await site.ask(site.ours, "PATCH", at, {"description": "a"}, headers=headers)).status_code == 200
    late = await site.ask(site.ours, "PATCH", at, {"description": "b"}, headers=headers)
    assert late.status_code == 412


async def test_an_exemption_names_its_rule_its_key_its_reason_and_its_end(site: Site) -> None:
    policy = await site.made(site.ours, "house", {**PII, "name": "personal"}, publish=True)
    at = f"{PATH}/{policy['id']}"
    await site.ask(site.ours, "POST", f"{at}/attachments", {"tenant": shown("ten", site.our_tenant)})
    key_id = await site.new_key(site.our_tenant)
    good = {
        "rule": "personal",
        "label": "email",
        "key": shown("key", key_id),
        "reason": "Support exports until the new form is there.",
        "expires_at": (site.clock.now() + timedelta(hours=1)).isoformat(),
    }
    for wrong, code in (
        ({"rule": "other"}, "unknown_rule"),
        ({"expires_at": (site.clock.now() - timedelta(seconds=1)).isoformat()}, "invalid_expiry"),
        ({"expires_at": (site.clock.now() + timedelta(days=400)).isoformat()}, "invalid_expiry"),
    ):
        refused = await site.ask(site.ours, "POST", f"{at}/exemptions", {**good, **wrong})
        assert (refused.status_code, refused.json()["code"]) == (400, code)
    assert (await site.ask(site.ours, "POST", f"{at}/exemptions", {**good, "reason": " "})).status_code == 422
    made = await site.ask(site.ours, "POST", f"{at}/exemptions", good)
    assert made.status_code == 201, made.text
    (held,) = await holding(site, site.our_tenant)
    (exemption,) = held.exemptions
    assert (exemption.rule_name, exemption.key_id, exemption.label) == ("personal", key_id, "email")
    (row,) = [row for row in await site.audited(policy["id"]) if row.action.endswith(".exempt")]
    assert row.after is not None
    assert (row.after["reason"], row.after["key"]) == (good["reason"], good["key"])

    site.clock.ahead = 7200.0
    (listed,) = (await site.ask(site.ours, "GET", f"{at}/exemptions")).json()["data"]
    assert (listed["is_expired"], listed["created_by"]) == (True, shown("usr", site.ours.user_id))
    ended = await site.ask(site.ours, "DELETE", f"{at}/exemptions/{made.json()['id']}")
    assert ended.status_code == 204
    (held,) = await holding(site, site.our_tenant)
    assert held.exemptions == ()


async def test_a_dry_run_says_what_a_draft_would_change(site: Site) -> None:
    policy = await site.made(site.ours, "house", publish=True)
    at = f"{PATH}/{policy['id']}"
    await site.ask(site.ours, "PATCH", at, {"rules": [{"rule": "pii", "action": "block"}]})
    texts = [{"text": "write to bob@example.com"}, {"text": "nothing here"}]
    answer = await site.ask(site.ours, "POST", f"{at}/dry-run", {"texts": texts})
    found = answer.json()
    assert (answer.status_code, found["version"], found["published_version"], found["changed"]) == (200, 2, 1, 1)
    one, other = found["results"]
    assert (one["tried"]["action"], one["tried"]["text"], one["is_changed"]) == ("block", None, True)
    assert (one["published"]["action"], one["published"]["text"]) == ("redact", "write to [EMAIL]")
    assert [hit["label"] for hit in one["tried"]["findings"]] == ["email"]
    assert (other["tried"]["action"], other["is_changed"]) == ("allow", False)
    assert one["tried"]["milliseconds"] >= 0
    named = await site.ask(site.ours, "POST", f"{at}/dry-run", {"texts": texts, "version": 1})
    assert (named.json()["version"], named.json()["changed"]) == (1, 0)
    assert (await site.ask(site.ours, "POST", f"{at}/dry-run", {"texts": texts, "version": 9})).status_code == 404
    long = [{"text": "x" * 150_000}] * 2
    assert (await site.ask(site.ours, "POST", f"{at}/dry-run", {"texts": long})).status_code == 422


async def test_a_secret_among_the_settings_is_sealed_and_never_shown(site: Site) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    hook = {"rule": "webhook", "name": "judge", "settings": {"url": "https://judge.example/ask", "secret": secret}}
    policy = await site.made(site.ours, "house", hook, publish=True)
    at = f"{PATH}/{policy['id']}"
    await site.ask(site.ours, "POST", f"{at}/attachments", {"tenant": shown("ten", site.our_tenant)})
    (held,) = await holding(site, site.our_tenant)
    assert held.rules[0].settings["secret"] == secret
    # Who sends what is shown keeps what is stored; a mark for nothing is refused.
    rules = policy["rules"]
    assert rules[0]["settings"]["secret"] == "********"
    kept = await site.ask(site.ours, "PATCH", at, {"rules": rules, "mode": "monitor"})
    assert kept.status_code == 200, kept.text
    await site.ask(site.ours, "POST", f"{at}/publish")
    (held,) = await holding(site, site.our_tenant)
    assert (held.mode, held.rules[0].settings["secret"]) == (Mode.MONITOR, secret)
    refused = await site.ask(site.ours, "PATCH", at, {"rules": [{**rules[0], "name": "other"}]})
    assert (refused.status_code, refused.json()["param"]) == (400, "rules[0].settings.secret")
    told = [(await site.ask(site.ours, "GET", at + rest)).text for rest in ("", "/versions")]
    told += [str((row.before, row.after)) for row in await site.audited(policy["id"])]
    async with site.database.platform() as session:
        told += [str(one.document) for one in await session.scalars(select(GuardrailPolicyVersion))]
    assert len(told) == 8
    assert not [text for text in told if secret in text]


async def test_a_version_that_does_not_read_any_more_leaves_the_last_one_that_did(site: Site) -> None:
    policy = await site.made(site.ours, "house", publish=True)
    at = f"{PATH}/{policy['id']}"
    await site.ask(site.ours, "POST", f"{at}/attachments", {"tenant": shown("ten", site.our_tenant)})
    await holding(site, site.our_tenant)
    await site.ask(site.ours, "PATCH", at, {"mode": "monitor"})
    async with site.database.platform() as session:
        draft = await session.get(GuardrailPolicyVersion, (parse_id("grp", policy["id"]), 2))
        assert draft is not None
        draft.document = {**draft.document, "of_a_later_release": True}
        row = await session.get(GuardrailPolicyRow, parse_id("grp", policy["id"]))
        assert row is not None
        row.published_number = 2
    (held,) = await holding(site, site.our_tenant)
    assert (held.version, held.mode) == (1, Mode.ENFORCE)


def test_what_is_kept_on_disk_reads_back_as_it_was() -> None:
    """For a start without PostgreSQL."""
    rule = RuleUse(
        "own",
        "pii",
        settings=MappingProxyType({"only": ["card"]}),
        directions=frozenset({Direction.INPUT}),
        actions=MappingProxyType({"card": Action.FLAG}),
    )
    exemption = Exemption("own", uuid7(), 1.5, "card")
    policy = GuardrailPolicy(uuid7(), "house", 3, (rule,), tenant_id=uuid7(), exemptions=(exemption,))
    stored = StoredCatalog(
        guardrails=(
            Attachment(policy, Level.TENANT, policy.tenant_id),
            Attachment(policy, Level.MODEL, "gpt-4*"),
            Attachment(policy, Level.PLATFORM),
        )
    )
    assert TypeAdapter(StoredCatalog).validate_json(to_json(stored)) == stored
