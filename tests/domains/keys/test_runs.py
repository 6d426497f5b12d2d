"""`/api/v1/keys/{id}/runs`: who may exchange which key for what, and how a run is ended."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select, text

from tests.domains.control_plane import ControlPlane
from tollkeeper.contracts.principal import EndedRun
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.core.run_keys import LONGEST_SECONDS, LONGEST_TOKEN, Run
from tollkeeper.db import models
from tollkeeper.db.models import AnnouncementRow
from tollkeeper.domains.keys.runs import MOST_ENDED


async def new_key(plane: ControlPlane, role: Role = Role.DEVELOPER, *scopes: str, **columns: Any) -> tuple[str, str]:
    """The id and the secret of a fresh key of that role's user."""
    return await plane.new_key(await plane.user(role), *scopes, **columns)


async def issue(client: httpx.AsyncClient, key_id: str, **body: Any) -> httpx.Response:
    return await client.post(f"/api/v1/keys/{key_id}/runs", json=body)


def read(plane: ControlPlane, answer: httpx.Response) -> Run:
    assert answer.status_code == 201, answer.text
    run = plane.services.run_keys.verify(answer.json()["key"].encode())
    assert run is not None
    return run


async def test_a_key_is_exchanged_with_nothing_but_itself(plane: ControlPlane) -> None:
    key_id, secret = await new_key(plane)
    async with plane.client(authorization=f"Bearer {secret}") as client:
        answer = await client.post(f"/api/v1/keys/{key_id}/runs")
    run = read(plane, answer)
    made = answer.json()
    assert len(made["key"]) <= LONGEST_TOKEN
    assert (run.key_id, run.tenant_id) == (parse_id("key", key_id), plane.tenant_id)
    assert (format_id("run", run.run_id), run.lifetime_seconds, run.is_named) == (made["run_id"], 3_600, False)
    assert (run.budget_nano, run.models) == (None, None)
    assert datetime.fromisoformat(made["expires_at"]).timestamp() == pytest.approx(run.expires_at, abs=0.001)


async def test_what_is_asked_for_is_in_the_run_key(plane: ControlPlane) -> None:
    key_id, secret = await new_key(plane)
    run_id = f"run_{uuid4().hex}"
    wanted = {"run_id": run_id, "expires_in_seconds": 90, "budget_usd": "0.25", "models": ["gpt-*"], "name": "nightly"}
    async with plane.client(authorization=f"Bearer {secret}") as client:
        answer = await issue(client, key_id, **wanted)
    run = read(plane, answer)
    assert format_id("run", run.run_id) == answer.json()["run_id"] == run_id
    assert (run.lifetime_seconds, run.budget_nano, run.is_named) == (90, 250_000_000, True)
    assert run.models == frozenset({"gpt-*"})
    assert answer.json()["budget_usd"] == "0.25"


async def test_the_secret_is_shown_once_and_kept_nowhere(plane: ControlPlane) -> None:
    key_id, secret = await new_key(plane)
    async with plane.client(authorization=f"Bearer {secret}", **{"idempotency-key": "one"}) as client:
        first = await issue(client, key_id, name="nightly", models=["gpt-4o"])
        again = await issue(client, key_id, name="nightly", models=["gpt-4o"])
    token = first.json()["key"]
    assert (again.status_code, again.json()["code"]) == (409, "already_done")
    assert again.json()["object_id"] == first.json()["run_id"]
    async with plane.database.platform() as session:
        for table in models.User.metadata.tables:
            kept = (
                await session.execute(
                    text(f"SELECT count(*) FROM {table} t WHERE t::text LIKE :token"), {"token": f"%{token[7:]}%"}
                )
            ).scalar_one()
            assert kept == 0, table
        record = (
            await session.scalars(
                select(models.AuditLog).where(
                    models.AuditLog.action == "keys.issue_run", models.AuditLog.object_id == key_id
                )
            )
        ).one()
        event = (
            await session.scalars(
                select(models.OutboxEvent)
                .where(models.OutboxEvent.event == "key.run_issued", models.OutboxEvent.tenant_id == plane.tenant_id)
                .order_by(models.OutboxEvent.id.desc())
                .limit(1)
            )
        ).one()
    assert record.after is not None
    assert record.after["run_id"] == first.json()["run_id"] == event.payload["run_id"]
    assert (record.after["name"], record.after["models"]) == ("nightly", ["gpt-4o"])


async def test_who_manages_a_key_may_issue_its_runs_and_nobody_else(plane: ControlPlane) -> None:
    own_id, _ = await new_key(plane)
    colleague_id, colleague_secret = await new_key(plane, Role.TENANT_ADMIN)
    foreign_id, foreign_secret = await plane.new_key(await plane.user(Role.TENANT_ADMIN, other=True))
    async with plane.as_role(Role.DEVELOPER) as client:
        assert (await issue(client, own_id)).status_code == 201
        unknown = await issue(client, format_id("key", uuid7()))
        for other in (colleague_id, foreign_id):
            refused = await issue(client, other)
            assert (refused.status_code, without_request(refused)) == (404, without_request(unknown))
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        assert (await issue(client, own_id)).status_code == 201
        assert (await issue(client, foreign_id)).status_code == 404
    async with plane.as_role(Role.VIEWER) as client:
        assert (await issue(client, own_id)).status_code == 403
    for secret in (colleague_secret, foreign_secret):
        async with plane.client(authorization=f"Bearer {secret}") as client:
            assert (await issue(client, own_id)).status_code == 403


def without_request(answer: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "request_id"}


async def test_a_key_may_not_issue_runs_of_its_owners_other_keys(plane: ControlPlane) -> None:
    first, secret = await new_key(plane)
    second, _ = await new_key(plane)
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await issue(client, second)).status_code == 403
        assert (await issue(client, first)).status_code == 201
    admin, admin_secret = await new_key(plane, Role.DEVELOPER, "admin")
    async with plane.client(authorization=f"Bearer {admin_secret}") as client:
        assert (await issue(client, second)).status_code == 201
        assert (await issue(client, admin)).json()["code"] == "key_unusable"


async def test_an_admin_key_issues_no_run_that_reaches_further_than_itself(plane: ControlPlane) -> None:
    wide, _ = await new_key(plane)
    ends = plane.clock.now() + timedelta(minutes=10)
    _, narrow_secret = await new_key(plane, Role.DEVELOPER, "admin", allowed_models_override=["gpt-4o"])
    _, short_secret = await new_key(plane, Role.DEVELOPER, "admin", expires_at=ends)
    async with plane.client(authorization=f"Bearer {narrow_secret}") as client:
        assert (await issue(client, wide)).json()["code"] == "beyond_authority"
    bounded, _ = await new_key(plane, expires_at=ends)
    async with plane.client(authorization=f"Bearer {short_secret}") as client:
        assert (await issue(client, bounded, expires_in_seconds=3_600)).json()["code"] == "beyond_authority"
        assert read(plane, await issue(client, bounded)).lifetime_seconds <= 600


@pytest.mark.parametrize(
    "body",
    [
        {"expires_in_seconds": 0},
        {"expires_in_seconds": LONGEST_SECONDS + 1},
        {"expires_in_seconds": "60"},
        {"expires_in_seconds": True},
        {"budget_usd": "0"},
        {"budget_usd": "-1"},
        {"budget_usd": 1.5},
        {"budget_usd": "9000001"},
        {"budget_usd": "NaN"},
        {"models": []},
        {"models": ["a b"]},
        {"models": ["gpt-4o"] * 51},
        {"models": [f"{number:02}{'x' * 150}" for number in range(5)]},
        {"run_id": "run_1"},
        {"run_id": "run_" + "A" * 32},
        {"run_id": "x" * 10_000},
        {"name": ""},
        {"name": "a\nb"},
        {"user_id": "usr_1"},
        {"tenant_id": "ten_1"},
        {"environment": "live"},
    ],
)
async def test_bodies_that_cannot_be_are_refused(plane: ControlPlane, body: dict[str, Any]) -> None:
    key_id, secret = await new_key(plane)
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await issue(client, key_id, **body)).status_code == 422


async def test_a_run_is_not_wider_than_its_key(plane: ControlPlane) -> None:
    ends = plane.clock.now() + timedelta(minutes=5)
    key_id, secret = await new_key(plane, expires_at=ends, allowed_models_override=["gpt-4o", "claude-*"])
    async with plane.client(authorization=f"Bearer {secret}") as client:
        for body in (
            {"expires_in_seconds": 301},
            {"models": ["gpt-4o-mini"]},
            {"models": ["gpt-*"]},
            {"models": ["claude-x", "*"]},
        ):
            refused = await issue(client, key_id, **body)
            assert (refused.status_code, refused.json()["code"]) == (403, "beyond_authority"), body
        made = await issue(client, key_id, models=["claude-3-*"])
        assert read(plane, made).lifetime_seconds in {299, 300}


async def test_a_run_has_no_more_money_than_its_key(plane: ControlPlane) -> None:
    key_id, secret = await new_key(plane)
    async with plane.database.platform() as session:
        session.add(
            models.Budget(
                tenant_id=plane.tenant_id,
                scope="key",
                key_id=parse_id("key", key_id),
                amount_nano=10**9,
                window_kind="day",
                counts_from=0,
            )
        )
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await issue(client, key_id, budget_usd="1.01")).json()["code"] == "beyond_authority"
        assert (await issue(client, key_id, budget_usd="1")).status_code == 201


async def test_a_key_that_may_not_call_has_no_runs(plane: ControlPlane) -> None:
    revoked, _ = await new_key(plane, status="revoked")
    expired, _ = await new_key(plane, expires_at=plane.clock.now() - timedelta(seconds=1))
    admin, _ = await new_key(plane, Role.DEVELOPER, "admin")
    async with plane.as_role(Role.DEVELOPER) as client:
        for key_id in (revoked, expired, admin):
            answer = await issue(client, key_id)
            assert (answer.status_code, answer.json()["code"]) == (403, "key_unusable")


async def test_a_run_of_a_test_key_is_a_test_run(plane: ControlPlane) -> None:
    key_id, secret = await new_key(plane, environment="test")
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await issue(client, key_id)).json()["environment"] == "test"


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
async def test_a_run_key_reaches_nothing_of_the_control_plane(plane: ControlPlane, header: str) -> None:
    key_id, secret = await new_key(plane, Role.DEVELOPER, "inference", "admin")
    async with plane.client(authorization=f"Bearer {secret}") as client:
        token = (await issue(client, key_id)).json()["key"]
    for sent in (token, "tk-run_garbage", "tk-run_"):
        async with plane.client(**{header: f"Bearer {sent}" if header == "authorization" else sent}) as client:
            for answer in (
                await client.get("/api/v1/me"),
                await issue(client, key_id),
                await client.delete(f"/api/v1/keys/{key_id}/runs/run_{uuid4().hex}"),
                await client.post("/api/v1/keys", json={"name": "x"}),
            ):
                assert (answer.status_code, answer.json()["code"]) == (403, "run_key")


async def ended(plane: ControlPlane, key_id: str) -> tuple[EndedRun, ...]:
    record = await plane.services.key_lookup.find_by_id(parse_id("key", key_id))
    assert record is not None
    assert record.digests == ()
    return record.ended_runs


async def announced(plane: ControlPlane, key_id: str) -> int:
    async with plane.database.platform() as session:
        query = select(func.count()).where(AnnouncementRow.subject == parse_id("key", key_id))
        return await session.scalar(query) or 0


async def test_a_run_is_ended_once_told_to_every_worker_and_not_taken_up_again(plane: ControlPlane) -> None:
    key_id, secret = await new_key(plane)
    async with plane.client(authorization=f"Bearer {secret}") as client:
        run_id = (await issue(client, key_id)).json()["run_id"]
        before = await announced(plane, key_id)
        for _ in range(2):
            answer = await client.delete(f"/api/v1/keys/{key_id}/runs/{run_id}")
            assert (answer.status_code, answer.content) == (204, b"")
        assert await announced(plane, key_id) == before + 1
        [only] = await ended(plane, key_id)
        assert (only.run_id, only.issued_before) == (parse_id("run", run_id), None)
        again = await issue(client, key_id, run_id=run_id)
        assert (again.status_code, again.json()["code"]) == (409, "run_ended")
    assert await plane.audited(key_id) == ["keys.issue_run", "keys.end_run"]


async def test_who_may_not_manage_a_key_ends_none_of_its_runs(plane: ControlPlane) -> None:
    key_id, _ = await new_key(plane, Role.TENANT_ADMIN)
    path = f"/api/v1/keys/{key_id}/runs/run_{uuid4().hex}"
    _, other_secret = await new_key(plane)
    async with plane.client(authorization=f"Bearer {other_secret}") as client:
        assert (await client.delete(path)).status_code == 403
    async with plane.as_role(Role.DEVELOPER) as client:
        assert (await client.delete(path)).status_code == 404
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as client:
        assert (await client.delete(path)).status_code == 404
    assert await ended(plane, key_id) == ()


async def test_an_ended_run_is_remembered_for_as_long_as_its_keys_could_live(plane: ControlPlane) -> None:
    key_id, secret = await new_key(plane)
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await client.delete(f"/api/v1/keys/{key_id}/runs/run_{uuid4().hex}")).status_code == 204
        async with plane.database.platform() as session:
            row = (
                await session.scalars(select(models.EndedRun).where(models.EndedRun.key_id == parse_id("key", key_id)))
            ).one()
            assert row.expires_at - row.ends_at >= timedelta(seconds=LONGEST_SECONDS)
            row.expires_at = plane.clock.now() - timedelta(seconds=1)
        assert await ended(plane, key_id) == ()
        # The next one sweeps it away.
        assert (await client.delete(f"/api/v1/keys/{key_id}/runs/run_{uuid4().hex}")).status_code == 204
    async with plane.database.platform() as session:
        query = select(func.count()).where(models.EndedRun.key_id == parse_id("key", key_id))
        assert await session.scalar(query) == 1


async def test_endings_are_bounded(plane: ControlPlane) -> None:
    key_id, secret = await new_key(plane)
    now = plane.clock.now()
    async with plane.database.platform() as session:
        session.add_all(
            models.EndedRun(
                tenant_id=plane.tenant_id,
                key_id=parse_id("key", key_id),
                run_id=uuid4(),
                ends_at=now,
                expires_at=now + timedelta(hours=1),
            )
            for _ in range(MOST_ENDED)
        )
    async with plane.client(authorization=f"Bearer {secret}") as client:
        answer = await client.delete(f"/api/v1/keys/{key_id}/runs/run_{uuid4().hex}")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_ended_runs")


async def test_a_rotation_ends_the_runs_of_the_secret_before(plane: ControlPlane) -> None:
    key_id, _ = await new_key(plane)
    async with plane.as_role(Role.DEVELOPER) as client:
        run = read(plane, await issue(client, key_id))
        plane.clock.ahead += 1.0
        rotated = (await client.post(f"/api/v1/keys/{key_id}/rotate", json={"grace_seconds": 60})).json()
        plane.clock.ahead += 1.0
        later = read(plane, await issue(client, key_id))
    [only] = await ended(plane, key_id)
    assert only.issued_before is not None
    assert run.issued_at < only.issued_before < later.issued_at
    assert datetime.fromisoformat(rotated["previous_expires_at"]).timestamp() == pytest.approx(only.ends_at)


async def test_a_secret_in_its_grace_makes_nothing_that_outlives_it(plane: ControlPlane) -> None:
    key_id, secret = await new_key(plane)
    async with plane.as_role(Role.DEVELOPER) as client:
        assert (await client.post(f"/api/v1/keys/{key_id}/rotate", json={"grace_seconds": 60})).status_code == 200
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await issue(client, key_id, expires_in_seconds=61)).json()["code"] == "beyond_authority"
        assert read(plane, await issue(client, key_id)).lifetime_seconds <= 60
