"""Keys of other gateways and tokens of other issuers: proven like ours, found without asking for garbage."""

import asyncio
import base64
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.serving import HASHER, KEY, FakeKeys, ManualClock, Serving, chat, principal
from tollkeeper.contracts.principal import KeyRecord, SecretDigest
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.secrets import KeyHasher, new_key
from tollkeeper.gateway.key_cache import KeyCache
from tollkeeper.gateway.stages.authenticate import Authenticate

SK = "sk-proj-" + "aB3_-" * 12


def add_imported(keys: FakeKeys, token: str, hasher: KeyHasher = HASHER) -> KeyRecord:
    """As the import leaves it: all that was handed over is the token's SHA-256."""
    digests = hasher.digests_of_sha256(hashlib.sha256(token.encode()).hexdigest())
    record = KeyRecord(principal(), tuple(SecretDigest(*pair) for pair in digests.items()))
    keys.records[token] = record
    keys._digests.update(digests.values())
    return record


def foreign_token(issuer: str = "https://issuer.example", **claims: object) -> str:
    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256'})}.{part({'iss': issuer, **claims})}.c2ln"


async def status(gateway: Serving, token: str, **headers: str) -> tuple[int, str | None]:
    headers = {"authorization": f"Bearer {token}", **headers}
    answer = await gateway.client.post("/v1/chat/completions", json=chat(), headers=headers)
    return answer.status_code, None if answer.status_code == 200 else answer.json()["error"]["code"]


@pytest.mark.parametrize(
    "token", [SK, "short-but-16-chr", "!~" * 100, new_key().token, "tk-" + "x" * 40, "sk-" + "a" * 509]
)
async def test_imported_key_is_served_under_its_old_secret(gateway: Serving, token: str) -> None:
    add_imported(gateway.keys, token)
    assert await status(gateway, token) == (200, None)
    assert await status(gateway, token[:-1] + ("x" if token[-1] != "x" else "y")) == (401, "invalid_api_key")


async def test_hash_of_an_imported_key_is_no_key(gateway: Serving) -> None:
    """Who reads the other gateway's database has the hashes; none of them, in any dress, opens anything."""
    add_imported(gateway.keys, SK)
    digest = hashlib.sha256(SK.encode()).hexdigest()
    for token in (digest, f"sha256:{digest}", f"sha256:{digest.upper()}", f"tk-{digest}", f"SHA256:{digest}"):
        assert await status(gateway, token) == (401, "invalid_api_key")
    assert gateway.keys.lookups == 0


@pytest.mark.parametrize("token", ["sk-" + "a" * 48, "x" * 16, "x" * 512, "tk-" + "z" * 40, "x" * 513, "eyJhbGciOi"])
async def test_unknown_foreign_key_costs_no_look_up(gateway: Serving, token: str) -> None:
    for _ in range(3):
        assert (await status(gateway, token))[0] == 401
    assert gateway.keys.lookups == 0


async def test_key_imported_a_moment_ago_is_not_refused_for_what_was_tried_before(gateway: Serving) -> None:
    assert (await status(gateway, SK))[0] == 401
    add_imported(gateway.keys, SK)
    assert await status(gateway, SK) == (200, None)


async def test_imported_key_that_is_not_in_memory_is_503_while_postgresql_is_away(gateway: Serving) -> None:
    add_imported(gateway.keys, SK)
    gateway.keys.is_down = True
    assert (await status(gateway, SK))[0] == 503
    assert (await status(gateway, SK + "x"))[0] == 401


async def test_secret_under_an_older_pepper_is_handed_on_for_renewal(gateway: Serving) -> None:
    older = MasterKey("older-" * 8)
    master = MasterKey("newer-" * 8)
    keys, clock = FakeKeys(), ManualClock()
    before, hasher = KeyHasher(older), KeyHasher(master, older)
    for token in (KEY, SK):
        if token is SK:
            record = add_imported(keys, SK, before)
        else:
            digest = before.digest_token(KEY)
            record = KeyRecord(principal(), (SecretDigest(digest.pepper_id, digest.digest),))
            keys.records[HASHER.public_id(KEY) or ""] = record
        stage = authenticate(keys, clock, hasher)
        who = await stage.principal({b"api-key": token.encode()}, "/v1/models", None)
        assert who is record.principal
        key_id, known, renewed = keys.renewals.pop()
        assert (key_id, known) == (record.principal.key_id, record.digests[0].digest)
        assert renewed.pepper_id == master.pepper_id
        forms = (KeyHasher(master).digests(token), KeyHasher(master).imported_digests(token))
        assert renewed.digest == forms[token is SK][master.pepper_id]


async def test_use_of_a_key_is_noted_in_memory(gateway: Serving) -> None:
    await gateway.post()
    key_id = gateway.keys.record(KEY).principal.key_id
    first = gateway.cache.take_used()
    assert list(first) == [key_id]
    assert gateway.cache.take_used() == {}
    gateway.clock.ahead += 5
    await gateway.post()
    second = gateway.cache.take_used()
    assert second[key_id] >= first[key_id] + 5


async def test_use_of_a_key_that_left_the_memory_is_not_lost(gateway: Serving) -> None:
    await gateway.post()
    key_id = gateway.keys.record(KEY).principal.key_id
    gateway.cache.forget_key(key_id)
    assert list(gateway.cache.take_used()) == [key_id]


def authenticate(keys: FakeKeys, clock: ManualClock, hasher: KeyHasher = HASHER) -> Authenticate:
    settings = Settings(_env_file=None)
    return Authenticate(KeyCache(100), keys, hasher, clock, settings, keys, foreign=keys, tokens=keys, uses=keys)


# ── Tokens of other issuers ──


async def test_workload_token_acts_as_the_key_it_is_bound_to(gateway: Serving) -> None:
    record, token = gateway.keys.record(KEY), foreign_token()
    gateway.keys.tokens[token, None] = (record, gateway.clock.unix() + 30)
    for _ in range(3):
        assert await status(gateway, token) == (200, None)
    assert gateway.keys.lookups == 1
    assert {entry.intent.key_id for entry in gateway.settlements} == {record.principal.key_id}


async def test_workload_token_ends_when_it_says(gateway: Serving) -> None:
    token = foreign_token()
    gateway.keys.tokens[token, None] = (gateway.keys.record(KEY), gateway.clock.unix() + 30)
    assert (await status(gateway, token))[0] == 200
    gateway.clock.ahead += 31
    assert await status(gateway, token) == (401, "invalid_token")


async def test_workload_token_ends_when_it_says_also_while_its_issuer_is_away(gateway: Serving) -> None:
    token = foreign_token()
    gateway.keys.tokens[token, None] = (gateway.keys.record(KEY), gateway.clock.unix() + 90)
    assert (await status(gateway, token))[0] == 200
    gateway.keys.is_down = True
    gateway.clock.ahead += 61
    assert (await status(gateway, token))[0] == 200
    gateway.clock.ahead += 30
    assert (await status(gateway, token))[0] == 401


async def test_workload_is_forgotten_with_its_key(gateway: Serving) -> None:
    record, token = gateway.keys.record(KEY), foreign_token()
    gateway.keys.tokens[token, None] = (record, gateway.clock.unix() + 300)
    assert (await status(gateway, token))[0] == 200
    del gateway.keys.tokens[token, None]
    gateway.cache.forget_key(record.principal.key_id)
    assert await status(gateway, token) == (401, "invalid_token")


async def test_the_key_a_workload_names_is_part_of_what_is_remembered(gateway: Serving) -> None:
    token, other = foreign_token(), new_key().token
    gateway.keys.add(other)
    first, second = gateway.keys.record(KEY), gateway.keys.record(other)
    ends = gateway.clock.unix() + 300
    for record in (first, second):
        gateway.keys.tokens[token, record.principal.key_id] = (record, ends)
    for record in (first, second, first):
        name = format_id("key", record.principal.key_id)
        assert (await status(gateway, token, **{"x-tollkeeper-key-id": name}))[0] == 200
        assert gateway.settlements[-1].intent.key_id == record.principal.key_id
    name = format_id("key", uuid7())
    assert (await status(gateway, token, **{"x-tollkeeper-key-id": name}))[0] == 401
    assert (await status(gateway, token))[0] == 401


async def test_token_of_our_own_is_never_shown_to_the_workloads(gateway: Serving) -> None:
    token = foreign_token("tollkeeper")
    gateway.keys.tokens[token, None] = (gateway.keys.record(KEY), gateway.clock.unix() + 300)
    assert (await status(gateway, token))[0] == 401


@pytest.mark.parametrize(
    "token",
    [
        "eyJ.eyJ.eyJ",
        "eyJhbGciOiJub25lIn0..",
        "eyJhbGciOiJub25lIn0.eyJpc3MiOlsxXX0.x",
        "eyJhbGciOiJub25lIn0." + base64.urlsafe_b64encode(b"[" * 4000).decode().rstrip("=") + ".x",
        "eyJhbGciOiJub25lIn0.%%%%.x",
        "eyJ" + "a" * 9000 + ".a.a",
    ],
    ids=["garbage", "empty", "issuer is a list", "deep", "no base64", "oversized"],
)
async def test_hostile_token_is_401(gateway: Serving, token: str) -> None:
    assert (await status(gateway, token))[0] == 401


# ── Whole tokens ──

TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(TOKENS, min_size=2, max_size=6, unique=True),
    st.sampled_from(["sk-" + "p" * 60, "tk-" + "q" * 40, foreign_token()]),
)
def test_tokens_that_share_a_prefix_never_share_an_identity(tails: list[str], prefix: str) -> None:
    """CVE-2026-35030: another gateway's cache knew tokens by their first characters."""

    async def run() -> None:
        keys, clock = FakeKeys(), ManualClock()
        known, unknown = [prefix + tail for tail in tails[1:]], prefix + tails[0]
        owners = {}
        for token in known:
            record = add_imported(keys, token)
            keys.tokens[token, None] = (record, clock.unix() + 300)
            owners[token] = record.principal.key_id
        stage = authenticate(keys, clock)
        for token in known * 2:
            who = await stage.principal({b"api-key": token.encode()}, "/v1/models", None)
            assert who.key_id == owners[token]
        with pytest.raises(TollkeeperError):
            await stage.principal({b"api-key": unknown.encode()}, "/v1/models", None)

    asyncio.run(run())
