"""Credentials of clouds are documents: checked when they are given, kept sealed, shown never."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from tests.domains.catalog.conftest import World
from tests.domains.catalog.kinds import KINDS
from tests.domains.catalog.test_providers import create, update
from tollkeeper.configuration import ConfigError, load_configuration
from tollkeeper.contracts.cloud import AwsDocument, DocumentFamily, read_document, secrets_of
from tollkeeper.core.errors import BadRequest
from tollkeeper.domains.catalog.schemas import CredentialCreate

CANARY = "canary-5e1f-secret"
ENTRA = {"tenant_id": "t.example", "client_id": "c", "client_secret": CANARY}
AWS = {"access_key_id": "AKIA1", "secret_access_key": CANARY}
ROLE = {"role_arn": "arn:aws:iam::123456789012:role/gateway"}
GOOGLE = {
    "type": "service_account",
    "client_email": "a@b.iam.gserviceaccount.com",
    "private_key": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n",
    "universe_domain": "googleapis.com",
}
EXTERNAL = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/x",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "credential_source": {"file": "/var/run/secrets/token"},
}
ADDRESSES = {
    "azure": "https://r.openai.azure.com",
    "bedrock": "https://bedrock-runtime.eu-west-1.amazonaws.com",
    "vertex": "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1",
}


def declared(folder: Path, kind: str, document: str, extra: str = "") -> Any:
    (folder / "secret.json").write_text(document, encoding="utf-8")
    path = folder / "tollkeeper.yaml"
    path.write_text(
        f"providers:\n  - name: cloud\n    kind: {kind}\n    base_url: {ADDRESSES.get(kind, 'https://x.example')}\n"
        f"    api_key: ${{file:secret.json}}\n{extra}",
        encoding="utf-8",
    )
    return load_configuration(path, {}, kinds=KINDS).catalog.providers[0]


def problem(folder: Path, kind: str, document: Any, extra: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        declared(folder, kind, document if isinstance(document, str) else json.dumps(document), extra)
    (found,) = caught.value.problems
    return str(found)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("azure", ENTRA),
        ("azure", {"tenant_id": "t", "client_id": "c", "federated_token_file": "/var/run/token"}),
        ("bedrock", AWS),
        ("bedrock", {**AWS, "session_token": "s", "roles": [ROLE, {**ROLE, "external_id": "ext-1"}]}),
        ("bedrock", {"web_identity_token_file": "/var/run/token", "roles": [ROLE]}),
        ("vertex", GOOGLE),
        ("vertex", EXTERNAL),
        ("vertex", {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}),
    ],
)
def test_file_takes_a_document_as_it_was_downloaded(tmp_path: Path, kind: str, document: Any) -> None:
    """Over several lines, with whatever else the vendor writes into it."""
    config = declared(tmp_path, kind, json.dumps(document, indent=2) + "\n")

    (credential,) = config.credentials
    assert json.loads(credential.secret) == document
    assert "\n" not in credential.secret
    assert len(credential.origins) == 1


@pytest.mark.parametrize(
    ("kind", "document", "words"),
    [
        ("azure", "{no json", "is no JSON"),
        ("azure", {"tenant_id": "t", "client_id": "c"}, "give client_secret or federated_token_file"),
        ("azure", {**ENTRA, "client_secrets": "x"}, "client_secrets: extra inputs are not permitted"),
        ("azure", {**ENTRA, "authority": "https://login.evil.example"}, "not the vendor's own"),
        ("azure", {**ENTRA, "authority": "http://login.microsoftonline.com"}, "not the vendor's own"),
        ("azure", AWS, "tenant_id: field required"),
        ("bedrock", {"access_key_id": "a"}, "give access_key_id and secret_access_key"),
        ("bedrock", {**AWS, "roles": [{"role_arn": "gateway"}]}, "roles.0.role_arn"),
        ("bedrock", {"web_identity_token_file": "/x"}, "needs roles"),
        ("bedrock", {**AWS, "sts_endpoint": "https://sts.amazonaws.com.evil.example"}, "not the vendor's own"),
        ("vertex", {**GOOGLE, "type": "gdch_service_account"}, "expected one of service_account"),
        ("vertex", {"client_email": "x"}, "expected one of service_account"),
        ("vertex", {**EXTERNAL, "credential_source": {"url": "http://169.254.169.254/"}}, "credential_source.file"),
        ("vertex", {**EXTERNAL, "token_url": "https://sts.googleapis.com.evil.example/"}, "not the vendor's own"),
        ("openai", AWS, "takes a key, not a JSON document"),
    ],
)
def test_file_says_what_is_wrong_with_a_document_and_quotes_nothing(
    tmp_path: Path, kind: str, document: Any, words: str
) -> None:
    said = problem(tmp_path, kind, document)
    assert "api_key" in said
    assert words in said
    assert CANARY not in said


def test_other_places_for_tokens_need_the_operators_word(tmp_path: Path) -> None:
    document = json.dumps({**AWS, "sts_endpoint": "https://sts.internal.example", "roles": [ROLE]})
    declared(tmp_path, "bedrock", document, "    allow_private_address: true\n")


async def test_document_is_kept_sealed_and_served(world: World) -> None:
    await create(world, kind="bedrock", base_url=ADDRESSES["bedrock"], api_key=json.dumps(AWS, indent=1))

    (credential,) = (await world.snapshot()).providers["acme"].credentials
    assert json.loads(credential.secret) == AWS
    assert credential.origins == {"https://bedrock-runtime.eu-west-1.amazonaws.com:443"}


async def test_no_secret_of_a_document_leaves(world: World) -> None:
    shown = await create(world, kind="vertex", base_url=ADDRESSES["vertex"], api_key=json.dumps(GOOGLE))
    changed = await update(world, shown.id, base_url=ADDRESSES["azure"].replace("r.", "s."), api_key="plain-key")
    async with world.database.platform() as session:
        rows = (await session.execute(text("SELECT p::text || c::text FROM providers p, provider_credentials c"))).all()
        trail = (await session.execute(text("SELECT a::text FROM audit_logs a"))).all()
    outside = shown.model_dump_json() + changed.model_dump_json() + str(rows) + str(trail)
    assert CANARY not in outside
    assert "private_key" not in outside


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("azure", {"tenant_id": "t", "client_id": "c"}),
        ("azure", {"tenant_id": "t", "client_id": "c", "federated_token_file": "/etc/shadow"}),
        ("bedrock", {"web_identity_token_file": "/etc/shadow", "roles": [ROLE]}),
        ("vertex", EXTERNAL),
        ("vertex", {**GOOGLE, "token_uri": "https://collector.example/token"}),
    ],
)
async def test_api_refuses_what_cannot_work_and_files_of_the_machine(world: World, kind: str, document: Any) -> None:
    with pytest.raises(BadRequest) as told:
        await create(world, kind=kind, base_url=ADDRESSES[kind], api_key=json.dumps(document))
    assert (told.value.code, told.value.param) == ("credential_unusable", "api_key")
    shown = await create(world, kind=kind, base_url=ADDRESSES[kind])
    with pytest.raises(BadRequest) as told:
        async with world.database.platform() as session:
            await world.catalog.providers.add_credential(
                session, world.admin, shown.id, CredentialCreate.model_validate({"secret": json.dumps(document)})
            )
    assert (told.value.code, told.value.param) == ("credential_unusable", "secret")


def test_secret_that_is_no_document_keeps_its_rules() -> None:
    with pytest.raises(ValidationError):
        CredentialCreate.model_validate({"secret": "line\nbreak"})
    with pytest.raises(ValidationError) as told:
        CredentialCreate.model_validate({"secret": '{"a": "' + CANARY})
    assert CANARY not in str(told.value.errors(include_input=False))
    assert CredentialCreate.model_validate({"secret": "plain"}).secret.get_secret_value() == "plain"


def test_every_secret_inside_a_document_is_known_as_one() -> None:
    document = json.dumps({**AWS, "session_token": "a-session"})
    assert set(secrets_of(document)) == {document, CANARY, "a-session"}
    assert secrets_of("plain") == ("plain",)
    assert secrets_of("{broken") == ("{broken",)


def test_documents_hide_their_secrets() -> None:
    document = read_document(DocumentFamily.AWS, json.dumps(AWS), is_file_managed=False, allows_any_host=False)
    assert isinstance(document, AwsDocument)
    assert CANARY not in repr(document)
