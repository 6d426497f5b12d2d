"""Requests that two parsers could read in two ways: refused, and the connection closed."""

import threading
from collections.abc import Callable

import pytest

from tests.web.serving import Served, assert_refused, eventually, only_connection, request, send_quietly, serve_gate

Serve = Callable[..., Served]


_CHUNKED = "Transfer-Encoding: chunked"

BAD_REQUESTS = {
    "CL and TE": request("/", "Content-Length: 3", _CHUNKED) + b"0\r\n\r\n",
    "TE and CL": request("/", _CHUNKED, "Content-Length: 3") + b"0\r\n\r\n",
    "two equal CL": request("/", "Content-Length: 3", "Content-Length: 3") + b"abc",
    "two different CL": request("/", "Content-Length: 3", "Content-Length: 4") + b"abc",
    "CL list": request("/", "Content-Length: 3, 3") + b"abc",
    "CL plus": request("/", "Content-Length: +3") + b"abc",
    "CL minus": request("/", "Content-Length: -3") + b"abc",
    "CL hex": request("/", "Content-Length: 0x3") + b"abc",
    "CL with a space inside": request("/", "Content-Length: 1 3") + b"abc",
    "CL empty": request("/", "Content-Length: ") + b"abc",
    "CL too large": request("/", "Content-Length: 99999999999999999999") + b"abc",
    "TE identity": request("/", "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "TE chunked, identity": request("/", "Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "TE identity, chunked": request("/", "Transfer-Encoding: identity, chunked") + b"0\r\n\r\n",
    "TE gzip, chunked": request("/", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "TE xchunked": request("/", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "TE twice": request("/", _CHUNKED, _CHUNKED) + b"0\r\n\r\n",
    "TE in HTTP/1.0": request("/", _CHUNKED, version="1.0") + b"0\r\n\r\n",
    "TE after a fold": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "chunk size with a sign": request("/", _CHUNKED) + b"+3\r\nabc\r\n0\r\n\r\n",
    "chunk size with 0x": request("/", _CHUNKED) + b"0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size with a space": request("/", _CHUNKED) + b"3 \r\nabc\r\n0\r\n\r\n",
    "chunk size too large": request("/", _CHUNKED) + b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "chunk size before LF": request("/", _CHUNKED) + b"3\nabc\r\n0\r\n\r\n",
    "chunk before LF": request("/", _CHUNKED) + b"3\r\nabc\n0\r\n\r\n",
    "chunk extension with LF": request("/", _CHUNKED) + b"3;a\nabc\r\n0\r\n\r\n",
    "CL in a trailer": request("/", _CHUNKED) + b"0\r\nContent-Length: 3\r\n\r\n",
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after a header": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "bare LF before the request": b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare CR in a header": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "bare CR at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\rX",
    "obs-fold": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "obs-fold with a tab": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
    "space before the first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "space before a colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "no header name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "high byte in a name": b"GET / HTTP/1.1\r\nHo\xffst: a\r\n\r\n",
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "high byte in the target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "unknown method": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "h2c upgrade": request("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA", body=b"x"),
    "WebSocket upgrade": request("/", "Connection: Upgrade", "Upgrade: websocket", method="GET"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_ambiguous_request_is_answered_400_and_reaches_nobody_twice(serve: Serve, name: str) -> None:
    served = serve()
    client = served.connect()
    sender = threading.Thread(target=send_quietly, args=(client, BAD_REQUESTS[name] + request("/smuggled")))
    sender.start()
    answer = client.read_answer()
    assert (answer.status, answer.error["code"]) == (400, "bad_request_framing")
    assert answer.headers["connection"] == "close"
    assert client.rest() == b""
    sender.join()
    served.clock.advance(1)
    assert eventually(lambda: not served.state.connections and not served.state.tasks)


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(b"3;" + b"a" * 400_000, id="chunk extension"),
        pytest.param(b"0" * 400_000, id="zeros of a chunk's size"),
        pytest.param(b"0\r\n" + b"x: y\r\n" * 70_000, id="trailers"),
    ],
)
def test_chunked_framing_without_end_is_answered_400(serve: Serve, framing: bytes) -> None:
    client = serve().connect()
    sender = threading.Thread(target=send_quietly, args=(client, request("/", _CHUNKED) + framing))
    sender.start()
    answer = client.read_answer()
    assert (answer.status, answer.error["code"]) == (400, "bad_request_framing")
    sender.join()


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PROPFIND", "M-SEARCH"])
def test_unserved_method_is_answered_405(serve: Serve, method: str) -> None:
    client = serve().connect()
    client.send(request("gateway:443" if method == "CONNECT" else "/", method=method))
    answer = client.read_answer()
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]
    assert client.is_closed_by_server()


def test_upgrade_header_that_is_not_asked_for_is_ignored(serve: Serve) -> None:
    client = serve().connect()
    client.send(request("/", "Upgrade: h2c", body=b"abc"))
    assert b'"bytes": 3' in client.read_answer().body


def test_broken_request_behind_a_running_one_waits_for_its_answer(serve: Serve) -> None:
    served, gate = serve_gate(serve)
    client = served.connect()
    client.send(request())
    assert eventually(lambda: gate.started)
    client.send(b"GARBAGE\r\n\r\n")
    assert eventually(lambda: only_connection(served)._refusal)
    gate.open(served)
    assert client.read_answer().status == 200
    assert_refused(client, 400, "bad_request_framing")
