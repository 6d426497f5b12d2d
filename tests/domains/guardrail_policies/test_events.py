"""What guardrails found, from the batch that a worker writes to the page that somebody reads."""

import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.domains.catalog.conftest import new_box
from tests.domains.guardrail_policies.site import Site, running_site, shown
from tollkeeper.contracts.guardrails import Action, Direction, GuardrailEvent
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.db.session import Database
from tollkeeper.domains.guardrail_policies.sink import GuardrailEvents

PATH = "/guardrails/events"


@pytest.fixture
async def site(new_database: Callable[[], str], tmp_path: Path) -> AsyncIterator[Site]:
    database = Database(new_database(), pool_size=3)
    async with running_site(database, tmp_path) as site:
        yield site
    await database.close()


def sink(site: Site, database: Database | None = None) -> GuardrailEvents:
    return GuardrailEvents(database or site.database, new_box(), site.clock, retention_days=30)


_count = itertools.count(-10_000)


def later_id() -> UUID:
    """Those of one millisecond have no order."""
    made = uuid7().int
    return UUID(int=made + (next(_count) << 80))


def event(tenant_id: UUID, **fields: Any) -> GuardrailEvent:
    values: dict[str, Any] = {
        "id": later_id(),
        "tenant_id": tenant_id,
        "request_id": uuid7(),
        "key_id": uuid7(),
        "user_id": uuid7(),
        "model": "gpt-4o",
        "policy_id": uuid7(),
        "policy": "house",
        "policy_version": 2**47,
        "is_platform": False,
        "rule": "personal",
        "label": "email",
        "action": Action.BLOCK,
        "is_monitored": False,
        "direction": Direction.INPUT,
        "place": "text",
        "role": "user",
        "times": 1,
        "text": None,
    }
    return GuardrailEvent(**{**values, **fields})


async def found(site: Site, who: Any, **query: Any) -> list[str]:
    answer = await site.ask(who, "GET", PATH, params=query)
    assert answer.status_code == 200, answer.text
    return [one["rule"] for one in answer.json()["data"]]


async def test_events_are_found_by_what_they_say_and_by_nobody_else(site: Site) -> None:
    key_id, policy_id, request_id = uuid7(), uuid7(), uuid7()
    await sink(site).write(
        [
            event(site.our_tenant, rule="one", key_id=key_id),
            event(site.our_tenant, rule="two", action=Action.REDACT, policy_id=policy_id, label="card"),
            event(site.our_tenant, rule="three", direction=Direction.OUTPUT, request_id=request_id),
            event(site.their_tenant, rule="four"),
        ]
    )
    assert await found(site, site.ours) == ["three", "two", "one"]
    assert await found(site, site.theirs) == ["four"]
    assert await found(site, site.admin) == ["four", "three", "two", "one"]
    assert await found(site, site.admin, tenant_id=shown("ten", site.their_tenant)) == ["four"]
    for query, wanted in (
        ({"rule": "two"}, ["two"]),
        ({"label": "card"}, ["two"]),
        ({"action": "redact"}, ["two"]),
        ({"direction": "output"}, ["three"]),
        ({"api_key_id": shown("key", key_id)}, ["one"]),
        ({"policy_id": shown("grp", policy_id)}, ["two"]),
        ({"request_id": shown("req", request_id)}, ["three"]),
        ({"from": (site.clock.now() + timedelta(hours=1)).isoformat()}, None),
        ({"to": (site.clock.now() - timedelta(hours=1)).isoformat()}, []),
    ):
        if wanted is None:
            refused = await site.ask(site.ours, "GET", PATH, params=query)
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_period")
        else:
            assert await found(site, site.ours, **query) == wanted
    page = (await site.ask(site.ours, "GET", PATH, params={"limit": 2})).json()
    rest = (await site.ask(site.ours, "GET", PATH, params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [one["rule"] for one in (*page["data"], *rest["data"])] == ["three", "two", "one"]
    # Who may not see the tenant sees what their own keys met.
    alone = replace(site.ours, permissions=frozenset({Permission.GUARDRAILS_VIEW}))
    await sink(site).write([event(site.our_tenant, rule="mine", user_id=alone.user_id)])
    assert await found(site, alone) == ["mine"]


async def test_a_kept_text_is_sealed_and_shown_to_auditors_alone(site: Site) -> None:
    await sink(site).write([event(site.our_tenant, text="bob@example.com"), event(site.our_tenant)])
    (without, kept) = (await site.ask(site.ours, "GET", PATH)).json()["data"]
    assert (kept["text"], without["text"]) == ("bob@example.com", None)
    viewer = replace(site.ours, permissions=site.ours.permissions - {Permission.AUDIT_VIEW})
    assert [one["text"] for one in (await site.ask(viewer, "GET", PATH)).json()["data"]] == [None, None]
    for told in await site.emitted("guardrail.hit"):
        assert "bob" not in str(told.payload)


async def test_subscribers_hear_of_what_was_blocked_or_taken_out(site: Site) -> None:
    blocked = event(site.our_tenant, rule="blocks")
    await sink(site).write(
        [
            blocked,
            event(site.our_tenant, rule="redacts", action=Action.REVERSIBLE),
            event(site.our_tenant, rule="flags", action=Action.FLAG),
            event(site.our_tenant, rule="watches", is_monitored=True),
        ]
    )
    told = await site.emitted("guardrail.hit")
    assert [one.payload["rule"] for one in told] == ["blocks", "redacts"]
    assert told[0].payload["request_id"] == str(blocked.request_id)
    assert {one.tenant_id for one in told} == {site.our_tenant}


async def test_what_callers_wrote_is_kept_as_far_as_it_can_be(site: Site) -> None:
    await sink(site).write([event(site.our_tenant, model="m\0\ud800" + "x" * 5_000, role="r" * 999, text="\ud800\0")])
    (one,) = (await site.ask(site.ours, "GET", PATH)).json()["data"]
    assert (one["model"][:3], len(one["model"]), len(one["role"])) == ("m?x", 255, 256)


async def test_events_of_days_that_are_over_or_not_yet_are_left_out(site: Site) -> None:
    """And a day without a partition gets one."""
    day_ms = 86_400_000
    now_ms = int(site.clock.unix() * 1000)

    def at(days: int) -> UUID:
        return UUID(int=(now_ms + days * day_ms) << 80 | uuid7().int & ((1 << 80) - 1))

    await sink(site).write(
        [event(site.our_tenant, id=at(days), rule=f"d{days}") for days in (-40, -20, 0, 40)],
    )
    since = (site.clock.now() - timedelta(days=60)).isoformat()
    assert await found(site, site.ours, **{"from": since}) == ["d0", "d-20"]


async def test_a_database_that_is_away_is_said_so(site: Site) -> None:
    away = Database("postgresql://nobody@127.0.0.1:9/none", pool_size=1)
    with pytest.raises(DependencyUnavailable):
        await sink(site, away).write([event(site.our_tenant)])
    await away.close()
