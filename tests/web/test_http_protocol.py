"""What a client may rely on: whole and streamed answers, reuse, pipelining, errors of the application."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.web.serving import Served, assert_refused, request, respond

Serve = Callable[..., Served]


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


async def whole_in_one_step(scope: Any, receive: Any, send: Any) -> None:
    """As the data plane answers: in one step where the request is an ordinary one, else by ASGI's messages."""
    while (await receive())["more_body"]:
        pass
    connection = scope["extensions"]["tollkeeper.connection"]
    if not connection.answer(200, 1, b"x-way: short\r\n", b"abc"):
        await respond(send, b"abc", headers=((b"x-way", b"long"),))


def test_whole_answer_in_one_step_is_like_any_other(serve: Serve) -> None:
    client = serve(whole_in_one_step).connect()
    for _ in range(2):
        client.send(request(body=b"hello"))
        answer = client.read_answer()
        assert (answer.status, answer.body) == (200, b"abc")
        assert answer.headers["x-way"] == "short"
        assert answer.headers["content-length"] == "3"
    client.send(request(method="HEAD"))
    answer = client.read_answer(has_body=False)
    assert answer.headers["x-way"] == "long"
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert b"x-way: long" in client.rest()


@pytest.mark.parametrize("head", [b"x-name: a\r\nset-cookie: b\r\n", b"x-name: a\nb\r\n", b"x-name: a\x00\r\n", b""])
def test_head_that_is_not_its_lines_is_never_sent(serve: Serve, head: bytes) -> None:
    async def split(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["tollkeeper.connection"].answer(200, 1, head, b"abc")

    client = serve(split).connect()
    client.send(request(method="GET"))
    assert_refused(client, 500, "internal_error")


def test_pieces_pushed_are_pieces_of_the_stream(serve: Serve) -> None:
    pushed: list[bool] = []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        connection = scope["extensions"]["tollkeeper.connection"]
        push = connection.push
        pushed.append(push(b"too early", is_last=False))
        if scope["path"] == "/short":
            assert connection.begin(200, 1, b"x-way: short\r\n")
            pushed.append(push(b"zero ", is_last=False))
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        pushed.extend((push(b"two ", is_last=False), push(b"", is_last=False)))
        if scope["path"] == "/short":
            pushed.append(push(b"three", is_last=True))
        else:
            await send({"type": "http.response.body", "body": b"three"})
        pushed.append(push(b"too late", is_last=False))

    client = serve(stream).connect()
    client.send(request(method="GET"))
    assert client.read_answer().body == b"one two three"
    assert pushed == [False, True, False, False]
    pushed.clear()
    client.send(request("/short", method="GET"))
    answer = client.read_answer()
    assert (answer.body, answer.headers["x-way"]) == (b"zero one two three", "short")
    assert pushed == [False, True, True, False, True, False]
