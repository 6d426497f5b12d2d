"""A token service over real sockets, scripted per test, and documents whose tokens come from it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.gateway.serving import provider
from tests.gateway.upstream import FakeUpstream, Script, Seen, answer, answer_json
from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.core.ids import uuid7

PRIVATE_KEY = generate_private_key(65537, 2048)
PEM = PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def origin(upstream: FakeUpstream) -> str:
    return upstream.base_url.removesuffix("/v1")


def form(seen: Seen) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(seen.body.decode(), strict_parsing=True).items()}


def credential(document: dict[str, Any] | str) -> Credential:
    secret = document if isinstance(document, str) else json.dumps(document, separators=(",", ":"))
    return Credential(uuid7(), secret)


def config(kind: str, base_url: str | None, document: dict[str, Any] | str, **fields: Any) -> ProviderConfig:
    return provider("cloud", base_url, kind=kind, credentials=(credential(document),), **fields)


def entra(service: FakeUpstream, **fields: Any) -> dict[str, Any]:
    return {
        "tenant_id": "contoso.example",
        "client_id": "11111111-aaaa",
        "client_secret": "entra-client-secret",
        "authority": origin(service),
        **fields,
    }


def service_account(service: FakeUpstream, **fields: Any) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "a-project",
        "private_key_id": "key-1",
        "private_key": PEM,
        "client_email": "gateway@a-project.iam.gserviceaccount.com",
        "client_id": "1234",
        "token_uri": f"{origin(service)}/token",
        **fields,
    }


def aws(**fields: Any) -> dict[str, Any]:
    return {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "a-secret-access-key", **fields}


def tokens_in_turn(*names: str, seconds: int = 3600) -> Script:
    """OAuth's answer, another token each time; the last one for ever."""
    left = list(names)

    async def script(seen: Seen, writer: Any) -> bool | None:
        name = left.pop(0) if len(left) > 1 else left[0]
        document = {"access_token": name, "expires_in": seconds, "token_type": "Bearer"}
        return await answer_json(document)(seen, writer)

    return script


def sts(keys: Callable[[dict[str, str]], str], *, expires_unix: float) -> Script:
    """The answer of the Security Token Service; `keys` names the new keys by what was asked for."""

    async def script(seen: Seen, writer: Any) -> bool | None:
        asked = form(seen)
        name = keys(asked)
        until = datetime.fromtimestamp(expires_unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = (
            f'<{asked["Action"]}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n'
            f"  <{asked['Action']}Result>\n    <AssumedRoleUser><Arn>{asked['RoleArn']}</Arn></AssumedRoleUser>\n"
            f"    <Credentials>\n      <AccessKeyId>ASIA{name}</AccessKeyId>\n"
            f"      <SecretAccessKey>secret+of/{name}</SecretAccessKey>\n"
            f"      <SessionToken>session/of+{name}==</SessionToken>\n      <Expiration>{until}</Expiration>\n"
            f"    </Credentials>\n  </{asked['Action']}Result>\n</{asked['Action']}Response>\n"
        )
        return await answer(200, text.encode(), content_type="text/xml")(seen, writer)

    return script
