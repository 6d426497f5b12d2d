"""The two calls behind a sign-in: the code for the tokens, and what a thin ID token leaves out (RFC 6749, OIDC Core)."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import structlog

from tollkeeper.core.crypto import EnvelopeError, SecretBox
from tollkeeper.core.errors import Unauthenticated
from tollkeeper.core.foreign_tokens import ForeignTokenRefused, read_object
from tollkeeper.core.ids import format_id
from tollkeeper.core.outbound import Answer, Outbound, OutboundFailed
from tollkeeper.db.models import IdentityProvider
from tollkeeper.domains.identity_providers.id_token import find_values
from tollkeeper.domains.identity_providers.issuers import IssuerUnavailable, IssuerUnfit, Metadata
from tollkeeper.domains.identity_providers.sealing import open_client_secret

log = structlog.get_logger(__name__)

# An error's name, as far as it may be repeated to the user.
ERROR_NAME: Final = re.compile(r"[a-z_]{1,60}")
_HEADER_TEXT: Final = re.compile(r"[!-~]{1,16000}")


class ProviderRefused(Unauthenticated):
    """The provider sent the browser back with an error instead of a code, or does not take the code."""

    code = "oidc_provider_refused"


@dataclass(frozen=True, slots=True)
class Tokens:
    id_token: str = field(repr=False)
    access_token: str | None = field(repr=False)


class Exchange:
    def __init__(self, outbound: Outbound, box: SecretBox, redirect_uri: str) -> None:
        self._outbound = outbound
        self._box = box
        self._redirect_uri = redirect_uri

    async def tokens(self, provider: IdentityProvider, metadata: Metadata, code: str, verifier: str) -> Tokens:
        """Raises `ProviderRefused`, `IssuerUnavailable`, `IssuerUnfit`."""
        if metadata.token_endpoint is None:
            raise IssuerUnfit("The identity provider has no token_endpoint.")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        self._identify(provider, metadata, form, headers)
        try:
            answer = await self._outbound.send(
                "POST",
                metadata.token_endpoint,
                headers=headers,
                body=urlencode(form).encode(),
                allow_private_address=provider.allow_private_address,
            )
        except OutboundFailed as error:
            raise _unavailable() from error
        return _read_tokens(provider, answer)

    def _identify(
        self, provider: IdentityProvider, metadata: Metadata, form: dict[str, str], headers: dict[str, str]
    ) -> None:
        """Who asks, in a way that the provider takes (RFC 6749, section 2.3.1)."""
        assert provider.client_id is not None
        try:
            secret = open_client_secret(self._box, provider)
        except EnvelopeError:
            raise IssuerUnfit("The provider's client secret cannot be read; enter it again.") from None
        if secret is not None and "client_secret_basic" in metadata.token_auth_methods:
            pair = f"{quote(provider.client_id, safe='')}:{quote(secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
            return
        form["client_id"] = provider.client_id
        if secret is None:
            return
        if "client_secret_post" not in metadata.token_auth_methods:
            raise IssuerUnfit("The identity provider takes no client secret; remove it, or allow it there.")
        form["client_secret"] = secret

    async def complete(
        self,
        provider: IdentityProvider,
        metadata: Metadata,
        subject: str,
        claims: Mapping[str, Any],
        access_token: str | None,
    ) -> Mapping[str, Any]:
        """Some providers keep an ID token thin: what it lacks and we need is asked for. What it says itself wins."""
        wanted = [name for name in (provider.role_claim, provider.group_claim) if name is not None]
        is_thin = "email" not in claims or any(not find_values(claims, name) for name in wanted)
        if not is_thin or metadata.userinfo_endpoint is None or access_token is None:
            return claims
        if not _HEADER_TEXT.fullmatch(access_token):
            return claims
        try:
            answer = await self._outbound.send(
                "GET",
                metadata.userinfo_endpoint,
                headers={"authorization": f"Bearer {access_token}", "accept": "application/json"},
                allow_private_address=provider.allow_private_address,
            )
            told = read_object(answer.body if answer.status == 200 else b"")
        except (OutboundFailed, ForeignTokenRefused):
            log.warning("oidc_userinfo_unavailable", provider_id=format_id("idp", provider.id))
            return claims
        # Section 5.3.2: an answer about somebody else is not used.
        return {**told, **claims} if told.get("sub") == subject else claims


def _read_tokens(provider: IdentityProvider, answer: Answer) -> Tokens:
    if answer.status >= 500 or answer.status == 429:
        raise _unavailable()
    try:
        document = read_object(answer.body)
    except ForeignTokenRefused:
        document = {}
    id_token, access_token = document.get("id_token"), document.get("access_token")
    if answer.status != 200 or not isinstance(id_token, str):
        said = document.get("error")
        named = said if isinstance(said, str) and ERROR_NAME.fullmatch(said) else "no ID token"
        log.warning("oidc_code_refused", provider_id=format_id("idp", provider.id), status=answer.status, problem=named)
        raise ProviderRefused(f"The identity provider did not take the code ({named}). Begin again.")
    return Tokens(id_token, access_token if isinstance(access_token, str) else None)


def _unavailable() -> IssuerUnavailable:
    return IssuerUnavailable("The identity provider does not answer. Try again shortly.", retry_after_seconds=5)
