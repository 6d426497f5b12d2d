"""Pass-through over real sockets: what reaches the vendor, what comes back, who may, and what it costs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.serving import KEY, Serving, provider, route, serving, snapshot
from tests.gateway.test_admit import Desk
from tests.gateway.test_settlement import replace_request
from tests.gateway.upstream import (
    FakeUpstream,
    Script,
    Seen,
    answer,
    answer_json,
    answer_raw,
    silent,
    stream,
)
from tests.money.admissions import make_budget
from tests.money.records import FakeHolds
from tollkeeper.contracts.passthrough import Passthrough, read_open_path
from tollkeeper.contracts.principal import Environment
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.secrets import new_key
from tollkeeper.gateway.money.appraiser import Appraiser
from tollkeeper.web.http_connections import Connections
from tollkeeper.web.http_limits import HttpLimits
from tollkeeper.web.http_protocol import HttpProtocol

FLAT = 3_000_000
OPENED = Passthrough(
    tuple(map(read_open_path, ("* /files/**", "GET /assistants", "POST /threads/*/runs", "POST /**"))),
    FLAT,
    frozenset({"openai-project"}),
)
SECRET = "secret-of-one"


def opened(vendor: FakeUpstream, **fields: Any) -> Any:
    return provider("one", fields.pop("base_url", vendor.base_url), **{"passthrough": OPENED, **fields})


def protocol(server: str) -> Any:
    return partial(HttpProtocol, Connections(HttpLimits())) if server == "tollkeeper" else "httptools"


@pytest.fixture(params=["tollkeeper", "uvicorn"])
async def passing(request: pytest.FixtureRequest, tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    """Under our own HTTP protocol and under uvicorn's: each takes paths apart by itself."""
    async with serving(tmp_path, snapshot([opened(vendor)], []), http=protocol(request.param)) as gateway:
        yield gateway


async def send(gateway: Serving, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}", **options.pop("headers", {})}
    return await gateway.client.request(method, path, headers=headers, **options)


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_request_and_answer_are_passed_on_byte_for_byte(
    passing: Serving, vendor: FakeUpstream, prefix: str, method: str
) -> None:
    body, document = bytes(range(256)) * 40, b'{ "odd" :\t1, "odd": 2 }\n\x00\xff'
    vendor.script = answer(206, document, [("etag", '"x"'), ("set-cookie", "a=b"), ("server", "nginx")], "image/x-odd")
    response = await send(
        passing,
        method,
        f"{prefix}/providers/one/files/file-1/a%20b?limit=2&after=%2Fx&empty=",
        content=b"" if method == "GET" else body,
        headers={"content-type": "application/x-odd; a=b", "openai-project": "proj", "x-mine": "1"},
    )
    assert (response.status_code, response.content) == (206, document)
    assert (response.headers["content-type"], response.headers["etag"]) == ("image/x-odd", '"x"')
    assert "set-cookie" not in response.headers
    assert "server" not in response.headers or response.headers["server"] != "nginx"
    assert response.headers["x-request-id"].startswith("req_")
    (seen,) = vendor.seen
    assert (seen.method, seen.path) == (method, "/v1/files/file-1/a%20b?limit=2&after=%2Fx&empty=")
    assert seen.body == (b"" if method == "GET" else body)
    assert seen.header("content-type") == "application/x-odd; a=b"
    assert seen.header("openai-project") == "proj"
    assert seen.header("x-mine") is None


async def test_credentials_are_replaced(passing: Serving, vendor: FakeUpstream) -> None:
    await send(
        passing,
        "POST",
        "/v1/providers/one/files",
        headers={
            "cookie": "session=1",
            "x-forwarded-for": "10.0.0.1",
            "x-api-key": KEY,
            "x-tollkeeper-timeout-ms": "9000",
        },
    )
    (seen,) = vendor.seen
    assert seen.header("authorization") == f"Bearer {SECRET}"
    names = {name for name, _ in seen.headers}
    assert names.isdisjoint({"cookie", "x-forwarded-for", "x-api-key", "x-tollkeeper-timeout-ms"})
    assert KEY not in str(seen.headers)


async def test_idempotency_keys_of_two_callers_are_two_for_the_vendor(passing: Serving, vendor: FakeUpstream) -> None:
    other = new_key().token
    passing.keys.add(other)
    for token in (KEY, KEY, other):
        headers = {"idempotency-key": "1", "authorization": f"Bearer {token}"}
        assert (await send(passing, "POST", "/v1/providers/one/files", headers=headers)).status_code == 200
    first, again, others = [seen.header("idempotency-key") for seen in vendor.seen]
    assert first == again != others


async def test_get_without_a_body_says_nothing_of_one(passing: Serving, vendor: FakeUpstream) -> None:
    await send(passing, "GET", "/v1/providers/one/assistants")
    assert vendor.seen[0].header("content-type") is None


async def test_stream_of_events_comes_as_it_is_made(passing: Serving, vendor: FakeUpstream) -> None:
    go_on = asyncio.Event()
    pieces = [b": odd comment\n\nid: 7\nevent: thread.run.created\n", b"data: {}\n\n", b"data: [DONE]\n\n"]

    async def script(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(pieces[0]), pieces[0]))
        await writer.drain()
        await go_on.wait()
        writer.write(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces[1:]) + b"0\r\n\r\n")
        await writer.drain()

    vendor.script = script
    headers = {"authorization": f"Bearer {KEY}"}
    async with passing.client.stream("POST", "/v1/providers/one/threads/t/runs", headers=headers) as response:
        reads = response.aiter_raw()
        assert await anext(reads) == pieces[0], "before the vendor has ended"
        go_on.set()
        rest = b"".join([read async for read in reads])
    assert rest == pieces[1] + pieces[2]
    assert response.headers["content-type"] == "text/event-stream"
    ((settled),) = await passing.settled()
    assert settled.charge_nano == FLAT


async def test_answer_without_a_body_has_none(passing: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_raw(b"HTTP/1.1 204 No Content\r\n\r\n", closes=False)
    response = await send(passing, "DELETE", "/v1/providers/one/files/x")
    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers
    assert "transfer-encoding" not in response.headers


# Who may


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "/v1/providers/other/files", "nothing open"),
        ("GET", "/v1/providers/closed/files", "nothing open"),
        ("DELETE", "/v1/providers/one/assistants", "is not open"),
        ("GET", "/v1/providers/one", "is not open"),
        ("GET", "/v1/providers/one/filesystem", "is not open"),
        # Calls that have a meter of their own.
        ("POST", "/v1/providers/one/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/providers/one/v1/messages", "/v1/messages"),
        ("POST", "/v1/providers/one/deployments/d/embeddings", "/v1/embeddings"),
        ("POST", "/v1/providers/one/v1beta/models/g:generateContent", "/v1beta/models/g:generateContent"),
        ("POST", "/v1/providers/one/beta/chat/completions", "/v1/chat/completions"),
        # The same ones to servers that read paths more generously.
        ("POST", "/v1/providers/one/Chat/COMPLETIONS", "/v1/chat/completions"),
        ("POST", "/v1/providers/one/chat;a=b/completions;c", "/v1/chat/completions"),
        ("POST", "/v1/providers/one/chat/completions.%20", "/v1/chat/completions"),
        ("POST", "/v1/providers/one/models/g:GENERATECONTENT", "/v1beta/models/g:generateContent"),
    ],
)
async def test_what_is_not_opened_is_not_found(
    tmp_path: Path, vendor: FakeUpstream, method: str, path: str, says: str
) -> None:
    snap = snapshot([opened(vendor), provider("closed", vendor.base_url)], [])
    async with serving(tmp_path, snap) as gateway:
        response = await send(gateway, method, path)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (404, "not_opened")
        assert says in error["message"]
        assert error.keys() >= {"message", "type", "param", "code"}
        assert (vendor.seen, gateway.settlements) == ([], [])


@pytest.mark.parametrize("method", ["HEAD", "TRACE", "PROPFIND", "OPTIONS"])
async def test_other_methods_are_not_taken(passing: Serving, vendor: FakeUpstream, method: str) -> None:
    response = await send(passing, method, "/v1/providers/one/files")
    assert response.status_code == (204 if method == "OPTIONS" else 405)
    assert vendor.seen == []


async def test_nobody_passes_without_a_key(passing: Serving, vendor: FakeUpstream) -> None:
    for headers in ({}, {"authorization": "Bearer tk-live_nobody"}):
        response = await passing.client.post("/v1/providers/one/files", headers=headers, content=b"x" * 100_000)
        assert response.status_code == 401
        # Whoever is nobody learns nothing of what is there either.
        assert (await passing.client.get("/v1/providers/other/x", headers=headers)).status_code == 401
    assert vendor.seen == []


@pytest.mark.parametrize(
    ("bounds", "status", "code"),
    [
        ({"allowed_providers": frozenset({"two"})}, 404, "not_opened"),
        ({"allowed_endpoints": frozenset({"chat/completions"})}, 403, "endpoint_not_allowed"),
        ({"allowed_endpoints": frozenset({"providers/one/files"})}, 200, None),
        ({"allowed_models": frozenset({"gpt-4o"})}, 403, "model_not_allowed"),
        ({"allowed_models": frozenset({"passthrough:one"})}, 200, None),
        ({"environment": Environment.TEST}, 403, "permission_denied"),
        ({"permissions": frozenset()}, 403, "permission_denied"),
    ],
)
async def test_a_keys_bounds_hold(
    passing: Serving, vendor: FakeUpstream, bounds: dict[str, Any], status: int, code: str | None
) -> None:
    token = new_key().token
    passing.keys.add(token, **bounds)
    response = await send(passing, "POST", "/v1/providers/one/files", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == status
    assert len(vendor.seen) == (status == 200)
    if code is not None:
        assert response.json()["error"]["code"] == code


async def test_limits_hold_before_anything_leaves(passing: Serving, vendor: FakeUpstream) -> None:
    passing.admission.refusal = RateLimited("Slow down.", retry_after_seconds=2)
    response = await send(passing, "GET", "/v1/providers/one/assistants")
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert (vendor.seen, passing.settlements) == ([], [])


# Attacks


@pytest.mark.parametrize(
    "path",
    [
        "/files/..",
        "/files/../../admin",
        "/files/%2e%2e/%2e%2e/admin",
        "/files/%2E%2e%2fadmin",
        "/files/.%2e/x",
        "/files/..;/x",
        "/files/%252e%252e/x",
        "/files/..%5c..%5cx",
        "/files/..\\x",
        "/files//x",
        "//evil.test/x",
        "/%2f%2fevil.test/x",
        "/http://evil.test/",
        "/http:%2f%2fevil.test/",
        "/files/",
        "/files/a%0d%0ax-evil:%201",
        "/files/a%00",
        "/files/a%7f",
        "/files/%ef%bc%8e%ef%bc%8e/x",
        "/files/\xff",
        "/files/a%zz",
        "/files/a%",
        "/files/. ./x".replace(" ", "%20"),
        "/files/x?a=%0d%0a&b= c".replace(" ", "\\"),
        "/files/" + "x" * 3_000,
    ],
)
async def test_no_path_leaves_the_providers_address(passing: Serving, vendor: FakeUpstream, path: str) -> None:
    status = await raw_status(passing, f"GET /v1/providers/one{path} HTTP/1.1")
    assert status in {400, 404, 414}
    assert vendor.seen == []


@pytest.mark.parametrize("name", ["..", ".", "%6fne", "one%2f..", "ONE", "one%00", "one;x", "@evil.test", "one:80"])
async def test_no_name_is_read_as_another_provider(passing: Serving, vendor: FakeUpstream, name: str) -> None:
    status = await raw_status(passing, f"GET /v1/providers/{name}/assistants HTTP/1.1")
    assert status in {400, 404}
    assert vendor.seen == []


async def raw_status(gateway: Serving, line: str) -> int:
    """No client would send these."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.origin.rpartition(":")[2]))
    head = f"{line}\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n"
    writer.write(head.encode("latin-1"))
    status = int((await asyncio.wait_for(reader.readline(), 10)).split(b" ")[1])
    writer.close()
    await writer.wait_closed()
    return status


async def test_key_in_the_address_is_refused(passing: Serving, vendor: FakeUpstream) -> None:
    response = await send(passing, "GET", f"/v1/providers/one/assistants?key={KEY}")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "credential_in_query")
    assert vendor.seen == []


@pytest.mark.parametrize(
    "query",
    [
        "token=abc", "access_token=abc", "sig=abc", "X-Amz-Signature=abc", "limit=2&Api-Key=abc", "limit=2;secret=abc",
        "%74oken=abc", "%2574oken=abc", "token[]=abc", "Ocp-Apim-Subscription-Key=abc", f"cursor={KEY}",
    ],
)  # fmt: skip
async def test_no_name_of_a_credential_is_passed_on(passing: Serving, vendor: FakeUpstream, query: str) -> None:
    response = await send(passing, "GET", f"/v1/providers/one/assistants?{query}")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "credential_in_query")
    assert vendor.seen == []


async def test_names_that_are_like_a_credentials_are_passed_on(passing: Serving, vendor: FakeUpstream) -> None:
    query = "page_token=a&max_tokens=4&next_token=b&keyword=c&order=desc"
    assert (await send(passing, "GET", f"/v1/providers/one/assistants?{query}")).status_code == 200
    assert vendor.seen[0].path == f"/v1/assistants?{query}"


async def test_a_header_that_came_several_times_is_a_list_for_the_vendor(
    passing: Serving, vendor: FakeUpstream
) -> None:
    head = [("openai-beta", "assistants=v2"), ("openai-project", "one"), ("openai-beta", "other=v1"), ("accept", "a/b")]
    await passing.client.request("POST", "/v1/providers/one/files", headers=[("authorization", f"Bearer {KEY}"), *head])
    (seen,) = vendor.seen
    assert [value for name, value in seen.headers if name == "openai-beta"] == ["assistants=v2, other=v1"]
    assert seen.header("openai-project") == "one"


@pytest.mark.parametrize("name", ["idempotency-key", "range"])
async def test_a_header_of_one_value_that_came_with_two_is_refused(
    passing: Serving, vendor: FakeUpstream, name: str
) -> None:
    head = [("authorization", f"Bearer {KEY}"), (name, "bytes=0-1"), (name, "bytes=2-3")]
    response = await passing.client.request("GET", "/v1/providers/one/files/a", headers=head)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "duplicate_header")
    assert vendor.seen == []


async def test_an_answer_that_repeats_our_secret_comes_without_it(passing: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer(200, f'{{"sent": ["Bearer {SECRET}", "{SECRET[:9]}"]}}'.encode(), [], "application/json")
    response = await send(passing, "POST", "/v1/providers/one/files")
    assert response.text == f'{{"sent": ["Bearer ***", "{SECRET[:9]}"]}}'


async def test_credential_does_not_leave_for_another_origin(tmp_path: Path, vendor: FakeUpstream) -> None:
    config = opened(vendor)
    bound = replace(config.credentials[0], origins=frozenset({"https://api.openai.com:443"}))
    async with serving(tmp_path, snapshot([replace(config, credentials=(bound,))], [])) as gateway:
        response = await send(gateway, "GET", "/v1/providers/one/assistants")
        assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_origin")
        assert vendor.seen == []


async def test_too_large_a_body_is_refused(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with serving(tmp_path, snapshot([opened(vendor)], []), max_body_bytes=2_000) as gateway:
        response = await send(gateway, "POST", "/v1/providers/one/files", content=b"x" * 2_001)
        assert response.status_code == 413
        assert vendor.seen == []


# What it costs


@dataclass(frozen=True)
class Ending:
    name: str
    script: Script
    status: int
    code: str | None = None
    ledger: CallStatus = CallStatus.OK
    charge_nano: int = FLAT
    config: tuple[tuple[str, Any], ...] = ()


def refusal(status: int, **fields: Any) -> Script:
    return answer_json({"error": {"message": f"bad {SECRET} here", "type": "x", **fields}}, status)


REFUSED = CallStatus.ERROR
ENDINGS = [
    Ending("served", answer_json({"id": "file-1"}), 200),
    Ending("not modified", answer_raw(b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"), 304),
    Ending("streamed", stream(b"a", b"b"), 200),
    Ending("refused", refusal(400), 400, None, REFUSED, 0),
    Ending("not found there", refusal(404), 404, None, REFUSED, 0),
    Ending("limited there", refusal(429), 429, None, REFUSED, 0),
    Ending("broken there", refusal(500), 500, None, REFUSED, 0),
    Ending("our credential refused", refusal(401), 502, "upstream_authentication", REFUSED, 0),
    Ending(
        "redirect",
        answer(302, b"", [("location", "http://evil.test/")]),
        502,
        "upstream_redirect",
        REFUSED,
        0,
    ),
    Ending("no answer", answer_raw(b""), 502, "upstream_disconnected", REFUSED),
    Ending("garbage", answer_raw(b"hello\r\n\r\n"), 502, "upstream_garbage", REFUSED),
    Ending("silence", silent(), 504, "upstream_timeout", REFUSED, config=(("first_byte_seconds", 0.2),)),
    Ending(
        "silence after the head",
        silent(first=b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        504,
        "upstream_timeout",
        REFUSED,
        config=(("idle_seconds", 0.2),),
    ),
    Ending("nobody there", answer_raw(b""), 502, "upstream_unreachable", REFUSED, 0, (("base_url", "closed"),)),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=[ending.name for ending in ENDINGS])
async def test_each_end_is_settled_once(tmp_path: Path, vendor: FakeUpstream, ending: Ending) -> None:
    vendor.script = ending.script
    holds, fields = FakeHolds(), dict(ending.config)
    if "base_url" in fields:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            fields["base_url"] = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    async with serving(tmp_path, snapshot([opened(vendor, **fields)], []), holds=holds) as gateway:
        gateway.admission.hold = replace_request(holds, full=FLAT, forecast=FLAT)
        response = await send(gateway, "POST", "/v1/providers/one/files")
        assert response.status_code == ending.status
        assert SECRET not in response.text
        if ending.code is not None:
            assert response.json()["error"]["code"] == ending.code
        (settlement,) = await gateway.settled()
        assert (settlement.status, settlement.charge_nano) == (ending.ledger, ending.charge_nano)
        assert settlement.http_status == ending.status
        intent = settlement.intent
        assert (intent.operation, intent.model, intent.provider) == ("passthrough", "passthrough:one", "one")
        assert intent.upstream_model == "* /files/**" or intent.upstream_model == "POST /**"
        assert holds.settled == [(ending.charge_nano, 1, 0, 0)]
        (line,) = gateway.log
        assert (line["operation"], line["status"], line["provider"]) == ("passthrough", ending.status, "one")


async def test_answer_that_is_cut_is_cut_for_the_caller(passing: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(b"half of it", ends=False)
    with pytest.raises(httpx.RemoteProtocolError):
        await send(passing, "GET", "/v1/providers/one/files/x")
    (settlement,) = await passing.settled()
    assert (settlement.status, settlement.charge_nano) == (CallStatus.ERROR, FLAT)
    assert settlement.error_code == "upstream_cut"


@pytest.mark.parametrize("server", ["tollkeeper", "uvicorn"])
@pytest.mark.parametrize("has_begun", [True, False])
async def test_caller_who_leaves_cancels_the_vendor(
    tmp_path: Path, vendor: FakeUpstream, server: str, has_begun: bool
) -> None:
    gone = asyncio.Event()

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        if has_begun:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
            await writer.drain()
        await asyncio.wait_for(seen.gone.wait(), 10)
        gone.set()
        return False

    vendor.script = script
    async with serving(tmp_path, snapshot([opened(vendor)], []), http=protocol(server)) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", int(gateway.origin.rpartition(":")[2]))
        writer.write(
            f"GET /v1/providers/one/files/x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n".encode()
        )
        while not vendor.seen:
            await asyncio.sleep(0.01)
        writer.close()
        await asyncio.wait_for(gone.wait(), 10)
        (settlement,) = await gateway.settled()
        assert (settlement.status, settlement.charge_nano) == (CallStatus.CANCELLED, FLAT)


async def test_callers_deadline_holds(passing: Serving, vendor: FakeUpstream) -> None:
    vendor.script = silent()
    response = await send(passing, "GET", "/v1/providers/one/assistants", headers={"x-tollkeeper-timeout-ms": "300"})
    assert response.status_code == 504
    await passing.settled()


async def test_hard_budget_holds_the_flat_price(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json({})
    desk = Desk(rules={"budgets": (make_budget(),)}, most_nano=FLAT, holds_all=True)
    async with serving(tmp_path, snapshot([opened(vendor)], []), admission=desk, appraise=Appraiser()) as gateway:
        assert (await send(gateway, "POST", "/v1/providers/one/files", content=b"x" * 9_000)).status_code == 200
        assert desk.asked == [(FLAT, FLAT, False)], "whatever its size, and nothing of it is cut"
        assert desk.endpoints == ["providers/one/files"]
        desk.most_nano = FLAT - 1
        refused = await send(gateway, "POST", "/v1/providers/one/files")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        assert len(vendor.seen) == 1


async def test_vendors_error_is_passed_on_without_our_secret(passing: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer(422, f'{{"debug": "Bearer {SECRET}"}}'.encode(), [("retry-after", "3")])
    response = await send(passing, "POST", "/v1/providers/one/files")
    assert (response.status_code, response.text) == (422, '{"debug": "Bearer ***"}')
    assert response.headers["retry-after"] == "3"


async def test_what_the_gateway_serves_itself_is_untouched(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with serving(tmp_path, snapshot([opened(vendor)], [route("m", ("one", "m"))])) as gateway:
        assert (await gateway.post(body={"model": "m", "messages": []})).status_code in {200, 400}
        assert (await send(gateway, "GET", "/v1/models")).status_code == 200
