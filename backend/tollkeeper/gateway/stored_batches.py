"""`/batches` and what lies below it: create, list, look at and cancel batches, as OpenAI's Batch API does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from tollkeeper.contracts.batches import ENDPOINTS, WINDOW, Batch, NewBatch
from tollkeeper.contracts.files import format_file_id, parse_file_id
from tollkeeper.contracts.key_bounds import EndpointNotAllowed, endpoint_allowed
from tollkeeper.contracts.ports import BatchStore
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import BadRequest, DependencyUnavailable, Forbidden, NotFound
from tollkeeper.core.ids import format_id, parse_id
from tollkeeper.gateway.edge.limits import Body
from tollkeeper.gateway.paged import invalid_value, read_page, read_query, write_page
from tollkeeper.gateway.stored_files import read_life

_PATH: Final = re.compile(r"/(?:api/)?v1/batches(?:/([^/]{1,100})(/cancel)?)?")
_ALLOW: Final = {"batches": "GET, HEAD, POST", "batch": "GET, HEAD", "cancel": "POST"}
_PAGE: Final = 20
_LARGEST_PAGE: Final = 100
_MOST_PAIRS, _LONGEST_KEY, _LONGEST_VALUE = 16, 64, 512
_TIMES: Final = (
    "created_at",
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """One of the paths: all batches, one batch, or its end."""

    part: str
    name: str = ""

    @property
    def allow(self) -> str:
        return _ALLOW[self.part]


def find_batch_place(path: str) -> BatchPlace | None:
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    if found[1] is None:
        return BatchPlace("batches")
    return BatchPlace("batch" if found[2] is None else "cancel", found[1])


class StoredBatches:
    def __init__(self, batches: BatchStore | None) -> None:
        self._batches = batches

    async def serve(self, place: BatchPlace, method: str, query: bytes, principal: Principal, body: Body) -> bytes:
        """What another tenant or project has is unknown, in the very same words."""
        batches = self._batches
        if batches is None:
            raise DependencyUnavailable("No batches are run here.")
        if place.part == "batches":
            if method == "POST":
                return orjson.dumps(write_batch(await batches.create(principal, await _read_new(principal, body))))
            asked = read_page(read_query(query), _parse_id, usual=_PAGE, most=_LARGEST_PAGE, is_ordered=False)
            found, has_more = await batches.list(principal, asked)
            return orjson.dumps(write_page([write_batch(batch) for batch in found], has_more=has_more))
        try:
            batch_id = _parse_id(place.name)
        except ValueError:
            raise _not_found(place) from None
        ask = batches.cancel if place.part == "cancel" else batches.find
        batch = await ask(principal, batch_id)
        if batch is None:
            raise _not_found(place)
        return orjson.dumps(write_batch(batch))


def write_batch(batch: Batch) -> dict[str, Any]:
    errors = None
    if batch.errors is not None:
        told = [
            {"code": one.code, "line": one.line, "message": one.message, "param": one.param} for one in batch.errors
        ]
        errors = {"object": "list", "data": told}
    return {
        "id": format_id("batch", batch.id),
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": errors,
        "input_file_id": format_file_id(batch.input_file_id),
        "completion_window": WINDOW,
        "status": batch.status.value,
        "output_file_id": None if batch.output_file_id is None else format_file_id(batch.output_file_id),
        "error_file_id": None if batch.error_file_id is None else format_file_id(batch.error_file_id),
        **{name: batch.times.get(name) for name in _TIMES},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata,
    }


async def _read_new(principal: Principal, body: Body) -> NewBatch:
    if principal.run_id is not None:
        raise Forbidden("A run key ends before a batch may; create the batch with the key it was made of.")
    try:
        given = orjson.loads(await body.read())
    except orjson.JSONDecodeError:
        raise BadRequest("The request body is not JSON.", code="invalid_json") from None
    if not isinstance(given, dict):
        raise BadRequest("The request body is not a JSON object.", code="invalid_json")
    for name in ("input_file_id", "endpoint", "completion_window"):
        if given.get(name) is None:
            raise BadRequest(f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
    if given["completion_window"] != WINDOW:
        raise invalid_value("completion_window", f"'{WINDOW}'")
    endpoint = _read_endpoint(given["endpoint"])
    if principal.allowed_endpoints is not None and not endpoint_allowed(endpoint, principal.allowed_endpoints):
        raise EndpointNotAllowed(f"This key may not be used for '{endpoint}'.", param="endpoint")
    try:
        file_id = parse_file_id(str(given["input_file_id"]))
    except ValueError:
        raise invalid_value("input_file_id", "the id of a file with the purpose 'batch'") from None
    return NewBatch(endpoint, file_id, _read_metadata(given.get("metadata")), _read_output_life(given))


def _read_endpoint(given: object) -> str:
    endpoint = given.removeprefix("/api") if isinstance(given, str) else given
    if endpoint not in ENDPOINTS:
        raise invalid_value("endpoint", "one of " + ", ".join(f"'{known}'" for known in ENDPOINTS))
    assert isinstance(endpoint, str)
    return endpoint


def _read_metadata(given: object) -> Mapping[str, str] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or len(given) > _MOST_PAIRS:
        raise invalid_value("metadata", f"an object of at most {_MOST_PAIRS} texts")
    for key, value in given.items():
        # PostgreSQL's documents hold no NUL.
        is_text = isinstance(value, str) and "\0" not in key + value
        if not is_text or len(key) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
            raise invalid_value(
                "metadata", f"keys of at most {_LONGEST_KEY} and texts of at most {_LONGEST_VALUE} characters"
            )
    return given


def _read_output_life(given: Mapping[str, Any]) -> int | None:
    life = given.get("output_expires_after")
    if life is None:
        return None
    if not isinstance(life, dict):
        raise invalid_value("output_expires_after", "an object with 'anchor' and 'seconds'")
    return read_life(life.get("anchor"), life.get("seconds"), "output_expires_after")


def _parse_id(text: str) -> UUID:
    return parse_id("batch", text)


def _not_found(place: BatchPlace) -> NotFound:
    return NotFound(f"No batch found with id '{place.name}'.", code="batch_not_found", param="id")
