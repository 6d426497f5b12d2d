"""The table of HTTP limits in `SECURITY.md`, row by row: deadlines, sizes, unread bodies, connections."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.web.serving import (
    LIMITS,
    SWEEP_SECONDS,
    Served,
    assert_refused,
    echo,
    eventually,
    only_connection,
    request,
    respond,
    send_quietly,
    serve_gate,
)

Serve = Callable[..., Served]


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
    assert eventually(lambda: only_connection(served)._in_head)
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
    assert eventually(lambda: only_connection(served)._newest)
    served.clock.advance(10)
    assert_refused(client, 408, "body_timeout")


def test_body_that_keeps_the_pace_is_read(serve: Serve) -> None:
    served = serve(body_window_seconds=10, body_bytes_per_second=100)
    client = served.connect()
    client.send(request("/echo", "Content-Length: 5000"))
    assert eventually(lambda: only_connection(served)._newest)
    for _ in range(5):
        client.send(b"x" * 1000)
        assert eventually(
            lambda: (
                not served.state.connections
                or only_connection(served)._window_bytes >= 1000
                or not only_connection(served)._in_message
            )
        )
        served.clock.advance(10)
        time.sleep(SWEEP_SECONDS * 3)
    assert b'"bytes": 5000' in client.read_answer().body


def test_body_has_a_total_deadline_however_brisk(serve: Serve) -> None:
    served = serve(body_seconds=30, body_bytes_per_second=1)
    client = served.connect()
    client.send(request("/echo", "Content-Length: 1000000") + b"x" * 1000)
    assert eventually(lambda: only_connection(served)._newest)
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
    assert eventually(lambda: only_connection(served)._newest)
    served.clock.advance(999)
    time.sleep(SWEEP_SECONDS * 3)
    client.send(b"xx")
    assert client.read_answer().status == 200


def test_body_deadlines_rest_while_nobody_reads(serve: Serve) -> None:
    served, gate = serve_gate(serve, then=echo)
    client = served.connect()
    size = 2_000_000
    client.send(request("/echo", f"Content-Length: {size}") + b"x" * 20_000)
    assert eventually(lambda: gate.started and only_connection(served).flow.read_paused)
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
    sender = threading.Thread(target=send_quietly, args=(client, request("/echo", *headers)))
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
    sender = threading.Thread(target=send_quietly, args=(client, b"x" * 100_000_000))
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
    sender = threading.Thread(target=send_quietly, args=(client, b"x" * 100_000_000))
    sender.start()
    assert eventually(lambda: gate.started and only_connection(served).flow.read_paused)
    time.sleep(0.05)
    assert only_connection(served)._newest.buffered <= LIMITS.unread_body_bytes + 256 * 1024
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
