"""The jobs over HTTP: who may look, pages and filters, cancelling and retrying with their records in the audit trail."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from tests.domains.jobs.conftest import Table, someone
from tollkeeper.core.config import Settings
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.session import Database
from tollkeeper.domains.jobs.routes import router
from tollkeeper.web.caller import Caller
from tollkeeper.web.deps import install_kernel


class Site:
    """Every request comes from `caller`, who needs no proof here."""

    def __init__(self, database: Database, caller: Caller) -> None:
        self._app = FastAPI()
        self._app.state.services = SimpleNamespace(settings=Settings(), database=database)
        install_kernel(self._app)
        self._app.include_router(router, prefix="/api/v1")
        self.caller = caller
        transport = httpx.ASGITransport(self._serve)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test/api/v1")

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app({**scope, "state": {"caller": self.caller}}, receive, send)


@pytest.fixture
async def site(database: Database, caller: Caller) -> AsyncIterator[Site]:
    site = Site(database, caller)
    async with site.client:
        yield site


async def test_pages_follow_each_other_newest_first(site: Site, table: Table) -> None:
    ids = [format_id("job", await table.add()) for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await site.client.get("/jobs", params=query)).json()
        seen += [job["id"] for job in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(ids, reverse=True)


async def test_filters_narrow_the_list(site: Site, table: Table) -> None:
    dead = await table.add("report")
    await table.change(dead, "status = 'dead'")
    await table.add("report")
    await table.add("other")
    page = (await site.client.get("/jobs", params={"status": "dead", "kind": "report"})).json()
    assert [job["id"] for job in page["data"]] == [format_id("job", dead)]
    assert (await site.client.get("/jobs", params={"status": "asleep"})).status_code == 422


async def test_job_is_shown_without_its_payload(site: Site, table: Table, tenant_id: UUID) -> None:
    job_id = format_id("job", await table.add(payload={"to": "x"}, tenant_id=tenant_id))
    job = (await site.client.get(f"/jobs/{job_id}")).json()
    assert job.keys() >= {"kind", "status", "attempts", "run_at", "last_error"}
    assert "payload" not in job
    assert job["tenant_id"] == format_id("ten", tenant_id)


async def test_unknown_and_malformed_ids_are_refused(site: Site, table: Table) -> None:
    assert (await site.client.get(f"/jobs/{format_id('job', uuid7())}")).status_code == 404
    assert (await site.client.get("/jobs/nonsense")).status_code == 422


async def test_cancel_and_retry_leave_their_records(
    site: Site, table: Table, database: Database, tenant_id: UUID
) -> None:
    job_id = await table.add(tenant_id=tenant_id)
    at = f"/jobs/{format_id('job', job_id)}"
    assert (await site.client.post(f"{at}/cancel")).json()["status"] == "cancelled"
    again = await site.client.post(f"{at}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "job_has_ended")
    assert (await site.client.post(f"{at}/retry")).json()["status"] == "queued"
    async with database.tenant(tenant_id) as session:
        rows = await session.execute(
            text(
                "SELECT action, before->>'status', after->>'status' FROM audit_logs WHERE object_id = :id ORDER BY sequence"
            ),
            {"id": format_id("job", job_id)},
        )
        assert [tuple(row) for row in rows] == [
            ("jobs.cancel", "queued", "cancelled"),
            ("jobs.retry", "cancelled", "queued"),
        ]


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.PLATFORM_ADMIN])
async def test_jobs_are_for_platform_administrators_alone(
    site: Site, table: Table, tenant_id: UUID, role: Role
) -> None:
    job_id = format_id("job", await table.add(tenant_id=tenant_id))
    site.caller = someone(tenant_id, role)
    answers = [
        await site.client.get("/jobs"),
        await site.client.get(f"/jobs/{job_id}"),
        await site.client.post(f"/jobs/{job_id}/cancel"),
        await site.client.post(f"/jobs/{job_id}/retry"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
