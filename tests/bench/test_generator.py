"""The load generator counts exactly: what it sent, what came back, how many events each stream had, what failed."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager

from bench.generator import Connection, Measured, Plan, Run, build_request, measure
from bench.load import chat_body
from bench.mock_upstream import HOST
from tests.bench.conftest import Upstream

CHAT = "/v1/chat/completions"


def plan(port: int, body: bytes, **changes) -> Plan:
    fields = {"connections": 4, "seconds": 0.3, "warmup_seconds": 0.1} | changes
    return Plan(host=HOST, port=port, request=build_request(HOST, port, CHAT, {"x-test": "1"}, body), **fields)


async def test_closed_loop_counts_what_the_upstream_served(upstream: Upstream):
    measured = await measure(plan(upstream.port, chat_body("mock")))
    assert measured.sent == measured.completed == upstream.stats.requests > 0
    assert measured.failed == 0
    assert measured.statuses == {"200": measured.sent}
    assert measured.per_second > 0
    assert 0 < measured.latency_ms.count <= measured.sent
    assert measured.latency_ms.p50 <= measured.latency_ms.p99 <= measured.latency_ms.max


async def test_streams_are_counted_event_by_event(upstream: Upstream):
    measured = await measure(plan(upstream.port, chat_body("mock-6x1", is_stream=True)))
    assert measured.completed == upstream.stats.streams > 0
    # Six tokens, finish, usage, [DONE].
    assert (measured.events_fewest, measured.events_most) == (9, 9)
    assert measured.events == 9 * measured.completed
    assert measured.first_event_ms.count > 0
    assert measured.gap_ms.count > 0
    assert upstream.stats.streams_cancelled == 0


async def test_open_loop_sends_at_its_rate_and_loses_nothing(upstream: Upstream):
    measured = await measure(plan(upstream.port, chat_body("mock-wait30"), per_second=200.0, connections=2, seed=7))
    again = await measure(plan(upstream.port, chat_body("mock"), per_second=200.0, connections=2, seed=7))
    # The same seed sends the same calls, however slow the answers are.
    assert measured.sent == again.sent
    assert 40 <= measured.sent <= 140
    assert measured.failed == 0
    assert upstream.stats.requests == measured.sent + again.sent
    # Two connections can carry 66 of the 200 a second: the queue is part of the latency.
    assert measured.latency_ms.max > 100


async def test_refusals_are_failures_with_their_status(upstream: Upstream):
    measured = await measure(plan(upstream.port, b'{"messages": []}'))
    assert measured.completed == 0
    assert measured.failed == measured.sent == upstream.stats.errors > 0
    assert set(measured.statuses) == {"400"}
    assert measured.latency_ms is None


@asynccontextmanager
async def scripted_server(answer: Callable[[asyncio.StreamWriter], None]):
    """Reads calls and lets `answer` write whatever a real server might."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().rpartition(b"content-length: ")[2]))
                answer(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def measure_once(answer: Callable[[asyncio.StreamWriter], None]) -> Measured:
    async with scripted_server(answer) as port:
        return await measure(plan(port, b"{}", connections=1, seconds=0.1, warmup_seconds=0.0))


async def test_answer_that_closes_the_connection_is_followed_by_a_fresh_one():
    def answer(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    measured = await measure_once(answer)
    assert measured.sent == measured.completed > 1
    assert measured.failed == 0


async def test_connection_cut_in_the_middle_of_an_answer_is_a_failure():
    def answer(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf")
        writer.close()

    measured = await measure_once(answer)
    assert measured.completed == 0
    assert measured.sent == measured.failed > 0


EVENTS = b"data: one\n\ndata: 0\n\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)


async def test_an_answer_cut_anywhere_by_the_network_is_counted_the_same():
    """Feed the halves straight to the protocol, so that each is one read."""
    for cut in range(1, len(CHUNKED)):
        run = Run(plan(1, b"{}"))
        connection = Connection(run)
        connection.connection_made(Transport())
        connection.send(0.0)
        connection.data_received(CHUNKED[:cut])
        assert run.answered == 0
        connection.data_received(CHUNKED[cut:])
        assert run.answered == 1
        assert (run.events, run.events_fewest) == (2, 2)


class Transport(asyncio.Transport):
    def write(self, data) -> None:
        pass
