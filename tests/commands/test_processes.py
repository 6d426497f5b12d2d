"""`tollkeeper migrate`, `worker` and `simulate`: against a database of one's own, and without one."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.commands.conftest import Process, Tollkeeper

Spawn = Callable[..., Process]


@pytest.mark.parametrize("command", ["migrate", "worker"])
def test_embedded_database_belongs_to_serve(alone: Tollkeeper, command: str) -> None:
    said = alone(command)
    assert said.code == 1
    assert "TOLLKEEPER_DATABASE_URL is not set" in said.error


def test_migrate_tells_what_is_pending_applies_it_and_is_done(
    alone: Tollkeeper, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLKEEPER_DATABASE_URL", empty_database_url)
    status = alone("migrate", "--status", "--json")
    assert status.code == 1
    assert status.json["pending"][0].startswith("0001_")
    assert status.json["applied"] == []
    applied = alone("migrate", "--json")
    assert applied.code == 0
    assert applied.json["applied"] == status.json["pending"]
    again = alone("migrate")
    assert (again.code, again.error) == (0, "The schema is up to date.\n")
    assert alone("migrate", "--status").code == 0


@pytest.mark.parametrize("command", [["migrate"], ["worker"]])
def test_database_that_does_not_answer_is_told_without_its_password(
    spawn: Spawn, tmp_path: Path, command: list[str]
) -> None:
    said = spawn(
        *command,
        TOLLKEEPER_DATABASE_URL="postgresql://u:canary@127.0.0.1:1/x",
        TOLLKEEPER_REDIS_URL="redis://127.0.0.1:1",
        TOLLKEEPER_MASTER_KEY="0" * 64,
    ).wait()
    assert said.code == 1
    assert said.out == ""
    assert "tollkeeper: " in said.error
    assert "Traceback" not in said.error
    assert "canary" not in said.error


def test_worker_runs_the_recurring_jobs_and_sigterm_ends_it_with_0(
    spawn: Spawn, database_url: str, valkey_url: str
) -> None:
    process = spawn(
        "worker",
        TOLLKEEPER_DATABASE_URL=database_url,
        TOLLKEEPER_REDIS_URL=valkey_url,
        TOLLKEEPER_MASTER_KEY="0" * 64,
    )
    wanted = {"usage.partitions", "retention", "outbox.deliver"}
    process.until(lambda: _kinds_done(database_url) >= wanted)
    assert process.stop().code == 0


def test_simulated_provider_answers_and_asks_for_its_key(spawn: Spawn) -> None:
    process = spawn("simulate", "--port", "0", "--api-key", "sk-right", "--json")
    process.until(lambda: "}" in "".join(process.out))
    url = json.loads("".join(process.out))["base_url"]
    body = {"model": "simulated", "messages": [{"role": "user", "content": "Hello"}]}
    for key, status in (("sk-right", 200), ("sk-wrong", 401)):
        headers = {"authorization": f"Bearer {key}"}
        assert httpx.post(f"{url}/chat/completions", json=body, headers=headers).status_code == status


def test_simulated_provider_tells_a_port_in_use(alone: Tollkeeper, spawn: Spawn) -> None:
    process = spawn("simulate", "--port", "0", "--json")
    process.until(lambda: "}" in "".join(process.out))
    port = json.loads("".join(process.out))["base_url"].removesuffix("/v1").rpartition(":")[2]
    said = alone("simulate", "--port", port)
    assert said.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said.error


def _kinds_done(url: str) -> set[str]:
    """In a thread of its own: the event loop of this one belongs to pytest-asyncio."""

    async def read() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL ROLE tk_platform")
                return list(
                    await connection.fetch("SELECT kind FROM jobs WHERE result IS NOT NULL AND status = 'queued'")
                )
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return {row["kind"] for row in thread.submit(asyncio.run, read()).result()}
