"""No secret stands anywhere but where it was told once: logs, answers, metrics, tables, Redis, files, exports.

One gateway with two workers is given a secret of every kind and made to fail in every way we know; then all that it
left behind is searched. At the end a plant in each sink proves that the search would have found it.
"""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.canaries import Canary, Sweep
from tests.faults.conftest import *  # noqa: F403 - the harness of real gateways
from tests.faults.gateway import Gateway, UpstreamProcess, clean_environment, eventually
from tests.sweep import sinks
from tests.sweep.echo import running_echo
from tests.sweep.flock import Flock
from tollkeeper.core.totp import code_at

pytestmark = pytest.mark.e2e
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def flock(upstream: UpstreamProcess, new_gateway: Any) -> Iterator[Flock]:
    flock = Flock(None)  # type: ignore[arg-type]
    master, cookie_secret = flock.plant("master_key"), flock.plant("previous_master_key")
    gateway: Gateway = new_gateway(
        is_started=False,
        workers=2,
        environment={
            "TOLLKEEPER_MASTER_KEY": master,
            "TOLLKEEPER_MASTER_KEYS_PREVIOUS": f"{cookie_secret} and some more characters",
            "TOLLKEEPER_LOG_LEVEL": "debug",
        },
    )
    flock.gateway = gateway
    flock.adopt("api_key", gateway.key)
    flock.adopt("password", gateway.admin_password)
    document = json.loads(gateway.config.read_text())
    with running_echo() as (port, seen):
        document["providers"].append(
            {
                "name": "declared", "kind": "openai_compatible", "base_url": f"http://127.0.0.1:{port}/v1",
                "api_key": flock.plant("credential"), "headers": {"x-extra": flock.plant("header_secret")},
                "allow_private_address": True,
            }
        )  # fmt: skip
        document["models"].append({"name": "declared-*", "targets": [{"provider": "declared", "model": "*"}]})
        gateway.write_config(document)
        gateway.start()
        sign_in(flock)
        manage_keys(flock)
        manage_people(flock)
        manage_accounts(flock)
        manage_providers(flock, port)
        infer(flock)
        break_things(flock)
        read_everything(flock)
        assert any(item.value in said for item in flock.canaries if item.kind == "credential" for said in seen)
        yield flock


def sign_in(flock: Flock) -> None:
    login = {"email": "admin@example.com", "password": flock.gateway.admin_password}
    flock.ask("POST", "/api/v1/auth/login", login, tells={"access_token": "session_token"}, expect=[200])
    wrong = {"email": "admin@example.com", "password": flock.plant("wrong_password")}
    flock.ask("POST", "/api/v1/auth/login", wrong, expect=[401])
    flock.ask("POST", "/api/v1/auth/login", {**wrong, "password": [wrong["password"]]}, expect=[422])
    flock.ask("POST", "/api/v1/auth/login", {**wrong, "extra": flock.plant("stray")}, expect=[422])


def manage_keys(flock: Flock) -> None:
    headers = {"idempotency-key": "one"}
    made = flock.ask(
        "POST", "/api/v1/keys", {"name": "a key", "tags": {"team": "blue"}},
        headers=headers, tells={"key": "api_key"}, expect=[201],
    ).json()  # fmt: skip
    flock.ask("POST", "/api/v1/keys", {"name": "a key", "tags": {"team": "blue"}}, headers=headers, expect=[409])
    flock.ask("POST", f"/api/v1/keys/{made['id']}/rotate", {}, tells={"key": "api_key"}, expect=[200, 201])
    flock.ask("GET", f"/api/v1/keys/{made['id']}", expect=[200])
    run = flock.ask(
        "POST", f"/api/v1/keys/{made['id']}/runs", {"budget_usd": "1"}, tells={"key": "run_key"}, expect=[201]
    ).json()
    flock.ask("POST", "/v1/chat/completions", {"model": "up-ok", "messages": [_message("hi")]}, token=run["key"])
    flock.ask("GET", "/api/v1/me", token=run["key"], expect=[403])
    flock.ask("DELETE", f"/api/v1/keys/{made['id']}/runs/{run['run_id']}", expect=[204])
    flock.ask("POST", f"/api/v1/keys/{made['id']}/revoke", expect=[200])
    flock.ask("GET", "/api/v1/keys", token=made["key"], expect=[401, 403])


def manage_people(flock: Flock) -> None:
    person = {"email": "ann@example.com", "name": "Ann", "role": "developer", "password": flock.plant("password")}
    flock.ask("POST", "/api/v1/users", person, expect=[201])
    flock.ask("POST", "/api/v1/users", person, expect=[409])
    flock.ask("POST", "/api/v1/users", {**person, "email": "bob@example.com", "role": flock.plant("stray")})
    login = {"email": person["email"], "password": person["password"]}
    session = flock.ask("POST", "/api/v1/auth/login", login, tells={"access_token": "session_token"}, expect=[200])
    flock.ask("GET", "/api/v1/me", token=session.json()["access_token"], expect=[200])


def manage_accounts(flock: Flock) -> None:
    """What a person does with their own account, and an administrator for them."""
    invited = {"email": "carl@example.com", "role": "developer"}
    sent = flock.ask("POST", "/api/v1/invitations", invited, tells={"link": "invitation_link"}, expect=[201]).json()
    token = flock.adopt("link_token", sent["link"].partition("#token=")[2])
    flock.answers[-1].tells |= {token}
    accept = {"token": token, "password": flock.plant("password"), "name": "Carl"}
    flock.ask("POST", "/api/v1/invitations/accept", {**accept, "token": flock.plant("link_token")})
    joined = flock.ask("POST", "/api/v1/invitations/accept", accept, expect=[200, 201]).json()
    flock.ask("POST", "/api/v1/invitations/accept", accept)
    login = {"email": invited["email"], "password": accept["password"]}
    session = sign_in_as(flock, login)
    change = {"current_password": flock.plant("wrong_password"), "new_password": flock.plant("password")}
    flock.ask("POST", "/api/v1/auth/password", change, token=session)
    change["current_password"] = accept["password"]
    flock.ask("POST", "/api/v1/auth/password", {**change, "new_password": "short"}, token=session, expect=[400, 422])
    flock.ask("POST", "/api/v1/auth/password", change, token=session, expect=range(200, 300))
    session = sign_in_as(flock, {**login, "password": change["new_password"]})
    begun = flock.ask("POST", "/api/v1/me/second-factor", token=session, tells={"secret": "totp_secret"}, expect=[201])
    flock.answers[-1].tells |= {begun.json()["secret"]}
    secret = base64.b32decode(begun.json()["secret"])
    flock.adopt("totp_secret", secret.hex())
    flock.ask("POST", "/api/v1/me/second-factor/confirm", {"code": flock.plant("code")}, token=session)
    code = {"code": code_at(secret, int(time.time()) // 30)}
    tells = {"recovery_codes.0": "recovery_code", "recovery_codes.9": "recovery_code"}
    tells["session.access_token"] = "session_token"
    confirmed = flock.ask("POST", "/api/v1/me/second-factor/confirm", code, token=session, tells=tells, expect=[200])
    login = {**login, "password": change["new_password"]}
    flock.ask("POST", "/api/v1/auth/login", {**login, "code": flock.plant("code")}, expect=[400, 401])
    sign_in_as(flock, {**login, "code": confirmed.json()["recovery_codes"][0]})
    user_id = joined.get("user_id") or joined["id"]
    reset = flock.ask("POST", f"/api/v1/users/{user_id}/password-reset", {}, tells={"link": "reset_link"}, expect=[201])
    token = flock.adopt("link_token", reset.json()["link"].partition("#token=")[2])
    flock.answers[-1].tells |= {token}
    done = {"token": token, "new_password": flock.plant("password")}
    flock.ask("POST", "/api/v1/auth/password-reset/complete", done, expect=[204])
    flock.ask("POST", "/api/v1/auth/password-reset/complete", done)
    stranger = {"email": "eve@example.com", "password": flock.plant("password"), "name": "Eve", "organisation": "E"}
    flock.ask("POST", "/api/v1/auth/register", stranger)
    issuer = {
        "name": "sso", "issuer": "https://sso.invalid", "client_id": "x", "client_secret": flock.plant("client_secret")
    }  # fmt: skip
    made = flock.ask("POST", "/api/v1/identity-providers", issuer, expect=[201]).json()
    flock.ask("POST", f"/api/v1/identity-providers/{made['id']}/test")
    foreign = flock.adopt("api_key", f"sk-{secrets.token_hex(24)}")
    digest = flock.adopt("import_hash", hashlib.sha256(foreign.encode()).hexdigest())
    row = {"name": "imported", "sha256": digest, "display_prefix": foreign[:6], "last_four": foreign[-4:]}
    flock.ask("POST", "/api/v1/keys/import", {"keys": [row]}, expect=[201])
    flock.ask("POST", "/api/v1/keys/import", {"keys": [row]}, expect=[409, 422])
    flock.ask("POST", "/v1/chat/completions", {"model": "up-ok", "messages": [_message("hello")]}, token=foreign)


def sign_in_as(flock: Flock, login: dict[str, str]) -> str:
    answer = flock.ask("POST", "/api/v1/auth/login", login, tells={"access_token": "session_token"}, expect=[200])
    return str(answer.json()["access_token"])


def manage_providers(flock: Flock, port: int) -> None:
    body = {
        "name": "echo",
        "kind": "openai_compatible",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "api_key": flock.plant("credential"),
        "headers": {"x-extra": flock.plant("header_secret")},
        "allow_private_address": True,
    }
    provider = flock.ask("POST", "/api/v1/catalog/providers", body, expect=[201]).json()
    flock.ask("POST", "/api/v1/catalog/providers", body, expect=[409])
    flock.ask("POST", "/api/v1/catalog/providers", {**body, "name": "x", "base_url": f"ftp://{body['api_key']}/"})
    proxied = {**body, "name": "proxied", "proxy": f"http://user:{flock.plant('proxy_secret')}@127.0.0.1:1"}
    other = flock.ask("POST", "/api/v1/catalog/providers", proxied, expect=[201]).json()
    flock.ask("POST", f"/api/v1/catalog/providers/{provider['id']}/test")
    flock.ask("POST", f"/api/v1/catalog/providers/{other['id']}/test")
    for name, target in (("echo-*", "echo"), ("proxied", "proxied")):
        model = {"name": name, "targets": [{"provider": target, "model": "*" if "*" in name else "echo-400"}]}
        flock.ask("POST", "/api/v1/catalog/models", model, expect=[201])


def infer(flock: Flock) -> None:
    """Whole and streamed, good and bad. What an answer may repeat of its own call's prompt, it may."""
    models = ["up-ok", "up-stream3", "up-status500", "up-garbage", "up-nonsense", "up-cut0", "dead", "no-such-model"]
    echoing = [f"{name}-{how}" for name in ("echo", "declared") for how in (400, 401, 404, 422, 429, 500, "stream")]
    asyncio.run(eventually(lambda: _is_served(flock), seconds=20, what="the new models are served"))
    for model in [*models, *echoing, "proxied"]:
        for is_stream in (False, True):
            prompt = flock.plant("prompt")
            call = {"model": model, "stream": is_stream, "user": "someone", "messages": [_message(prompt)]}
            flock.ask("POST", "/v1/chat/completions", call, echoes=[prompt])
    prompt = flock.plant("prompt")
    flock.ask("POST", "/v1/chat/completions", {"model": "up-ok", "messages": [_message(prompt)], "n": "many"})
    flock.ask("POST", "/v1/chat/completions", {"model": "up-ok", "messages": prompt})
    flock.ask("POST", "/v1/chat/completions", content=b'{"messages": "' + prompt.encode(), headers=JSON)
    flock.ask("POST", "/v1/embeddings", {"model": "up-ok", "input": [prompt]}, echoes=[prompt])
    flock.ask("POST", "/v1/chat/completions", content=b"\xff" + prompt.encode(), headers=JSON)


def break_things(flock: Flock) -> None:
    """Credentials where they do not belong, a broken file, a killed worker."""
    stray = flock.plant("api_key")
    call = {"model": "up-ok", "messages": []}
    flock.ask("POST", "/v1/chat/completions", call, token=stray, expect=[401])
    flock.ask("POST", f"/v1/chat/completions?key={stray}", call)
    flock.ask("GET", f"/api/v1/keys?api_key={stray}", echoes=[], expect=[422])
    flock.ask("GET", "/api/v1/keys", headers={"x-api-key": stray}, expect=[400])
    flock.ask("GET", "/api/v1/keys", token=f"eyJhbGciOiJIUzI1NiJ9.{stray.replace('-', '_')}.x", expect=[401])
    flock.ask("GET", "/api/v1/keys", headers={"cookie": f"tollkeeper_session={stray}", "authorization": "Basic x"})
    gateway = flock.gateway
    good = gateway.config.read_text()
    broken = json.loads(good)
    broken["providers"][0]["api_key"] = {"value": flock.plant("credential")}
    broken["providers"][1]["api_kee"] = flock.plant("credential")
    gateway.write_config(broken)
    flock.ask("POST", "/api/v1/catalog/reload", expect=[400, 422])
    gateway.process.send_signal(signal.SIGHUP)
    asyncio.run(eventually(lambda: b"reload" in gateway.log_since(0), seconds=20, what="the reload is refused"))
    gateway.write_config(good)
    os.kill(gateway.worker_pids()[0], signal.SIGKILL)
    asyncio.run(eventually(lambda: len(gateway.worker_pids()) == 2, seconds=20, what="the worker is back"))
    asyncio.run(eventually(lambda: _is_served(flock), seconds=20, what="the gateway serves again"))


def read_everything(flock: Flock) -> None:
    """Each list, the export, metrics, the API's own description, and what the commands print."""
    asyncio.run(eventually(lambda: _is_shipped(flock), seconds=20, what="usage is in the ledger"))
    paths = flock.ask("GET", "/openapi.json", expect=[200]).json()["paths"]
    for path, methods in paths.items():
        if "get" in methods and "{" not in path:
            flock.ask("GET", path)
    assert flock.ask("GET", "/api/v1/audit/export", expect=[200]).text.count("\n") > 10
    flock.ask("GET", "/metrics", expect=[200])
    gateway = flock.gateway
    for words in (["secrets", "status"], ["config", "show", "--origin"], ["doctor"], ["audit", "verify"]):
        done = subprocess.run(
            gateway.command(*words),
            cwd=gateway.folder,
            env=clean_environment(**gateway._environment, TOLLKEEPER_DATA_DIR=str(gateway.data_dir)),
            capture_output=True,
            check=False,
        )
        assert not flock.sweep().search(done.stdout + done.stderr, f"tollkeeper {' '.join(words)}")


def _message(prompt: str) -> dict[str, str]:
    return {"role": "user", "content": prompt}


def _is_served(flock: Flock) -> bool:
    try:
        call = {"model": "echo-429", "messages": [_message("hello")]}
        headers = {"authorization": f"Bearer {flock.gateway.key}"}
        answer = httpx.post(f"{flock.gateway.origin}/v1/chat/completions", json=call, headers=headers, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 429


def _is_shipped(flock: Flock) -> bool:
    return len(flock.ask("GET", "/api/v1/usage/records", params={"limit": 100}).json()["data"]) > 20


def test_every_kind_was_planted(flock: Flock) -> None:
    assert {item.kind for item in flock.canaries} >= {
        "master_key", "previous_master_key", "api_key", "password", "wrong_password", "session_token",
        "session_cookie", "credential", "header_secret", "proxy_secret", "prompt", "stray",
        "invitation_link", "reset_link", "link_token", "run_key", "totp_secret", "recovery_code", "client_secret", "import_hash",
    }  # fmt: skip


def test_no_answer_tells_a_secret_but_the_one_it_is_there_to_tell(flock: Flock) -> None:
    assert flock.search_answers() == []


def test_log_holds_none(flock: Flock) -> None:
    assert sinks.search_log(flock.sweep(), flock.gateway) == []


def test_tables_hold_none(flock: Flock) -> None:
    assert sinks.search_tables(flock.sweep(), flock.gateway) == []


def test_redis_holds_none(flock: Flock) -> None:
    assert sinks.search_redis(flock.sweep(), flock.gateway) == []


def test_files_hold_none(flock: Flock) -> None:
    """The database's own files, write-ahead log and server log among them; the journal too."""
    assert sinks.search_files(flock.sweep(), flock.gateway) == []


def test_files_that_hold_secrets_are_closed_to_others(flock: Flock) -> None:
    assert {name for name, mode in sinks.closed_files(flock.gateway) if mode} == set()


def test_command_lines_hold_none(flock: Flock) -> None:
    assert sinks.search_processes(flock.sweep(), flock.gateway) == []


def test_nothing_was_left_in_the_temporary_folder(flock: Flock) -> None:
    """Fresh files of ours there; other people's are none of our business."""
    folder = Path(tempfile.gettempdir())
    ours = [path for path in folder.glob("tollkeeper*") if path.is_file()]
    sweep = flock.sweep()
    assert [find for path in ours for find in sweep.search_file(path)] == []


@pytest.mark.parametrize("sink", ["log", "table", "redis", "file", "answer"])
async def test_search_finds_a_plant_in_each_sink(flock: Flock, sink: str) -> None:
    """The negative control, last: it soils the gateway."""
    gateway = flock.gateway
    planted = Flock(gateway)
    # Not remembered: the search over the whole run would rightly find it in the log of this gateway.
    value = f"a planted password {secrets.token_hex(10)}"
    planted.canaries.append(Canary("password", value))
    sweep: Sweep = planted.sweep()
    if sink == "log":
        with gateway.log_path.open("a") as log:
            log.write(json.dumps({"event": "call", "body": f"a {value}"}) + "\n")
        found = sinks.search_log(sweep, gateway)
    elif sink == "table":
        await gateway.sql("INSERT INTO system_state (key, value) VALUES ('plant', to_jsonb($1::text))", value)
        found = sinks.search_tables(sweep, gateway)
    elif sink == "redis":
        with (
            sinks.EmbeddedValkey(gateway.data_dir) as server,
            sinks.redis.Redis.from_url(server.endpoint.url) as client,
        ):
            client.hset("plant", "field", value)
        found = sinks.search_redis(sweep, gateway)
    elif sink == "file":
        (gateway.data_dir / "journal" / "plant").write_bytes(b"\0" * 100 + value.encode())
        found = sinks.search_files(sweep, gateway)
    else:
        planted.ask("GET", f"/api/v1/{value}")
        planted.answers[-1].data += value.encode()
        found = planted.search_answers()
    assert {find.kind for find in found} == {"password"}
