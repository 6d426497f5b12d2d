"""Log lines tell what happened and hide what is secret, whoever writes them."""

import io
import json
import logging
import timeit
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
import structlog

from tollkeeper.core import log
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.secrets import new_key
from tollkeeper.core.tokens import AccessTokens

Configure = Callable[..., io.StringIO]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Logging is the whole process's: whatever a test sets up is taken back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in log._QUIET}

    def set_up(**settings: Any) -> io.StringIO:
        stream = io.StringIO()
        log.configure(Settings(_env_file=None, **settings), stream=stream)
        return stream

    yield set_up
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_is_one_json_object(configure: Configure) -> None:
    stream = configure()
    structlog.get_logger().info("breaker_opened", provider="local", failures=5)
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {"event": "breaker_opened", "level": "info", "provider": "local", "failures": 5}


def test_level_is_the_settings(configure: Configure) -> None:
    stream = configure(log_level="warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("library").info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_libraries_speak_the_same_way(configure: Configure) -> None:
    stream = configure()
    logging.getLogger("some.library").warning("took %d ms", 17)
    logging.getLogger("uvicorn.access").info("GET /")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("took 17 ms", "some.library", "warning")
    assert set(line) == {"event", "logger", "level", "time"}


def test_warnings_become_lines(configure: Configure) -> None:
    stream = configure()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", UserWarning, stacklevel=1)
    assert lines(stream)[0]["logger"] == "py.warnings"


def test_request_id_stands_on_every_line_inside(configure: Configure) -> None:
    stream = configure()
    with log.request_context("req_1", tenant_id="ten_1"):
        structlog.get_logger().info("inside")
        logging.getLogger("library").warning("inside too")
    structlog.get_logger().info("outside")
    assert [line.get("request_id") for line in lines(stream)] == ["req_1", "req_1", None]


def fail(error: Exception) -> None:
    raise error


KEY = new_key().token
SESSION = AccessTokens(MasterKey("x" * 32), SystemClock()).issue(
    user_id=UUID(int=1), tenant_id=UUID(int=2), session_id=UUID(int=3), epoch=0
)[0]


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "tk-initial-key-of-another-form-0123456789",
        "sk-proj-abcdefghijklmnop",
        "sk-ant-api03-abcdefghijklmnop",
        "gsk_abcdefghijklmnop",
        "AIzaSyA-abcdefghijklmnop",
        SESSION,
    ],
    ids=["own", "initial", "openai", "anthropic", "groq", "google", "session"],
)
def test_key_is_masked_wherever_it_stands(configure: Configure, secret: str) -> None:
    stream = configure()
    logger = structlog.get_logger()
    message = f"refused {secret}"
    logger.warning(message, detail=f"Bearer {secret}", url=f"https://x/?key={secret}&a=1", list=[secret])
    logger.warning("nested", context={"a": {"note": secret}}, path=f"'{secret}'", error=ValueError(secret))
    logging.getLogger("library").error("sent %s", secret)
    try:
        fail(ConnectionError(secret))
    except ConnectionError:
        logger.exception("failed")
        logging.getLogger("library").exception("failed")
    assert secret not in stream.getvalue()
    assert secret[8:] not in stream.getvalue()
    assert len(lines(stream)) == 5


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://tollkeeper:hunter2@db:5432/x", "postgresql://***@db:5432/x"),
        ("rediss://:hunter2@cache", "rediss://***@cache"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic ***"),
        ("GET /v1?token=hunter2&page=2", "GET /v1?token=***&page=2"),
        ("the model gpt-4o-mini took 5 s", "the model gpt-4o-mini took 5 s"),
        ("desk-top and risk-free", "desk-top and risk-free"),
    ],
)
def test_secrets_inside_text_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert log.mask(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "admin_password",
        "api_key",
        "apikey",
        "x-api-key",
        "authorization",
        "cookie",
        "refresh_token",
        "token",
        "client_secret",
        "pepper",
        "envelope",
        "credential",
        "prompt",
        "messages",
        "body",
        "MASTER_KEY",
    ],
)
def test_value_of_a_secret_name_is_hidden(configure: Configure, name: str) -> None:
    stream = configure()
    structlog.get_logger().info("x", **{name: "hunter2"}, nested={name: ["hunter2"]})
    assert "hunter2" not in stream.getvalue()
    assert lines(stream)[0][name] == log.HIDDEN


@pytest.mark.parametrize(
    "name", ["prompt_tokens", "key_id", "api_key_id", "token_id", "provider", "model", "body_bytes"]
)
def test_value_of_a_harmless_name_is_shown(configure: Configure, name: str) -> None:
    stream = configure()
    structlog.get_logger().info("x", **{name: "shown"})
    assert lines(stream)[0][name] == "shown"


def test_counting_what_is_secret_is_no_secret(configure: Configure) -> None:
    stream = configure()
    structlog.get_logger().info("x", messages=3, has_password=True, token=None)
    assert lines(stream)[0] | {"messages": 3, "has_password": True, "token": None} == lines(stream)[0]


class Colour(StrEnum):
    RED = "red"


class Careless:
    def __repr__(self) -> str:
        return "hunter2"

    __str__ = __repr__


def test_objects_are_named_and_values_are_shown(configure: Configure) -> None:
    stream = configure()
    structlog.get_logger().info(
        "x",
        careless=Careless(),
        nested=[Careless()],
        id=UUID(int=1),
        cost=Decimal("0.5"),
        colour=Colour.RED,
        raw=b"hunter2",
    )
    assert "hunter2" not in stream.getvalue()
    (line,) = lines(stream)
    assert (line["careless"], line["nested"], line["raw"]) == ("<Careless>", ["<Careless>"], "<bytes>")
    assert (line["id"], line["cost"], line["colour"]) == (str(UUID(int=1)), "0.5", "red")


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize(
    "value", ["a\nlevel=error forged", "\x1b[2Jgone", "\udcff", "\u2028", "x" * 1_000_000, 10**30, float("nan")]
)
def test_hostile_value_stays_on_one_short_line(configure: Configure, log_format: str, value: object) -> None:
    stream = configure(log_format=log_format)
    structlog.get_logger().info("x", value=value, deep=[[[[value]]]])
    printed = stream.getvalue()
    assert printed.count("\n") == 1
    assert "\x1b[2J" not in printed
    assert len(printed) < 5_000
    printed.encode()


def test_traceback_shows_no_variables(configure: Configure) -> None:
    for log_format in ("json", "text"):
        stream = configure(log_format=log_format)
        hidden = "hunter" + str(2)
        try:
            fail(LookupError(f"{len(hidden)} characters"))
        except LookupError:
            structlog.get_logger().exception("failed")
        assert "LookupError" in stream.getvalue()
        assert "hunter2" not in stream.getvalue()


def test_text_is_for_people(configure: Configure) -> None:
    stream = configure(log_format="text")
    structlog.get_logger().warning("breaker_opened", provider="local")
    logging.getLogger("library").warning("took %d ms", 17)
    first, second = stream.getvalue().splitlines()
    assert "breaker_opened" in first
    assert "provider=local" in first
    assert "took 17 ms" in second


class Closed(io.StringIO):
    def write(self, _line: str) -> int:
        raise BrokenPipeError


def test_lost_reader_fails_nobody(configure: Configure) -> None:
    configure()
    log.configure(Settings(_env_file=None), stream=Closed())
    structlog.get_logger().error("nobody reads this")
    logging.getLogger("library").error("nor this")


def test_line_costs_microseconds(configure: Configure) -> None:
    configure()
    logger = structlog.get_logger().bind()
    best = min(timeit.repeat(lambda: logger.info("x", provider="local", ms=5), number=200, repeat=5)) / 200
    assert best < 500e-6  # 25 µs on an idle machine
