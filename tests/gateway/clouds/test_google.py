"""Google's three files: a service account signs for itself, a workload is exchanged, a user refreshes."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from tests.gateway.clouds.token_service import PRIVATE_KEY, config, form, origin, service_account, tokens_in_turn
from tests.gateway.serving import ManualClock
from tests.gateway.upstream import FakeUpstream, Seen, answer_json
from tollkeeper.gateway.cloud_google import SCOPE, google_token
from tollkeeper.gateway.cloud_tokens import Tokens
from tollkeeper.gateway.provider import CredentialRefused, CredentialUnavailable

URL = "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1"


async def token(tokens: Tokens, document: Any, **fields: Any) -> str:
    owner = config("vertex", URL, document, **fields)
    return await google_token(tokens, owner, owner.credentials[0])


def decoded(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


async def test_service_account_signs_its_own_assertion(
    service: FakeUpstream, tokens: Tokens, clock: ManualClock
) -> None:
    service.script = tokens_in_turn("ya29.one")

    assert await token(tokens, service_account(service)) == "ya29.one"

    (asked,) = service.seen
    assert asked.path == "/token"
    assert form(asked)["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, claims, signature = form(asked)["assertion"].split(".")
    PRIVATE_KEY.public_key().verify(
        base64.urlsafe_b64decode(signature + "=="), f"{head}.{claims}".encode(), PKCS1v15(), SHA256()
    )
    assert decoded(head) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    said = decoded(claims)
    assert said["iss"] == "gateway@a-project.iam.gserviceaccount.com"
    assert said["aud"] == f"{origin(service)}/token"
    assert said["scope"] == SCOPE
    assert said["exp"] - said["iat"] == 3600
    assert abs(said["iat"] - clock.unix()) < 10


@pytest.mark.parametrize("key", ["no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
async def test_key_that_is_none_is_told_without_asking(service: FakeUpstream, tokens: Tokens, key: str) -> None:
    with pytest.raises(CredentialRefused) as told:
        await token(tokens, service_account(service, private_key=key))
    assert told.value.code == "upstream_configuration"
    assert service.seen == []


def external(service: FakeUpstream, file: Any, **fields: Any) -> dict[str, Any]:
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{origin(service)}/v1/token",
        "credential_source": {"file": str(file)},
        **fields,
    }


async def test_workload_is_exchanged_and_becomes_a_service_account(
    service: FakeUpstream, tokens: Tokens, clock: ManualClock, tmp_path: Any
) -> None:
    file = tmp_path / "token.json"
    file.write_text(json.dumps({"id_token": "the-platforms-word"}))
    until = datetime.fromtimestamp(clock.unix() + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def script(seen: Seen, writer: Any) -> bool | None:
        document = (
            {"access_token": "federated", "expires_in": 3599, "token_type": "Bearer"}
            if seen.path == "/v1/token"
            else {"accessToken": "ya29.impersonated", "expireTime": until}
        )
        return await answer_json(document)(seen, writer)

    service.script = script
    document = external(
        service,
        file,
        credential_source={"file": str(file), "format": {"type": "json", "subject_token_field_name": "id_token"}},
        service_account_impersonation_url=f"{origin(service)}/v1/projects/-/serviceAccounts/sa:generateAccessToken",
    )

    assert await token(tokens, document, is_managed_by_file=True) == "ya29.impersonated"

    exchange, impersonation = service.seen
    assert form(exchange)["subject_token"] == "the-platforms-word"
    assert form(exchange)["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
    assert form(exchange)["audience"] == document["audience"]
    assert impersonation.header("authorization") == "Bearer federated"
    assert impersonation.json()["scope"] == [SCOPE]


async def test_file_of_the_machine_is_read_for_the_configuration_file_alone(
    service: FakeUpstream, tokens: Tokens, tmp_path: Any
) -> None:
    file = tmp_path / "token"
    file.write_text("word")
    with pytest.raises(CredentialRefused):
        await token(tokens, external(service, file))
    assert service.seen == []
    service.script = tokens_in_turn("ya29.federated")
    assert await token(tokens, external(service, file), is_managed_by_file=True) == "ya29.federated"


async def test_user_of_gcloud_refreshes(service: FakeUpstream, tokens: Tokens) -> None:
    service.script = tokens_in_turn("ya29.user")
    document = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s-e-c-r-e-t",
        "refresh_token": "1//refresh",
        "token_uri": f"{origin(service)}/token",
    }
    assert await token(tokens, document) == "ya29.user"
    assert form(service.seen[0])["refresh_token"] == "1//refresh"


async def test_impersonation_without_a_time_is_no_token(service: FakeUpstream, tokens: Tokens, tmp_path: Any) -> None:
    file = tmp_path / "token"
    file.write_text("word")
    service.script = answer_json({"access_token": "a", "accessToken": "b", "expireTime": "soon"})
    document = external(service, file, service_account_impersonation_url=f"{origin(service)}/x")
    with pytest.raises(CredentialUnavailable):
        await token(tokens, document, is_managed_by_file=True)
