"""Which gateway a command talks to, with which key, and what it says when that does not work."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.commands.conftest import Gateway, Tollkeeper
from tollkeeper.commands.client import running_origin

DEAD = 2**22 + 1  # above the largest process id of Linux


class Stranger(BaseHTTPRequestHandler):
    """A web server that is no gateway."""

    def do_GET(self) -> None:
        body = b"<html>hello</html>"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_without_any_key_it_says_how_to_give_one(alone: Tollkeeper) -> None:
    said = alone("keys", "list")
    assert said.code == 1
    assert "--key" in said.error
    assert "TOLLKEEPER_API_KEY" in said.error
    assert "--data-dir" in said.error


def test_the_kept_key_goes_to_no_other_gateway(tollkeeper: Tollkeeper, stranger: str) -> None:
    said = tollkeeper("keys", "list", "--url", stranger)
    assert said.code == 1
    assert "no key" in said.error


@pytest.mark.parametrize("words", [["keys", "list"], ["chat", "hello"]])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::", "nonsense", "ftp://x"])
def test_no_gateway_there_ends_with_3(alone: Tollkeeper, words: list[str], url: str) -> None:
    said = alone(*words, "--key", "tk-x", "--url", url)
    assert said.code == 3
    assert "no gateway answers at" in said.error
    assert "tollkeeper serve" in said.error


@pytest.mark.parametrize("words", [["keys", "list"], ["chat", "hello"], ["models", "list"]])
def test_stranger_is_not_taken_for_a_gateway(alone: Tollkeeper, stranger: str, words: list[str]) -> None:
    said = alone(*words, "--key", "tk-x", "--url", stranger)
    assert said.code == 3
    assert "is no Tollkeeper gateway" in said.error


def test_wrong_key_is_refused_by_the_gateway(tollkeeper: Tollkeeper) -> None:
    said = tollkeeper("keys", "list", "--key", "tk-of-nobody")
    assert said.code == 4
    assert "status 401" in said.error


@pytest.mark.parametrize("key", ["tk-ü", "tk-\n"])
def test_key_that_is_none_is_not_sent(tollkeeper: Tollkeeper, key: str) -> None:
    assert tollkeeper("keys", "list", "--key", key).code == 2


def test_url_may_be_the_base_url(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    assert tollkeeper("models", "list", "--url", f"{gateway.origin}/v1/").code == 0


def test_running_gateway_is_found_by_its_folder(gateway: Gateway) -> None:
    assert running_origin(gateway.data_dir) == gateway.origin


@pytest.mark.parametrize(
    "note",
    [
        {"pid": DEAD, "port": 1, "origin": "http://localhost:1"},
        {"pid": os.getpid()},
        {"pid": "x"},
        {},
        [],
        "cut",
    ],
)
def test_note_of_a_gateway_that_is_gone_or_damaged_is_not_believed(tmp_path: Path, note: object) -> None:
    (tmp_path / "serve.json").write_text(json.dumps(note)[:-1] if note == "cut" else json.dumps(note))
    assert running_origin(tmp_path) is None
