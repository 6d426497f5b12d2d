"""When keys were used, and under which pepper they are kept: written in batches, never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from tests.domains.control_plane import MASTER, ControlPlane
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.core.secrets import KeyDigest, KeyHasher
from tollkeeper.db.models import ApiKey, AuditLog
from tollkeeper.db.session import Database
from tollkeeper.domains.keys.foreign import ForeignDigests
from tollkeeper.domains.keys.uses import KeyUseWriter


class Cached:
    """The data plane's memory."""

    def __init__(self) -> None:
        self.used: dict[UUID, float] = {}

    def take_used(self) -> dict[UUID, float]:
        taken, self.used = self.used, {}
        return taken


@pytest.fixture
async def away() -> AsyncIterator[Database]:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    yield database
    await database.close()


async def key_of(plane: ControlPlane, **columns: Any) -> tuple[UUID, str]:
    name, secret = await plane.new_key(await plane.user(Role.TENANT_ADMIN), "admin", **columns)
    return parse_id("key", name), secret


async def read(plane: ControlPlane, key_id: UUID) -> ApiKey:
    async with plane.database.platform() as session:
        return (await session.scalars(select(ApiKey).where(ApiKey.id == key_id))).one()


async def test_last_use_is_written_for_all_at_once_and_shown(plane: ControlPlane) -> None:
    cached, keys = Cached(), [(await key_of(plane))[0] for _ in range(3)]
    writer = KeyUseWriter(plane.database, cached, plane.clock)
    before = [await read(plane, key_id) for key_id in keys]
    now = plane.clock.monotonic()
    cached.used = {keys[0]: now - 30, keys[1]: now}
    await writer.write()
    rows = [await read(plane, key_id) for key_id in keys]
    assert [row.last_used_at is not None for row in rows] == [True, True, False]
    first, second = rows[0].last_used_at, rows[1].last_used_at
    assert first is not None
    assert second is not None
    assert (second - first).total_seconds() == pytest.approx(30, abs=0.1)
    assert abs((second - plane.clock.now()).total_seconds()) < 10
    # A use is no change: neither version nor time nor trail says that somebody changed the key.
    assert [(row.version, row.updated_at) for row in rows] == [(row.version, row.updated_at) for row in before]
    async with plane.database.platform() as session:
        assert (await session.scalars(select(AuditLog).where(AuditLog.object_id == f"key_{keys[0].hex}"))).all() == []
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        shown = (await client.get(f"/api/v1/keys/key_{keys[1].hex}")).json()
    assert shown["last_used_at"] is not None


async def test_earlier_use_never_overwrites_a_later_one(plane: ControlPlane) -> None:
    """Workers write in any order."""
    key_id, _ = await key_of(plane)
    for age in (0.0, 50.0):
        cached = Cached()
        cached.used = {key_id: plane.clock.monotonic() - age}
        await KeyUseWriter(plane.database, cached, plane.clock).write()
    row = await read(plane, key_id)
    assert row.last_used_at is not None
    assert (plane.clock.now() - row.last_used_at).total_seconds() < 25


async def test_row_somebody_is_changing_is_left_out_and_nobody_waits(plane: ControlPlane) -> None:
    held, free = (await key_of(plane))[0], (await key_of(plane))[0]
    cached = Cached()
    cached.used = {held: plane.clock.monotonic(), free: plane.clock.monotonic()}
    async with plane.database.platform() as session:
        await session.scalars(select(ApiKey).where(ApiKey.id == held).with_for_update())
        async with asyncio.timeout(3):
            await KeyUseWriter(plane.database, cached, plane.clock).write()
    assert (await read(plane, held)).last_used_at is None
    assert (await read(plane, free)).last_used_at is not None


async def test_what_could_not_be_written_is_written_later(plane: ControlPlane, away: Database) -> None:
    key_id, secret = await key_of(plane)
    known = (await read(plane, key_id)).digest
    cached = Cached()
    cached.used = {key_id: plane.clock.monotonic()}
    writer = KeyUseWriter(away, cached, plane.clock)
    writer.renew(key_id, known, plane.services.key_hasher.digest_token(secret))
    with pytest.raises(DependencyUnavailable):
        await writer.write()
    writer._database = plane.database
    await writer.write()
    assert (await read(plane, key_id)).last_used_at is not None


async def test_use_in_the_control_plane_counts(plane: ControlPlane) -> None:
    key_id, secret = await key_of(plane)
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await client.get("/api/v1/me")).status_code == 200
    await plane.services.key_uses.write()
    assert (await read(plane, key_id)).last_used_at is not None


async def test_key_is_kept_under_the_current_pepper_once_it_is_used(plane: ControlPlane) -> None:
    older = MasterKey("of-last-year-" * 4)
    key_id, secret = await key_of(plane)
    former = KeyHasher(older).digest_token(secret)
    async with plane.database.platform() as session:
        changed = update(ApiKey).where(ApiKey.id == key_id)
        await session.execute(changed.values(digest=former.digest, pepper_id=former.pepper_id))
    before = await read(plane, key_id)
    proof, hasher = plane.services.key_proof, KeyHasher(MASTER, older)
    plane.services.key_proof = type(proof)(plane.services.key_lookup, hasher)
    try:
        async with plane.client(authorization=f"Bearer {secret}") as client:
            assert (await client.get("/api/v1/me")).status_code == 200
            await plane.services.key_uses.write()
            row = await read(plane, key_id)
            assert (row.pepper_id, row.digest) == (MASTER.pepper_id, KeyHasher(MASTER).digest_token(secret).digest)
            assert (row.version, row.updated_at) == (before.version, before.updated_at)
            assert (await client.get("/api/v1/me")).status_code == 200
    finally:
        plane.services.key_proof = proof


async def test_rotation_wins_over_a_renewal_on_its_way(plane: ControlPlane) -> None:
    key_id, _ = await key_of(plane)
    row = await read(plane, key_id)
    writer = KeyUseWriter(plane.database, Cached(), plane.clock)
    writer.renew(key_id, b"what it was before the rotation", KeyDigest("another", b"renewed"))
    await writer.write()
    assert (await read(plane, key_id)).digest == row.digest


# ── Which keys in other forms there are ──


async def store_foreign(plane: ControlPlane, **columns: Any) -> tuple[UUID, bytes]:
    digest = uuid7().bytes + uuid7().bytes
    # The digests of later ids begin alike: what is kept of each must tell them apart.
    digest = digest[::-1]
    key_id, _ = await key_of(plane)
    async with plane.database.platform() as session:
        values = {"digest": digest, "public_id": None, "is_imported": True, **columns}
        await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(**values))
    return key_id, digest


async def test_before_the_first_load_nothing_is_ruled_out(away: Database) -> None:
    foreign = ForeignDigests(away)
    with pytest.raises(DependencyUnavailable):
        await foreign.refresh()
    assert foreign.may_hold([b"anything at all"])


async def test_foreign_keys_are_known_after_a_load_and_what_is_announced_after_it(plane: ControlPlane) -> None:
    _, first = await store_foreign(plane)
    foreign = ForeignDigests(plane.database)
    await foreign.refresh()
    assert foreign.may_hold([b"no key", first])
    assert not foreign.may_hold([b"no key", b"neither"])
    second_id, second = await store_foreign(plane)
    _, third = await store_foreign(plane)
    await foreign.refresh()
    assert not foreign.may_hold([second])
    foreign.heard(second_id)
    await foreign.refresh()
    assert foreign.may_hold([second])
    assert not foreign.may_hold([third])
    foreign.heard(plane.tenant_id)
    await foreign.refresh()
    assert foreign.may_hold([third])


async def test_former_secret_of_a_key_now_in_our_form_is_known(plane: ControlPlane) -> None:
    former = uuid7().bytes[::-1]
    key_id, _ = await key_of(plane)
    async with plane.database.platform() as session:
        await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(previous_digest=former))
    foreign = ForeignDigests(plane.database)
    await foreign.refresh()
    assert foreign.may_hold([former])


async def test_gap_in_the_announcements_reads_all_anew(plane: ControlPlane) -> None:
    foreign = ForeignDigests(plane.database)
    await foreign.refresh()
    _, digest = await store_foreign(plane)
    running = asyncio.create_task(foreign.run())
    try:
        foreign.resync()
        async with asyncio.timeout(5):
            while not foreign.may_hold([digest]):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
