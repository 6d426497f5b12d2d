"""`tollkeeper batches` has a file of calls made by a running gateway, and brings the answers back."""

import json
import time
from pathlib import Path

from tests.commands.conftest import Gateway, Tollkeeper

OVER = {"completed", "failed", "expired", "cancelled"}


def write(path: Path, *names: str) -> Path:
    lines = [
        {
            "custom_id": name,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "simulated", "messages": [{"role": "user", "content": name}]},
        }
        for name in names
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


def test_a_file_of_calls_is_made_and_its_answers_come_back(
    tollkeeper: Tollkeeper, gateway: Gateway, tmp_path: Path
) -> None:
    made = tollkeeper("batches", "create", str(write(tmp_path / "calls.jsonl", "one", "two")), "--json")
    assert made.code == 0, made.error
    batch_id = made.json["id"]
    assert made.json["endpoint"] == "/v1/chat/completions"

    deadline = time.monotonic() + 60
    shown = tollkeeper("batches", "show", batch_id, "--json")
    while shown.json["status"] not in OVER and time.monotonic() < deadline:
        time.sleep(0.3)
        shown = tollkeeper("batches", "show", batch_id, "--json")

    assert (shown.json["status"], shown.json["request_counts"]["completed"]) == ("completed", 2)
    output = tollkeeper("batches", "output", batch_id)
    assert [json.loads(line)["custom_id"] for line in output.out.splitlines()] == ["one", "two"]
    failed = tollkeeper("batches", "output", batch_id, "--errors")
    assert (failed.code, failed.out) == (0, "")
    assert batch_id in tollkeeper("batches", "list").out
    refused = tollkeeper("batches", "cancel", batch_id)
    assert refused.code == 4
    assert "batch_is_over" in refused.error


def test_a_file_that_names_no_endpoint_is_refused_before_it_is_sent(
    tollkeeper: Tollkeeper, gateway: Gateway, tmp_path: Path
) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('{"custom_id": "a"}\n', "utf-8")
    refused = tollkeeper("batches", "create", str(path))
    assert refused.code == 2
    assert "names no url" in refused.error
