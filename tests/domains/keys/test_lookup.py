"""What the data plane learns of a key: found by its public id or its digest, bounded by owner and tenant."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update

from tollkeeper.contracts.key_proof import KeyProof
from tollkeeper.contracts.money import ScopeKind
from tollkeeper.contracts.principal import Environment, KeyRecord, SecretDigest
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import SCOPE_PERMISSIONS, Permission, Scope
from tollkeeper.core.secrets import KeyHasher, new_key
from tollkeeper.db.models.keys import ApiKey
from tollkeeper.db.models.members import Member
from tollkeeper.db.models.teams import Project, Team
from tollkeeper.db.models.tenants import Tenant
from tollkeeper.db.models.users import User
from tollkeeper.db.session import Database
from tollkeeper.domains.keys.lookup import SqlKeyLookup

HASHER = KeyHasher(MasterKey("0123456789abcdef" * 4))
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    # The deadline is for production; this machine may be busy with other tests.
    database = Database(database_url, lookup_seconds=5)
    yield database
    await database.close()


async def store(
    database: Database,
    token: str,
    *,
    tenant: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    member: dict[str, Any] | None = None,
    **key: Any,
) -> ApiKey:
    """A key with an owner and a tenant of its own."""
    tenant_id, user_id = uuid7(), uuid7()
    digest = HASHER.digest_token(token)
    row = ApiKey(
        **{
            "id": uuid7(),
            "tenant_id": tenant_id,
            "user_id": user_id,
            "name": "a key",
            "public_id": HASHER.public_id(token),
            "digest": digest.digest,
            "pepper_id": digest.pepper_id,
            "display_prefix": token[:6],
            "last_four": token[-4:],
            "scopes": ["inference"],
        }
        | key
    )
    async with database.platform() as session:
        session.add(Tenant(**({"id": tenant_id, "name": str(tenant_id), "slug": tenant_id.hex} | (tenant or {}))))
        await session.flush()
        owner = {"email": f"{user_id.hex}@example.com", "name": "Owner"}
        session.add(User(**({"id": user_id, "tenant_id": tenant_id} | owner | (user or {}))))
        await session.flush()
        session.add(Member(**({"tenant_id": tenant_id, "user_id": user_id, "role": "developer"} | (member or {}))))
        await session.flush()
        session.add(row)
    return row


async def look(database: Database, token: str, **options: Any) -> KeyRecord | None:
    lookup = SqlKeyLookup(database, **options)
    public_id = HASHER.public_id(token)
    if public_id is not None:
        return await lookup.find_by_public_id(public_id)
    return await lookup.find_by_digest(HASHER.digest_other(token))


async def record_of(database: Database, **fields: Any) -> KeyRecord:
    token = new_key().token
    await store(database, token, **fields)
    record = await look(database, token)
    assert record is not None
    return record


async def test_own_key_is_found_by_its_public_id(database: Database) -> None:
    token = new_key("test").token
    row = await store(database, token, environment="test", tags={"team": "search"}, expires_at=LATER)
    record = await look(database, token)
    assert record is not None
    principal = record.principal
    assert (principal.tenant_id, principal.key_id, principal.user_id) == (row.tenant_id, row.id, row.user_id)
    assert principal.environment is Environment.TEST
    assert principal.permissions == SCOPE_PERMISSIONS[Scope.INFERENCE]
    assert principal.allowed_models is principal.allowed_providers is None
    assert principal.tags == {"team": "search"}
    assert record.digests == (SecretDigest(HASHER.pepper_id, HASHER.digest_token(token).digest),)
    assert record.expires_at == pytest.approx(LATER.timestamp())
    assert record.refusal is None


async def test_key_in_another_form_is_found_by_its_digest(database: Database) -> None:
    token = "tk-" + uuid7().hex * 2
    row = await store(database, token)
    record = await look(database, token)
    assert record is not None
    assert record.principal.key_id == row.id


async def test_own_key_is_not_found_by_digest_alone(database: Database) -> None:
    """Its public id is part of the proof: a look-up by digest is for other forms only."""
    token = new_key().token
    await store(database, token)
    assert await SqlKeyLookup(database).find_by_digest([HASHER.digest_token(token).digest]) is None


async def test_unknown_key_is_nothing_and_no_error(database: Database) -> None:
    assert await look(database, new_key().token) is None
    assert await look(database, "tk-" + uuid7().hex * 2) is None
    assert await SqlKeyLookup(database).find_by_digest([]) is None


async def test_rotated_key_has_both_secrets_until_the_old_one_ends(database: Database) -> None:
    before = new_key()
    after = new_key(public_id=before.public_id)
    old = HASHER.digest_token(before.token)
    await store(
        database,
        after.token,
        previous_digest=old.digest,
        previous_pepper_id=old.pepper_id,
        previous_expires_at=LATER,
    )
    record = await look(database, before.token)
    assert record is not None
    assert [digest.expires_at for digest in record.digests] == [None, pytest.approx(LATER.timestamp())]
    assert record.digests[1].digest == old.digest


async def test_imported_key_works_on_after_its_rotation_into_our_form(database: Database) -> None:
    imported, after = "tk-" + uuid7().hex * 2, new_key()
    old = HASHER.digest_token(imported)
    row = await store(
        database,
        after.token,
        previous_digest=old.digest,
        previous_pepper_id=old.pepper_id,
        previous_expires_at=LATER,
    )
    record = await look(database, imported)
    assert record is not None
    assert record.principal.key_id == row.id


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"status": "revoked", "revoked_at": LATER}, "revoked"),
        ({"tenant": {"is_active": False}}, "suspended"),
        ({"user": {"is_active": False}}, "disabled"),
    ],
)
async def test_key_that_may_not_be_used_says_why(database: Database, fields: dict[str, Any], word: str) -> None:
    record = await record_of(database, **fields)
    assert word in (record.refusal or "")


@pytest.mark.parametrize(
    ("role", "scopes", "has", "has_not"),
    [
        ("platform_admin", ["inference", "admin"], Permission.PLATFORM, None),
        ("platform_admin", ["inference"], Permission.GATEWAY_USE, Permission.PLATFORM),
        ("tenant_admin", ["admin"], Permission.USERS_CREATE, Permission.GATEWAY_USE),
        ("developer", ["inference", "admin"], Permission.GATEWAY_USE, Permission.USERS_CREATE),
        ("viewer", ["inference", "admin"], Permission.USAGE_VIEW, Permission.GATEWAY_USE),
        ("finance", ["inference"], Permission.ME_VIEW, Permission.GATEWAY_USE),
    ],
)
async def test_role_of_the_owner_bounds_the_scopes_of_the_key(
    database: Database, role: str, scopes: list[str], has: Permission, has_not: Permission | None
) -> None:
    permissions = (await record_of(database, member={"role": role}, scopes=scopes)).principal.permissions
    assert has in permissions
    assert has_not not in permissions


@pytest.mark.parametrize(
    ("of_key", "of_tenant", "both"),
    [
        (None, None, None),
        (None, ["gpt-4o"], {"gpt-4o"}),
        (["gpt-4o"], None, {"gpt-4o"}),
        (["gpt-4o", "o3"], ["gpt-4o", "claude"], {"gpt-4o"}),
        (["gpt-4o"], ["gpt-*"], {"gpt-4o"}),
        (["gpt-*"], ["gpt-4o", "o3"], {"gpt-4o"}),
        (["gpt-*"], ["gpt-4*"], {"gpt-4*"}),
        (["*"], ["gpt-4*"], {"gpt-4*"}),
        (["o3"], ["gpt-4o"], set()),
        ([], None, set()),
        ([], ["gpt-4o"], set()),
    ],
)
async def test_key_reaches_only_what_its_tenant_may(
    database: Database, of_key: list[str] | None, of_tenant: list[str] | None, both: set[str] | None
) -> None:
    record = await record_of(database, allowed_models_override=of_key, tenant={"allowed_models": of_tenant})
    assert record.principal.allowed_models == both


async def test_rates_come_from_key_tenant_and_default(database: Database) -> None:
    own = (await record_of(database, rate_limit_override=7, tenant={"rate_limit": 90})).principal
    assert (own.requests_per_minute(ScopeKind.KEY), own.requests_per_minute(ScopeKind.TENANT)) == (7, 90)
    token = new_key().token
    await store(database, token)
    for default, expected in ((0, None), (60, 60)):
        record = await look(database, token, default_requests_per_minute=default)
        assert record is not None
        assert record.principal.requests_per_minute(ScopeKind.KEY) == expected
        assert record.principal.requests_per_minute(ScopeKind.TENANT) is None


async def test_providers_are_the_tenants(database: Database) -> None:
    record = await record_of(database, tenant={"allowed_providers": ["openai"]})
    assert record.principal.allowed_providers == {"openai"}


async def test_lookup_sees_keys_of_every_tenant(database: Database) -> None:
    first, second = await record_of(database), await record_of(database)
    assert first.principal.tenant_id != second.principal.tenant_id


async def test_late_database_is_no_unknown_key(database: Database, database_url: str) -> None:
    """A table locked by somebody else is the slowest database there is."""
    token = new_key().token
    await store(database, token)
    hasty = Database(database_url, lookup_seconds=0.3)
    try:
        async with database.owner() as session:
            await session.execute(text("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(DependencyUnavailable):
                await look(hasty, token)
    finally:
        await hasty.close()


async def test_many_lookups_at_once_find_each_their_own(database: Database) -> None:
    tokens = [new_key().token for _ in range(8)]
    expected: list[UUID] = [(await store(database, token)).id for token in tokens]
    found = await asyncio.gather(*(look(database, token) for token in tokens * 5))
    assert [record.principal.key_id for record in found if record] == expected * 5


# ── What stands above a key ──


async def place(database: Database, row: ApiKey, **levels: dict[str, Any]) -> tuple[UUID, UUID]:
    """Put the key into a project that belongs to a team."""
    team, project = (
        Team(id=uuid7(), tenant_id=row.tenant_id, name=uuid7().hex, **levels.get("team", {})),
        Project(id=uuid7(), tenant_id=row.tenant_id, name=uuid7().hex, **levels.get("project", {})),
    )
    async with database.platform() as session:
        session.add(team)
        await session.flush()
        project.team_id = team.id
        session.add(project)
        await session.flush()
        await session.execute(update(ApiKey).where(ApiKey.id == row.id).values(project_id=project.id))
    return team.id, project.id


async def test_team_and_project_narrow_a_key_and_name_it(database: Database) -> None:
    token = new_key().token
    row = await store(
        database,
        token,
        tenant={"allowed_models": ["gpt-*", "o3"], "logging_policy": "full", "flags": {"provider_headers": False}},
        allowed_models_override=["gpt-4o-mini", "o3"],
        allowed_providers_override=["openai", "azure"],
        tags={"level": "key"},
    )
    team_id, project_id = await place(
        database,
        row,
        team={"allowed_models": ["gpt-4o*"], "logging_policy": "metadata", "tags": {"level": "team", "cost": "7"}},
        project={"allowed_providers": ["azure"], "flags": {"provider_headers": True}},
    )
    record = await look(database, token)
    assert record is not None
    principal = record.principal
    # The key itself names its project only; the team is the project's.
    assert (principal.team_id, principal.project_id) == (team_id, project_id)
    assert principal.allowed_models == {"gpt-4o-mini"}
    assert principal.allowed_providers == {"azure"}
    assert principal.logging_policy == "metadata"
    assert principal.tags == {"level": "key", "cost": "7"}
    assert principal.flags["provider_headers"] is True
    assert record.refusal is None


@pytest.mark.parametrize("level", ["team", "project"])
async def test_key_below_an_archived_level_is_refused(database: Database, level: str) -> None:
    token = new_key().token
    row = await store(database, token)
    await place(database, row, **{level: {"is_active": False}})
    record = await look(database, token)
    assert record is not None
    assert record.refusal is not None
    assert f"The {level}" in record.refusal


async def test_suspended_tenant_says_why_and_a_revoked_key_says_that_first(database: Database) -> None:
    tenant = {"is_active": False, "suspension_reason": "Invoice 7 is open."}
    suspended = await record_of(database, tenant=tenant)
    assert (
        suspended.refusal == "The organisation of this API key is suspended: Invoice 7 is open. Ask an administrator."
    )
    revoked = await record_of(database, tenant=tenant, status="revoked")
    assert revoked.refusal is not None
    assert "revoked" in revoked.refusal


async def test_bounds_of_a_key_reach_the_data_plane(database: Database) -> None:
    bounds = {
        "allowed_endpoints": ["chat/completions"],
        "allowed_addresses": ["10.0.0.0/8", "2001:db8::/32"],
        "allowed_origins": ["https://app.example.com"],
    }
    principal = (await record_of(database, **bounds)).principal
    assert principal.is_bounded
    assert principal.allowed_endpoints == {"chat/completions"}
    assert principal.allowed_networks == (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    assert principal.allowed_origins == {"https://app.example.com"}
    assert not (await record_of(database)).principal.is_bounded


async def test_hash_of_a_key_we_were_shown_takes_nobodys_calls_over(database: Database) -> None:
    """Another tenant imports the SHA-256 of the operator's first key: the operator's calls stay the operator's."""
    token = "tk-" + uuid7().hex * 2
    imported = HASHER.digests_of_sha256(hashlib.sha256(token.encode()).hexdigest())[HASHER.pepper_id]
    await store(database, token, public_id=None, digest=imported, is_imported=True)
    shown = await store(database, token)
    proof = await KeyProof(SqlKeyLookup(database), HASHER).find(token, datetime.now(UTC).timestamp())
    assert proof is not None
    assert proof.record.principal.key_id == shown.id
