"""The client towards vendors: which addresses, which secrets, which sizes and times."""

import asyncio
import base64
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.serving import ManualClock, provider
from tests.gateway.upstream import FakeUpstream, answer, answer_json, answer_raw, completion, http_chunk, silent
from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.core.addresses import is_public
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import UpstreamError, UpstreamTimeout
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway import upstream as module
from tollkeeper.gateway.addresses import locate
from tollkeeper.gateway.provider import NotSent, UpstreamRequest
from tollkeeper.gateway.upstream import Upstream

CLOCK = SystemClock()
BODY = b'{"a":1}'
DOCUMENT = answer_json(completion())


@pytest.fixture
async def client() -> AsyncIterator[Upstream]:
    made = Upstream(Settings(_env_file=None), CLOCK)
    yield made
    await made.aclose()


def request(config: ProviderConfig, url: str | None = None, *, seconds: float = 5, **fields: Any) -> UpstreamRequest:
    credential = config.credentials[0] if config.credentials else None
    values: dict[str, Any] = {
        "method": "POST",
        "url": url or f"{config.base_url}/chat/completions",
        "headers": {},
        "body": BODY,
        "config": config,
        "deadline": CLOCK.monotonic() + seconds,
        "is_stream": False,
        "credential": credential,
        "secret_headers": {"authorization": f"Bearer {credential.secret}"} if credential else {},
    }
    return UpstreamRequest(**{**values, **fields})


async def fetch(client: Upstream, sent: UpstreamRequest) -> bytes:
    response = await client.send(sent)
    try:
        return await response.read()
    finally:
        await response.aclose()


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1", "172.31.255.255",
        "192.0.0.8", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fc00::1",
        "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
        "64:ff9b::7f00:1", "2001:0:1::1", "2002:7f00:1::1", "", "localhost",
    ],
)  # fmt: skip
def test_address_that_leads_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111"])
def test_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "https://user@example.com/", "https://user:pw@example.com/", "https://example.com\\@evil.test/",
        "https://example.com/#x", "https://exa%6dple.com/", "https://example.com:0/", "https://example.com:99999/",
        "https://example.com/a b", "https://example.com/\r\nx: y", "https://exa\tmple.com", "//example.com", "https:///x",
        "https://ex\u00e4mple.com/", "https://[::1", "https://example.com?x", "http://", "file:///etc/passwd",
        "https://example.com/openai/deployments/../chat", "https://example.com/model/./converse", "https://example.com/a/..?x",
    ],
)  # fmt: skip
def test_url_that_two_parsers_could_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(UpstreamError) as refused:
        locate(url)
    assert refused.value.code == "upstream_address_refused"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]"],
)
async def test_private_address_is_refused_in_every_spelling(client: Upstream, vendor: FakeUpstream, host: str) -> None:
    config = provider(
        "one", f"http://{host}:{vendor.port}/v1", allow_private_address=False, options={"allow_plain_http": True}
    )
    with pytest.raises(UpstreamError) as refused:
        await client.send(request(config))
    assert refused.value.code == "upstream_address_refused"
    assert vendor.connections == 0


async def test_name_with_one_private_address_among_public_ones_is_refused(
    client: Upstream, vendor: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("8.8.8.8", "127.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    config = provider("one", f"https://rebinding.test:{vendor.port}", allow_private_address=False)
    with pytest.raises(UpstreamError) as refused:
        await client.send(request(config))
    assert refused.value.code == "upstream_address_refused"
    assert vendor.connections == 0


async def test_address_that_was_checked_is_the_one_connected_to(
    client: Upstream, vendor: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name is resolved once, and never again between the check and the connection."""
    looked_up: list[str] = []

    async def resolve(host: str, port: int, **_: object) -> list[Any]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    config = provider("one", f"http://name.test:{vendor.port}/v1")
    await fetch(client, request(config))
    assert [host for host in looked_up if host == "name.test"] == ["name.test"]
    assert vendor.seen[0].header("host") == f"name.test:{vendor.port}"


async def test_plain_http_to_the_world_needs_the_operators_word(client: Upstream) -> None:
    with pytest.raises(UpstreamError) as refused:
        await client.send(request(provider("one", "http://8.8.8.8/v1", allow_private_address=False)))
    assert refused.value.code == "upstream_address_refused"


# Secrets and headers


async def test_secret_is_not_sent_to_another_origin(client: Upstream, vendor: FakeUpstream) -> None:
    bound = Credential(uuid7(), "sk-secret", origins=frozenset({"https://api.openai.com:443"}))
    with pytest.raises(UpstreamError) as refused:
        await client.send(request(provider("one", vendor.base_url, credentials=(bound,))))
    assert refused.value.code == "upstream_origin"
    unbound = provider("one", "https://api.openai.com/v1")
    with pytest.raises(UpstreamError) as refused:
        await client.send(request(unbound, f"{vendor.base_url}/chat/completions"))
    assert refused.value.code == "upstream_origin"
    assert vendor.connections == 0


async def test_secret_reaches_the_origin_it_is_bound_to(client: Upstream, vendor: FakeUpstream) -> None:
    bound = Credential(uuid7(), "sk-secret", origins=frozenset({f"http://127.0.0.1:{vendor.port}"}))
    await fetch(client, request(provider("one", vendor.base_url, credentials=(bound,))))
    assert vendor.seen[0].header("authorization") == "Bearer sk-secret"


async def test_only_our_own_headers_leave(client: Upstream, vendor: FakeUpstream) -> None:
    await fetch(client, request(provider("one", vendor.base_url, headers={"OpenAI-Organization": "org-1"})))
    assert [name for name, _ in vendor.seen[0].headers] == [
        "host", "content-type", "user-agent", "openai-organization", "authorization", "accept-encoding", "content-length",
    ]  # fmt: skip


async def test_long_headers_of_callers_are_not_kept(client: Upstream, vendor: FakeUpstream) -> None:
    config = provider("one", vendor.base_url)
    for number in range(3):
        await fetch(client, request(config, headers={"anthropic-beta": f"{number}" * 10_000}))
    assert [len(sent.header("anthropic-beta") or "") for sent in vendor.seen] == [10_000] * 3
    assert len(client._routes) == 0


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\0b"])
async def test_header_that_leaves_its_line_is_refused(client: Upstream, vendor: FakeUpstream, value: str) -> None:
    with pytest.raises(UpstreamError) as refused:
        await client.send(request(provider("one", vendor.base_url, headers={"x-a": value})))
    assert refused.value.code == "upstream_configuration"
    assert vendor.connections == 0


async def test_vendors_cookies_and_other_headers_end_here(client: Upstream, vendor: FakeUpstream) -> None:
    vendor.script = answer(
        200,
        b"{}",
        [("set-cookie", "a=b"), ("server", "x"), ("access-control-allow-origin", "*"), ("x-request-id", "r1")],
    )
    for _ in range(2):
        response = await client.send(request(provider("one", vendor.base_url)))
        await response.read()
        await response.aclose()
        assert dict(response.headers) == {"content-type": "application/json", "x-request-id": "r1"}
    assert vendor.seen[1].header("cookie") is None


async def test_redirect_is_not_followed(client: Upstream, vendor: FakeUpstream) -> None:
    vendor.script = answer(307, b"", [("location", f"http://127.0.0.1:{vendor.port}/elsewhere")])
    response = await client.send(request(provider("one", vendor.base_url)))
    assert response.status == 307
    await response.aclose()
    assert len(vendor.seen) == 1


# Sizes and shapes


async def test_answer_of_any_framing_is_read(client: Upstream, vendor: FakeUpstream) -> None:
    config = provider("one", vendor.base_url)
    for raw, expected in [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"{}"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            + http_chunk(b"{")
            + http_chunk(b"}")
            + b"0\r\n\r\n",
            b"{}",
        ),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ]:
        vendor.script = answer_raw(raw)
        assert await fetch(client, request(config)) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"not http at all\r\n\r\n",
    ],
)
async def test_answer_that_is_no_valid_http_is_an_error(client: Upstream, vendor: FakeUpstream, raw: bytes) -> None:
    vendor.script = answer_raw(raw)
    with pytest.raises(UpstreamError) as refused:
        await fetch(client, request(provider("one", vendor.base_url)))
    assert refused.value.code in {"upstream_garbage", "upstream_cut"}


async def test_answer_larger_than_the_cap_is_an_error(
    client: Upstream, vendor: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BODY_BYTES", 100_000)
    vendor.script = answer(200, b"x" * 200_000)
    with pytest.raises(UpstreamError) as refused:
        await fetch(client, request(provider("one", vendor.base_url)))
    assert refused.value.code == "upstream_too_large"


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_answer_nobody_asked_for_is_read(
    client: Upstream, vendor: FakeUpstream, encoding: str, encode: Any
) -> None:
    vendor.script = answer(200, encode(b'{"a":1}'), [("content-encoding", encoding)])
    assert await fetch(client, request(provider("one", vendor.base_url))) == b'{"a":1}'


@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        ("gzip", gzip.compress(b"0" * 50_000_000), "upstream_too_large"),
        ("gzip", b"not gzip", "upstream_garbage"),
        ("br", b"x", "upstream_garbage"),
        ("gzip, gzip", b"x", "upstream_garbage"),
    ],
)
async def test_bomb_or_unknown_encoding_is_an_error(
    client: Upstream, vendor: FakeUpstream, encoding: str, body: bytes, code: str
) -> None:
    vendor.script = answer(200, body, [("content-encoding", encoding)])
    with pytest.raises(UpstreamError) as refused:
        await fetch(client, request(provider("one", vendor.base_url)))
    assert refused.value.code == code


async def test_fast_vendor_waits_for_a_slow_reader(client: Upstream, vendor: FakeUpstream) -> None:
    """Back-pressure: what nobody reads is not taken in."""
    vendor.script = answer(200, b"x" * 30_000_000)
    response = await client.send(request(provider("one", vendor.base_url)))
    await asyncio.sleep(0.3)
    held = sum(len(part) for part in response._connection._parts)  # type: ignore[attr-defined]
    assert held < 2_000_000
    assert len(await response.read()) == 30_000_000
    await response.aclose()


# Connections and times


async def test_connection_is_kept_and_used_again(client: Upstream, vendor: FakeUpstream) -> None:
    for _ in range(3):
        await fetch(client, request(provider("one", vendor.base_url)))
    assert vendor.connections == 1


async def test_connection_closed_while_idle_costs_no_call(client: Upstream, vendor: FakeUpstream) -> None:
    """The one silent repeat: a kept connection that ends without a byte of an answer."""
    config = provider("one", vendor.base_url)

    async def once(seen: Any, writer: asyncio.StreamWriter) -> bool | None:
        if seen.connection == 1 and len(vendor.seen) > 1:
            return False
        return await DOCUMENT(seen, writer)

    vendor.script = once
    await fetch(client, request(config))
    assert b"hello" in await fetch(client, request(config))
    assert vendor.connections == 2


async def test_reused_connection_that_dies_after_a_while_is_not_tried_again(vendor: FakeUpstream) -> None:
    """By then the vendor may have done, and billed, the work."""
    clock = ManualClock()
    client = Upstream(Settings(_env_file=None), clock)
    config = provider("one", vendor.base_url)
    await fetch(client, request(config))

    async def late(_seen: Any, _writer: asyncio.StreamWriter) -> bool:
        clock.ahead += 1.5
        return False

    vendor.script = late
    with pytest.raises(UpstreamError) as refused:
        await client.send(request(config))
    await client.aclose()
    assert refused.value.code == "upstream_disconnected"
    assert len(vendor.seen) == 2


async def test_fresh_connection_that_dies_is_not_tried_again(client: Upstream, vendor: FakeUpstream) -> None:
    vendor.script = answer_raw(b"")
    with pytest.raises(UpstreamError) as refused:
        await client.send(request(provider("one", vendor.base_url)))
    assert refused.value.code == "upstream_disconnected"
    assert len(vendor.seen) == 1


async def test_reused_connection_that_dies_inside_an_answer_is_not_tried_again(
    client: Upstream, vendor: FakeUpstream
) -> None:
    config = provider("one", vendor.base_url)
    await fetch(client, request(config))
    vendor.script = answer_raw(b"HTTP/1.1 2")
    with pytest.raises(UpstreamError) as refused:
        await client.send(request(config))
    assert refused.value.code == "upstream_cut"
    assert len(vendor.seen) == 2


async def test_bytes_after_an_answer_never_become_the_next_one(client: Upstream, vendor: FakeUpstream) -> None:
    """A vendor that answers twice must not have its second answer read by the next caller."""
    config = provider("one", vendor.base_url)
    good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    vendor.script = answer_raw(good + evil, closes=False)
    assert await fetch(client, request(config)) == b"{}"
    assert await fetch(client, request(config)) == b"{}"
    assert vendor.connections == 2

    async def late(_seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(good)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(evil)

    vendor.script = late
    await fetch(client, request(config))
    await asyncio.sleep(0.1)
    vendor.script = answer_raw(good, closes=False)
    assert await fetch(client, request(config)) == b"{}"
    assert vendor.seen[-1].connection != vendor.seen[-2].connection


async def test_cancelled_call_closes_its_connection(client: Upstream, vendor: FakeUpstream) -> None:
    vendor.script = silent()
    sending = asyncio.create_task(client.send(request(provider("one", vendor.base_url))))
    while not vendor.seen:
        await asyncio.sleep(0.002)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.wait_for(vendor.seen[0].gone.wait(), 1)


@pytest.mark.parametrize(
    ("fields", "seconds", "first"),
    [
        ({}, 0.2, b""),
        ({"first_byte_seconds": 0.2}, 5, b""),
        ({"idle_seconds": 0.2}, 5, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"),
        ({}, 0.2, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"),
    ],
    ids=["total", "first byte", "idle", "total inside the answer"],
)
async def test_silence_ends_at_its_deadline(
    client: Upstream, vendor: FakeUpstream, fields: dict[str, Any], seconds: float, first: bytes
) -> None:
    vendor.script = silent(first=first)
    begun = CLOCK.monotonic()
    with pytest.raises(UpstreamTimeout):
        await fetch(client, request(provider("one", vendor.base_url, **fields), seconds=seconds))
    assert 0.1 < CLOCK.monotonic() - begun < 1.5


async def test_vendor_that_does_not_accept_is_given_up(client: Upstream) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with pytest.raises(NotSent) as refused:
            await client.send(request(provider("one", f"http://127.0.0.1:{port}/v1", connect_seconds=0.2)))
        for filler in fillers:
            filler.close()
    assert refused.value.status == 504


async def test_call_past_its_deadline_is_not_sent(client: Upstream, vendor: FakeUpstream) -> None:
    with pytest.raises(NotSent):
        await client.send(request(provider("one", vendor.base_url), seconds=-1))
    assert vendor.connections == 0


# TLS and proxies


def certificate(folder: Path) -> Path:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_certificate_is_checked_against_the_providers_bundle(client: Upstream, tmp_path: Path) -> None:
    path = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    fake = FakeUpstream()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        trusted = provider("one", f"https://localhost:{port}/v1", ca_bundle=str(path))
        assert b"hello" in await fetch(client, request(trusted))
        with pytest.raises(NotSent) as refused:
            await fetch(client, request(provider("one", f"https://localhost:{port}/v1")))
        assert "certificate" in refused.value.message
        with pytest.raises(NotSent):  # another name than the certificate's
            await fetch(client, request(provider("one", f"https://127.0.0.1:{port}/v1", ca_bundle=str(path))))
        assert len(fake.seen) == 1
    finally:
        await client.aclose()
        server.close()


async def test_operators_proxy_is_used_with_its_password(client: Upstream, vendor: FakeUpstream) -> None:
    """Over plain http a proxy is asked for the whole URL."""
    proxied = provider(
        "one",
        "http://vendor.test/v1",
        allow_private_address=False,
        options={"allow_plain_http": True},
        proxy_url=f"http://user:pw@127.0.0.1:{vendor.port}",
    )
    assert b"hello" in await fetch(client, request(proxied))
    seen = vendor.seen[0]
    assert seen.path == "http://vendor.test/v1/chat/completions"
    assert seen.header("proxy-authorization") == "Basic " + base64.b64encode(b"user:pw").decode()
    assert seen.header("authorization") == "Bearer secret-of-one"
    literal = provider(
        "one", "https://127.0.0.1/v1", allow_private_address=False, proxy_url=f"http://127.0.0.1:{vendor.port}"
    )
    with pytest.raises(UpstreamError) as refused:
        await fetch(client, request(literal))
    assert refused.value.code == "upstream_address_refused"


@pytest.mark.parametrize(
    ("raw", "seconds", "code"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", 5, "upstream_cut"),
        (b"nonsense\r\n\r\n", 5, "upstream_garbage"),
        (None, 0.2, "upstream_timeout"),
    ],
)
async def test_proxied_calls_obey_the_same_rules(
    client: Upstream, vendor: FakeUpstream, raw: bytes | None, seconds: float, code: str
) -> None:
    vendor.script = silent() if raw is None else answer_raw(raw)
    config = provider("one", "http://vendor.test/v1", proxy_url=f"http://127.0.0.1:{vendor.port}")
    with pytest.raises(UpstreamError) as refused:
        await fetch(client, request(config, seconds=seconds))
    assert refused.value.code == code
    assert len(vendor.seen) == 1
