"""Keys of another gateway, taken over by their hashes through the whole control plane."""

import hashlib
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from tests.domains.control_plane import MASTER, ControlPlane
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.core.secrets import KeyHasher
from tollkeeper.db.models import AnnouncementRow, ApiKey, AuditLog, Tenant


def token() -> str:
    return f"sk-{uuid7().hex}{uuid7().hex}"


def row(secret: str, **fields: object) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(secret.encode()).hexdigest(), "name": "taken over", **fields}


async def take(client: httpx.AsyncClient, *rows: dict[str, Any], **body: object) -> httpx.Response:
    return await client.post("/api/v1/keys/import", json={"keys": list(rows), **body})


async def stored(plane: ControlPlane, *secrets: str) -> int:
    hasher = plane.services.key_hasher
    digests = [digest for secret in secrets for digest in hasher.imported_digests(secret).values()]
    async with plane.database.platform() as session:
        return int(await session.scalar(select(func.count()).where(ApiKey.digest.in_(digests))) or 0)


async def works(plane: ControlPlane, secret: str) -> bool:
    plane.services.foreign_keys.resync()
    await plane.services.foreign_keys.refresh()
    async with plane.client(authorization=f"Bearer {secret}") as client:
        return (await client.get("/api/v1/me")).status_code == 200


async def test_imported_key_works_under_its_old_secret(plane: ControlPlane) -> None:
    secret, owner = token(), await plane.new_user(Role.DEVELOPER)
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await take(
            client,
            row(
                secret,
                user_id=format_id("usr", owner),
                tags={"from": "litellm"},
                display_prefix="sk-a1",
                last_four="9f3e",
            ),
        )
        assert answer.status_code == 201, answer.text
        made = answer.json()["data"]
        assert [entry["row"] for entry in made] == [0]
        shown = (await client.get(f"/api/v1/keys/{made[0]['id']}")).json()
    assert (shown["is_imported"], shown["display_prefix"], shown["last_four"]) == (True, "sk-a1", "9f3e")
    assert (shown["user_id"], shown["scopes"], shown["tags"]) == (
        format_id("usr", owner),
        ["inference"],
        {"from": "litellm"},
    )
    assert "sha256" not in shown
    assert "digest" not in shown
    assert await works(plane, secret)
    assert not await works(plane, hashlib.sha256(secret.encode()).hexdigest())


async def test_owner_is_found_by_address(plane: ControlPlane) -> None:
    owner, secret = await plane.new_user(Role.DEVELOPER), token()
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await take(client, row(secret, email=f"{owner.hex}@EXAMPLE.com"))
        assert answer.status_code == 201, answer.text
        shown = await client.get(f"/api/v1/keys/{answer.json()['data'][0]['id']}")
    assert shown.json()["user_id"] == format_id("usr", owner)


async def test_imported_key_is_rotated_into_one_of_ours(plane: ControlPlane) -> None:
    secret = token()
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key_id = (await take(client, row(secret, scopes=["admin"]))).json()["data"][0]["id"]
        rotated = (await client.post(f"/api/v1/keys/{key_id}/rotate", json={"grace_seconds": 60})).json()
        assert rotated["is_imported"] is False
        assert await works(plane, rotated["key"])
        assert await works(plane, secret)
        plane.clock.ahead += 61
    assert not await works(plane, secret)
    assert await works(plane, rotated["key"])


async def test_all_rows_or_none_and_every_fault_by_its_row(plane: ControlPlane) -> None:
    good, twice = token(), token()
    stranger = format_id("usr", await plane.new_user(Role.DEVELOPER, plane.other_tenant_id))
    viewer = format_id("usr", await plane.new_user(Role.VIEWER))
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await take(
            client,
            row(good),
            row(twice),
            row(twice),
            row(token(), user_id=stranger),
            row(token(), user_id=viewer),
            row(token(), expires_at="2020-01-01T00:00:00Z"),
            row(token(), team_id=format_id("team", uuid7())),
        )
    assert (answer.status_code, answer.json()["code"]) == (409, "import_refused")
    assert [(fault["row"], fault["code"]) for fault in answer.json()["rows"]] == [
        (1, "duplicate_row"),
        (2, "duplicate_row"),
        (3, "not_found"),
        (4, "beyond_authority"),
        (5, "malformed_payload"),
        (6, "not_found"),
    ]
    assert await stored(plane, good, twice) == 0


async def test_known_hash_is_refused_alike_whosever_key_it_is(plane: ControlPlane) -> None:
    """A tenant learns nothing of another's keys from what it may import: no tenant, no state, the same words."""
    own, foreign, revoked = token(), token(), token()
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as client:
        assert (await take(client, row(foreign))).status_code == 201
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        made = (await take(client, row(own), row(revoked))).json()["data"]
        assert (await client.post(f"/api/v1/keys/{made[1]['id']}/revoke")).status_code == 200
        problems = []
        for secret in (own, foreign, revoked):
            answer = await take(client, row(secret))
            assert answer.status_code == 409
            problems.append({name: value for name, value in answer.json().items() if name != "request_id"})
    assert problems[0] == problems[1] == problems[2]
    assert problems[0]["rows"][0]["code"] == "key_exists"


async def test_hash_known_under_an_older_pepper_is_refused(plane: ControlPlane) -> None:
    older, secret = MasterKey("of-years-ago-" * 4), token()
    digest = KeyHasher(older).imported_digests(secret)[older.pepper_id]
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        made = (await take(client, row(token()))).json()["data"][0]["id"]
        async with plane.database.platform() as session:
            changed = update(ApiKey).where(ApiKey.id == parse_id("key", made))
            await session.execute(changed.values(digest=digest, pepper_id=older.pepper_id))
        hasher = plane.services.key_hasher
        plane.services.key_hasher = KeyHasher(MASTER, older)
        try:
            answer = await take(client, row(secret))
        finally:
            plane.services.key_hasher = hasher
    assert answer.json()["rows"] == [
        {"row": 0, "code": "key_exists", "message": "This key is known already, in use or revoked."}
    ]


async def test_thousand_keys_are_taken_at_once_told_once_and_audited(plane: ControlPlane) -> None:
    secrets = [token() for _ in range(1000)]
    before = await announced(plane)
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await take(client, *(row(secret, name=f"key {number}") for number, secret in enumerate(secrets)))
        assert answer.status_code == 201, answer.text
        too_many = await take(client, *(row(token()) for _ in range(1001)))
    assert too_many.status_code == 422
    assert await stored(plane, *secrets) == 1000
    assert await announced(plane) == before + 1
    async with plane.database.platform() as session:
        query = select(AuditLog).where(AuditLog.action == "keys.import").order_by(AuditLog.sequence.desc()).limit(1)
        written = (await session.scalars(query)).one()
    assert written.after is not None
    assert len(written.after["keys"]) == 1000
    assert written.object_id == format_id("ten", plane.tenant_id)


async def announced(plane: ControlPlane) -> int:
    async with plane.database.platform() as session:
        subject = AnnouncementRow.subject == plane.tenant_id
        return int(await session.scalar(select(func.count()).select_from(AnnouncementRow).where(subject)) or 0)


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.FINANCE, Role.AUDITOR, Role.VIEWER])
async def test_import_is_for_administrators(plane: ControlPlane, role: Role) -> None:
    async with plane.as_role(role) as client:
        assert (await take(client, row(token()))).status_code == 403


async def test_import_into_another_tenant_is_for_the_platform(plane: ControlPlane) -> None:
    other, secret = format_id("ten", plane.other_tenant_id), token()
    owner = format_id("usr", await plane.user(Role.DEVELOPER, other=True))
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        assert (await take(client, row(secret), tenant_id=other)).status_code == 404
    async with plane.as_role(Role.PLATFORM_ADMIN) as client:
        assert (await take(client, row(secret, user_id=owner), tenant_id=other)).status_code == 201


async def test_import_that_is_switched_off_for_the_tenant_is_refused(plane: ControlPlane) -> None:
    async with plane.database.platform() as session:
        query = update(Tenant).where(Tenant.id == plane.tenant_id)
        await session.execute(query.values(flags={"key_import": False}))
    try:
        async with plane.as_role(Role.TENANT_ADMIN) as client:
            answer = await take(client, row(token()))
    finally:
        async with plane.database.platform() as session:
            await session.execute(update(Tenant).where(Tenant.id == plane.tenant_id).values(flags={}))
    assert (answer.status_code, answer.json()["code"]) == (403, "flag_off")


async def test_import_needs_a_recent_proof(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        plane.clock.ahead += 301
        answer = await take(client, row(token()))
    assert (answer.status_code, answer.json()["code"]) == (403, "step_up_required")


@pytest.mark.parametrize(
    "fields",
    [
        {"sha256": "0" * 63},
        {"sha256": "g" * 64},
        {"key": "sk-in-the-clear-0123456789"},
        {"id": "key_0"},
        {"digest": "00"},
        {"is_imported": False},
        {"public_id": "aaaaaaaaaaaa"},
        {"tenant_id": "ten_0"},
        {"last_four": "12345"},
        {"user_id": format_id("usr", uuid7()), "email": "a@b.example"},
    ],
)
async def test_row_with_anything_else_is_refused(plane: ControlPlane, fields: dict[str, object]) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await take(client, {**row(token()), **fields})
    assert answer.status_code == 422
    assert "sk-in-the-clear" not in answer.text


async def test_key_imports_no_wider_key(plane: ControlPlane) -> None:
    admin = await plane.user(Role.TENANT_ADMIN)
    _, secret = await plane.new_key(admin, "admin", allowed_models_override=["gpt-*"])
    async with plane.client(authorization=f"Bearer {secret}") as client:
        wide = await take(client, row(token(), allowed_models_override=["o3"]))
        assert wide.json()["rows"][0]["code"] == "beyond_authority"
        made = (await take(client, row(token()))).json()["data"][0]["id"]
        shown = (await client.get(f"/api/v1/keys/{made}")).json()
    assert shown["allowed_models_override"] == ["gpt-*"]
