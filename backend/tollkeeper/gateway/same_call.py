"""When two calls are the same: what the digest of an `Idempotency-Key` is made of."""

from hashlib import sha256
from typing import Final

import orjson

from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.form import Form
from tollkeeper.gateway.stage import Exchange

HEADER: Final = b"idempotency-key"


def digest_of(exchange: Exchange, body: bytes) -> bytes:
    """Of the body as it came: what is not said in the canonical call is asked for all the same.

    Of the path and the dialect as well: the one may name the model, and answers of one dialect are none of another.
    """
    path = exchange.path.removeprefix("/api")
    digest = sha256(orjson.dumps([exchange.operation.value, type(exchange.dialect).__name__, path]))
    digest.update(body)
    return digest.digest()


def digest_of_form(operation: Operation, form: Form) -> bytes:
    """By its fields: clients draw a new boundary for each attempt."""
    digest = sha256(operation.value.encode())
    for part in form.parts:
        digest.update(orjson.dumps([part.name, part.filename, part.content_type, part.end - part.start]))
        digest.update(form.view(part))
    return digest.digest()
