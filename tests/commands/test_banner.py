"""The banner: everything needed to begin, and snippets that work when they are pasted."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.commands.conftest import Gateway
from tests.gateway.serving import route, snapshot
from tollkeeper import banner
from tollkeeper.core.config import Settings
from tollkeeper.core.first_run_file import write_first_run
from tollkeeper.core.ids import uuid7

FIRST_RUN = {"api_key": "tk-live_secret", "admin_email": "admin@localhost", "admin_password": "password [1]"}


def shown(*, first_run: dict[str, str] | None = None, only_simulated: bool = True, width: int = 100) -> str:
    report: dict[str, Any] = {
        "example_model": "simulated",
        "providers": ["simulated"],
        "only_simulated": only_simulated,
    }
    if first_run:
        report["first_run"] = first_run
    screen = io.StringIO()
    banner.show(Console(file=screen, width=width), Settings(), "http://localhost:8000", report, 1.25)
    return screen.getvalue()


def test_first_start_shows_the_key_and_where_it_is_kept() -> None:
    text = shown(first_run=FIRST_RUN)
    for expected in (
        "http://localhost:8000/v1",
        "tk-live_secret",
        "shown once",
        "first-run.json",
        "password [1]",
        "1.2 s",
    ):
        assert expected in text


def test_later_start_shows_no_key_and_snippets_take_it_from_the_environment() -> None:
    text = shown()
    assert "tk-live" not in text
    assert '"Authorization: Bearer $TOLLKEEPER_API_KEY"' in text
    assert 'os.environ["TOLLKEEPER_API_KEY"]' in text
    assert "tollkeeper keys create" in text


def test_key_of_the_first_start_is_fetched_from_where_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "it's $here"
    folder.mkdir()
    write_first_run(folder, "http://localhost:8000", api_key="tk-kept", admin_email="a@b.c", admin_password="")
    monkeypatch.setenv("TOLLKEEPER_DATA_DIR", str(folder))
    text = shown(width=400)
    assert "tk-kept" not in text
    assert f"kept in {folder / 'first-run.json'}" in text
    [export] = [line for line in text.splitlines() if line.startswith("export ")]
    done = subprocess.run(
        ["sh", "-c", f"{export}; echo $TOLLKEEPER_API_KEY"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "tk-kept\n"


def test_secrets_that_were_not_made_now_are_not_shown_as_new() -> None:
    text = shown(first_run={"api_key": "", "admin_email": "new@example.com", "admin_password": "password"})
    assert "new@example.com" in text
    assert "shown once" not in text
    assert "Bearer $TOLLKEEPER_API_KEY" in text
    assert "new@example.com" not in shown(
        first_run={**FIRST_RUN, "admin_email": "new@example.com", "admin_password": ""}
    )


@pytest.mark.parametrize("is_clone", [True, False])
def test_commands_are_named_as_they_can_be_typed(is_clone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOLLKEEPER_CHECKOUT", raising=False)
    if is_clone:
        monkeypatch.setenv("TOLLKEEPER_CHECKOUT", "/somewhere")
    text = shown(width=400)
    for command in ("keys create", "serve --config", "doctor"):
        assert (f"./tollkeeper {command}" in text) is is_clone


def test_wildcard_leads_to_a_real_provider() -> None:
    built_in = route("simulated", ("simulated", "simulated"), is_simulated=True)
    of_a_tenant = route("gpt-*", ("openai", "*"), tenant_id=uuid7())
    assert snapshot([], [built_in, of_a_tenant]).is_only_simulated()
    assert not snapshot([], [built_in, route("openai/*", ("openai", "{rest}"))]).is_only_simulated()


def test_next_step_is_told_while_only_simulated_models_answer() -> None:
    assert "OPENAI_API_KEY" in shown()
    assert "OPENAI_API_KEY" not in shown(only_simulated=False)


@pytest.mark.parametrize("width", [40, 400])
def test_snippets_are_never_broken_over_lines(width: int) -> None:
    lines = shown(first_run=FIRST_RUN, width=width).splitlines()
    [curl] = [line for line in lines if line.startswith("curl ")]
    assert curl.endswith("}'")


def test_curl_works_when_pasted(gateway: Gateway) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    first = gateway.first_run
    given = banner.curl_snippet(first["base_url"], first["api_key"], "simulated")
    later = banner.curl_snippet(first["base_url"], None, "simulated")
    for snippet in (given, later):
        done = subprocess.run(
            ["sh", "-c", snippet],
            env={**os.environ, "TOLLKEEPER_API_KEY": first["api_key"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert '"chat.completion"' in done.stdout


def test_python_works_when_pasted(gateway: Gateway) -> None:
    first = gateway.first_run
    given = banner.python_snippet(first["base_url"], first["api_key"], "simulated")
    later = banner.python_snippet(first["base_url"], None, "simulated")
    for snippet in (given, later):
        done = subprocess.run(
            [sys.executable, "-c", snippet],
            env={**os.environ, "TOLLKEEPER_API_KEY": first["api_key"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Hello" in done.stdout


def test_model_of_any_name_is_quoted_for_the_shell() -> None:
    snippet = banner.curl_snippet("http://localhost:8000/v1", "tk-x", "it's $HOME")
    echoed = subprocess.run(
        ["sh", "-c", snippet.replace("curl ", "printf %s\\\\n ", 1)], capture_output=True, text=True, check=True
    )
    assert "it's $HOME" in echoed.stdout
