"""Who may call: every credential header alike, keys in memory, revocation, and PostgreSQL being away."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from tests.gateway.serving import KEY, Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, good_stream, stream
from tollkeeper.contracts.principal import Environment
from tollkeeper.core import secrets as secrets_module
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.core.secrets import new_key, parse_key

SESSION = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ0b2xsa2VlcGVyIiwic3ViIjoidSJ9.c2ln"
HEADERS = ["authorization", "x-api-key", "api-key", "x-goog-api-key"]
OTHER, REVOKED, NO_SCOPE, EXPIRED = (new_key().token for _ in range(4))


def carry(header: str, token: str) -> dict[str, str]:
    return {header: f"Bearer {token}" if header == "authorization" else token}


async def call(
    gateway: Serving, headers: dict[str, str], path: str = "/v1/chat/completions", **fields: object
) -> httpx.Response:
    return await gateway.client.post(path, json=chat(**fields), headers=headers)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions"])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_each_header_path_and_mode_has_the_same_verdict(
    gateway: Serving, vendor: FakeUpstream, header: str, path: str, is_stream: bool
) -> None:
    gateway.keys.add(REVOKED, refusal="This key was revoked.")
    gateway.keys.add(NO_SCOPE, permissions=frozenset({Permission.ME_VIEW}))
    gateway.keys.add(EXPIRED, expires_at=time.time() - 1)
    if is_stream:
        vendor.script = stream(*good_stream("hi"))
    verdicts = []
    for token in (
        KEY,
        REVOKED,
        NO_SCOPE,
        EXPIRED,
        OTHER,
        KEY[:-1] + ("x" if KEY[-1] != "x" else "y"),
        "garbage",
    ):
        response = await call(gateway, carry(header, token), path, stream=is_stream)
        code = None if response.status_code == 200 else response.json()["error"]["code"]
        verdicts.append((response.status_code, code))
    assert verdicts == [
        (200, None),
        (401, "invalid_api_key"),
        (403, "permission_denied"),
        (401, "invalid_api_key"),
        (401, "invalid_api_key"),
        (401, "invalid_api_key"),
        (401, "invalid_api_key"),
    ]
    assert len(vendor.seen) == 1


@pytest.mark.parametrize("first", HEADERS)
@pytest.mark.parametrize("second", HEADERS)
async def test_two_different_credentials_are_400(gateway: Serving, first: str, second: str) -> None:
    if first == second:
        return
    both = {**carry(first, KEY), **carry(second, OTHER)}
    assert (await call(gateway, both)).json()["error"]["code"] == "conflicting_credentials"
    same = {**carry(first, KEY), **carry(second, KEY)}
    assert (await call(gateway, same)).status_code == 200


async def test_no_credential_is_401_with_a_challenge(gateway: Serving) -> None:
    response = await call(gateway, {})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


async def test_key_of_another_form_is_found_by_its_digest(gateway: Serving) -> None:
    gateway.keys.add("tk-an-imported-key-of-some-other-form")
    assert (await call(gateway, carry("x-api-key", "tk-an-imported-key-of-some-other-form"))).status_code == 200


@pytest.mark.parametrize(
    "token",
    [KEY[:-1] + ("x" if KEY[-1] != "x" else "y"), KEY.lower() + "0", "sk-" + "a" * 48, "x"],
    ids=["wrong checksum", "lower case", "another vendor's", "short"],
)
async def test_garbage_is_refused_without_asking_anyone(gateway: Serving, token: str) -> None:
    assert (await call(gateway, carry("api-key", token))).status_code == 401
    assert gateway.keys.lookups == 0


async def test_right_id_with_another_secret_is_refused(gateway: Serving) -> None:
    """A checksum anyone can compute proves nothing; the secret does."""
    stolen, mine = parse_key(KEY), parse_key(OTHER)
    assert stolen is not None
    assert mine is not None
    body = f"tk-live_{stolen.public_id}_{mine.secret}"
    assert (await call(gateway, carry("api-key", body + secrets_module._check(body)))).status_code == 401
    assert gateway.keys.lookups == 1
    assert (await gateway.post()).status_code == 200


async def test_key_is_looked_up_once_and_then_remembered(gateway: Serving) -> None:
    for _ in range(3):
        await gateway.post()
    assert gateway.keys.lookups == 1


async def test_calls_that_wait_for_one_key_share_one_look(gateway: Serving) -> None:
    gateway.keys.gate = asyncio.Event()
    calls = [asyncio.create_task(gateway.post()) for _ in range(5)]
    while gateway.keys.lookups == 0:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    gateway.keys.gate.set()
    assert [(await done).status_code for done in calls] == [200] * 5
    assert gateway.keys.lookups == 1


async def test_a_slow_look_up_is_not_waited_for_and_goes_on(vendor: FakeUpstream, tmp_path: Path) -> None:
    """Given up with its first caller it would begin anew, and miss its time again, for as long as all is slow."""
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "m"))])
    async with serving(tmp_path, snap, database_lookup_ms=20) as gateway:
        gateway.keys.gate = asyncio.Event()
        for _ in range(3):
            response = await gateway.post()
            assert (response.status_code, response.json()["error"]["code"]) == (503, "dependency_unavailable")
        gateway.keys.gate.set()
        while (response := await gateway.post()).status_code == 503:
            await asyncio.sleep(0.001)
        assert response.status_code == 200
        assert gateway.keys.lookups == 1
        # Later the key is known, and what is known serves while the look-up takes its time.
        gateway.keys.gate = asyncio.Event()
        gateway.clock.ahead += 61
        assert (await gateway.post()).status_code == 200
        gateway.keys.gate.set()


async def test_unknown_key_is_remembered_for_a_moment_only(gateway: Serving) -> None:
    for _ in range(3):
        assert (await call(gateway, carry("api-key", OTHER))).status_code == 401
    assert gateway.keys.lookups == 1
    gateway.keys.add(OTHER)
    gateway.clock.ahead += 6
    assert (await call(gateway, carry("api-key", OTHER))).status_code == 200


async def test_forgotten_key_is_looked_up_at_its_next_use(gateway: Serving) -> None:
    await gateway.post()
    gateway.keys.add(KEY, refusal="This key was revoked.")
    assert (await gateway.post()).status_code == 200
    key_id = gateway.settlements[0].intent.key_id
    gateway.cache.forget_key(key_id)
    assert (await gateway.post()).status_code == 401


async def test_suspended_tenant_is_refused_at_once(gateway: Serving) -> None:
    await gateway.post()
    gateway.keys.add(KEY, refusal="This organisation is suspended.")
    gateway.cache.forget_tenant(gateway.settlements[0].intent.tenant_id)
    response = await gateway.post()
    assert response.json()["error"]["message"] == "This organisation is suspended."


async def test_row_read_before_its_key_was_revoked_is_not_believed(gateway: Serving) -> None:
    """RULING 29: the announcement overtakes a look-up that is still on its way."""
    record = gateway.keys.record(KEY)
    gateway.keys.gate = asyncio.Event()
    late = asyncio.create_task(gateway.post())
    while gateway.keys.lookups == 0:
        await asyncio.sleep(0.001)

    # The first look-up has its (old) row already when the revocation arrives.
    gateway.cache.forget_key(record.principal.key_id)
    gateway.keys.add(KEY, refusal="This key was revoked.", key_id=record.principal.key_id)
    gateway.keys.gate.set()
    assert (await late).status_code == 401
    assert (await gateway.post()).status_code == 401
    assert gateway.keys.lookups == 2


async def test_key_is_looked_at_again_when_it_is_no_longer_fresh(gateway: Serving) -> None:
    await gateway.post()
    gateway.keys.add(KEY, refusal="This key was revoked.")
    gateway.clock.ahead += 61
    assert (await gateway.post()).status_code == 401


async def test_key_that_expires_in_memory_is_refused(gateway: Serving) -> None:
    gateway.keys.add(OTHER, expires_at=gateway.clock.unix() + 30)
    assert (await call(gateway, carry("api-key", OTHER))).status_code == 200
    gateway.clock.ahead += 31
    response = await call(gateway, carry("api-key", OTHER))
    assert response.status_code == 401
    assert "expired" in response.json()["error"]["message"]


async def test_known_key_works_while_postgresql_is_away_and_unknown_is_503(gateway: Serving) -> None:
    await gateway.post()
    gateway.keys.is_down = True
    gateway.clock.ahead += 61
    assert (await gateway.post()).status_code == 200
    response = await call(gateway, carry("api-key", OTHER))
    assert (response.status_code, response.json()["error"]["code"]) == (503, "dependency_unavailable")
    assert response.headers["retry-after"] == "2"
    gateway.clock.ahead += 3600
    assert (await gateway.post()).status_code == 503
    gateway.keys.is_down = False
    assert (await gateway.post()).status_code == 200


async def test_postgresql_away_is_not_asked_on_every_call(gateway: Serving) -> None:
    await gateway.post()
    gateway.keys.is_down = True
    gateway.clock.ahead += 61
    for _ in range(5):
        await gateway.post()
    assert gateway.keys.lookups == 2


async def test_expired_key_is_refused_also_while_postgresql_is_away(gateway: Serving) -> None:
    gateway.keys.add(OTHER, expires_at=gateway.clock.unix() + 90)
    await call(gateway, carry("api-key", OTHER))
    gateway.keys.is_down = True
    gateway.clock.ahead += 100
    assert (await call(gateway, carry("api-key", OTHER))).status_code == 401


async def test_session_acts_as_one_of_its_keys(gateway: Serving) -> None:
    record = gateway.keys.record(KEY)
    gateway.keys.sessions[SESSION] = record
    name = format_id("key", record.principal.key_id)
    assert (await call(gateway, {**carry("authorization", SESSION), "x-tollkeeper-key-id": name})).status_code == 200
    other = format_id("key", uuid7())
    assert (await call(gateway, {**carry("authorization", SESSION), "x-tollkeeper-key-id": other})).status_code == 401
    response = await call(gateway, carry("authorization", SESSION))
    assert response.status_code == 401
    assert "x-tollkeeper-key-id" in response.json()["error"]["message"]


async def test_cache_is_bounded(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "gpt-4o-mini"))])
    async with serving(tmp_path, snap, key_cache_size=10) as gateway:
        for _ in range(20):
            token = new_key().token
            gateway.keys.add(token)
            await call(gateway, carry("api-key", token))
        assert len(gateway.cache) == 10


async def test_test_key_reaches_simulated_models_only(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot(
        [provider("one", vendor.base_url)],
        [route("gpt-4o-mini", ("one", "m")), route("play", ("one", "m"), is_simulated=True, price=None)],
    )
    async with serving(tmp_path, snap) as gateway:
        gateway.keys.add(OTHER, environment=Environment.TEST)
        refused = await call(gateway, carry("api-key", OTHER))
        served = await call(gateway, carry("api-key", OTHER), model="play")
        listed = await gateway.client.get("/v1/models", headers=carry("api-key", OTHER))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    assert served.status_code == 200
    assert [model["id"] for model in listed.json()["data"]] == ["play"]


@pytest.mark.parametrize(
    ("allowed", "status"), [({"gpt-4o-mini"}, 200), ({"gpt-*"}, 200), ({"other"}, 403), (set(), 403)]
)
async def test_key_is_held_to_its_models(gateway: Serving, allowed: set[str], status: int) -> None:
    gateway.keys.add(OTHER, allowed_models=frozenset(allowed))
    response = await call(gateway, carry("api-key", OTHER))
    assert response.status_code == status
    if status == 403:
        assert response.json()["error"]["code"] == "model_not_allowed"


async def test_key_is_held_to_its_providers(gateway: Serving, vendor: FakeUpstream) -> None:
    gateway.keys.add(OTHER, allowed_providers=frozenset({"two"}))
    response = await call(gateway, carry("api-key", OTHER))
    listed = await gateway.client.get("/v1/models", headers=carry("api-key", OTHER))
    shown = await gateway.client.get("/v1/models/gpt-4o-mini", headers=carry("api-key", OTHER))
    assert (response.status_code, response.json()["error"]["code"]) == (403, "provider_not_allowed")
    assert (listed.json()["data"], shown.status_code) == ([], 404)
    assert vendor.seen == []


async def test_refused_use_of_a_proven_key_is_noted_and_garbage_is_not(gateway: Serving) -> None:
    who = gateway.keys.add(REVOKED, refusal="This key was revoked.")
    for token in (REVOKED, OTHER, "garbage", KEY):
        await call(gateway, carry("authorization", token))
    assert [(key_id, reason) for key_id, reason, _ in gateway.keys.refusals] == [(who.key_id, "This key was revoked.")]


async def test_team_project_and_tags_of_a_key_go_into_the_ledger(gateway: Serving) -> None:
    team_id, project_id = uuid7(), uuid7()
    gateway.keys.add(OTHER, team_id=team_id, project_id=project_id, tags={"cost": "7"})
    await call(gateway, carry("api-key", OTHER))
    [settlement] = await gateway.settled()
    intent = settlement.intent
    assert (intent.team_id, intent.project_id, intent.tags) == (team_id, project_id, {"cost": "7"})
