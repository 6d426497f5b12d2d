"""What a request's directives ask for, done in one place for every wire format: to hang, to refuse, or to answer."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from tollkeeper.gateway.simulator.directives import Directives, Family, read_header, read_model
from tollkeeper.gateway.simulator.refusal import Refusal, chosen
from tollkeeper.gateway.simulator.script import Ending, Part, Script

# How often this request, by its digest, has come, this time included.
Tries = Callable[[bytes], int]


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """A refusal in a vendor's own words."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Wire(Protocol):
    """One request of one vendor's wire format, as the simulator takes and answers it."""

    def read(self, body: bytes) -> dict[str, Any]:
        """JSON, unless a format says otherwise. Raises `Refusal`."""
        return _read(body)

    def model(self, request: Mapping[str, Any]) -> str:
        """The name that holds the directives. Raises `Refusal` when there is none."""
        ...

    def digest(self, request: Mapping[str, Any]) -> bytes:
        """Of what the answer depends on."""
        ...

    def answer(self, request: dict[str, Any], model: str, family: Family, wish: Directives, digest: bytes) -> Script:
        """Raises `Refusal` for what this vendor would refuse."""
        ...

    def refused(self, refusal: Refusal) -> Refused: ...


def direct(wire: Wire, body: bytes, *, header: str, tries: Tries, stands_in: bool) -> Script:
    """The answer to one request. Never raises for what the request holds.

    With `stands_in` models of other names are answered as well, as plain `simulated` would. `header` is the value of
    `x-simulate`. Only the directive `times-N` asks `tries`.
    """
    model = ""
    wish = Directives()
    try:
        request = wire.read(body)
        model = wire.model(request)
        family, wish = read_model(model, stands_in=stands_in)
        if header:
            wish = read_header(wish, header)
        digest = wire.digest(request)
        if wish.is_hanging:
            return Script(200, {}, (), Ending.HANG, never_begins=True, model=model)
        if wish.status is not None and (wish.times is None or tries(digest + model.encode()) <= wish.times):
            raise chosen(wish.status, wish.error_code, wish.retry_after_seconds)
        script = wire.answer(request, model, family, wish, digest)
        return dataclasses.replace(script, wait_seconds=wish.slow_seconds)
    except Refusal as refusal:
        refused = wire.refused(refusal)
        return Script(
            refused.status,
            refused.headers,
            (Part(refused.content),),
            wait_seconds=wish.slow_seconds,
            content_length=len(refused.content),
            model=model,
        )


def _read(body: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "We could not parse the JSON body of your request.", code="invalid_json") from error
    if not isinstance(request, dict):
        raise Refusal(400, "The body of the request must be a JSON object.", code="invalid_json")
    return request
