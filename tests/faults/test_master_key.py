"""Changing the master key of a gateway with stored secrets and keys: nothing stops working, and nothing is forgotten."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.canaries import canary
from tests.faults import processes
from tests.faults.gateway import Gateway, clean_environment, eventually

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-master-key")]


def run(gateway: Gateway, *words: str) -> tuple[int, Any, str]:
    environment = clean_environment(**gateway._environment, TOLLKEEPER_DATA_DIR=str(gateway.data_dir))
    done = subprocess.run(
        gateway.command(*words, "--json"),
        cwd=gateway.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr


def refusal(gateway: Gateway) -> str:
    """What a start that must fail says."""
    gateway.start(wait=False)
    assert gateway.wait(60) != 0
    return gateway.log_tail(15)


def chat(gateway: Gateway, key: str, model: str = "sealed") -> int:
    """The status of one call."""
    call = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return gateway._request(
        "POST", "/v1/chat/completions", json=call, headers={"authorization": f"Bearer {key}"}
    ).status_code


def served(gateway: Gateway, key: str) -> Callable[[], bool]:
    return lambda: chat(gateway, key) == 200


def first_chat(gateway: Gateway, key: str) -> int:
    """After a start: the first look-up of a key on a busy machine may be late, which is a 503 and says nothing of keys."""
    deadline = time.monotonic() + 10 * processes.crowding()
    while (status := chat(gateway, key)) == 503 and time.monotonic() < deadline:
        time.sleep(0.1)
    return status


async def test_master_key_is_changed_without_losing_a_secret_or_a_key(
    new_gateway: Callable[..., Gateway], new_folder: Callable[[], Path]
) -> None:
    folder = new_folder()
    old, new = folder / "old.key", folder / "new.key"
    for path in (old, new):
        path.write_text(canary("master_key") + "\n")
        path.chmod(0o600)
    gateway = new_gateway(is_started=False, workers=2)
    gateway._environment = {"TOLLKEEPER_MASTER_KEY_FILE": str(old)}
    gateway.start()
    upstream = json.loads(gateway.config.read_text())["providers"][0]
    provider = {
        "name": "sealed", "kind": "openai_compatible", "base_url": upstream["base_url"],
        "api_key": canary("credential"), "allow_private_address": True,
    }  # fmt: skip
    gateway.ask("POST", "/api/v1/catalog/providers", provider)
    gateway.ask(
        "POST", "/api/v1/catalog/models", {"name": "sealed", "targets": [{"provider": "sealed", "model": "up-ok"}]}
    )
    key = gateway.new_key()["key"]
    await eventually(served(gateway, key), seconds=10, what="the model is served")
    gateway.stop()

    gateway._environment = {"TOLLKEEPER_MASTER_KEY_FILE": str(new)}
    said = refusal(gateway)
    assert "TOLLKEEPER_MASTER_KEYS_PREVIOUS" in said

    gateway._environment["TOLLKEEPER_MASTER_KEYS_PREVIOUS_FILE"] = str(old)
    gateway.start()
    assert b"tollkeeper secrets rotate" in gateway.log_since(0)
    assert first_chat(gateway, key) == 200
    code, document, _ = run(gateway, "secrets", "status")
    assert (code, document["is_current"]) == (0, False)

    # Under traffic: no call fails while everything is rewrapped.
    answers: list[int] = []
    is_over = threading.Event()

    def call() -> None:
        while not is_over.is_set():
            answers.append(chat(gateway, key))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        code, document, said = run(gateway, "secrets", "rotate")
    finally:
        is_over.set()
        caller.join()
    assert (code, document["is_complete"]) == (0, True), said
    assert document["rewrapped"]["provider_credentials.envelope"] == 1
    assert set(answers) == {200}
    [record] = gateway.ask("GET", "/api/v1/audit?action=secrets.rotate")["data"]
    assert record["actor"]["name"] == "tollkeeper secrets rotate"

    # The first key was used by the administrator above, the other one by the calls: each use moved its key.
    gateway.stop()
    code, document, said = run(gateway, "secrets", "status")
    assert {row["state"] for row in document["rows"]} == {"current"}, document

    gateway._environment = {"TOLLKEEPER_MASTER_KEY_FILE": str(new)}
    gateway.start()
    assert first_chat(gateway, key) == 200
    code, _, said = run(gateway, "audit", "verify")
    assert code == 0, said
    gateway.stop()

    # The former key alone opens nothing any more.
    gateway._environment = {"TOLLKEEPER_MASTER_KEY_FILE": str(old)}
    assert "TOLLKEEPER_MASTER_KEY" in refusal(gateway)


async def test_start_is_refused_when_a_secret_is_under_an_unknown_key(new_gateway: Callable[..., Gateway]) -> None:
    gateway = new_gateway()
    await gateway.sql(
        "INSERT INTO providers (id, name, kind, proxy_url) VALUES (gen_random_uuid(), 'x', 'openai', $1)",
        b"\x01\xde\xad\xbe\xef" + bytes(200),
    )
    gateway.stop()
    said = refusal(gateway)
    assert "providers.proxy_url (1 rows, key deadbeef)" in said


def test_open_key_file_keeps_the_gateway_from_starting(
    new_gateway: Callable[..., Gateway], new_folder: Callable[[], Path]
) -> None:
    path = new_folder() / "key"
    path.write_text(canary("master_key"))
    path.chmod(0o644)
    gateway = new_gateway(is_started=False, environment={"TOLLKEEPER_MASTER_KEY_FILE": str(path)})
    assert f"chmod 600 {path}" in refusal(gateway)
