"""Real processes: the floor relays, the harness measures it, and nothing is left running."""

import json
import os
import shutil
import sys
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI

from bench import processes, report, wrk
from bench.generator import Measured
from bench.harness import run_suite
from bench.load import chat_body
from bench.processes import Child, StartFailed
from bench.rig import set_up
from bench.scenarios import CHAT, Latency, Scenario, Suite
from bench.targets import Floor

TINY = Suite(
    scenarios=(
        Scenario("whole", "whole", CHAT, chat_body("mock"), 2, 0.2, 1),
        Scenario(
            "stream",
            "stream",
            CHAT,
            chat_body("mock-3x1", is_stream=True),
            2,
            0.2,
            1,
            is_stream=True,
            events_per_stream=6,
        ),
    ),
    latency=Latency(seconds=0.2, rounds=1, connections=8),
    warmup_seconds=0.05,
)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with set_up(Floor(), tmp_path_factory.mktemp("bench"), generator="own") as rig:
        yield rig


async def test_floor_relays_whole_and_streamed_answers(rig):
    async with AsyncOpenAI(base_url=rig.floor.base_url + "/v1", api_key="none", max_retries=0) as client:
        whole = await client.chat.completions.create(model="mock", messages=[{"role": "user", "content": "x"}])
        stream = await client.chat.completions.create(
            model="mock-30x0", messages=[{"role": "user", "content": "x"}], stream=True
        )
        vector = await client.embeddings.create(model="mock-embedding", input="x")
        texts = [chunk.choices[0].delta.content async for chunk in stream]
    assert whole.usage.total_tokens > 0
    assert len([text for text in texts if text]) == 30
    assert len(vector.data[0].embedding) == 1536


async def test_floor_passes_an_upstream_error_on(rig):
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(rig.floor.base_url + "/v1/chat/completions", json={"messages": []})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_suite_gives_ratios_costs_and_added_latency(rig):
    measured = run_suite(rig, TINY, frozenset(), lambda _: None)
    assert measured.is_sound
    whole, stream = measured.outcomes
    assert whole.per_second.ratio > 0
    assert whole.p99_ms.ratio > 0
    assert stream.first_event_p50_ms.ratio > 0
    assert measured.added.per_second == pytest.approx(whole.per_second.target / 2)
    text = report.table(measured, "floor again", rig.cores)
    assert "calls/s" in text
    assert "UNSOUND" not in text


def test_failed_calls_make_the_report_unsound(rig):
    broken = Scenario("whole", "whole", CHAT, b'{"messages": []}', 2, 0.1, 1)
    suite = Suite((broken,), TINY.latency, 0.0)
    measured = run_suite(rig, suite, frozenset({"whole"}), lambda _: None)
    assert not measured.is_sound
    assert "calls failed" in report.table(measured, "floor again", rig.cores)


def test_report_is_written_as_json(rig, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    measured = run_suite(rig, TINY, frozenset({"stream"}), lambda _: None)
    path = report.write_json(measured, name="x", target="floor", is_quick=True, cores=rig.cores)
    content = json.loads(path.read_text())
    assert content["sound"] is True
    assert content["outcomes"][0]["per_second"]["ratio"] > 0
    assert content["added"] is None


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_reports_the_same_figures(rig):
    seen = wrk.measure(
        shutil.which("wrk"),
        rig.direct.base_url + CHAT,
        {"x-quote": 'a "b"'},
        chat_body("mock"),
        connections=2,
        seconds=1,
    )
    assert isinstance(seen, Measured)
    assert seen.completed == seen.sent > 0
    assert 0 < seen.latency_ms.p50 <= seen.latency_ms.p99


def test_process_that_ends_at_once_is_reported_with_its_last_words():
    child = Child("quitter", [sys.executable, "-c", "print('no database here'); raise SystemExit(3)"], 0, {})
    with pytest.raises(StartFailed, match=r"(?s)code 3.*no database here"):
        child.wait_until_ready("http://127.0.0.1:9/", 10)
    child.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_stop_leaves_no_descendant_behind():
    # The parent dies of SIGTERM without telling its child.
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
    child = Child("parent", [sys.executable, "-c", code], 0, {})
    below: list[int] = []
    while not below:
        below = processes.descendants(child.pid)
    child.stop()
    assert not any(is_running(pid) for pid in below)


def is_running(pid: int) -> bool:
    """A killed process that init has not reaped yet is not running."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_cost_counts_the_work_of_a_process_and_its_children():
    child = Child("busy", [sys.executable, "-c", "while True: pass"], processes.choose_cores().server, {})
    before = processes.cost(child.pid)
    while processes.cost(child.pid).since(before).own_seconds < 0.05:
        pass
    assert processes.cost(child.pid).store_seconds == 0
    assert processes.resident_mb(child.pid) > 1
    child.stop()


def test_work_of_other_processes_is_told_apart_from_ours():
    before = processes.Moment(at=10.0, busy_seconds=100.0, own_seconds=50.0, core_count=2)
    after = processes.Moment(at=20.0, busy_seconds=115.0, own_seconds=60.0, core_count=2)
    assert after.foreign_share_since(before) == 0.25


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_embedded_servers_are_moved_off_the_core_and_counted_apart(tmp_path):
    (tmp_path / "valkey-server").symlink_to(shutil.which("sleep"))
    code = f"import subprocess; subprocess.Popen(['{tmp_path}/valkey-server', '60']).wait()"
    cores = processes.choose_cores()
    child = Child("parent", [sys.executable, "-c", code], cores.server, {})
    moved = 0
    while not moved:
        moved = processes.free_core_of_stores(child.pid, cores.load)
    (store,) = processes.descendants(child.pid)
    affinities = (os.sched_getaffinity(child.pid), os.sched_getaffinity(store))
    child.stop()
    assert moved == 1
    assert affinities == ({cores.server}, {cores.load})
