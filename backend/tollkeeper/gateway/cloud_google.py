"""Google Cloud: a bearer token for a service account's key file, for a federated workload, or for a user of gcloud.

The JWT bearer grant (RFC 7523, "Using OAuth 2.0 for Server to Server Applications"), token exchange (RFC 8693, "Workload
identity federation") and impersonation (`generateAccessToken` of the IAM Credentials API), by Google's documentation.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.cloud import AuthorizedUser, DocumentFamily, ExternalAccount, ServiceAccount
from tollkeeper.gateway.cloud_tokens import (
    Grant,
    Tokens,
    read_answer,
    read_token_file,
    seconds_of,
    text_of,
    unavailable,
)
from tollkeeper.gateway.provider import CredentialRefused

log = structlog.get_logger(__name__)

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
_JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a kind
_ASSERTION_SECONDS: Final = 3600
# A key file has 2048 bits; a larger one only costs time.
_KEY_BITS: Final = range(2048, 8193)


async def google_token(tokens: Tokens, config: ProviderConfig, credential: Credential) -> str:
    """Raises `CredentialUnavailable`."""
    document = tokens.document(DocumentFamily.GOOGLE, config, credential)

    async def fetch() -> Grant[str]:
        match document:
            case ServiceAccount():
                form = await _assertion_form(document, tokens.clock.unix())
                url = document.token_uri
            case AuthorizedUser():
                form, url = _refresh_form(document), document.token_uri
            case ExternalAccount():
                form, url = await _exchange_form(document), document.token_url
            case _:
                raise AssertionError(f"no document of Google's: {type(document).__name__}")
        answer = read_answer(await tokens.ask(config, credential, url, urlencode(form).encode(), _FORM))
        grant = Grant(text_of(answer, "access_token"), seconds_of(answer))
        if isinstance(document, ExternalAccount) and document.service_account_impersonation_url is not None:
            return await _impersonate(
                tokens, config, credential, document.service_account_impersonation_url, grant.value
            )
        return grant

    return await tokens.get(credential, SCOPE, fetch)


async def _assertion_form(account: ServiceAccount, now: float) -> dict[str, str]:
    header: dict[str, Any] = {"alg": "RS256", "typ": "JWT"}
    if account.private_key_id is not None:
        header["kid"] = account.private_key_id
    claims = {
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": int(now),
        "exp": int(now) + _ASSERTION_SECONDS,
    }
    try:
        # Reading a key checks it, which takes tens of milliseconds.
        assertion = await asyncio.to_thread(_sign, header, claims, account.private_key.get_secret_value())
    except (ValueError, TypeError):
        log.warning("cloud_credential_unusable", reason="private_key is no RSA key in PEM form, or it has a password")
        raise CredentialRefused(
            "The provider's credential is not configured rightly. Tell the operator.", code="upstream_configuration"
        ) from None
    return {"grant_type": _JWT_GRANT, "assertion": assertion}


def _sign(header: Mapping[str, Any], claims: Mapping[str, Any], pem: str) -> str:
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, RSAPrivateKey) or key.key_size not in _KEY_BITS:
        raise ValueError("no RSA key")
    signed = b".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return (signed + b"." + _base64url(key.sign(signed, PKCS1v15(), SHA256()))).decode("ascii")


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _refresh_form(user: AuthorizedUser) -> dict[str, str]:
    return {
        "grant_type": "refresh_token",
        "client_id": user.client_id,
        "client_secret": user.client_secret.get_secret_value(),
        "refresh_token": user.refresh_token.get_secret_value(),
    }


async def _exchange_form(account: ExternalAccount) -> dict[str, str]:
    source = account.credential_source
    token = await read_token_file(source.file)
    if source.format.type == "json":
        token = text_of(read_answer(token.encode()), source.format.subject_token_field_name or "access_token")
    return {
        "grant_type": _EXCHANGE_GRANT,
        "audience": account.audience,
        "scope": SCOPE,
        "requested_token_type": _ACCESS_TOKEN,
        "subject_token_type": account.subject_token_type,
        "subject_token": token,
    }


async def _impersonate(
    tokens: Tokens, config: ProviderConfig, credential: Credential, url: str, federated: str
) -> Grant[str]:
    answer = read_answer(
        await tokens.ask(
            config,
            credential,
            url,
            json.dumps({"scope": [SCOPE], "lifetime": "3600s"}).encode(),
            {"content-type": "application/json"},
            signed_headers={"authorization": f"Bearer {federated}"},
        )
    )
    try:
        until = datetime.fromisoformat(text_of(answer, "expireTime")).timestamp()
    except ValueError:
        raise unavailable() from None
    return Grant(text_of(answer, "accessToken"), max(until - tokens.clock.unix(), 0.0))
