"""How a provider's secrets lie in the database: sealed, and each bound to the row, the field and the version it is of.

A ciphertext copied to another tenant, provider or field, or put back after a change, opens no more.
"""

import base64
from collections.abc import Mapping
from typing import Final

import orjson
from pydantic import TypeAdapter

from tollkeeper.core.crypto import Aad, EnvelopeError, SecretBox, sealed_digest
from tollkeeper.db.models.catalog import Provider, ProviderCredential

_FINGERPRINT_CHARACTERS: Final = 12
_HEADERS: Final = TypeAdapter(dict[str, str])


class SecretUnreadable(Exception):
    """A sealed value does not open: another master key, or the row was tampered with. Names the field."""


class ProviderSecrets:
    """Seals and opens the secret fields of provider rows. A row's id and version must be set before sealing."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    @property
    def kek_id(self) -> str:
        return self._box.kek_id

    def seal_credential(self, row: ProviderCredential, secret: str) -> None:
        row.envelope = self._box.seal(secret.encode(), _credential(row))
        row.kek_id = self._box.kek_id

    def open_credential(self, row: ProviderCredential) -> str:
        return self._open(row.envelope, _credential(row), "credential")

    def seal_provider(self, row: Provider, *, headers: Mapping[str, str], proxy: str | None) -> None:
        """Both at once: they are bound to the provider's version, which every update raises."""
        row.proxy_url = self._box.seal(proxy.encode(), _field(row, "proxy")) if proxy else None
        row.headers = {}
        if headers:
            sealed = self._box.seal(orjson.dumps(dict(headers)), _field(row, "headers"))
            row.headers = {"names": sorted(headers), "sealed": base64.b64encode(sealed).decode()}

    def open_headers(self, row: Provider) -> dict[str, str]:
        if not row.headers:
            return {}
        sealed = base64.b64decode(row.headers["sealed"])
        return _HEADERS.validate_json(self._open(sealed, _field(row, "headers"), "headers"))

    def header_names(self, row: Provider) -> list[str]:
        """Without opening anything."""
        return list(row.headers.get("names", ()))

    def open_proxy(self, row: Provider) -> str | None:
        return self._open(row.proxy_url, _field(row, "proxy"), "proxy") if row.proxy_url else None

    def fingerprint(self, row: ProviderCredential) -> str:
        """Tells two keys apart without saying anything about either; derived from the sealed bytes."""
        return sealed_digest(row.envelope).hex()[:_FINGERPRINT_CHARACTERS]

    def _open(self, envelope: bytes, bound_to: Aad, name: str) -> str:
        try:
            return self._box.open(envelope, bound_to).decode()
        except EnvelopeError as error:
            raise SecretUnreadable(f"{name}: {error}") from None


def _field(row: Provider, name: str) -> Aad:
    return Aad(row.tenant_id, row.id, name, row.version)


def _credential(row: ProviderCredential) -> Aad:
    return Aad(row.tenant_id, row.provider_id, f"credential:{row.id}", row.version)
