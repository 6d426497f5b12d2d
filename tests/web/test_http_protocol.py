"""One connection at the wire: every row of the table of HTTP limits, and what a client may rely on."""

import asyncio
import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.web.serving import SWEEP_SECONDS, App, Client, Served, ServerThread, echo, eventually, request, respond

from tollkeeper.web.http_limits import HttpLimits

LIMITS = HttpLimits(sweep_seconds=SWEEP_SECONDS)

Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def server_thread() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.close()


@pytest.fixture
def serve(server_thread: ServerThread) -> Iterator[Serve]:
    """`serve(app, header_seconds=1)`: a listener of its own, with a clock that stands still."""
    contexts = []

    def start(app: App = echo, **changes: Any) -> Served:
        context = server_thread.serve(app, replace(LIMITS, **changes))
        contexts.append(context)
        return context.__enter__()

    yield start
    for context in contexts:
        context.__exit__(None, None, None)


def assert_refused(client: Client, status: int, code: str) -> None:
    answer = client.read_answer()
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert answer.error["message"]
    assert answer.error["param"] is None
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "close"
    assert re.fullmatch(r"req_[0-9a-f]{12}7[0-9a-f]{19}", answer.headers["x-request-id"])
    assert client.is_closed_by_server()


# ── What works ──


def test_request_is_answered_and_the_connection_reused(serve: Serve) -> None:
    client = serve().connect()
    for size in (0, 1, 1000):
        client.send(request(body=b"x" * size))
        answer = client.read_answer()
        assert answer.status == 200
        assert f'"bytes": {size},'.encode() in answer.body
        assert "connection" not in answer.headers


def test_request_arriving_byte_by_byte_is_read(serve: Serve) -> None:
    client = serve().connect()
    for byte in request("/a%20b?c=d", "X-Name: value", body=b"hello"):
        client.send(bytes((byte,)))
    answer = client.read_answer()
    assert b'"bytes": 5, "method": "POST", "path": "/a b"' in answer.body


def test_head_has_headers_and_no_body(serve: Serve) -> None:
    client = serve().connect()
    client.send(request(method="HEAD") + request(method="GET"))
    answer = client.read_answer(has_body=False)
    assert int(answer.headers["content-length"]) > 0
    assert client.read_answer().status == 200


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    client = serve().connect()
    client.send(b"".join(request(f"/{number}", body=b"x" * number) for number in range(20)))
    for number in range(20):
        assert f'"bytes": {number}, "method": "POST", "path": "/{number}"'.encode() in client.read_answer().body
    client.send(request("/after"))
    assert client.read_answer().status == 200


def test_pipelining_without_end_is_refused_after_the_answers(serve: Serve) -> None:
    client = serve(pipelined_requests=3).connect()
    client.send(request(body=b"x") * 8)
    for _ in range(4):
        assert client.read_answer().status == 200
    assert_refused(client, 400, "bad_request_framing")


def test_chunked_body_and_its_trailers_are_read_and_trailers_stay_out_of_the_headers(serve: Serve) -> None:
    client = serve().connect()
    client.send(request("/echo", "Transfer-Encoding: Chunked"))
    client.send(b"3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")
    answer = client.read_answer()
    assert b'"bytes": 5' in answer.body
    assert b"x-trailer" not in answer.body


def test_stream_leaves_chunk_by_chunk(serve: Serve) -> None:
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/event-stream")]})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            await receive()
        await send({"type": "http.response.body", "body": b""})

    client = serve(stream).connect()
    client.send(request(method="GET"))
    assert b"transfer-encoding: chunked\r\n" in client.read_until(b"\r\n\r\n")
    assert client.read_until(b"0\n\n\r\n") == b"9\r\ndata: 0\n\n\r\n"


def test_whole_answer_leaves_in_one_packet(serve: Serve) -> None:
    client = serve().connect()
    client.send(request())
    data = client.socket.recv(65536)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"}")


def test_large_answer_is_whole(serve: Serve) -> None:
    body = bytes(range(256)) * 8192

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, body)

    client = serve(large).connect()
    client.send(request())
    assert client.read_answer().body == body


def test_http_1_0_gets_a_plain_body_and_the_end_of_the_connection(serve: Serve) -> None:
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    client = serve(stream).connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    head = client.read_until(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"transfer-encoding" not in head
    assert client.rest() == b"one two"


def test_connection_close_is_honoured(serve: Serve) -> None:
    client = serve().connect()
    client.send(request("/echo", "Connection: close"))
    assert client.read_answer().headers["connection"] == "close"
    assert client.is_closed_by_server()


def test_connection_closes_when_a_client_asks_or_the_server_drains(serve: Serve) -> None:
    served = serve()
    client = served.connect()
    client.send(request())
    assert "connection" not in client.read_answer().headers
    served.connections.draining = True
    client.send(request())
    assert client.read_answer().headers["connection"] == "close"
    assert client.is_closed_by_server()


def test_expect_continue_is_answered_when_the_body_is_wanted(serve: Serve) -> None:
    client = serve().connect()
    client.send(request("/echo", "Expect: 100-continue", "Content-Length: 3"))
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert b'"bytes": 3' in client.read_answer().body


@pytest.mark.parametrize("target", ["*", "http://other/path", "http://other"])
def test_other_target_forms_reach_the_application(serve: Serve, target: str) -> None:
    client = serve().connect()
    client.send(request(target, method="OPTIONS"))
    assert client.read_answer().status == 200


def test_application_that_fails_is_a_500_in_the_shape_of_openai(serve: Serve) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("secret detail")

    client = serve(fail).connect()
    client.send(request())
    assert_refused(client, 500, "internal_error")


def test_application_that_fails_between_head_and_body_is_a_500(serve: Serve) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("secret detail")

    client = serve(fail).connect()
    client.send(request())
    assert_refused(client, 500, "internal_error")


def test_application_that_fails_inside_a_stream_cuts_it_without_an_end_mark(serve: Serve) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise RuntimeError("secret detail")

    client = serve(fail).connect()
    client.send(request())
    client.read_until(b"\r\n\r\n")
    assert client.rest() == b"4\r\npart\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-name", b"a\r\nset-cookie: b")],
        [(b"x-name", b"a\nb")],
        [(b"x-name\r\nx", b"a")],
        [(b"x-name", b"a\x00b")],
        [(b"content-length", b"5")],
        [(b"content-length", b"1")],
    ],
)
def test_response_that_would_break_the_framing_is_never_sent(serve: Serve, headers: list[tuple[bytes, bytes]]) -> None:
    async def split(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"abc"})

    client = serve(split).connect()
    client.send(request())
    assert_refused(client, 500, "internal_error")


# ── Row 1: the header block in time ──


def test_connection_that_sends_nothing_is_answered_408(serve: Serve) -> None:
    served = serve(header_seconds=5)
    client = served.connect()
    assert eventually(lambda: len(served.connections) == 1)
    served.clock.advance(5)
    assert_refused(client, 408, "header_timeout")


def test_slow_headers_are_answered_408(serve: Serve) -> None:
    served = serve(header_seconds=5)
    client = served.connect()
    client.send(b"POST /echo HTTP/1.1\r\nHost: ")
    assert eventually(lambda: len(served.connections) == 1)
    served.clock.advance(4.9)
    client.send(b"gate")
    served.clock.advance(0.2)
    assert_refused(client, 408, "header_timeout")


def test_slow_headers_of_a_second_request_count_from_its_first_byte(serve: Serve) -> None:
    served = serve(header_seconds=5, keep_alive_seconds=100)
    client = served.connect()
    client.send(request())
    client.read_answer()
    served.clock.advance(60)
    client.send(b"POST /echo HTTP/1.1\r\n")
    assert eventually(lambda: _only(served)._in_head)
    served.clock.advance(5)
    assert_refused(client, 408, "header_timeout")


def test_idle_connection_is_closed_without_an_answer(serve: Serve) -> None:
    served = serve(keep_alive_seconds=65)
    client = served.connect()
    client.send(request())
    client.read_answer()
    served.clock.advance(64)
    client.send(request())
    client.read_answer()
    served.clock.advance(65)
    assert client.is_closed_by_server()


def test_long_answer_is_not_mistaken_for_an_idle_connection(serve: Serve) -> None:
    served, gate = serve_gate(serve)
    client = served.connect()
    client.send(request())
    assert eventually(lambda: gate.started)
    for _ in range(5):
        served.clock.advance(100)
        time.sleep(SWEEP_SECONDS * 3)
    gate.open(served)
    assert client.read_answer().status == 200


# ── Row 2: the body in time ──


def test_body_that_stalls_is_answered_408(serve: Serve) -> None:
    served = serve(body_window_seconds=10, body_bytes_per_second=1024)
    client = served.connect()
    client.send(request("/echo", "Content-Length: 1000000") + b"x" * 1000)
    assert eventually(lambda: _only(served)._newest)
    served.clock.advance(10)
    assert_refused(client, 408, "body_timeout")


def test_body_that_keeps_the_pace_is_read(serve: Serve) -> None:
    served = serve(body_window_seconds=10, body_bytes_per_second=100)
    client = served.connect()
    client.send(request("/echo", "Content-Length: 5000"))
    assert eventually(lambda: _only(served)._newest)
    for _ in range(5):
        client.send(b"x" * 1000)
        assert eventually(
            lambda: not served.state.connections or _only(served)._window_bytes >= 1000 or not _only(served)._in_message
        )
        served.clock.advance(10)
        time.sleep(SWEEP_SECONDS * 3)
    assert b'"bytes": 5000' in client.read_answer().body


def test_body_has_a_total_deadline_however_brisk(serve: Serve) -> None:
    served = serve(body_seconds=30, body_bytes_per_second=1)
    client = served.connect()
    client.send(request("/echo", "Content-Length: 1000000") + b"x" * 1000)
    assert eventually(lambda: _only(served)._newest)
    served.clock.advance(9)
    client.send(b"x" * 1000)
    time.sleep(SWEEP_SECONDS * 3)
    served.clock.advance(21)
    assert_refused(client, 408, "body_timeout")


def test_route_may_allow_its_body_more_time(serve: Serve) -> None:
    async def upload(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["tollkeeper.connection"].allow_body_seconds(1000)
        await echo(scope, receive, send)

    served = serve(upload, body_seconds=30, body_bytes_per_second=0)
    client = served.connect()
    client.send(request("/echo", "Content-Length: 3") + b"x")
    assert eventually(lambda: _only(served)._newest)
    served.clock.advance(999)
    time.sleep(SWEEP_SECONDS * 3)
    client.send(b"xx")
    assert client.read_answer().status == 200


def test_body_deadlines_rest_while_nobody_reads(serve: Serve) -> None:
    served, gate = serve_gate(serve, then=echo)
    client = served.connect()
    size = 2_000_000
    client.send(request("/echo", f"Content-Length: {size}") + b"x" * 20_000)
    assert eventually(lambda: gate.started and _only(served).flow.read_paused)
    for _ in range(40):
        served.clock.advance(10)
        time.sleep(SWEEP_SECONDS * 2)
    gate.open(served)
    client.send(b"x" * (size - 20_000))
    assert f'"bytes": {size}'.encode() in client.read_answer().body


# ── Row 3: sizes of the head ──


def test_long_target_is_answered_414(serve: Serve) -> None:
    client = serve().connect()
    client.send(request("/" + "a" * 9000))
    assert_refused(client, 414, "uri_too_long")


def test_target_without_end_is_answered_414(serve: Serve) -> None:
    client = serve().connect()
    client.send(b"GET /" + b"a" * 9000)
    assert_refused(client, 414, "uri_too_long")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([f"x-{number}: 1" for number in range(100)], id="101 with Host"),
        pytest.param(["x-large: " + "a" * 17_000], id="one over 16 kB"),
        pytest.param([f"x-{number}: " + "a" * 15_000 for number in range(5)], id="75 kB in all"),
        pytest.param([f"x-{number}: " + "a" * 1000 for number in range(1000)], id="1 MB"),
    ],
)
def test_large_headers_are_answered_431(serve: Serve, headers: list[str]) -> None:
    client = serve().connect()
    sender = threading.Thread(target=_send_quietly, args=(client, request("/echo", *headers)))
    sender.start()
    answer = client.read_answer()
    assert (answer.status, answer.error["code"]) == (431, "headers_too_large")
    sender.join()


def test_headers_without_end_are_answered_431(serve: Serve) -> None:
    client = serve().connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    for _ in range(65):
        client.send(b"a" * 1024)
    assert_refused(client, 431, "headers_too_large")


def test_headers_at_the_limits_are_accepted(serve: Serve) -> None:
    client = serve().connect()
    client.send(request("/" + "a" * 8000, *(f"x-{number}: 1" for number in range(98)), "x-large: " + "a" * 16_000))
    assert client.read_answer().status == 200


def test_large_body_behind_small_headers_is_accepted(serve: Serve) -> None:
    client = serve().connect()
    client.send(request(body=b"x" * 3_000_000))
    assert b'"bytes": 3000000' in client.read_answer().body


# ── Row 4: the body is the application's to refuse; nearly nothing is read for it ──


def test_body_that_nobody_wants_is_hardly_read_and_the_refusal_arrives(serve: Serve) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"no", status=401)

    served = serve(refuse)
    client = served.connect()
    client.send(request("/echo", "Content-Length: 1000000000"))
    sender = threading.Thread(target=_send_quietly, args=(client, b"x" * 100_000_000))
    sender.start()
    answer = client.read_answer()
    assert (answer.status, answer.body) == (401, b"no")
    assert answer.headers["connection"] == "close"
    sender.join(5)
    assert not sender.is_alive()
    assert eventually(lambda: not served.state.connections)


def test_body_waits_in_the_kernel_until_the_application_asks(serve: Serve) -> None:
    served, gate = serve_gate(serve)
    client = served.connect()
    client.send(request("/echo", "Content-Length: 100000000"))
    sender = threading.Thread(target=_send_quietly, args=(client, b"x" * 100_000_000))
    sender.start()
    assert eventually(lambda: gate.started and _only(served).flow.read_paused)
    time.sleep(0.05)
    assert _only(served)._newest.buffered <= LIMITS.unread_body_bytes + 256 * 1024
    gate.open(served)
    assert client.read_answer().headers["connection"] == "close"
    sender.join(5)


def test_refused_client_that_sends_nothing_more_is_let_go_after_a_second(serve: Serve) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"no", status=401)

    served = serve(refuse)
    client = served.connect()
    client.send(request("/echo", "Content-Length: 1000"))
    assert client.read_answer().status == 401
    assert client.is_closed_by_server()  # Its sending half: we still listen, so that nothing resets the answer.
    assert served.state.connections
    served.clock.advance(1)
    assert eventually(lambda: not served.state.connections)


def test_expect_continue_is_not_answered_when_the_body_is_not_wanted(serve: Serve) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"no", status=401)

    client = serve(refuse).connect()
    client.send(request("/echo", "Expect: 100-continue", "Content-Length: 1000"))
    assert client.read_answer().status == 401


# ── Row 7: connections ──


def test_connections_above_the_cap_are_refused_and_health_still_answers(serve: Serve) -> None:
    served = serve(connections=2, reserved_connections=2)
    kept = [served.connect() for _ in range(2)]
    assert eventually(lambda: len(served.connections) == 2)
    surplus = served.connect()
    surplus.send(request("/v1/models", method="GET"))
    answer = surplus.read_answer()
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "too_many_connections", "1")
    health = served.connect()
    health.send(request("/health/live", method="GET"))
    assert health.read_answer().status == 200
    kept[0].send(request())
    assert kept[0].read_answer().status == 200


def test_connections_above_the_reserve_are_refused_at_accept(serve: Serve) -> None:
    served = serve(connections=1, reserved_connections=1)
    for expected in (1, 2):
        served.connect()
        assert eventually(lambda expected=expected: len(served.connections) == expected)
    assert_refused(served.connect(), 503, "too_many_connections")
    assert served.connections.refusals == {"too_many_connections": 1}


def test_connections_per_address_are_capped_when_set(serve: Serve) -> None:
    served = serve(connections_per_address=1)
    first = served.connect()
    first.send(request())
    assert first.read_answer().status == 200
    assert_refused(served.connect(), 503, "too_many_connections")
    first.close()
    served.clock.advance(1)
    assert eventually(lambda: not served.state.connections)
    again = served.connect()
    again.send(request())
    assert again.read_answer().status == 200


# ── Row 8: framing ──

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
    "chunk extension without end": request("/", _CHUNKED) + b"3;" + b"a" * 400_000,
    "chunk size of endless zeros": request("/", _CHUNKED) + b"0" * 400_000,
    "endless trailers": request("/", _CHUNKED) + b"0\r\n" + b"x: y\r\n" * 70_000,
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
    sender = threading.Thread(target=_send_quietly, args=(client, BAD_REQUESTS[name] + request("/smuggled")))
    sender.start()
    answer = client.read_answer()
    assert (answer.status, answer.error["code"]) == (400, "bad_request_framing")
    assert answer.headers["connection"] == "close"
    assert client.rest() == b""
    sender.join()
    served.clock.advance(1)
    assert eventually(lambda: not served.state.connections and not served.state.tasks)


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
    assert eventually(lambda: _only(served)._refusal)
    gate.open(served)
    assert client.read_answer().status == 200
    assert_refused(client, 400, "bad_request_framing")


# ── A client that goes away ──


def test_disconnect_calls_back_at_once_and_once(serve: Serve) -> None:
    served, gate = serve_gate(serve)
    client = served.connect()
    client.send(request())
    assert eventually(lambda: gate.started)
    client.close()
    assert eventually(lambda: gate.gone_at, seconds=0.25)
    served.clock.advance(1000)
    time.sleep(SWEEP_SECONDS * 3)
    assert len(gate.gone_at) == 1


def test_reset_calls_back_at_once(serve: Serve) -> None:
    served, gate = serve_gate(serve)
    client = served.connect()
    client.send(request())
    assert eventually(lambda: gate.started)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert eventually(lambda: gate.gone_at, seconds=0.25)


def test_disconnect_inside_a_silent_stream_calls_back_at_once(serve: Serve) -> None:
    served, gate = serve_gate(serve, stream_first=True)
    client = served.connect()
    client.send(request())
    client.read_until(b"first\r\n")
    client.close()
    assert eventually(lambda: gate.gone_at, seconds=0.25)


def test_disconnect_before_anyone_asks_is_told_on_asking(serve: Serve) -> None:
    told = []

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        scope["extensions"]["tollkeeper.connection"].on_disconnect(lambda: told.append(True))

    served = serve(late)
    client = served.connect()
    client.send(request())
    assert eventually(lambda: served.state.tasks)
    client.close()
    assert eventually(lambda: told)


def test_request_that_did_not_ask_runs_to_its_end_without_its_client(serve: Serve) -> None:
    release = asyncio.Event()
    ended = []

    async def control_plane(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await respond(send, b"done")
        ended.append(True)

    served = serve(control_plane)
    client = served.connect()
    client.send(request())
    assert eventually(lambda: served.state.tasks)
    client.close()
    assert eventually(lambda: not served.state.connections)
    assert served.state.tasks
    served.loop.call_soon_threadsafe(release.set)
    assert eventually(lambda: ended)


def test_answered_request_is_not_told_of_a_later_disconnect(serve: Serve) -> None:
    told = []

    async def quick(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["tollkeeper.connection"].on_disconnect(lambda: told.append(True))
        await respond(send, b"done")

    served = serve(quick)
    client = served.connect()
    client.send(request())
    client.read_answer()
    client.close()
    assert eventually(lambda: not served.state.connections)
    assert not told


def test_half_closed_client_gets_its_answer(serve: Serve) -> None:
    served, gate = serve_gate(serve)
    client = served.connect()
    client.send(request())
    client.socket.shutdown(socket.SHUT_WR)
    assert eventually(lambda: gate.started)
    time.sleep(LIMITS.probe_seconds * 3)
    assert not gate.gone_at
    gate.open(served)
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"  # The probe; clients skip it.
    assert client.read_answer().body == b"done"
    assert client.is_closed_by_server()


def test_client_that_half_closes_inside_a_stream_gets_the_rest(serve: Serve) -> None:
    served, gate = serve_gate(serve, stream_first=True)
    client = served.connect()
    client.send(request())
    client.read_until(b"first\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    time.sleep(LIMITS.probe_seconds * 3)
    assert not gate.gone_at
    gate.open(served)
    assert client._read_chunks() == b"done"
    assert client.is_closed_by_server()


def test_half_closed_client_that_dies_later_is_noticed_at_the_next_write(serve: Serve) -> None:
    served, gate = serve_gate(serve, stream_first=True, then=_stream_for_ever)
    client = served.connect()
    client.send(request())
    client.read_until(b"first\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    time.sleep(LIMITS.probe_seconds * 2)
    client.close()
    gate.open(served)
    assert eventually(lambda: gate.gone_at, seconds=0.5)


def test_body_cut_short_is_a_disconnect(serve: Serve) -> None:
    seen = []

    async def watch(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            pass
        seen.append(message["type"])

    client = serve(watch).connect()
    client.send(request("/", "Content-Length: 10") + b"abc")
    client.socket.shutdown(socket.SHUT_WR)
    assert eventually(lambda: seen == ["http.disconnect"])


# ── A client that does not read ──


def test_stalled_reader_is_cut_off_and_holds_little_memory(serve: Serve) -> None:
    served, gate = serve_gate(serve, stream_first=True, then=_stream_for_ever)
    client = served.connect(receive_buffer=4096)
    client.send(request())
    gate.open(served)
    assert eventually(lambda: served.state.connections and _only(served).flow.write_paused)
    assert _only(served).transport.get_write_buffer_size() <= LIMITS.write_buffer_bytes
    served.clock.advance(LIMITS.write_idle_seconds)
    assert eventually(lambda: gate.gone_at)
    assert eventually(lambda: not served.state.connections)


def test_slow_reader_that_reads_on_is_served(serve: Serve) -> None:
    served, gate = serve_gate(serve, stream_first=True, then=_stream_for_ever)
    client = served.connect(receive_buffer=4096)
    client.send(request())
    gate.open(served)
    assert eventually(lambda: served.state.connections and _only(served).flow.write_paused)
    for _ in range(5):
        before = _only(served).transport.get_write_buffer_size()
        while _only(served).flow.write_paused and _only(served).transport.get_write_buffer_size() >= before:
            client.socket.recv(262_144)
        served.clock.advance(LIMITS.write_idle_seconds - 1)
        time.sleep(SWEEP_SECONDS * 3)
    assert not gate.gone_at


def test_answer_that_is_never_fetched_does_not_hold_the_connection(serve: Serve) -> None:
    async def large(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"x" * 20_000_000)

    served = serve(large)
    client = served.connect(receive_buffer=4096)
    client.send(request("/", "Connection: close"))
    assert eventually(lambda: served.state.total_requests == 1)
    served.clock.advance(LIMITS.write_idle_seconds)
    assert eventually(lambda: not served.state.connections)


def test_small_writes_leave_at_once(serve: Serve) -> None:
    served = serve()
    served.connect()
    assert eventually(lambda: served.state.connections)
    raw_socket = _only(served).transport.get_extra_info("socket")
    assert raw_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


# ── Parts ──


class Gate:
    """An application that waits until the test lets it go on, and notes when its client left."""

    def __init__(self, *, stream_first: bool, then: App | None) -> None:
        self.started = False
        self.gone_at: list[float] = []
        self._stream_first = stream_first
        self._then = then
        self._release = asyncio.Event()

    def open(self, served: Served) -> None:
        served.loop.call_soon_threadsafe(self._release.set)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["tollkeeper.connection"].on_disconnect(lambda: self.gone_at.append(time.monotonic()))
        self.started = True
        if self._stream_first:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await self._release.wait()
        if self._then is not None:
            await self._then(scope, receive, send)
        elif self._stream_first:
            await send({"type": "http.response.body", "body": b"done"})
        else:
            await respond(send, b"done")


def serve_gate(serve: Serve, *, stream_first: bool = False, then: App | None = None) -> tuple[Served, Gate]:
    gate = Gate(stream_first=stream_first, then=then)
    return serve(gate), gate


async def _stream_for_ever(scope: Any, receive: Any, send: Any) -> None:
    while not scope["extensions"]["tollkeeper.connection"].disconnected:
        await send({"type": "http.response.body", "body": b"x" * 16_384, "more_body": True})
        await asyncio.sleep(0)


def _only(served: Served) -> Any:
    assert eventually(lambda: len(served.state.connections) == 1)
    (connection,) = served.state.connections
    return connection


def _send_quietly(client: Client, data: bytes) -> None:
    """Offer a body that the server may refuse half way."""
    with contextlib.suppress(OSError):
        client.send(data)
