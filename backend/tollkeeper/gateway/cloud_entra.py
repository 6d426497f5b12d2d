"""Microsoft Entra ID: a bearer token for an application, by its secret or by a token of the platform it runs on.

The client credentials grant and its federated form ("Microsoft identity platform and the OAuth 2.0 client credentials
flow", Microsoft's documentation, 2026-06).
"""

from typing import Final
from urllib.parse import urlencode

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.cloud import DocumentFamily, EntraClient
from tollkeeper.gateway.cloud_tokens import Grant, Tokens, read_answer, read_token_file, seconds_of, text_of

_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def entra_token(tokens: Tokens, config: ProviderConfig, credential: Credential) -> str:
    """Raises `CredentialUnavailable`."""
    client = tokens.document(DocumentFamily.ENTRA, config, credential)
    assert isinstance(client, EntraClient)

    async def fetch() -> Grant[str]:
        url = f"{client.authority.rstrip('/')}/{client.tenant_id}/oauth2/v2.0/token"
        form = {"grant_type": "client_credentials", "client_id": client.client_id, "scope": client.scope}
        if client.client_secret is not None:
            form["client_secret"] = client.client_secret.get_secret_value()
        else:
            assert client.federated_token_file is not None
            form["client_assertion_type"] = _ASSERTION
            form["client_assertion"] = await read_token_file(client.federated_token_file)
        answer = read_answer(await tokens.ask(config, credential, url, urlencode(form).encode(), _FORM))
        return Grant(text_of(answer, "access_token"), seconds_of(answer))

    return await tokens.get(credential, client.scope, fetch)
