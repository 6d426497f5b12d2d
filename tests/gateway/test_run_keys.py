"""Run keys on the data plane: proven in memory, never more than the parent, gone with it."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.gateway.serving import KEY, RUN_KEYS, TENANT, Serving, chat, principal
from tests.gateway.upstream import FakeUpstream
from tollkeeper.contracts.money import PLATFORM, Budget, RuleScope, ScopeKind, Window, WindowKind
from tollkeeper.contracts.principal import EndedRun, Environment, KeyRecord
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.core.run_keys import LEEWAY_SECONDS, Run, RunKeys
from tollkeeper.gateway.run_keys import budget_id_of_run, ends_of_run, principal_of_run


def run_of(gateway: Serving, **fields: Any) -> Run:
    parent = gateway.keys.record(KEY).principal
    made: dict[str, Any] = {
        "tenant_id": parent.tenant_id,
        "key_id": parent.key_id,
        "run_id": uuid7(),
        "issued_unix_ms": int(gateway.clock.unix() * 1000),
        "lifetime_seconds": 600,
    }
    return Run(**{**made, **fields})


async def call(gateway: Serving, token: str | bytes, **body: Any) -> httpx.Response:
    shown = token if isinstance(token, bytes) else token.encode()
    headers = {b"authorization": b"Bearer " + shown}
    return await gateway.client.post("/v1/chat/completions", json=chat(**body), headers=headers)


def verdict(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, None if answer.status_code == 200 else answer.json()["error"]["code"]


def change(gateway: Serving, **fields: Any) -> None:
    """The parent's record, as the next look finds it."""
    [(name, record)] = gateway.keys.records.items()
    gateway.keys.records[name] = replace(record, **fields)


async def test_a_run_key_calls_as_its_parent_with_one_look_for_all_runs(gateway: Serving) -> None:
    tokens = [RUN_KEYS.sign(run_of(gateway)) for _ in range(3)]
    for token in tokens * 2:
        assert (await call(gateway, token)).status_code == 200
    assert gateway.keys.lookups == 1
    settled = await gateway.settled(6)
    parent = gateway.keys.record(KEY).principal
    assert {(each.intent.tenant_id, each.intent.key_id) for each in settled} == {(parent.tenant_id, parent.key_id)}
    assert gateway.cache.take_used().keys() == {parent.key_id}


async def test_every_header_takes_a_run_key(gateway: Serving) -> None:
    token = RUN_KEYS.sign(run_of(gateway))
    for header in ("x-api-key", "api-key", "x-goog-api-key"):
        answer = await gateway.client.post("/v1/chat/completions", json=chat(), headers={header: token})
        assert answer.status_code == 200


async def test_a_run_key_sees_its_models_alone(gateway: Serving) -> None:
    token = RUN_KEYS.sign(run_of(gateway, models=frozenset({"gpt-*", "unknown"})))
    listed = await gateway.client.get("/v1/models", headers={"authorization": f"Bearer {token}"})
    assert [model["id"] for model in listed.json()["data"]] == ["gpt-4o-mini"]
    assert verdict(await call(gateway, token, model="alias")) == (403, "model_not_allowed")
    assert (await call(gateway, token)).status_code == 200


async def test_models_wider_than_the_parents_are_the_parents(gateway: Serving) -> None:
    change(gateway, principal=replace(gateway.keys.record(KEY).principal, allowed_models=frozenset({"alias"})))
    token = RUN_KEYS.sign(run_of(gateway, models=frozenset({"*"})))
    assert verdict(await call(gateway, token)) == (403, "model_not_allowed")
    assert (await call(gateway, token, model="alias")).status_code == 200


@pytest.mark.parametrize(
    "made",
    [
        {"lifetime_seconds": 1, "issued_unix_ms": 1_000},
        {"tenant_id": uuid7()},
        {"tenant_id": PLATFORM},
        {"key_id": uuid7()},
    ],
    ids=["expired", "another tenant's", "the platform's", "no key's"],
)
async def test_a_run_key_that_stands_for_nothing_is_refused(gateway: Serving, made: dict[str, Any]) -> None:
    token = RUN_KEYS.sign(run_of(gateway, **made))
    assert verdict(await call(gateway, token)) == (401, "invalid_api_key")


async def test_a_run_key_from_the_future_is_refused(gateway: Serving) -> None:
    future = int((gateway.clock.unix() + LEEWAY_SECONDS + 5) * 1000)
    assert verdict(await call(gateway, RUN_KEYS.sign(run_of(gateway, issued_unix_ms=future)))) == (
        401,
        "invalid_api_key",
    )


async def test_a_run_key_ends_while_it_is_in_memory(gateway: Serving) -> None:
    token = RUN_KEYS.sign(run_of(gateway, lifetime_seconds=60))
    assert (await call(gateway, token)).status_code == 200
    gateway.clock.ahead += 61
    assert verdict(await call(gateway, token)) == (401, "invalid_api_key")


FOREIGN_RUN_KEY = RunKeys(MasterKey(MasterKey.generate())).sign(Run(TENANT, uuid7(), uuid7(), 1, 60)).encode()


@pytest.mark.parametrize(
    "token",
    [
        b"tk-run_",
        b"tk-run_" + b"A" * 400,
        b"tk-run_" + b"A" * 12_000,
        b"tk-run_\xff\xfe",
        b"tk-run_" + b"." * 100,
        FOREIGN_RUN_KEY,
    ],
    ids=["nothing", "of the right length", "too long", "no ASCII", "no base64", "another installation's"],
)
async def test_garbage_costs_no_look(gateway: Serving, token: bytes) -> None:
    assert verdict(await call(gateway, token)) == (401, "invalid_api_key")
    assert gateway.keys.lookups == 0


async def test_a_megabyte_behind_the_prefix_is_refused(gateway: Serving) -> None:
    answer = await call(gateway, b"tk-run_" + b"A" * 1_000_000)
    assert answer.status_code in {400, 401, 431}
    assert gateway.keys.lookups == 0


async def test_the_place_of_a_parent_in_memory_is_nobodys_credential(gateway: Serving) -> None:
    assert (await call(gateway, RUN_KEYS.sign(run_of(gateway)))).status_code == 200
    key_id = gateway.keys.record(KEY).principal.key_id
    for token in (key_id.bytes, b"the parent of run keys, by its id: " + key_id.bytes, key_id.hex.encode()):
        safe = token.replace(b"\n", b"?").replace(b"\r", b"?").replace(b"\0", b"?")
        assert (await call(gateway, safe)).status_code in {400, 401}


async def test_a_run_key_is_refused_as_soon_as_its_parent_is(gateway: Serving) -> None:
    token = RUN_KEYS.sign(run_of(gateway))
    assert (await call(gateway, token)).status_code == 200
    for fields in ({"refusal": "This API key has been revoked."}, {"expires_at": gateway.clock.unix() - 1}):
        good = gateway.keys.record(KEY)
        change(gateway, **fields)
        # What a worker does when it hears of the change.
        gateway.cache.forget_key(good.principal.key_id)
        assert verdict(await call(gateway, token)) == (401, "invalid_api_key")
        change(gateway, refusal=None, expires_at=None)
        gateway.cache.forget_key(good.principal.key_id)
        assert (await call(gateway, token)).status_code == 200


async def test_a_suspended_tenant_stops_its_run_keys(gateway: Serving) -> None:
    token = RUN_KEYS.sign(run_of(gateway))
    assert (await call(gateway, token)).status_code == 200
    change(gateway, refusal="The organisation of this API key is suspended.")
    gateway.cache.forget_tenant(TENANT)
    answer = await call(gateway, token)
    assert answer.status_code == 401
    assert "suspended" in answer.text


async def test_a_run_that_was_ended_cannot_be_replayed(gateway: Serving) -> None:
    ended, other = run_of(gateway), run_of(gateway)
    again = replace(ended, budget_nano=10**12, issued_unix_ms=ended.issued_unix_ms + 5)
    tokens = [RUN_KEYS.sign(ended), RUN_KEYS.sign(again)]
    for token in tokens:
        assert (await call(gateway, token)).status_code == 200
    change(gateway, ended_runs=(EndedRun(gateway.clock.unix() - 1, ended.run_id),))
    gateway.cache.forget_key(ended.key_id)
    for token in tokens:
        assert verdict(await call(gateway, token)) == (401, "invalid_api_key")
    assert (await call(gateway, RUN_KEYS.sign(other))).status_code == 200


async def test_all_runs_from_before_a_rotation_end_when_its_grace_does(gateway: Serving) -> None:
    now = gateway.clock.unix()
    before, after = run_of(gateway, issued_unix_ms=int(now * 1000) - 5_000), run_of(gateway)
    change(gateway, ended_runs=(EndedRun(now + 30, issued_before=now - 1),))
    for run in (before, after):
        assert (await call(gateway, RUN_KEYS.sign(run))).status_code == 200
    gateway.clock.ahead += 31
    assert verdict(await call(gateway, RUN_KEYS.sign(before))) == (401, "invalid_api_key")
    assert (await call(gateway, RUN_KEYS.sign(after))).status_code == 200


async def test_a_key_without_inference_has_runs_without_it(gateway: Serving) -> None:
    parent = replace(gateway.keys.record(KEY).principal, permissions=frozenset({Permission.ME_VIEW}))
    change(gateway, principal=parent)
    assert verdict(await call(gateway, RUN_KEYS.sign(run_of(gateway)))) == (403, "permission_denied")


async def test_a_run_of_a_test_key_reaches_simulated_models_only(gateway: Serving, vendor: FakeUpstream) -> None:
    parent = replace(gateway.keys.record(KEY).principal, environment=Environment.TEST)
    change(gateway, principal=parent)
    assert (await call(gateway, RUN_KEYS.sign(run_of(gateway)))).status_code == 403
    assert vendor.seen == []


async def test_bounds_of_the_parent_hold_for_its_runs(gateway: Serving) -> None:
    parent = replace(gateway.keys.record(KEY).principal, allowed_endpoints=frozenset({"embeddings"}))
    change(gateway, principal=parent)
    assert (await call(gateway, RUN_KEYS.sign(run_of(gateway)))).status_code == 403


async def test_known_runs_go_on_while_postgresql_is_away_and_unknown_keys_are_503(gateway: Serving) -> None:
    known = RUN_KEYS.sign(run_of(gateway))
    assert (await call(gateway, known)).status_code == 200
    gateway.keys.is_down = True
    # Its parent is in memory, so nobody has to be asked for another run of the same key.
    assert (await call(gateway, RUN_KEYS.sign(run_of(gateway)))).status_code == 200
    gateway.clock.ahead += 120
    assert (await call(gateway, known)).status_code == 200
    stranger = RUN_KEYS.sign(run_of(gateway, key_id=uuid7()))
    assert verdict(await call(gateway, stranger)) == (503, "dependency_unavailable")


async def test_a_parent_revoked_during_the_look_is_looked_at_again(gateway: Serving) -> None:
    token = RUN_KEYS.sign(run_of(gateway))
    gateway.keys.gate = asyncio.Event()
    waiting = asyncio.create_task(call(gateway, token))
    while gateway.keys.lookups == 0:
        await asyncio.sleep(0.005)
    change(gateway, refusal="This API key has been revoked.")
    gateway.cache.forget_key(gateway.keys.record(KEY).principal.key_id)
    gateway.keys.gate.set()
    assert (await waiting).status_code == 401


def test_a_run_has_its_budget_beside_its_parents() -> None:
    kept = Budget(uuid7(), RuleScope(ScopeKind.KEY, "x"), 5, Window(WindowKind.DAY), 0)
    parent = principal(budgets=(kept,))
    run = Run(parent.tenant_id, parent.key_id, uuid7(), 1_700_000_000_500, 60, 700)
    narrowed = principal_of_run(parent, run)
    assert narrowed.run_id == format_id("run", run.run_id)
    own = narrowed.budgets[1]
    assert narrowed.budgets == (kept, own)
    assert (own.amount_nano, own.window, own.is_hard) == (700, Window(WindowKind.TOTAL), True)
    assert (own.scope, own.counts_from) == (RuleScope(ScopeKind.RUN, narrowed.run_id), 1_700_000_000)
    assert principal_of_run(parent, replace(run, budget_nano=None)).budgets == (kept,)


def test_run_keys_of_one_run_spend_from_one_counter_whatever_each_was_given() -> None:
    parent = principal()
    run = Run(parent.tenant_id, parent.key_id, uuid7(), 1_700_000_000_000, 60, 700, is_named=True)
    later = replace(run, issued_unix_ms=run.issued_unix_ms + 60_000, budget_nano=10**12)
    [first], [second] = principal_of_run(parent, run).budgets, principal_of_run(parent, later).budgets
    assert (first.id, first.counts_from) == (second.id, second.counts_from) == (first.id, 0)
    other = budget_id_of_run(run.tenant_id, uuid7(), run.run_id)
    assert other != first.id, "another key's run of the same name is another run"


def test_a_run_ends_with_whatever_ends_first() -> None:
    parent = principal()
    run = Run(parent.tenant_id, parent.key_id, uuid7(), 1_000_000, 60)
    assert ends_of_run(KeyRecord(parent, ()), run) == 1_060
    assert ends_of_run(KeyRecord(parent, (), expires_at=1_010), run) == 1_010
    assert ends_of_run(KeyRecord(parent, (), ended_runs=(EndedRun(1_020, uuid7()),)), run) == 1_060
    assert ends_of_run(KeyRecord(parent, (), ended_runs=(EndedRun(1_020, run.run_id),)), run) == 1_020
    assert ends_of_run(KeyRecord(parent, (), ended_runs=(EndedRun(1_005, issued_before=1_000),)), run) == 1_060
    assert ends_of_run(KeyRecord(parent, (), ended_runs=(EndedRun(1_005, issued_before=1_000.1),)), run) == 1_005
