"""kill -9 in the middle of a batch: it goes on, and what was settled is not called again."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.faults import processes
from tests.faults.calls import shipped
from tests.faults.gateway import UNHURRIED, Gateway, UpstreamProcess, eventually

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-batches")]

LINES = 90
CALLS = 4
WORD = "in-batch-"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway(workers=2, environment={**UNHURRIED, "TOLLKEEPER_BATCH_CALLS": str(CALLS)})


def upload(gateway: Gateway, content: bytes) -> str:
    with httpx.Client(trust_env=False, timeout=30) as client:
        answer = client.post(
            f"{gateway.origin}/v1/files",
            headers={"authorization": f"Bearer {gateway.key}"},
            files={"file": ("in.jsonl", content)},
            data={"purpose": "batch"},
        )
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def download(gateway: Gateway, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    answer = gateway.get(f"/v1/files/{file_id}/content")
    assert answer.is_success
    return [json.loads(line) for line in answer.text.splitlines()]


async def until(gateway: Gateway, batch_id: str, holds: Callable[[dict[str, Any]], bool], seconds: float) -> Any:
    def look() -> Any:
        try:
            answer = gateway.get(f"/v1/batches/{batch_id}")
        except httpx.HTTPError:
            return None
        found = answer.json() if answer.is_success else None
        return found if found is not None and holds(found) else None

    return await eventually(look, seconds=seconds, what="the batch is where it should be")


def done(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda batch: batch["request_counts"]["completed"] >= count


def make_lines(word: str) -> list[dict[str, Any]]:
    message = {"role": "user", "content": "Say it."}
    return [
        {
            "custom_id": f"{word}{number}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": "up-wait60", "user": f"{word}{number}", "messages": [message]},
        }
        for number in range(LINES)
    ]


def create(gateway: Gateway, lines: list[dict[str, Any]]) -> str:
    file_id = upload(gateway, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    asked = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    return str(gateway.ask("POST", "/v1/batches", asked)["id"])


async def test_a_batch_goes_on_after_every_kill_and_nothing_settled_is_called_again(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    lines = make_lines(WORD)
    batch_id = create(gateway, lines)
    await until(gateway, batch_id, done(20), 30)
    for pid in gateway.worker_pids():
        processes.send(pid, 9)
    await until(gateway, batch_id, done(50), 60)
    family = gateway.family()
    gateway.kill()
    processes.wait_until_gone(family, seconds=15)
    gateway.start()
    over = await until(gateway, batch_id, lambda batch: batch["status"] in {"completed", "failed", "expired"}, 60)

    assert (over["status"], over["error_file_id"]) == ("completed", None)
    assert over["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
    answers = download(gateway, over["output_file_id"])
    assert [one["custom_id"] for one in answers] == [line["custom_id"] for line in lines]
    log = [entry for entry in upstream.log() if entry["user"].startswith(WORD)]
    rows = await shipped(gateway, WORD, len(log))
    called = Counter(entry["user"] for entry in log)
    settled = Counter(row["end_user"] for row in rows if row["kind"] == "settled")
    interrupted = [row for row in rows if row["kind"] == "interrupted"]
    assert max(settled.values()) == 1
    # Two kills, so many calls under way at each.
    assert len(interrupted) <= 2 * CALLS
    again = {one["custom_id"]: one["interrupted_request_ids"] for one in answers if "interrupted_request_ids" in one}
    assert {user for user, count in called.items() if count > 1} <= again.keys()
    assert len(again) <= 2 * CALLS
    # Whatever the vendor served has its row, and what was interrupted is known by the id that the record tells.
    in_ledger = Counter(row["end_user"] for row in rows)
    assert not called - in_ledger
    told = {request_id for ids in again.values() for request_id in ids}
    answered = {one["response"]["request_id"] for one in answers}
    for row in rows:
        assert f"req_{row['request_id'].hex}" in told | answered


async def test_a_stop_in_good_order_repeats_nothing(gateway: Gateway, upstream: UpstreamProcess) -> None:
    lines = make_lines("stopped-")
    batch_id = create(gateway, lines)
    await until(gateway, batch_id, done(20), 30)
    gateway.terminate()
    assert gateway.wait(60) == 0
    gateway.start()
    over = await until(gateway, batch_id, lambda batch: batch["status"] == "completed", 60)
    answers = download(gateway, over["output_file_id"])
    assert [one["custom_id"] for one in answers] == [line["custom_id"] for line in lines]
    assert not [one for one in answers if "interrupted_request_ids" in one]
    called = Counter(entry["user"] for entry in upstream.log() if entry["user"].startswith("stopped-"))
    assert called == dict.fromkeys((line["custom_id"] for line in lines), 1)
