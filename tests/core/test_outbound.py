"""The guarded client: what is inside stays unreachable however it is spelled, and what answers is held to limits."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tollkeeper.core.outbound import Outbound, OutboundFailed

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """The port of a server that does to each connection what `handler` does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def answering(answer: bytes, seen: list[bytes] | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        writer.write(answer)
        await writer.drain()

    return handler


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: a=b\r\nX-Two: x\r\n\r\n{}"


async def test_answer_is_read_with_its_headers_in_lower_case() -> None:
    seen: list[bytes] = []
    async with listening(answering(OK, seen)) as port:
        answer = await Outbound().send(
            "GET", f"http://localhost:{port}/a?b=c", headers={"accept": "text/x"}, allow_private_address=True
        )

    assert (answer.status, answer.body, answer.headers["x-two"]) == (200, b"{}", "x")
    assert seen[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert f"host: localhost:{port}".encode() in seen[0].lower()
    assert b"accept: text/x" in seen[0].lower()


async def test_cookies_of_one_answer_are_not_sent_with_the_next_request() -> None:
    seen: list[bytes] = []
    outbound = Outbound()
    async with listening(answering(OK, seen)) as port:
        for _ in range(2):
            await outbound.send("GET", f"http://127.0.0.1:{port}/", allow_private_address=True)

    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    seen: list[bytes] = []
    head = f"HTTP/1.1 {status} Go\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n".encode()
    async with listening(answering(head, seen)) as port:
        answer = await Outbound().send("GET", f"http://127.0.0.1:{port}/", allow_private_address=True)

    assert answer.status == status
    assert len(seen) == 1


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[2002:7f00:1::]",
        "[2001::1]",
    ],
)
async def test_address_inside_is_not_connected_to(host: str, connections: list[Any]) -> None:
    with pytest.raises(OutboundFailed):
        await Outbound().send("GET", f"https://{host}/")

    assert connections == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "https://user@example.com/",
        "https://user:pass@127.0.0.1/",
        "https://example.com\\@127.0.0.1/",
        "https://127.0.0.1#@example.com/",
        "https://example.com/#fragment",
        "https://%31%32%37.0.0.1/",
        "https://example.com%00.evil.example/",
        "https://exa mple.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https:///",
        "https://",
        "//example.com/",
        "https://example.com/\r\nx: y",
        "https://ⓛocalhost/",
        "https://[::1%25lo]/",
        "https://[::1]evil.example/",
    ],
)
async def test_url_that_could_be_read_in_two_ways_is_refused(url: str, connections: list[Any]) -> None:
    with pytest.raises(OutboundFailed):
        await Outbound().send("GET", url)

    assert connections == []


async def test_one_private_address_among_public_ones_refuses_the_name(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any]
) -> None:
    resolve_to(monkeypatch, ["93.184.216.34", "10.0.0.1"])

    with pytest.raises(OutboundFailed):
        await Outbound().send("GET", "https://example.com/")

    assert connections == []


async def test_name_is_resolved_once_and_the_judged_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any]
) -> None:
    """A name that answers otherwise the second time gains nothing: there is no second time."""
    asked = resolve_to(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])

    with pytest.raises(OutboundFailed):
        await Outbound().send("GET", "https://example.com/")

    assert asked == ["example.com"]
    assert [address[0] for address in connections] == ["93.184.216.34"]


async def test_operators_word_is_for_one_request_only(connections: list[Any]) -> None:
    outbound = Outbound()
    async with listening(answering(OK)) as port:
        await outbound.send("GET", f"http://127.0.0.1:{port}/", allow_private_address=True)
        connections.clear()
        with pytest.raises(OutboundFailed):
            await outbound.send("GET", f"https://127.0.0.1:{port}/")

    assert connections == []


async def test_answer_over_the_cap_is_refused() -> None:
    async with listening(answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 3000)) as port:
        with pytest.raises(OutboundFailed):
            await Outbound(largest=2000).send("GET", f"http://127.0.0.1:{port}/", allow_private_address=True)


async def test_answer_that_drips_ends_at_the_deadline() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with listening(drip) as port:
        with pytest.raises(OutboundFailed):
            async with asyncio.timeout(5):
                await Outbound(total_seconds=0.3).send("GET", f"http://127.0.0.1:{port}/", allow_private_address=True)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200", b"not http\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"]
)
async def test_answer_that_is_none_is_one_error(answer: bytes) -> None:
    async with listening(answering(answer)) as port:
        with pytest.raises(OutboundFailed):
            await Outbound().send("GET", f"http://127.0.0.1:{port}/", allow_private_address=True)


async def test_every_failure_says_the_same() -> None:
    texts = set()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/"
        for url, is_private in (
            (closed, True),
            ("https://10.0.0.1/", False),
            ("http://x.invalid/", True),
            ("no", False),
        ):
            with pytest.raises(OutboundFailed) as refused:
                await Outbound(total_seconds=5).send("GET", url, allow_private_address=is_private)
            texts.add(refused.value.message)

    assert len(texts) == 1


async def test_environment_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    async with listening(answering(OK)) as port, listening(answering(OK, seen)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        await Outbound().send("GET", f"http://127.0.0.1:{port}/", allow_private_address=True)

    assert seen == []


async def test_operators_proxy_carries_what_is_outside_and_no_literal_inside() -> None:
    seen: list[bytes] = []
    async with listening(answering(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", seen)) as proxy:
        outbound = Outbound(proxy_url=f"http://127.0.0.1:{proxy}")
        for url in ("https://example.com/", "https://10.0.0.1/", "https://[::1]/"):
            with pytest.raises(OutboundFailed):
                await outbound.send("GET", url)

    assert len(seen) == 1
    assert seen[0].startswith(b"CONNECT example.com:443 ")


@pytest.fixture
async def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses that a socket was connected to; outside the loopback none is, in tests."""
    made: list[Any] = []
    loop_class = type(asyncio.get_running_loop())
    real = loop_class.sock_connect

    async def connect(self: Any, sock: socket.socket, address: Any) -> None:
        made.append(address)
        if address[0] not in {"127.0.0.1", "::1"}:
            raise OSError("no network in tests")
        await real(self, sock, address)

    monkeypatch.setattr(loop_class, "sock_connect", connect)
    return made


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    asked: list[str] = []

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked
