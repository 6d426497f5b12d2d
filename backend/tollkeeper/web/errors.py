"""The control plane's error boundary: whatever is raised becomes a problem document, and nothing internal leaks.

`install` connects it to an application; `boundary.py` is the ASGI half that sets the request id and catches the rest.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from tollkeeper.core.errors import (
    BadRequest,
    Conflict,
    MalformedPayload,
    MethodNotAllowed,
    NotFound,
    TollkeeperError,
)
from tollkeeper.web.integrity import violated_constraint

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_MOST_ERRORS: Final = 50
_LONGEST_PART: Final = 100
# SQLSTATE classes and codes of values that PostgreSQL cannot store: the caller's fault, never ours to explain.
_DATA_CLASS: Final = "22"
_FOREIGN_KEY: Final = "23503"


class Internal(TollkeeperError):
    """What a caller is told of an error that nobody foresaw."""


def internal_error() -> Internal:
    return Internal("Something went wrong on our side. Tell an administrator the request id.")


def install(app: FastAPI) -> None:
    """Render errors as problem documents."""
    app.add_exception_handler(TollkeeperError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_malformed)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(DBAPIError, _on_database)


def problem(error: TollkeeperError, request_id: str, errors: Sequence[Mapping[str, Any]] | None = None) -> Response:
    """The answer to an error; also for ASGI code outside the application."""
    document: dict[str, Any] = {
        "type": f"urn:tollkeeper:problem:{error.code}",
        "title": _title(error.status),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    if error.param is not None:
        document["param"] = error.param
    if errors is not None:
        document["errors"] = list(errors)
    document.update({name: value for name, value in error.details.items() if name not in document})
    headers = dict(error.headers)
    if error.retry_after_seconds is not None:
        headers.setdefault("retry-after", str(max(1, ceil(error.retry_after_seconds))))
    elif error.status == 503:
        headers.setdefault("retry-after", "2")
    if error.status == 401:
        headers.setdefault("www-authenticate", "Bearer")
    return Response(orjson.dumps(document, default=str), error.status, headers, MEDIA_TYPE)


def request_id_of(request: Request) -> str:
    """As the caller sees it: `req_…`."""
    return str(getattr(request.state, "request_id", "req_unknown"))


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TollkeeperError)
    if error.status >= 500 and error.status != 503:
        log.error("request_failed", code=error.code, exc_info=error)
    return problem(error, request_id_of(request))


async def _on_malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field_problem(item) for item in error.errors()[:_MOST_ERRORS]]
    if any(item["code"] == "json_invalid" for item in errors):
        return problem(BadRequest("The body is not valid JSON.", code="invalid_json"), request_id_of(request))
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"])
    sentence = f"{place}: {first['message']}"
    return problem(MalformedPayload(f"The request does not fit: {sentence}"), request_id_of(request), errors)


def _field_problem(item: Mapping[str, Any]) -> dict[str, Any]:
    # `input` and `ctx` stay behind: they repeat what was sent, which may be a secret.
    message = str(item["msg"]).removeprefix("Value error, ")
    return {
        "loc": [part if isinstance(part, int) else str(part)[:_LONGEST_PART] for part in item["loc"]],
        "message": message[:300],
        "code": str(item["type"]),
    }


async def _on_http(request: Request, error: Exception) -> Response:
    """What Starlette and FastAPI raise by themselves: unknown paths, wrong methods, bodies that cannot be read."""
    assert isinstance(error, HTTPException)
    known: TollkeeperError
    if error.status_code == 404:
        known = NotFound("There is nothing at this address.")
    elif error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        known = MethodNotAllowed(f"This method does not exist here; use {allow}.", headers={"allow": allow})
    elif error.status_code < 500:
        known = BadRequest("The request could not be read.", status=error.status_code)
    else:
        known = internal_error()
    return problem(known, request_id_of(request))


async def _on_database(request: Request, error: Exception) -> Response:
    """A value that PostgreSQL refuses is the last line behind our own checks; anything else is our fault.

    A missing row behind a foreign key is none: it was there when it was looked for, and somebody removed it meanwhile.
    """
    assert isinstance(error, DBAPIError)
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(state, str) and state.startswith(_DATA_CLASS):
        log.warning("value_refused_by_database", sqlstate=state)
        return problem(MalformedPayload("The request holds a value that cannot be stored."), request_id_of(request))
    if state == _FOREIGN_KEY:
        log.warning("named_row_is_gone", constraint=violated_constraint(error))
        gone = Conflict("What this change names was removed meanwhile; read it again.", code="concurrent_change")
        return problem(gone, request_id_of(request))
    log.error("request_failed", exc_info=error)
    return problem(internal_error(), request_id_of(request))
