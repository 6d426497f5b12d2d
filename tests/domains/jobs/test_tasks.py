"""The jobs that keep the gateway in order: what they make, what they take away, and what they leave alone."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.domains.jobs.conftest import Table
from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database
from tollkeeper.domains.jobs import tasks
from tollkeeper.domains.jobs.schemas import JobContext, JobKind
from tollkeeper.domains.usage.partitions import drop_expired, ensure_partitions


async def deliver(context: JobContext, payload: Mapping[str, Any]) -> None:
    return None


@pytest.fixture
def kinds(database: Database) -> dict[str, JobKind]:
    made = tasks.make_kinds(
        database,
        ensure_partitions=ensure_partitions,
        drop_expired=drop_expired,
        usage_retention_days=30,
        deliver_outbox=deliver,
    )
    return {kind.name: kind for kind in made}


async def run(kind: JobKind) -> Mapping[str, Any]:
    async def progress(values: Mapping[str, Any]) -> None: ...

    result = await kind.handler(JobContext(uuid7(), None, 1, progress), {})
    assert result is not None
    return result


async def test_every_one_recurs(kinds: dict[str, JobKind]) -> None:
    assert {name: kind.every_seconds for name, kind in kinds.items()} == {
        "usage.partitions": 3600,
        "retention": 3600,
        "outbox.deliver": 2,
    }


async def test_partitions_are_made_ahead_and_once(database: Database, kinds: dict[str, JobKind]) -> None:
    async with database.owner() as session:
        last = (await _partitions(session))[-1]
        await session.execute(text(f"DROP TABLE {last}"))
    made = await run(kinds["usage.partitions"])
    assert [day.replace("-", "") for day in made["made"]] == [last.removeprefix("usage_logs_p")]
    assert await run(kinds["usage.partitions"]) == {"made": []}


async def test_days_over_the_retention_are_dropped(database: Database, kinds: dict[str, JobKind]) -> None:
    async with database.owner() as session:
        today = (await session.execute(text("SELECT (now() AT TIME ZONE 'UTC')::date"))).scalar_one()
        for age in (30, 31, 40):
            await session.execute(
                text(f"SELECT create_usage_partition(CAST(:today AS date) - {age})"), {"today": today}
            )
    result = await run(kinds["retention"])
    assert result["dropped"] == [str(date.fromordinal(today.toordinal() - age)) for age in (40, 31)]


async def test_rows_that_have_served_go_and_the_others_stay(
    database: Database, table: Table, kinds: dict[str, JobKind], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_BATCH", 2)
    tenant = uuid7()
    async with database.platform() as session:
        await session.execute(text("INSERT INTO tenants (id, name, slug) VALUES (:id, 'a', 'a')"), {"id": tenant})
        user = uuid7()
        await session.execute(
            text("INSERT INTO users (id, tenant_id, email, name) VALUES (:id, :tenant, 'a@b.c', 'x')"),
            {"id": user, "tenant": tenant},
        )
        await session.execute(
            text("INSERT INTO members (id, tenant_id, user_id, role) VALUES (:id, :tenant, :user, 'viewer')"),
            {"id": uuid7(), "tenant": tenant, "user": user},
        )
        for days in (6, 8, 8, 8, 8, 8):
            await session.execute(
                text(f"""
                    INSERT INTO jobs (id, kind, status, finished_at)
                    VALUES (:id, 'x', 'dead', now() - interval '{days} days')
                """),
                {"id": uuid7()},
            )
            await session.execute(
                text(f"""
                    INSERT INTO outbox (tenant_id, event, payload, delivered_at)
                    VALUES (:tenant, 'x', '{{}}', now() - interval '{days} days')
                """),
                {"tenant": tenant},
            )
        await session.execute(
            text(
                "INSERT INTO jobs (id, kind, status, finished_at, schedule_key) VALUES (:id, 'x', 'dead', 'epoch', 's')"
            ),
            {"id": uuid7()},
        )
        await session.execute(text("INSERT INTO jobs (id, kind, run_at) VALUES (:id, 'x', 'epoch')"), {"id": uuid7()})
        await session.execute(
            text("INSERT INTO outbox (tenant_id, event, payload, created_at) VALUES (:tenant, 'x', '{}', 'epoch')"),
            {"tenant": tenant},
        )
        for hours in (23, 25):
            await session.execute(
                text(f"""
                    INSERT INTO idempotency_keys (tenant_id, route, key, body_digest, created_at)
                    VALUES (:tenant, 'r', '{hours}', '', now() - interval '{hours} hours')
                """),
                {"tenant": tenant},
            )
            await session.execute(
                text(f"""
                    INSERT INTO sessions (id, tenant_id, user_id, family_id, token_digest, expires_at)
                    VALUES (:id, :tenant, :user, :id, '{hours}', now() - interval '{hours} hours')
                """),
                {"id": uuid7(), "tenant": tenant, "user": user},
            )
        for minutes in (59, 61):
            await session.execute(
                text(f"""
                    INSERT INTO announcements (id, kind, subject, created_at)
                    VALUES (:id, 'key', :id, now() - interval '{minutes} minutes')
                """),
                {"id": uuid7()},
            )
            await session.execute(
                text(f"""
                    INSERT INTO consumed_tokens (digest, purpose, expires_at)
                    VALUES ('{minutes}', 'state', now() - interval '{minutes} minutes')
                """)
            )
        for number, days in enumerate((0.9, 1.1, 89, 91)):
            values = {"id": uuid7(), "tenant": tenant, "user": user, "digest": bytes([number])}
            await session.execute(
                text(f"""
                    INSERT INTO one_time_links (id, tenant_id, user_id, purpose, digest, expires_at, used_at)
                    VALUES (:id, :tenant, :user, 'password_reset', :digest, 'infinity', now() - interval '{days} days')
                """),
                values,
            )
            await session.execute(
                text(f"""
                    INSERT INTO invitations (id, tenant_id, email, role, digest, invited_by, expires_at)
                    VALUES (:id, :tenant, 'a@b.c', 'viewer', :digest, :user, now() - interval '{days} days')
                """),
                values,
            )
            await session.execute(
                text(f"""
                    INSERT INTO stored_responses (id, tenant_id, environment, item_ids, envelope, expires_at)
                    VALUES (:id, :tenant, 'live', '{{}}', '\\x0000000000', now() + interval '1 day' - interval '{days} days')
                """),
                {"id": uuid7(), "tenant": tenant},
            )
    result = await run(kinds["retention"])
    assert result["deleted"] == {
        "jobs": 5,
        "outbox": 5,
        "idempotency_keys": 1,
        "sessions": 1,
        "announcements": 1,
        "consumed_tokens": 1,
        "one_time_links": 3,
        "invitations": 1,
        "stored_responses": 3,
    }
    assert len(await table.all()) == 3


async def _partitions(session: AsyncSession) -> Sequence[str]:
    rows = await session.execute(
        text("SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'usage_logs'::regclass")
    )
    return sorted(row.name for row in rows)
