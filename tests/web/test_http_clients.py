"""Clients that go away, half close, or do not read."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from tests.web.serving import (
    LIMITS,
    SWEEP_SECONDS,
    Served,
    eventually,
    only_connection,
    request,
    respond,
    serve_gate,
)

Serve = Callable[..., Served]


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
    assert eventually(lambda: served.state.connections and only_connection(served).flow.write_paused)
    assert only_connection(served).transport.get_write_buffer_size() <= LIMITS.write_buffer_bytes
    served.clock.advance(LIMITS.write_idle_seconds)
    assert eventually(lambda: gate.gone_at)
    assert eventually(lambda: not served.state.connections)


def test_slow_reader_that_reads_on_is_served(serve: Serve) -> None:
    served, gate = serve_gate(serve, stream_first=True, then=_stream_for_ever)
    client = served.connect(receive_buffer=4096)
    client.send(request())
    gate.open(served)
    assert eventually(lambda: served.state.connections and only_connection(served).flow.write_paused)
    for _ in range(5):
        before = only_connection(served).transport.get_write_buffer_size()
        while (
            only_connection(served).flow.write_paused
            and only_connection(served).transport.get_write_buffer_size() >= before
        ):
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
    raw_socket = only_connection(served).transport.get_extra_info("socket")
    assert raw_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def _stream_for_ever(scope: Any, receive: Any, send: Any) -> None:
    while not scope["extensions"]["tollkeeper.connection"].disconnected:
        await send({"type": "http.response.body", "body": b"x" * 16_384, "more_body": True})
        await asyncio.sleep(0)
