"""Logs: structured lines on standard error, JSON or text, our own and those of libraries alike.

Nothing secret gets out: values of secret-looking names are dropped, secrets inside text are masked, and objects other
than plain values are named instead of printed. Calls are not logged here but by `core/access_log.py`.
"""

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager, suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar
from uuid import UUID

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tollkeeper.core.config import Settings

LONGEST_TEXT: Final = 2_000
LONGEST_TRACE: Final = 16_000
MOST_ITEMS: Final = 50
DEEPEST: Final = 2
HIDDEN: Final = "[hidden]"

# Whole words of a name: `prompt_tokens` and `key_id` are no secrets, `refresh_token` and `x-api-key` are.
_SECRET_NAME: Final = re.compile(
    r"(?:^|[_-])(?:authorization|cookies?|credentials?|digest|dsn|envelope|jwt|passphrase|passwd|password|pepper|secrets?"
    r"|token|api[_-]?key|private[_-]key|master[_-]key|signature|url_with_password)$"
    r"|^(?:body|content|headers|input|messages|output|payload|prompt)$",
    re.IGNORECASE,
)
_SECRETS: Final = re.compile(
    r"(?P<scheme>\b(?:Bearer|Basic)\s+)[^\s\"',]+"
    r"|(?P<userinfo>://)[^\s/@\"']+@"
    r"|(?P<query>[?&](?:key|api_key|apikey|token|access_token|sig|signature|secret|password|code|state)=)[^&\s\"'#]+"
    # API keys by the beginnings that vendors publish for scanners; ours first.
    r"|(?P<key>\b(?:tk-|sk-|rk-|pk-|xai-|gsk_|AIza|AKIA|ghp_|hf_|whsec_|xox[abp]-))[A-Za-z0-9_.~-]{6,}"
    r"|(?P<jwt>\beyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"
)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CONTROL_IN_TRACE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PLAIN: Final = (bool, int, float, type(None))
_PRINTED: Final = (UUID, datetime, date, timedelta, Decimal, Path, Enum)
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Libraries that say at INFO what we say ourselves, or say it for every call.
_QUIET: Final = ("asyncio", "httpx", "httpcore", "aiohttp.access", "uvicorn.access", "sqlalchemy.engine", "alembic")

T = TypeVar("T")


def configure(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Set logging of the whole process up; to be called once, before anything is logged. Default: standard error."""
    stream = stream or sys.stderr
    tolerant: Any = _Tolerant(stream)
    level = _LEVELS[settings.log_level]
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = (
        _to_json if as_json else structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time")
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(tolerant),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(tolerant)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_add_logger, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)


class _Tolerant:
    """A stream whose reader may go away: a line that cannot be written must not fail the work it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(line)
        return 0

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def request_context(request_id: str, **fields: object) -> AbstractContextManager[None]:
    """Every line logged inside carries the request's id."""
    return structlog.contextvars.bound_contextvars(request_id=request_id, **fields)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide what may be secret, and keep objects from printing themselves."""
    return {name: _shown(name, value) for name, value in event.items()}


def mask(line: str) -> str:
    """A text without the secrets that can be recognised in it."""
    return _SECRETS.sub(_masked, line)


def _masked(match: re.Match[str]) -> str:
    kept = match[str(match.lastgroup)]
    return f"{kept}***@" if match.lastgroup == "userinfo" else f"{kept}***"


def _shown(name: str, value: object, depth: int = 0) -> object:
    if isinstance(value, _PLAIN) and not isinstance(value, Enum):
        return value
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, str) and not isinstance(value, Enum):
        is_trace = name in {"exception", "stack"}
        return _line(value, LONGEST_TRACE if is_trace else LONGEST_TEXT, _CONTROL_IN_TRACE if is_trace else _CONTROL)
    if isinstance(value, _PRINTED):
        return _line(str(value.value if isinstance(value, Enum) else value))
    if isinstance(value, BaseException):
        return _line(f"{type(value).__name__}: {value}")
    return _container(value, depth)


def _container(value: object, depth: int) -> object:
    if depth < DEEPEST and isinstance(value, Mapping):
        return {str(key): _shown(str(key), item, depth + 1) for key, item in _first(value.items())}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_shown("", item, depth + 1) for item in _first(value)]
    return f"<{type(value).__name__}>"


def _line(value: str, longest: int = LONGEST_TEXT, control: re.Pattern[str] = _CONTROL) -> str:
    """One line of harmless text: a caller's name for a model must not draw on the operator's terminal."""
    shortened = value if len(value) <= longest else f"{value[:longest]}…"
    return mask(control.sub(lambda match: ascii(match[0])[1:-1], shortened))


def _first(items: Iterable[T]) -> list[T]:
    return list(islice(items, MOST_ITEMS))


def _add_logger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The name of a library's logger."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["logger"] = record.name
    return event


def _to_json(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event).decode()
    except orjson.JSONEncodeError:
        # An integer of more than 64 bits.
        return json.dumps(event)
