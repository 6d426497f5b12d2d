"""How a client secret lies in the database: sealed, and bound to the provider and to the issuer it was entered for.

Copied to another row, or left in place while the issuer is exchanged underneath, it opens no more.
"""

from tollkeeper.core.crypto import Aad, SecretBox
from tollkeeper.db.models import IdentityProvider


def seal_client_secret(box: SecretBox, row: IdentityProvider, secret: str) -> None:
    """The row's id, tenant and issuer must be set before."""
    row.client_secret = box.seal(secret.encode(), _bond(row))


def open_client_secret(box: SecretBox, row: IdentityProvider) -> str | None:
    """None for a public client. Raises `EnvelopeError`."""
    return None if row.client_secret is None else box.open(row.client_secret, _bond(row)).decode()


def _bond(row: IdentityProvider) -> Aad:
    return Aad(row.tenant_id, row.id, f"client_secret:{row.issuer}", 1)
