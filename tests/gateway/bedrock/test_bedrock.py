"""Bedrock over sockets: what is signed and with whose keys, and that the ledger's row is the vendor's own count."""

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.clouds.token_service import aws, config, form, origin, sts
from tests.gateway.serving import chat, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, Script, Seen, answer_json, http_chunk, running_upstream
from tollkeeper.contracts.chat import Call, Operation, Usage
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.cloud_aws import AwsKeys, sign
from tollkeeper.gateway.provider import CredentialRefused
from tollkeeper.gateway.providers import PROVIDERS, provider_kinds
from tollkeeper.gateway.providers.bedrock import region_of
from tollkeeper.gateway.simulator.vendors import event_stream

BEDROCK = PROVIDERS["bedrock"]
MODEL = "anthropic.claude-3-5-sonnet-20241022-v2:0"
ROLE = "arn:aws:iam::123456789012:role/one"
USAGE = {
    "inputTokens": 10,
    "outputTokens": 5,
    "totalTokens": 115,
    "cacheReadInputTokens": 100,
    "cacheWriteInputTokens": 0,
}
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
    "metrics": {"latencyMs": 5},
}


@pytest.fixture
async def service() -> AsyncIterator[FakeUpstream]:
    async with running_upstream() as running:
        yield running


def event(kind: str, **data: Any) -> bytes:
    return event_stream.event(kind, json.dumps(data).encode())


GOOD = [
    event("messageStart", role="assistant"),
    event("contentBlockDelta", contentBlockIndex=0, delta={"text": "hel"}),
    event("contentBlockDelta", contentBlockIndex=0, delta={"text": "lo"}),
    event("contentBlockStop", contentBlockIndex=0),
    event("messageStop", stopReason="end_turn"),
    event("metadata", usage=USAGE, metrics={"latencyMs": 5}),
]


def frames(*pieces: bytes, ends: bool = True) -> Script:
    async def script(_seen: Seen, writer: Any) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n"
            b"x-amzn-requestid: 5b1c9c5e-1\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for piece in pieces:
            writer.write(http_chunk(piece))
            await writer.drain()
        if ends:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return ends

    return script


def bedrock(vendor: FakeUpstream, document: Any, **options: Any) -> Any:
    return config("bedrock", origin(vendor), document, options={"region": "eu-west-1", **options})


def one_model(owner: Any) -> Any:
    return snapshot([owner], [route("gpt-4o-mini", ("cloud", MODEL))])


def is_signed_by(seen: Seen, keys: AwsKeys) -> bool:
    """Whether a request as it arrived bears the signature of these keys."""
    stamp = datetime.strptime(seen.header("x-amz-date") or "", "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    url = f"http://{seen.header('host')}{seen.path}"
    expected = sign(keys, "eu-west-1", "bedrock", seen.method, url, hashlib.sha256(seen.body).hexdigest(), stamp)
    return seen.header("authorization") == expected["authorization"]


async def test_whole_call_is_signed_and_billed_as_counted(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(ANSWER, headers=[("x-amzn-requestid", "5b1c9c5e-0")])
    async with serving(tmp_path, one_model(bedrock(vendor, aws()))) as gateway:
        response = await gateway.post(body=chat(max_tokens=7))
        (row,) = await gateway.settled()
    (seen,) = vendor.seen
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    assert seen.path == "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse"
    assert seen.json() == {
        "messages": [{"role": "user", "content": [{"text": "Say hello."}]}],
        "inferenceConfig": {"maxTokens": 7},
    }
    assert is_signed_by(seen, AwsKeys("AKIDEXAMPLE", "a-secret-access-key"))
    assert seen.header("x-amz-security-token") is None
    assert row.usage == Usage(input=10, cache_read=100, output=5)
    assert row.upstream_request_id == "5b1c9c5e-0"


@pytest.mark.parametrize("size", [None, 17])
async def test_stream_is_read_from_frames_and_billed_as_counted(
    tmp_path: Path, vendor: FakeUpstream, size: int | None
) -> None:
    data = b"".join(GOOD)
    step = size or len(data)
    vendor.script = frames(*(data[at : at + step] for at in range(0, len(data), step)))
    async with serving(tmp_path, one_model(bedrock(vendor, aws()))) as gateway:
        response = await gateway.post(body=chat(stream=True, stream_options={"include_usage": True}))
        (row,) = await gateway.settled()
    *events, done = events_of(response.text)
    assert done == "[DONE]"
    found = [json.loads(data) for data in events]
    assert "".join(choice["delta"].get("content") or "" for one in found for choice in one["choices"]) == "hello"
    assert found[-1]["usage"]["total_tokens"] == 115
    assert vendor.seen[0].path.endswith("/converse-stream")
    assert vendor.seen[0].header("accept") == "application/vnd.amazon.eventstream"
    assert row.usage == Usage(input=10, cache_read=100, output=5)
    assert row.upstream_request_id == "5b1c9c5e-1"


async def test_every_request_has_a_signature_of_its_own_on_one_connection(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(ANSWER)
    keys = AwsKeys("AKIDEXAMPLE", "a-secret-access-key", "temporary")
    async with serving(tmp_path, one_model(bedrock(vendor, aws(session_token="temporary")))) as gateway:
        for number in range(3):
            gateway.clock.ahead += 1
            await gateway.post(body=chat(max_tokens=number + 1))
    assert vendor.connections == 1
    assert all(is_signed_by(seen, keys) for seen in vendor.seen)
    assert {seen.header("x-amz-security-token") for seen in vendor.seen} == {"temporary"}
    assert len({seen.header("authorization") for seen in vendor.seen}) == 3
    assert all(len([1 for name, _ in seen.headers if name == "authorization"]) == 1 for seen in vendor.seen)


async def test_call_goes_out_with_the_keys_of_an_assumed_role(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    vendor.script = answer_json(ANSWER)
    async with serving(
        tmp_path, one_model(bedrock(vendor, aws(sts_endpoint=origin(service), roles=[{"role_arn": ROLE}])))
    ) as gateway:
        service.script = sts(lambda _: "one", expires_unix=gateway.clock.unix() + 3600)
        for _ in range(2):
            assert (await gateway.post()).status_code == 200
    assert [form(seen)["Action"] for seen in service.seen] == ["AssumeRole"]
    keys = AwsKeys("ASIAone", "secret+of/one", "session/of+one==")
    assert all(is_signed_by(seen, keys) for seen in vendor.seen)
    assert "a-secret-access-key" not in str(vendor.seen)


async def test_role_that_cannot_be_assumed_moves_on(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = answer_json({}, 403)
    owner = bedrock(vendor, aws(sts_endpoint=origin(service), roles=[{"role_arn": ROLE}]))
    snap = snapshot([owner, provider("two", vendor.base_url)], [route("gpt-4o-mini", ("cloud", MODEL), ("two", "m"))])
    async with serving(tmp_path, snap) as gateway:
        response = await gateway.post()
        (row,) = await gateway.settled()
    assert response.status_code == 200
    assert row.intent.provider == "two"


async def test_api_key_is_sent_as_it_is(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(ANSWER)
    owner = config("bedrock", origin(vendor), "bedrock-api-key-1234")
    async with serving(tmp_path, one_model(owner)) as gateway:
        assert (await gateway.post()).status_code == 200
    assert vendor.seen[0].header("authorization") == "Bearer bedrock-api-key-1234"
    assert vendor.seen[0].header("x-amz-date") is None


async def test_large_body_is_signed_too(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(ANSWER)
    async with serving(tmp_path, one_model(bedrock(vendor, aws()))) as gateway:
        await gateway.post(body=chat(messages=[{"role": "user", "content": "x" * 2_000_000}]))
    assert is_signed_by(vendor.seen[0], AwsKeys("AKIDEXAMPLE", "a-secret-access-key"))


async def test_cut_stream_is_an_error_event_and_billed_as_far_as_seen(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = frames(*GOOD[:3], ends=False)
    async with serving(tmp_path, one_model(bedrock(vendor, aws()))) as gateway:
        response = await gateway.post(body=chat(stream=True))
        (row,) = await gateway.settled()
    assert json.loads(events_of(response.text)[-1])["error"]["code"] == "upstream_cut"
    assert row.usage.is_estimated


async def test_exception_before_the_first_content_is_a_status(tmp_path: Path, vendor: FakeUpstream) -> None:
    """50."""
    vendor.script = frames(GOOD[0], event_stream.exception("throttlingException", b'{"message":"slow down"}'))
    async with serving(tmp_path, one_model(bedrock(vendor, aws()))) as gateway:
        response = await gateway.post(body=chat(stream=True))
    assert response.status_code == 503
    assert "slow down" not in response.text


async def test_what_is_refused_never_leaves(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with serving(tmp_path, one_model(bedrock(vendor, aws()))) as gateway:
        response = await gateway.post(body=chat(n=2))
        embeddings = await gateway.post("/v1/embeddings", {"model": "gpt-4o-mini", "input": "x"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "n")
    assert embeddings.json()["error"]["code"] == "unsupported_operation"
    assert vendor.seen == []


@pytest.mark.parametrize(
    ("base", "region"),
    [
        ("https://bedrock-runtime.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://vpce-1-abc.bedrock-runtime.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_region_is_in_the_address(base: str, region: str) -> None:
    assert region_of(provider("p", base, kind="bedrock")) == region


def test_address_without_a_region_needs_the_option() -> None:
    with pytest.raises(CredentialRefused) as told:
        region_of(provider("p", "https://proxy.example.com", kind="bedrock"))
    assert told.value.code == "upstream_configuration"


def test_profile_is_one_segment_of_the_path() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude"
    call = Call(Operation.CHAT, arn, is_stream=False, body={"model": arn})
    url = BEDROCK.url(provider("p", "https://b.example", kind="bedrock"), call, Target("p", arn))
    assert url == (
        "https://b.example/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude/converse"
    )


def test_other_operations_are_refused() -> None:
    call = Call(Operation.COMPLETIONS, "m", is_stream=False, body={})
    with pytest.raises(BadRequest):
        BEDROCK.dialect(provider("p", None, kind="bedrock"), call, Target("p", "m"))


def test_closing_a_stream_does_not_end_the_bill() -> None:
    assert not BEDROCK.billing(provider("p", None, kind="bedrock"), MODEL).stops_at_cancel


def test_kind_is_listed_with_what_it_takes() -> None:
    kind = next(kind for kind in provider_kinds() if kind.kind == "bedrock")
    assert (kind.needs_base_url, kind.needs_credential, kind.document) == (True, True, "aws")
