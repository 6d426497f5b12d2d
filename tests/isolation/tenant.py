"""One of two tenants that are alike in everything but their ids and one word, which every answer is searched for."""

import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from tests.faults.gateway import Gateway

# Enough for all the calls; without a limit nobody asks Redis.
_RATE: Final = 60_000


@dataclass
class Twin:
    """`canary` stands in its prompts, addresses, tags and request ids; names are the same in both tenants."""

    tenant_id: str
    canary: str
    user_id: str
    admin_key: str
    key: str
    key_id: str
    # What the gateway called this tenant's calls.
    request_ids: set[str] = field(default_factory=set)

    def marks(self) -> list[bytes]:
        """What nobody else may ever read, in the forms in which it is written."""
        ids = [self.tenant_id, self.user_id, self.key_id]
        bare = [text.partition("_")[2] for text in ids]
        dashed = [f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" for text in bare]
        return [text.encode() for text in (self.canary, self.admin_key, self.key, *ids, *bare, *dashed)]


def make_twin(gateway: Gateway, name: str) -> Twin:
    canary = f"canary{secrets.token_hex(8)}"
    tenant = gateway.ask("POST", "/api/v1/tenants", {"name": name, "rate_limit": _RATE})
    place = {"tenant_id": tenant["id"]}
    user = gateway.ask(
        "POST", "/api/v1/users", {"email": f"ann@{canary}.example.com", "name": "Ann", "role": "tenant_admin", **place}
    )
    shared: dict[str, Any] = {"user_id": user["id"], "tags": {"word": canary}, **place}
    admin = gateway.ask("POST", "/api/v1/keys", {"name": "admin", "scopes": ["admin"], **shared})
    key = gateway.ask("POST", "/api/v1/keys", {"name": "calls", "rate_limit_override": _RATE, **shared})
    gateway.ask("POST", "/api/v1/teams", {"name": "Team", "tags": {"word": canary}, **place})
    gateway.ask("POST", "/api/v1/projects", {"name": "Project", "tags": {"word": canary}, **place})
    return Twin(tenant["id"], canary, user["id"], admin["key"], key["key"], key["id"])
