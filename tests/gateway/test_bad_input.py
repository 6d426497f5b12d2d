"""Bad input: each row gets OpenAI's error shape with the right status before any vendor is called."""

import asyncio
import json
from typing import Any

import pytest

from tests.gateway.serving import KEY, Serving, chat
from tests.gateway.upstream import FakeUpstream

DEEP = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}],"metadata":%b}'


def nested(depth: int) -> bytes:
    return DEEP % (b'{"a":' * depth + b"1" + b"}" * depth)


def with_field(name: str, raw: str) -> bytes:
    return b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}],"%b":%b}' % (name.encode(), raw.encode())


BODIES = [
    ("empty", b"", "invalid_json", None),
    ("not JSON", b"hello", "invalid_json", None),
    ("cut off", b'{"model":"gpt-4o-mini"', "invalid_json", None),
    ("array", b"[]", "invalid_json", None),
    ("string", b'"x"', "invalid_json", None),
    ("NUL bytes", b"\x00\x00", "invalid_json", None),
    ("not UTF-8", b'{"model":"\xff"}', "invalid_json", None),
    ("byte order mark", b"\xef\xbb\xbf{}", "invalid_json", None),
    ("two documents", b"{}{}", "invalid_json", None),
    ("NaN", with_field("temperature", "NaN"), "invalid_json", None),
    ("Infinity", with_field("temperature", "-Infinity"), "invalid_json", None),
    ("infinite by size", with_field("temperature", "1e999"), "number_out_of_range", None),
    ("huge integer", with_field("seed", "123456789012345678901234567890"), "number_out_of_range", None),
    ("integer of 5000 digits", with_field("seed", "9" * 5000), "number_out_of_range", None),
    ("lone surrogate", with_field("user", '"\\ud800"'), "invalid_json", None),
    ("129 levels", nested(129), "json_too_deep", None),
    ("depth bomb", b"[" * 100_000, "json_too_deep", None),
    ("duplicate key", b'{"model":"gpt-4o-mini","messages":[],"model":"o"}', "duplicate_key", "model"),
    ("duplicate key inside", with_field("metadata", '{"a":1,"b":{"c":1,"c":2}}'), "duplicate_key", "c"),
    ("escaped duplicate", with_field("mo\\u0064el", '"o"'), "duplicate_key", "model"),
    ("no model", b'{"messages":[{"role":"user","content":"x"}]}', "missing_required_parameter", "model"),
    ("null model", with_field("x", "1").replace(b'"gpt-4o-mini"', b"null"), "missing_required_parameter", "model"),
    ("number as model", with_field("x", "1").replace(b'"gpt-4o-mini"', b"7"), "invalid_type", "model"),
    ("empty model", with_field("x", "1").replace(b"gpt-4o-mini", b""), "invalid_value", "model"),
    ("line break in model", with_field("x", "1").replace(b"gpt-4o-mini", b"a\\r\\nb"), "invalid_value", "model"),
    ("way up as model", with_field("x", "1").replace(b"gpt-4o-mini", b".."), "invalid_value", "model"),
    ("way up in model", with_field("x", "1").replace(b"gpt-4o-mini", b"azure/../gpt"), "invalid_value", "model"),
    ("endless model", with_field("x", "1").replace(b"gpt-4o-mini", b"m" * 300), "invalid_value", "model"),
    ("no messages", b'{"model":"gpt-4o-mini"}', "missing_required_parameter", "messages"),
    ("empty messages", b'{"model":"gpt-4o-mini","messages":[]}', "missing_required_parameter", "messages"),
    ("string as messages", b'{"model":"gpt-4o-mini","messages":"x"}', "invalid_type", "messages"),
    ("string as message", b'{"model":"gpt-4o-mini","messages":["x"]}', "invalid_type", "messages[0]"),
    ("no role", b'{"model":"gpt-4o-mini","messages":[{}]}', "missing_required_parameter", "messages[0].role"),
    ("number as role", b'{"model":"gpt-4o-mini","messages":[{"role":1}]}', "invalid_type", "messages[0].role"),
    (
        "number as content",
        b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"a"},{"role":"user","content":1}]}',
        "invalid_type",
        "messages[1].content",
    ),
    ("string as stream", with_field("stream", '"true"'), "invalid_type", "stream"),
    ("options without stream", with_field("stream_options", "{}"), "invalid_value", "stream_options"),
    ("string as options", with_field("stream_options", '"x"'), "invalid_type", "stream_options"),
    ("n of 0", with_field("n", "0"), "integer_below_min_value", "n"),
    ("n of 129", with_field("n", "129"), "integer_above_max_value", "n"),
    ("boolean as n", with_field("n", "true"), "invalid_type", "n"),
    ("negative cap", with_field("max_tokens", "-5"), "integer_below_min_value", "max_tokens"),
    ("fraction as cap", with_field("max_completion_tokens", "1.5"), "invalid_type", "max_completion_tokens"),
    ("huge cap", with_field("max_tokens", "9999999999"), "integer_above_max_value", "max_tokens"),
    ("boolean as temperature", with_field("temperature", "true"), "invalid_type", "temperature"),
    ("negative temperature", with_field("temperature", "-0.1"), "decimal_below_min_value", "temperature"),
    ("string as top_p", with_field("top_p", '"1"'), "invalid_type", "top_p"),
    ("object as tools", with_field("tools", "{}"), "invalid_type", "tools"),
]


@pytest.mark.parametrize(("body", "code", "param"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
async def test_bad_body_is_400_before_any_vendor_is_called(
    gateway: Serving, vendor: FakeUpstream, body: bytes, code: str, param: str | None
) -> None:
    response = await gateway.post(body=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
    assert error["message"]
    assert error["request_id"] == response.headers["x-request-id"]
    assert vendor.seen == []
    assert gateway.settlements == []


@pytest.mark.parametrize(
    "body",
    [
        nested(126),
        with_field("temperature", "0"),
        with_field("stop", "null"),
        with_field("n", "null"),
        with_field("stream", "null"),
        with_field("presence_penalty", "-2"),
        with_field("x", "[" + ",".join("{}" for _ in range(500)) + "]"),
        b'{"model":"gpt-4o-mini","messages":[{"role":"assistant","content":null},{"role":"tool"}]}',
    ],
)
async def test_odd_but_valid_body_is_served(gateway: Serving, body: bytes) -> None:
    assert (await gateway.post(body=body)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ({"content-type": ""}, 415, "unsupported_media_type"),
        ({"content-type": "application/json; charset=utf-16"}, 415, "unsupported_media_type"),
        ({"content-type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
        ({"content-encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"x-tollkeeper-timeout-ms": "soon"}, 400, "invalid_value"),
        ({"x-tollkeeper-timeout-ms": "0"}, 400, "invalid_value"),
        ({"x-api-key": "another"}, 400, "conflicting_credentials"),
        ({"authorization": "Basic abc"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer nonsense"}, 401, "invalid_api_key"),
    ],
)
async def test_bad_header_is_refused(
    gateway: Serving, vendor: FakeUpstream, headers: dict[str, str], status: int, code: str
) -> None:
    response = await gateway.post(headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert vendor.seen == []


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=UTF-8", "Application/JSON", 'application/json;charset="utf-8"']
)
async def test_json_in_utf8_is_taken_under_each_of_its_names(gateway: Serving, content_type: str) -> None:
    assert (await gateway.post(headers={"content-type": content_type})).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/api/v1/chat/completions", "/v1/embeddings", "/v1/completions"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_wrong_method_is_405_with_allow(gateway: Serving, method: str, path: str) -> None:
    response = await gateway.client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["error"]["code"] == "method_not_allowed"


async def test_options_names_the_methods(gateway: Serving) -> None:
    response = await gateway.client.options("/v1/chat/completions")
    assert (response.status_code, response.headers["allow"], response.content) == (204, "POST", b"")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/chat/completions/", "/v1//chat/completions"])
async def test_unknown_path_is_404_in_openais_shape(gateway: Serving, path: str) -> None:
    response = await gateway.client.post(path, headers={"authorization": f"Bearer {KEY}"}, json={})
    assert response.status_code == 404
    assert set(response.json()["error"]) == {"message", "type", "param", "code", "request_id"}


async def test_unknown_model_is_404_in_openais_words(gateway: Serving, vendor: FakeUpstream) -> None:
    response = await gateway.post(body=chat(model="gpt-nope"))
    assert response.status_code == 404
    error = response.json()["error"]
    assert error["message"] == "The model `gpt-nope` does not exist or you do not have access to it."
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert vendor.seen == []


async def raw(gateway: Serving, data: bytes, *, more: list[bytes] | None = None) -> bytes:
    """Everything the server sends back to hand-written bytes."""
    host, port = gateway.origin.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        for part in more or ():
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(part)
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /v1/chat/completions HTTP/1.1", "host: x", *lines, "", ""]).encode()


def error_of(response: bytes) -> tuple[int, dict[str, Any]]:
    top, _, body = response.partition(b"\r\n\r\n")
    return int(top.split(b" ")[1]), json.loads(body)["error"]


async def test_declared_size_over_the_limit_is_413_without_reading(gateway: Serving, vendor: FakeUpstream) -> None:
    request = head(f"authorization: Bearer {KEY}", "content-type: application/json", "content-length: 999999999")
    status, error = error_of(await raw(gateway, request))
    assert (status, error["code"]) == (413, "payload_too_large")
    assert vendor.seen == []


async def test_unknown_key_is_401_before_the_body_is_read(gateway: Serving) -> None:
    request = head("authorization: Bearer wrong", "content-type: application/json", "content-length: 20000000")
    response = await raw(gateway, request)
    assert error_of(response)[0] == 401
    assert b"\r\nconnection: close\r\n" in response.lower()


async def test_refused_caller_that_waits_for_100_is_not_asked_for_its_body(gateway: Serving) -> None:
    request = head("authorization: Bearer wrong", "content-length: 20000000", "expect: 100-continue")
    response = await raw(gateway, request)
    assert response.startswith(b"HTTP/1.1 401")


async def test_same_header_twice_with_two_values_is_400(gateway: Serving, vendor: FakeUpstream) -> None:
    body = json.dumps(chat()).encode()
    common = ["content-type: application/json", f"content-length: {len(body)}", "connection: close"]
    request = head(f"authorization: Bearer {KEY}", "authorization: Bearer other", *common) + body
    status, error = error_of(await raw(gateway, request))
    assert (status, error["code"]) == (400, "duplicate_header")
    assert vendor.seen == []


async def test_fault_of_ours_is_500_without_internals(gateway: Serving, vendor: FakeUpstream) -> None:
    gateway.admission.refusal = RuntimeError("secret internals")  # type: ignore[assignment]
    response = await gateway.post()
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret internals" not in response.text
    assert vendor.seen == []


async def test_bytes_that_are_no_text_are_not_called_empty(gateway: Serving) -> None:
    answer = await gateway.post(body=b'{"model":"\xff"}')
    assert answer.json()["error"]["message"] == "The request body is not valid UTF-8."
