"""Ids of a call: ours is the only key (RULING 8); the caller's is kept beside it when it is sane."""

import re
from collections.abc import Mapping
from typing import Final

_SANE: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def read_client_request_id(headers: Mapping[bytes, bytes]) -> str | None:
    """What the caller names this call, for looking it up later; never reflected into a header unchecked."""
    value = headers.get(b"x-client-request-id") or headers.get(b"x-request-id") or headers.get(b"idempotency-key")
    if value is None or not _SANE.fullmatch(value):
        return None
    return value.decode("ascii")
