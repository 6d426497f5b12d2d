"""AWS: requests signed with Signature Version 4, and the keys to sign with: given ones, or those of assumed roles.

By "Create a signed AWS API request" of the IAM user guide and the API reference of the Security Token Service; the tests
hold it to the vectors that AWS publishes.
"""

import asyncio
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.cloud import AwsDocument, DocumentFamily, Role
from tollkeeper.gateway.addresses import locate
from tollkeeper.gateway.cloud_tokens import Grant, Tokens, read_token_file, text_of, unavailable

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_FORM: Final = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
_STS_VERSION: Final = "2011-06-15"
# A role that is assumed with another role's keys ("Role chaining", IAM user guide).
_LONGEST_CHAINED_SECONDS: Final = 3600
# Larger bodies are hashed beside the event loop.
_LARGE_BODY: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class AwsKeys:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


async def sign_request(
    tokens: Tokens,
    config: ProviderConfig,
    credential: Credential,
    *,
    region: str,
    service: str,
    method: str,
    url: str,
    body: bytes,
) -> dict[str, str]:
    """The headers that sign one request with a credential's keys. Raises `CredentialUnavailable`."""
    keys = await aws_keys(tokens, config, credential, region)
    digest = await asyncio.to_thread(_sha256, body) if len(body) > _LARGE_BODY else _sha256(body)
    return sign(keys, region, service, method, url, digest, tokens.clock.now())


async def aws_keys(tokens: Tokens, config: ProviderConfig, credential: Credential, region: str) -> AwsKeys:
    """The keys to sign with: of the last role where there are roles. Raises `CredentialUnavailable`."""
    document = tokens.document(DocumentFamily.AWS, config, credential)
    assert isinstance(document, AwsDocument)
    keys = _given(document)
    if keys is not None and not document.roles:
        return keys
    region = document.region or region
    endpoint = (document.sts_endpoint or _sts_of(region)).rstrip("/") + "/"

    async def fetch() -> Grant[AwsKeys]:
        sts = _Sts(tokens, config, credential, endpoint, region)
        roles = document.roles
        if keys is None:
            assert document.web_identity_token_file is not None
            grant = await sts.with_token(roles[0], await read_token_file(document.web_identity_token_file))
            roles = roles[1:]
        else:
            grant = await sts.assume(roles[0], keys, is_chained=keys.session_token is not None)
            roles = roles[1:]
        for role in roles:
            grant = await sts.assume(role, grant.value, is_chained=True)
        return grant

    return await tokens.get(credential, endpoint, fetch)


def sign(
    keys: AwsKeys, region: str, service: str, method: str, url: str, body_sha256: str, now: datetime
) -> dict[str, str]:
    """Signature Version 4 over method, URL, host, time, session token and body. `now`: aware, UTC."""
    location = locate(url)
    split = urlsplit(url)
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    signed = {"host": location.host_header, "x-amz-date": stamp}
    if keys.session_token is not None:
        signed["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        (
            method,
            # Encoded once more than it is sent, as every service but S3 wants it.
            quote(split.path or "/", safe="/-_.~"),
            "&".join(sorted(split.query.split("&"))) if split.query else "",
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            body_sha256,
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join((_ALGORITHM, stamp, scope, _sha256(canonical.encode())))
    key = b"AWS4" + keys.secret_access_key.encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    headers = {name: value for name, value in signed.items() if name != "host"}
    headers["authorization"] = (
        f"{_ALGORITHM} Credential={keys.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


class _Sts:
    """The Security Token Service at one endpoint."""

    def __init__(
        self, tokens: Tokens, config: ProviderConfig, credential: Credential, endpoint: str, region: str
    ) -> None:
        self._tokens = tokens
        self._config = config
        self._credential = credential
        self._endpoint = endpoint
        self._region = region

    async def assume(self, role: Role, keys: AwsKeys, *, is_chained: bool) -> Grant[AwsKeys]:
        seconds = min(role.duration_seconds, _LONGEST_CHAINED_SECONDS) if is_chained else role.duration_seconds
        form = {**_role_form("AssumeRole", role), "DurationSeconds": str(seconds)}
        if role.external_id is not None:
            form["ExternalId"] = role.external_id
        body = urlencode(form).encode()
        now = self._tokens.clock.now()
        signed = sign(keys, self._region, "sts", "POST", self._endpoint, _sha256(body), now)
        return await self._ask(body, signed)

    async def with_token(self, role: Role, token: str) -> Grant[AwsKeys]:
        """Not signed: the token is the proof."""
        form = _role_form("AssumeRoleWithWebIdentity", role)
        form |= {"DurationSeconds": str(role.duration_seconds), "WebIdentityToken": token}
        return await self._ask(urlencode(form).encode(), {})

    async def _ask(self, body: bytes, signed: dict[str, str]) -> Grant[AwsKeys]:
        headers = {**_FORM, "accept": "application/xml"}
        answer = await self._tokens.ask(
            self._config, self._credential, self._endpoint, body, headers, signed_headers=signed
        )
        return _read_credentials(answer, self._tokens.clock.unix())


def _role_form(action: str, role: Role) -> dict[str, str]:
    return {
        "Action": action,
        "Version": _STS_VERSION,
        "RoleArn": role.role_arn,
        "RoleSessionName": role.session_name,
    }


def _read_credentials(answer: bytes, now: float) -> Grant[AwsKeys]:
    """Out of STS' XML, without a parser for XML: four texts that need no escaping between their tags."""
    try:
        text = answer.decode("ascii").partition("<Credentials>")[2].partition("</Credentials>")[0]
    except UnicodeDecodeError:
        raise unavailable() from None
    found = {
        name: text.partition(f"<{name}>")[2].partition(f"</{name}>")[0].strip()
        for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    }
    if any("<" in value or "&" in value for value in found.values()):
        raise unavailable()
    try:
        until = datetime.fromisoformat(text_of(found, "Expiration")).timestamp()
    except ValueError:
        raise unavailable() from None
    keys = AwsKeys(text_of(found, "AccessKeyId"), text_of(found, "SecretAccessKey"), text_of(found, "SessionToken"))
    return Grant(keys, max(until - now, 0.0))


def _given(document: AwsDocument) -> AwsKeys | None:
    if document.access_key_id is None or document.secret_access_key is None:
        return None
    token = document.session_token
    return AwsKeys(
        document.access_key_id,
        document.secret_access_key.get_secret_value(),
        None if token is None else token.get_secret_value(),
    )


def _sts_of(region: str) -> str:
    return f"https://sts.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
