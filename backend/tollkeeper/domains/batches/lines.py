"""OpenAI's JSONL at both ends of a batch: the call that a line of the input asks for, the line its answer becomes. Pure."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import orjson

from tollkeeper.contracts.batches import Answered
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import format_id
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object

_STREAMED: Final = ("A request of a batch is answered whole: leave 'stream' out.", "stream", "unsupported_parameter")
# The line itself is one level around its body, which the pipeline judges once more by its own bound.
_MOST_DEPTH: Final = DEFAULT_DEPTH + 1


def read_body(line: bytes) -> tuple[bytes, bytes | None]:
    """The call's body, and the body of its refusal where a batch cannot make it.

    Read as strictly as a call's own: what readers could understand differently is refused, line by line.
    """
    try:
        body = read_object(line, _MOST_DEPTH)["body"]
    except BadRequest as error:
        return b"", _refusal(error.message, error.param, error.code)
    return orjson.dumps(body), _refusal(*_STREAMED) if body.get("stream") else None


def _refusal(message: str, param: str | None, code: str) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return orjson.dumps({"error": error})


def write_response(answered: Answered) -> bytes:
    """What a line says under `response`."""
    # Some vendors write blank lines until they know their answer.
    body = answered.body.strip()
    if not body.startswith((b"{", b"[")):
        body = orjson.dumps(body.decode("utf-8", "replace"))
    # Between the parts of a document, where it was written over several lines; inside a text there is none.
    body = body.replace(b"\n", b" ").replace(b"\r", b" ")
    request_id = format_id("req", answered.request_id).encode()
    return b'{"status_code":%d,"request_id":"%b","body":%b}' % (answered.status, request_id, body)


def write_line(
    batch_id: UUID,
    number: int,
    custom_id: str,
    *,
    response: bytes | None,
    error: tuple[str, str] | None = None,
    interrupted: Sequence[UUID] = (),
) -> bytes:
    """One line of the output or of the error file.

    `interrupted`: ids of calls of this request whose end was never seen, so that it was made again. `error`: code and
    message of a request that was not made.
    """
    told = None if error is None else {"code": error[0], "message": error[1]}
    again = [format_id("req", request_id) for request_id in interrupted]
    return b'{"id":"batch_req_%b%06x","custom_id":%b,"response":%b,"error":%b%b}\n' % (
        batch_id.hex.encode(),
        number,
        orjson.dumps(custom_id),
        response or b"null",
        orjson.dumps(told),
        b',"interrupted_request_ids":' + orjson.dumps(again) if again else b"",
    )
