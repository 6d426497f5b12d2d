"""Known keys on disk: a worker that starts while PostgreSQL is away serves whom the one before it knew, and nobody else."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from tests.gateway.serving import (
    HASHER,
    KEY,
    TENANT,
    ManualClock,
    Serving,
    provider,
    route,
    serving,
    snapshot,
)
from tests.gateway.upstream import FakeUpstream
from tollkeeper.contracts.key_bounds import read_network
from tollkeeper.contracts.money import Budget, Limit, Period, RuleScope, ScopeKind, Unit, Window, WindowKind
from tollkeeper.contracts.principal import KeyRecord, Principal, SecretDigest
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.ids import uuid7
from tollkeeper.core.sealed_file import read_sealed, shape_of, write_sealed
from tollkeeper.core.secrets import new_key
from tollkeeper.gateway.key_cache import FORGOTTEN_IDS, KeyCache
from tollkeeper.gateway.key_snapshot import KIND, RELEASE, KeySnapshot

MASTER, OTHER_MASTER = MasterKey("snapshot-" * 5), MasterKey("another-" * 5)
LIMIT = Limit(uuid7(), RuleScope(ScopeKind.TAG, "team=*"), Unit.REQUESTS, 7, Period.MINUTE, models=frozenset({"gpt-*"}))
BUDGET = Budget(uuid7(), RuleScope(ScopeKind.END_USER), 10**9, Window(WindowKind.MONTH, "Europe/Berlin"), 1_790_000_000)
Worker = Callable[..., AbstractAsyncContextManager[Serving]]


@dataclass
class Host:
    """A folder of snapshots; each worker on it has a memory and an upstream of its own."""

    folder: Path
    vendor: FakeUpstream
    snapshots: list[KeySnapshot]

    def worker(self, name: str, master: MasterKey = MASTER, **settings: float) -> AbstractAsyncContextManager[Serving]:
        snap = snapshot([provider("one", self.vendor.base_url)], [route("gpt-4o-mini", ("one", "m"))])

        def make(cache: KeyCache, clock: ManualClock) -> KeySnapshot:
            made = KeySnapshot(self.folder, SecretBox(master), cache, clock, stale_seconds=3600)
            self.snapshots.append(made)
            return made

        return serving(self.folder.parent / name, snap, make_key_snapshot=make, **settings)

    def end(self) -> None:
        """The worker dies; its lock goes with it."""
        self.snapshots.pop().close()

    @property
    def last(self) -> KeySnapshot:
        return self.snapshots[-1]


@pytest.fixture
def host(tmp_path: Path, vendor: FakeUpstream) -> Host:
    return Host(tmp_path / "snapshots", vendor, [])


async def status(worker: Serving, token: str = KEY) -> int:
    return (await worker.client.get("/v1/models", headers={"api-key": token})).status_code


async def leave_behind(host: Host, token: str = KEY, **fields: object) -> KeyRecord:
    """A worker that knew the key and wrote what it knew."""
    async with host.worker("before") as before:
        if token != KEY or fields:
            before.keys.add(token, **fields)
        record = before.keys.record(token)
        assert await status(before, token) == 200
        await host.last.write()
    host.end()
    return record


async def test_new_worker_serves_a_known_key_while_postgresql_is_away(host: Host) -> None:
    record = await leave_behind(host)
    async with host.worker("after") as after:
        after.keys.is_down = True
        assert await status(after) == 503, "nothing is believed before it was loaded"
        assert await host.last.load() == 1
        assert await status(after) == 200
        assert await status(after, new_key().token) == 503
        assert await status(after, KEY[:-1] + ("x" if KEY[-1] != "x" else "y")) == 401
        answer = await after.post()
        assert answer.status_code == 200
        assert after.settlements[0].intent.key_id == record.principal.key_id
    host.end()


async def test_everything_that_bounds_a_key_is_kept(host: Host) -> None:
    token = new_key().token
    bounds = {
        "user_id": uuid7(),
        "team_id": uuid7(),
        "allowed_models": frozenset({"gpt-*"}),
        "allowed_endpoints": frozenset({"models"}),
        "allowed_networks": (read_network("127.0.0.0/8"), read_network("2001:db8::/32")),
        "allowed_origins": frozenset({"https://app.example.com"}),
        "limits": (LIMIT,),
        "budgets": (BUDGET,),
        "tags": {"team": "search"},
        "flags": {"provider_headers": False},
        "logging_policy": "none",
    }
    record = await leave_behind(host, token, **bounds)
    async with host.worker("after") as after:
        await host.last.load()
        found = host.last.find(HASHER.digests(token).values())
        assert found is not None
        assert found.record == record
        after.keys.is_down = True
        assert await status(after, token) == 200
        refused = await after.client.post("/v1/chat/completions", json={}, headers={"api-key": token})
        assert refused.json()["error"]["code"] == "endpoint_not_allowed"
    host.end()


async def test_known_refusal_stays_a_refusal(host: Host) -> None:
    token = new_key().token
    async with host.worker("before") as before:
        before.keys.add(token, refusal="This key was revoked.")
        assert await status(before, token) == 401
        await host.last.write()
    host.end()
    async with host.worker("after") as after:
        after.keys.is_down = True
        await host.last.load()
        assert await status(after, token) == 401
    host.end()


async def test_postgresql_is_asked_as_soon_as_it_answers(host: Host) -> None:
    await leave_behind(host)
    async with host.worker("after") as after:
        await host.last.load()
        after.keys.add(KEY, refusal="This key was revoked.")
        assert await status(after) == 401
    host.end()


@pytest.mark.parametrize("by", ["key", "tenant", "user"])
async def test_key_that_was_revoked_is_struck_out_at_once(host: Host, by: str) -> None:
    token, user_id = new_key().token, uuid7()
    record = await leave_behind(host, token, user_id=user_id)
    names = {"key": record.principal.key_id, "tenant": TENANT, "user": user_id}
    async with host.worker("second") as second:
        await host.last.load()
        host.last.forget(names[by])
        assert host.last.find(HASHER.digests(token).values()) is None
        await host.last.write()
        second.keys.is_down = True
        assert await status(second, token) == 503
    host.end()
    async with host.worker("third") as third:
        third.keys.is_down = True
        await host.last.load()
        assert await status(third, token) == 503
    host.end()


async def test_what_one_worker_forgot_no_other_brings_back(host: Host) -> None:
    """The second wrote its file before it heard of the revocation, and died."""
    async with host.worker("one") as one, host.worker("two") as two:
        for worker in (one, two):
            worker.keys.records[HASHER.public_id(KEY) or ""] = one.keys.record(KEY)
            assert await status(worker) == 200
        first, second = host.snapshots
        await first.write()
        await second.write()
        one.cache.forget_key(one.keys.record(KEY).principal.key_id)
        first.forget(one.keys.record(KEY).principal.key_id)
        await first.write()
    host.end()
    host.end()
    async with host.worker("three") as three:
        three.keys.is_down = True
        await host.last.load()
        assert await status(three) == 503
    host.end()


async def test_memory_of_what_was_forgotten_is_bounded_and_forgets_no_revocation(host: Host) -> None:
    record = await leave_behind(host)
    async with host.worker("second") as second:
        await host.last.load()
        host.last.forget(record.principal.key_id)
        for _ in range(FORGOTTEN_IDS + 10):
            host.last.forget(uuid7())
        assert len(host.last._forgotten) == FORGOTTEN_IDS
        await host.last.write()
        second.keys.is_down = True
        assert await status(second) == 503
    host.end()
    async with host.worker("third") as third:
        third.keys.is_down = True
        await host.last.load()
        assert await status(third) == 503
    host.end()


async def test_key_that_was_read_again_after_a_change_is_kept(host: Host) -> None:
    async with host.worker("one") as one:
        key_id = one.keys.record(KEY).principal.key_id
        assert await status(one) == 200
        one.cache.forget_key(key_id)
        host.last.forget(key_id)
        one.clock.ahead += 1
        assert await status(one) == 200
        await host.last.write()
    host.end()
    async with host.worker("two") as two:
        two.clock.ahead += 1
        two.keys.is_down = True
        await host.last.load()
        assert await status(two) == 200
    host.end()


async def test_record_counts_from_when_it_was_read_not_from_when_it_was_written(host: Host) -> None:
    await leave_behind(host)
    for _ in range(2):
        # Handed from worker to worker it grows no younger.
        async with host.worker("heir") as heir:
            heir.clock.ahead += 1700
            await host.last.load()
            heir.keys.is_down = True
            assert await status(heir) == 200
            await host.last.write()
        host.end()
    async with host.worker("late") as late:
        late.clock.ahead += 3601
        late.keys.is_down = True
        assert await host.last.load() == 0
        assert await status(late) == 503
    host.end()


async def test_expired_key_is_refused_from_the_snapshot_too(host: Host) -> None:
    token = new_key().token
    async with host.worker("before") as before:
        before.keys.add(token, expires_at=before.clock.unix() + 30)
        assert await status(before, token) == 200
        await host.last.write()
    host.end()
    async with host.worker("after") as after:
        after.clock.ahead += 31
        after.keys.is_down = True
        await host.last.load()
        assert await status(after, token) == 401
    host.end()


@pytest.mark.parametrize(
    "damage",
    [
        "flip",
        "cut",
        "empty",
        "another master key",
        "another kind",
        "forged name",
        "release before",
        "another release",
    ],
)
async def test_file_that_is_not_ours_is_ignored_with_one_line(host: Host, damage: str) -> None:
    await leave_behind(host)
    path = host.folder / "keys-0"
    envelope = path.read_bytes()
    box = SecretBox(MASTER)
    match damage:
        case "flip":
            path.write_bytes(envelope[:-1] + bytes((envelope[-1] ^ 1,)))
        case "cut":
            path.write_bytes(envelope[: len(envelope) // 2])
        case "empty":
            path.write_bytes(b"")
        case "another master key":
            write_sealed(path, SecretBox(OTHER_MASTER), b"{}", kind=KIND, release=RELEASE)
        case "another kind":
            write_sealed(
                path, box, read_sealed(path, box, kind=KIND, release=RELEASE) or b"", kind="catalog", release=RELEASE
            )
        case "release before":
            write_sealed(path, box, b"{}", kind=KIND, release="0-abc")
        case "forged name":
            path.write_bytes(envelope.replace(RELEASE.encode(), b"0-abc", 1))
        case "another release":
            write_sealed(
                path,
                box,
                b'{"forgotten":{},"all_forgotten":0}\n{"read_at":1,"record":{"principal":{}}}',
                kind=KIND,
                release=RELEASE,
            )
    async with host.worker("after") as after:
        with structlog.testing.capture_logs() as logs:
            assert await host.last.load() == 0
        level = "info" if "release" in damage else "warning"
        assert [(line["event"], line["log_level"]) for line in logs] == [("sealed_file_ignored", level)]
        after.keys.is_down = True
        assert await status(after) == 503
    host.end()


def test_shape_of_what_is_kept_is_part_of_its_kind() -> None:
    """A field that this release does not know could be a bound of the key."""
    wider = dataclasses.make_dataclass("SecretDigest", ["pepper_id", "digest", "expires_at", "later"])
    renamed = dataclasses.make_dataclass("SecretDigest", ["pepper_id", "digest", "ends_at"])
    shapes = {shape_of(kind) for kind in (SecretDigest, wider, renamed)}
    assert len(shapes) == 3
    assert shape_of(KeyRecord, Principal, SecretDigest, Limit, Budget, RuleScope, Window) in RELEASE


async def test_older_master_key_still_opens_the_file(host: Host) -> None:
    await leave_behind(host)
    made = KeySnapshot(host.folder, SecretBox(OTHER_MASTER, MASTER), KeyCache(10), ManualClock(), stale_seconds=3600)
    assert await made.load() == 1
    made.close()


async def test_file_is_closed_to_others_and_holds_no_secret(host: Host) -> None:
    await leave_behind(host)
    files = sorted(host.folder.iterdir())
    assert [path.name for path in files] == ["keys-0", "keys-0.lock"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in [host.folder, *files])
    plain = read_sealed(host.folder / "keys-0", SecretBox(MASTER), kind=KIND, release=RELEASE)
    assert plain is not None
    for text in (KEY, KEY[24:56]):
        assert text.encode() not in plain
        assert text.encode() not in files[0].read_bytes()


async def test_each_live_worker_has_a_file_of_its_own(host: Host) -> None:
    clock = ManualClock()
    made = [KeySnapshot(host.folder, SecretBox(MASTER), KeyCache(10), clock, stale_seconds=60) for _ in range(3)]
    for one in made:
        await one.write()
    assert sorted(path.name for path in host.folder.glob("keys-?")) == ["keys-0", "keys-1", "keys-2"]
    made[1].close()
    heir = KeySnapshot(host.folder, SecretBox(MASTER), KeyCache(10), clock, stale_seconds=60)
    (host.folder / "keys-1").unlink()
    await heir.write()
    assert (host.folder / "keys-1").exists()
    for one in (made[0], made[2], heir):
        one.close()


async def test_folder_that_cannot_be_written_stops_nothing(host: Host) -> None:
    made = KeySnapshot(host.folder, SecretBox(MASTER), KeyCache(10), ManualClock(), stale_seconds=60)
    host.folder.rename(host.folder.with_name("gone"))
    host.folder.write_bytes(b"")
    with structlog.testing.capture_logs() as logs:
        await made.write()
        await made.write()
    assert [line["event"] for line in logs] == ["key_snapshot_not_written"]
    made.close()


async def test_start_with_a_full_disk_goes_on_without_a_file(host: Host) -> None:
    host.folder.write_bytes(b"")
    with structlog.testing.capture_logs() as logs:
        made = KeySnapshot(host.folder, SecretBox(MASTER), KeyCache(10), ManualClock(), stale_seconds=60)
        assert await made.load() == 0
        await made.write()
        made.close()
    assert [line["event"] for line in logs] == ["key_snapshot_not_written"]
