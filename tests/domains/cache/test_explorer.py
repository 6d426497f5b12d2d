"""What the cache's explorer shows and does, over two workers that share a Valkey."""

from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import text

from tests.domains.cache.conftest import DAY, Fleet, until
from tests.domains.request_logs.test_requests import record
from tests.money.records import make_intent, make_principal, make_settlement
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.domains.request_logs.sink import RequestLogSink
from tollkeeper.domains.usage.sink import LedgerSink
from tollkeeper.gateway.cache.guards import read, signature
from tollkeeper.gateway.cache.vectors import Known


async def test_entries_are_shown_without_what_they_say(fleet: Fleet) -> None:
    key = uuid7()
    entry = await fleet.one.keep(fleet.tenant, 1, namespace="blue", key_id=key, guard=b"g")

    answer = await fleet.ask("GET", "/entries", role=Role.VIEWER)

    assert answer.status_code == 200, answer.text
    assert "secret" not in answer.text
    (shown,) = answer.json()["data"]
    created, expires = datetime.fromisoformat(shown.pop("created_at")), datetime.fromisoformat(shown.pop("expires_at"))
    assert created == datetime.fromtimestamp(entry.created_at, UTC)
    assert created < expires
    assert shown.pop("size_bytes") > 100
    assert shown == {
        "id": entry.id,
        "model": "chat",
        "provider": "acme",
        "upstream_model": "large",
        "is_stream": False,
        "namespace": "blue",
        "api_key_id": format_id("key", key),
        "prompt_tokens": 12,
        "completion_tokens": 30,
        "saved_usd": "0.0000198",
        "latency_ms": 1500,
        "is_guarded": True,
    }


async def test_entries_are_paged_and_one_that_goes_meanwhile_skips_none(fleet: Fleet) -> None:
    made = [await fleet.one.keep(fleet.tenant, number, ttl=10_000 - 100 * number) for number in range(1, 8)]
    first = (await fleet.ask("GET", "/entries", params={"limit": 3})).json()
    # The very one the cursor stands on.
    await fleet.ask("POST", "/purge", json={"entry": made[2].id})

    seen, cursor = first["data"], first["next_cursor"]
    while cursor is not None:
        page = (await fleet.ask("GET", "/entries", params={"limit": 3, "cursor": cursor})).json()
        seen, cursor = seen + page["data"], page["next_cursor"]

    assert [each["id"] for each in seen] == [entry.id for entry in made]


async def test_a_purge_is_seen_by_another_worker_and_audited(fleet: Fleet) -> None:
    mine = await fleet.one.keep(fleet.tenant, 1)
    theirs = await fleet.one.keep(fleet.stranger, 2)
    assert await fleet.other.shelf.find(fleet.tenant, mine.fingerprint, DAY)
    assert fleet.other.has(mine)

    answer = await fleet.ask("POST", "/purge", json={"everything": True})

    assert (answer.status_code, answer.json()) == (200, {"count": 1})
    assert not fleet.one.has(mine)
    await until(lambda: not fleet.other.has(mine))
    assert await fleet.other.shelf.find(fleet.tenant, mine.fingerprint, DAY) is None
    assert await fleet.other.shelf.find(fleet.stranger, theirs.fingerprint, DAY) is not None
    async with fleet.database.platform() as session:
        action = (await session.execute(text("SELECT action, after FROM audit_logs"))).one()
        event = (await session.execute(text("SELECT event, tenant_id FROM outbox"))).one()
    assert tuple(action) == ("cache.purge", {"everything": True})
    assert tuple(event) == ("cache.purged", fleet.tenant)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"entry": f"{1:064x}"}, {2, 3}),
        ({"model": "other"}, {1, 3}),
        ({"namespace": "blue"}, {1, 2}),
        ({"older_than_seconds": 1_800}, {2, 3}),
        ({"older_than_seconds": 1_800, "model": "other"}, {1, 2, 3}),
        ({"everything": True}, set()),
    ],
)
async def test_what_goes_is_what_was_said(fleet: Fleet, body: dict[str, object], left: set[int]) -> None:
    await fleet.one.keep(fleet.tenant, 1, age=DAY)
    await fleet.one.keep(fleet.tenant, 2, model="other")
    await fleet.one.keep(fleet.tenant, 3, namespace="blue")

    assert (await fleet.ask("POST", "/purge", json=body)).json() == {"count": 3 - len(left)}

    shown = (await fleet.ask("GET", "/entries")).json()["data"]
    assert {int(each["id"], 16) for each in shown} == left


@pytest.mark.parametrize("body", [{}, {"everything": False}, {"everything": True, "model": "chat"}, {"entry": "x"}])
async def test_a_purge_says_what_goes_or_everything(fleet: Fleet, body: dict[str, object]) -> None:
    entry = await fleet.one.keep(fleet.tenant, 1)
    assert (await fleet.ask("POST", "/purge", json=body)).status_code == 422
    assert fleet.one.has(entry)


async def test_another_tenant_sees_and_purges_nothing(fleet: Fleet) -> None:
    entry = await fleet.one.keep(fleet.tenant, 1)
    await know(fleet, fleet.tenant, 1, "How do I reset my password?")
    await know(fleet, fleet.tenant, 2, "How do I change my password?")

    assert (await fleet.ask("GET", "/entries", tenant=fleet.stranger)).json() == {"data": [], "next_cursor": None}
    stats = (await fleet.ask("GET", "/stats", tenant=fleet.stranger)).json()
    assert (stats["entries"], stats["size_bytes"]) == (0, 0)
    found = await fleet.ask("GET", "/neighbours", tenant=fleet.stranger, params={"entry": entry.id})
    assert found.json() == {"data": []}
    purged = await fleet.ask("POST", "/purge", tenant=fleet.stranger, json={"entry": entry.id})
    assert purged.json() == {"count": 0}
    wrong = await fleet.ask("POST", "/wrong", tenant=fleet.stranger, json={"entry": entry.id})
    assert wrong.json() == {"evicted": False}
    everything = await fleet.ask("POST", "/purge", tenant=fleet.stranger, json={"everything": True})
    assert everything.json() == {"count": 0}
    assert fleet.one.has(entry)
    assert len((await fleet.ask("GET", "/neighbours", params={"entry": entry.id})).json()["data"]) == 1


@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR, Role.DEVELOPER, Role.FINANCE])
async def test_only_who_manages_the_cache_purges_it(fleet: Fleet, role: Role) -> None:
    for path, body in (("/purge", {"everything": True}), ("/wrong", {"entry": "ab" * 32})):
        assert (await fleet.ask("POST", path, role=role, json=body)).status_code == 403


async def know(fleet: Fleet, tenant: UUID, number: int, turn: str) -> None:
    """A question that was answered, as the other worker tells of it."""
    sign = signature(read(turn))
    assert sign is not None
    vector = np.array([0.6, 0.8], dtype=np.float32)
    tier = await fleet.other.meaning.opened()
    fingerprint = number.to_bytes(32, "big")
    known = Known(b"p" * 16, fingerprint, turn, vector, sign, fleet.one.clock.unix(), "chat")
    tier._mirror.add(tenant, known)


async def test_neighbours_tell_what_each_guard_says(fleet: Fleet) -> None:
    await know(fleet, fleet.tenant, 1, "How much does plan 5 cost?")
    await know(fleet, fleet.tenant, 2, "How much does plan 7 cost?")

    answer = await fleet.ask("GET", "/neighbours", role=Role.AUDITOR, params={"entry": f"{1:064x}"})

    (shown,) = answer.json()["data"]
    assert (shown["id"], shown["question"]) == (f"{2:064x}", "How much does plan 7 cost?")
    assert shown["score"] == pytest.approx(1, abs=0.01)
    assert not shown["agrees"]
    assert any(guard["reason"] and "7" in guard["reason"] for guard in shown["guards"])
    assert any(guard["agrees"] for guard in shown["guards"])

    unread = await fleet.ask("GET", "/neighbours", role=Role.VIEWER, params={"entry": f"{1:064x}"})
    (hidden,) = unread.json()["data"]
    assert hidden["question"] is None
    assert {guard["reason"] for guard in hidden["guards"]} == {None}
    assert [guard["agrees"] for guard in hidden["guards"]] == [guard["agrees"] for guard in shown["guards"]]


async def test_an_answer_marked_wrong_is_observed_and_gone_everywhere(fleet: Fleet) -> None:
    entry = await fleet.one.keep(fleet.tenant, 1)
    await know(fleet, fleet.tenant, 1, "How do I reset my password?")
    assert await fleet.other.shelf.find(fleet.tenant, entry.fingerprint, DAY)

    answer = await fleet.ask("POST", "/wrong", json={"entry": entry.id})

    assert answer.json() == {"evicted": True}
    await until(lambda: not fleet.other.has(entry))
    other = await fleet.other.meaning.opened()
    await other.catch_up(fleet.tenant)
    assert other.entries(fleet.tenant) == []
    one = await fleet.one.meaning.opened()
    (observed,) = one.observations.of_entry(fleet.tenant, entry.fingerprint)
    assert (observed.is_served, observed.agreed) == (True, False)
    assert (await fleet.ask("POST", "/wrong", json={"entry": entry.id})).json() == {"evicted": False}


async def test_stats_come_from_the_ledger_and_the_request_log(fleet: Fleet) -> None:
    ledger = LedgerSink(fleet.database, SystemClock(), retention_days=400)
    log = RequestLogSink(fleet.database, SystemClock(), retention_days=30)
    who = make_principal()
    tenant = who.tenant_id
    asked = ({"cache": "miss"}, {"cache": "miss", "model": "other"}, {"cache": "bypass"}, {})
    await log.write([record(principal=who, **fields) for fields in asked])
    given = [
        make_settlement(
            make_intent(tenant_id=tenant),
            status=CallStatus.CACHED,
            cost_nano=0,
            charge_nano=0,
            extra={"tollkeeper:cache": result, "tollkeeper:saved_nano": "1000000"},
        )
        for result in ("exact", "exact", "semantic", "coalesced")
    ]
    await ledger.ship([*given, make_settlement(make_intent(tenant_id=tenant))])

    answer = await fleet.ask("GET", "/stats", tenant=tenant, role=Role.VIEWER)

    assert answer.status_code == 200, answer.text
    stats = answer.json()
    total = stats["total"]
    assert (total["exact"], total["semantic"], total["coalesced"]) == (2, 1, 1)
    assert (total["misses"], total["bypassed"], total["hit_rate"]) == (2, 1, round(4 / 6, 4))
    assert (total["saved_usd"], total["saved_prompt_tokens"], total["saved_completion_tokens"]) == ("0.004", 48, 120)
    first, second = stats["models"]
    assert (first["model"], first["misses"], first["hit_rate"]) == ("gpt-4o-mini", 1, 0.8)
    assert (second["model"], second["misses"], second["hit_rate"]) == ("other", 1, 0)
    none = (await fleet.ask("GET", "/stats", tenant=uuid7())).json()
    assert (none["total"]["exact"], none["total"]["hit_rate"], none["models"]) == (0, None, [])


async def test_a_period_runs_forward(fleet: Fleet) -> None:
    reversed_period = {"from": "2026-02-01", "to": "2026-01-01"}
    assert (await fleet.ask("GET", "/stats", params=reversed_period)).status_code == 400
