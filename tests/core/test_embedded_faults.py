"""Whatever is killed, nothing is left behind and nothing that was committed is lost."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from tollkeeper.core.embedded import EmbeddedPostgres, EmbeddedValkey
from tollkeeper.core.embedded.process import processes_at, wait_until

pytestmark = pytest.mark.fault

Start = Callable[..., subprocess.Popen[str]]


def answer(starter: subprocess.Popen[str]) -> dict[str, list]:
    return json.loads(starter.stdout.readline())


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def servers_of(data_dir: Path) -> list[int]:
    postgres, valkey = data_dir / "postgres" / "cluster", data_dir / "valkey"
    return processes_at(postgres, "postgres") + processes_at(valkey, "valkey-server")


def make(data_dir: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(data_dir, fsync=False)


def test_killed_starter_leaves_no_process_and_loses_no_data(server_dir: Path, start_in_process: Start) -> None:
    starter = start_in_process(data_dir=str(server_dir), sql="CREATE TABLE kept AS SELECT 42 AS n")
    pids = answer(starter)["pids"]
    before = servers_of(server_dir)
    starter.kill()
    assert set(pids) <= set(before)
    assert wait_until(lambda: not any(is_alive(pid) for pid in before), seconds=10)
    with make(server_dir) as server:
        assert server.run_sql("SELECT n FROM kept") == "42"


def test_next_start_may_follow_the_kill_at_once(server_dir: Path, start_in_process: Start) -> None:
    for round_number in range(3):
        starter = start_in_process(
            data_dir=str(server_dir), sql=f"CREATE TABLE round_{round_number} AS SELECT generate_series(1, 1000) AS n"
        )
        assert "pids" in answer(starter)
        starter.kill()
    with make(server_dir) as server, EmbeddedValkey(server_dir):
        assert server.run_sql("SELECT sum(n) FROM round_2") == "500500"


async def test_killed_server_starts_again_at_its_address_with_its_data(server_dir: Path) -> None:
    with make(server_dir) as server:
        first = server.endpoint
        server.run_sql("CREATE TABLE kept AS SELECT 42 AS n")
        connection = await asyncpg.connect(first.url)
        os.kill(first.pid, signal.SIGKILL)
        assert wait_until(lambda: not server.poll(), seconds=5)
        connection.terminate()
        second = server.start()
        assert second.url == first.url
        assert second.pid != first.pid
        assert server.run_sql("SELECT n FROM kept") == "42"


def test_killed_server_leaves_no_backend_when_it_is_stopped(server_dir: Path) -> None:
    with make(server_dir) as server:
        os.kill(server.endpoint.pid, signal.SIGKILL)
    assert servers_of(server_dir) == []


def test_killed_valkey_starts_again_at_its_address(server_dir: Path) -> None:
    with EmbeddedValkey(server_dir) as server:
        first = server.endpoint
        os.kill(first.pid, signal.SIGKILL)
        assert wait_until(lambda: not server.poll(), seconds=5)
        assert server.start().url == first.url


def test_busy_session_left_by_a_killed_server_is_ended(server_dir: Path) -> None:
    """A backend in a computation does not notice that its postmaster is gone, and would block the next one."""
    with make(server_dir) as server:
        busy = subprocess.Popen(
            [str(server._find_psql()), "-d", server.endpoint.url, "-c", "DO 'BEGIN LOOP END LOOP; END'"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        asks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%' AND state = 'active'"
        assert wait_until(lambda: server.run_sql(asks) == "1", seconds=10)
        os.kill(server.endpoint.pid, signal.SIGKILL)
        server.LEFTOVER_SECONDS = 0.5
        server.start()
        assert server.run_sql("SELECT 1") == "1"
        busy.wait(10)


def test_frozen_server_of_a_killed_starter_is_ended(server_dir: Path, start_in_process: Start) -> None:
    starter = start_in_process(data_dir=str(server_dir))
    pids = answer(starter)["pids"]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    starter.kill()
    starter.wait()
    said: list[str] = []
    server = EmbeddedPostgres(server_dir, fsync=False, say=said.append)
    server.LEFTOVER_SECONDS = 0.2
    with server:
        assert server.run_sql("SELECT 1") == "1"
    assert not any(is_alive(pid) for pid in pids)
    assert str(pids[0]) in said[0]


def test_killed_initialisation_starts_anew(server_dir: Path, start_in_process: Start) -> None:
    starter = start_in_process(data_dir=str(server_dir))
    postgres = server_dir / "postgres"
    assert wait_until(lambda: any(postgres.glob("initialising-*/cluster/base")), seconds=20)
    starter.kill()
    starter.wait()
    assert not (postgres / "cluster").exists()
    with make(server_dir) as server:
        assert server.run_sql("SELECT 1") == "1"
    assert not list(postgres.glob("initialising-*"))


def test_two_starters_on_two_directories_do_not_meet(server_dir: Path, start_in_process: Start) -> None:
    starters = [start_in_process(data_dir=str(server_dir.with_name(name))) for name in ("one", "two")]
    answers = [answer(starter) for starter in starters]
    assert len({url for found in answers for url in found["urls"]}) == 4


def test_two_starters_on_one_directory_share_one_server(server_dir: Path, start_in_process: Start) -> None:
    starters = [start_in_process(data_dir=str(server_dir)) for _ in range(2)]
    answers = [answer(starter) for starter in starters]
    assert answers[0]["urls"] == answers[1]["urls"]
    assert answers[0]["pids"] == answers[1]["pids"]
