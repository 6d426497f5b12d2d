"""What makes a request head acceptable, beyond what llhttp already refuses. Pure.

llhttp (as uvicorn sets it up) refuses bare LF and CR, obs-fold, a space before the colon, control characters, CL with
TE, repeated, signed or hexadecimal lengths. It lets through: other transfer codings, TE in HTTP/1.0, HTTP/0.9 and 2.0,
no or two Hosts, fragments, any method it knows, upgrades. `RefusedError` stops the parser.
"""

from typing import Final
from urllib.parse import unquote

import httptools

from tollkeeper.web.http_limits import (
    BAD_FRAMING,
    HEADERS_TOO_LARGE,
    METHOD_NOT_ALLOWED,
    UPGRADE_REFUSED,
    URI_TOO_LONG,
    HttpLimits,
    RefusedError,
)

_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_JUDGED_HEADERS: Final = frozenset({b"host", b"expect", b"transfer-encoding"})


def judge_start_line(method: bytes, version: str, *, is_upgrade: bool) -> None:
    if method not in _METHODS:
        raise RefusedError(METHOD_NOT_ALLOWED)
    if is_upgrade:
        raise RefusedError(UPGRADE_REFUSED)
    if version not in {"1.1", "1.0"}:
        raise RefusedError(BAD_FRAMING)


def judge_headers(headers: list[tuple[bytes, bytes]], *, http_1_0: bool) -> tuple[bool, bool]:
    """Returns whether the body is chunked, and whether the client waits for `100 Continue` before sending it."""
    hosts = 0
    is_chunked = expects_continue = False
    for name, value in headers:
        if name in _JUDGED_HEADERS:
            if name == b"host":
                hosts += 1
            elif name == b"expect":
                expects_continue = value.lower() == b"100-continue"
            elif value.strip().lower() == b"chunked" and not http_1_0:
                is_chunked = True
            else:
                raise RefusedError(BAD_FRAMING)
    if hosts != 1 and (hosts or not http_1_0):
        raise RefusedError(BAD_FRAMING)
    return is_chunked, expects_continue


def judge_size(limits: HttpLimits, url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    if len(url) > limits.target_bytes:
        raise RefusedError(URI_TOO_LONG)
    sizes = [len(name) + len(value) for name, value in headers]
    too_large = max(sizes, default=0) > limits.header_bytes or len(url) + sum(sizes) > limits.head_bytes
    if too_large or len(headers) > limits.header_count:
        raise RefusedError(HEADERS_TOO_LARGE)


def split_target(url: bytes) -> tuple[str, bytes, bytes]:
    """The decoded path, the path as sent, and the query, of an origin-form, absolute-form or asterisk-form target."""
    if b"#" in url:
        raise RefusedError(BAD_FRAMING)
    if url.startswith(b"/"):
        raw_path, _, query = url.partition(b"?")
    elif url == b"*":
        raw_path, query = url, b""
    else:
        parsed = httptools.parse_url(url)
        raw_path, query = parsed.path or b"/", parsed.query or b""
    path = raw_path.decode("ascii")
    return (unquote(path) if "%" in path else path), raw_path, query
