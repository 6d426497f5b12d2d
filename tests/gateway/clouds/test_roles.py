"""Keys of AWS: given, of a role, of a role behind a role, of a workload's token."""

from pathlib import Path
from typing import Any

import pytest

from tests.gateway.clouds.token_service import aws, config, form, origin, sts
from tests.gateway.serving import ManualClock
from tests.gateway.upstream import FakeUpstream, answer
from tollkeeper.gateway.cloud_aws import AwsKeys, aws_keys
from tollkeeper.gateway.cloud_tokens import Tokens
from tollkeeper.gateway.provider import CredentialUnavailable

ROLE = "arn:aws:iam::123456789012:role/one"
OTHER = "arn:aws:iam::210987654321:role/path/two"


async def keys(tokens: Tokens, document: Any, **fields: Any) -> AwsKeys:
    owner = config("bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com", document, **fields)
    return await aws_keys(tokens, owner, owner.credentials[0], "eu-west-1")


def by_role(asked: dict[str, str]) -> str:
    return asked["RoleArn"].rpartition("/")[2]


async def test_given_keys_need_nobody(service: FakeUpstream, tokens: Tokens) -> None:
    assert await keys(tokens, aws()) == AwsKeys("AKIDEXAMPLE", "a-secret-access-key")
    assert await keys(tokens, aws(session_token="s")) == AwsKeys("AKIDEXAMPLE", "a-secret-access-key", "s")
    assert service.seen == []


async def test_roles_are_assumed_one_after_the_other(service: FakeUpstream, tokens: Tokens, clock: ManualClock) -> None:
    service.script = sts(by_role, expires_unix=clock.unix() + 3600)
    document = aws(
        sts_endpoint=origin(service),
        roles=[
            {"role_arn": ROLE, "external_id": "shared-word", "duration_seconds": 7200},
            {"role_arn": OTHER, "session_name": "gateway", "duration_seconds": 7200},
        ],
    )

    found = await keys(tokens, document)

    assert found == AwsKeys("ASIAtwo", "secret+of/two", "session/of+two==")
    first, second = service.seen
    assert form(first) == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "tollkeeper",
        "DurationSeconds": "7200",
        "ExternalId": "shared-word",
    }
    assert "Credential=AKIDEXAMPLE/" in (first.header("authorization") or "")
    assert "/eu-west-1/sts/aws4_request" in (first.header("authorization") or "")
    assert first.header("x-amz-security-token") is None
    # Signed with the first role's keys; chained roles last an hour at most.
    assert "Credential=ASIAone/" in (second.header("authorization") or "")
    assert second.header("x-amz-security-token") == "session/of+one=="
    assert form(second)["DurationSeconds"] == "3600"


async def test_keys_of_a_role_are_kept_until_they_end(
    service: FakeUpstream, tokens: Tokens, clock: ManualClock
) -> None:
    service.script = sts(by_role, expires_unix=clock.unix() + 900)
    owner = config("bedrock", "https://x.example", aws(sts_endpoint=origin(service), roles=[{"role_arn": ROLE}]))
    for _ in range(3):
        await aws_keys(tokens, owner, owner.credentials[0], "eu-west-1")
    assert len(service.seen) == 1
    clock.ahead += 895
    service.script = sts(lambda _: "new", expires_unix=clock.unix() + 900)
    assert (await aws_keys(tokens, owner, owner.credentials[0], "eu-west-1")).access_key_id == "ASIAnew"


async def test_workload_proves_itself_by_its_token(
    service: FakeUpstream, tokens: Tokens, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("the-platforms-word")
    service.script = sts(by_role, expires_unix=clock.unix() + 3600)
    document = {
        "web_identity_token_file": str(file),
        "roles": [{"role_arn": ROLE}, {"role_arn": OTHER}],
        "sts_endpoint": origin(service),
    }

    found = await keys(tokens, document, is_managed_by_file=True)

    assert found.access_key_id == "ASIAtwo"
    first, second = service.seen
    assert form(first)["Action"] == "AssumeRoleWithWebIdentity"
    assert form(first)["WebIdentityToken"] == "the-platforms-word"
    assert first.header("authorization") is None
    assert "Credential=ASIAone/" in (second.header("authorization") or "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<Credentials><AccessKeyId>A</AccessKeyId></Credentials>",
        (
            b"<Credentials><AccessKeyId>A&amp;</AccessKeyId><SecretAccessKey>b</SecretAccessKey>"
            b"<SessionToken>c</SessionToken><Expiration>2026-11-21T00:00:00Z</Expiration></Credentials>"
        ),
        (
            b"<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>b</SecretAccessKey>"
            b"<SessionToken>c</SessionToken><Expiration>soon</Expiration></Credentials>"
        ),
        "<Credentials>ü</Credentials>".encode(),
    ],
)
async def test_answer_without_keys_is_a_named_error(service: FakeUpstream, tokens: Tokens, body: bytes) -> None:
    service.script = answer(200, body, content_type="text/xml")
    with pytest.raises(CredentialUnavailable):
        await keys(tokens, aws(sts_endpoint=origin(service), roles=[{"role_arn": ROLE}]))
