"""Payloads of the keys API. The secret stands in `KeyCreated` alone."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, model_validator

from tollkeeper.contracts.key_bounds import endpoint_of, read_network, read_origin
from tollkeeper.contracts.principal import Environment
from tollkeeper.core.ids import KeyId, ProjectId, TeamId, TenantId, UserId
from tollkeeper.core.permissions import Scope
from tollkeeper.domains.keys.effective_schemas import Effective
from tollkeeper.web.schemas import Email, Name, Patterns, Rate, Schema, Tags

# Handed on: other domains know a domain's payloads by this module.
__all__ = ["Effective"]

KeyStatus = Literal["active", "revoked", "expired"]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=8)]
# A week of grace is plenty for any rollout; longer, the old secret is simply still in use.
GraceSeconds = Annotated[int, Field(strict=True, ge=0, le=7 * 86_400)]


def _endpoint(text: str) -> str:
    endpoint = endpoint_of(text.strip())
    if not _ENDPOINT.fullmatch(endpoint):
        raise ValueError("expected an endpoint such as chat/completions, models or keys/*")
    return endpoint


def _network(text: str) -> str:
    try:
        return str(read_network(text))
    except ValueError:
        raise ValueError("expected an address or a network such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32") from None


def _origin(text: str) -> str:
    try:
        return read_origin(text)
    except ValueError:
        raise ValueError("expected an origin such as https://app.example.com") from None


def _distinct(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


_ENDPOINT: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._:@+/-]*\*?|\*)")
Endpoints = Annotated[
    list[Annotated[str, StringConstraints(max_length=200), AfterValidator(_endpoint)]],
    Field(max_length=100),
    AfterValidator(_distinct),
]
Networks = Annotated[
    list[Annotated[str, StringConstraints(max_length=60), AfterValidator(_network)]],
    Field(max_length=100),
    AfterValidator(_distinct),
]
Origins = Annotated[
    list[Annotated[str, StringConstraints(max_length=300), AfterValidator(_origin)]],
    Field(max_length=100),
    AfterValidator(_distinct),
]


class KeyLimits(Schema):
    """Where a key belongs and what bounds it. Null is no bound of the key's own; what is above it holds all the same."""

    team_id: TeamId | None = Field(None, description="The key's team; of a key in a project, the project's.")
    project_id: ProjectId | None = None
    expires_at: AwareDatetime | None = None
    rate_limit_override: Rate | None = Field(None, description="Requests a minute.")
    allowed_models_override: Patterns | None = Field(None, description="Names of models; `*` may end one.")
    allowed_providers_override: Patterns | None = Field(None, description="Names of providers; `*` may end one.")
    allowed_endpoints: Endpoints | None = Field(
        None, description="Paths below /v1 and /api/v1, each with all below it: `chat/completions`, `models`, `keys/*`."
    )
    allowed_addresses: Networks | None = Field(None, description="Networks that callers are in, IPv4 or IPv6.")
    allowed_origins: Origins | None = Field(
        None, description="Origins of pages that may use the key. Calls of programs, which name no origin, go through."
    )


class KeyFields(KeyLimits):
    name: Name
    environment: Environment = Field(Environment.LIVE, description="`test` reaches simulated models only.")
    scopes: Scopes = Field(default_factory=lambda: [Scope.INFERENCE])
    tags: Tags = Field(default_factory=dict)


class KeyCreate(KeyFields):
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")
    user_id: UserId | None = Field(None, description="Whose key it is; without it the caller's own.")


class KeyUpdate(KeyLimits):
    """Only the members that are sent are changed; null removes a limit."""

    name: Name | None = None
    scopes: Scopes | None = None
    tags: Tags | None = None

    @model_validator(mode="after")
    def _not_null(self) -> "KeyUpdate":
        for name in ("name", "scopes", "tags"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class ImportedKey(KeyFields):
    """A key of another gateway, of which we are given the SHA-256 of the whole token and nothing else."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{64}$", to_lower=True)]
    user_id: UserId | None = Field(None, description="Whose key it is; without it and `email` the caller's own.")
    email: Email | None = Field(None, description="The owner by address, instead of `user_id`.")
    display_prefix: Annotated[str, StringConstraints(pattern=r"^[!-~]{0,12}$")] = Field(
        "", description="How the token begins, to know it again in lists."
    )
    last_four: Annotated[str, StringConstraints(pattern=r"^[!-~]{0,4}$")] = Field("", description="How it ends.")

    @model_validator(mode="after")
    def _one_owner(self) -> "ImportedKey":
        if self.user_id is not None and self.email is not None:
            raise ValueError("name the owner by user_id or by email, not by both")
        return self


class KeyImport(Schema):
    """All rows or none."""

    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")
    keys: Annotated[list[ImportedKey], Field(min_length=1, max_length=1000)]


class KeyImported(Schema):
    row: int = Field(description="Which of the rows sent, counted from 0.")
    id: KeyId
    name: str


class KeysImported(Schema):
    data: list[KeyImported]


class KeyRotate(Schema):
    grace_seconds: GraceSeconds = Field(0, description="How long the old secret goes on working.")


class KeyView(Schema):
    id: KeyId
    tenant_id: TenantId
    user_id: UserId
    team_id: TeamId | None = Field(description="The key's team; of a key in a project, the project's.")
    project_id: ProjectId | None
    name: str
    display_prefix: str
    last_four: str
    environment: Environment
    scopes: list[Scope]
    status: KeyStatus
    expires_at: datetime | None
    revoked_at: datetime | None
    previous_expires_at: datetime | None = Field(description="Until when the secret before the rotation works.")
    rate_limit_override: int | None
    allowed_models_override: list[str] | None
    allowed_providers_override: list[str] | None
    allowed_endpoints: list[str] | None
    allowed_addresses: list[str] | None
    allowed_origins: list[str] | None
    is_imported: bool = Field(description="Whether the secret is one of another gateway.")
    tags: dict[str, Any]
    last_used_at: datetime | None = Field(description="Written about once a minute.")
    created_by: UserId | None
    created_at: datetime
    updated_at: datetime
    version: int


def placed(views: Sequence[KeyView], teams: Mapping[UUID, UUID]) -> list[KeyView]:
    """With the team of each project that is in one: a key in a project has none of its own."""
    return [
        view.model_copy(update={"team_id": teams.get(view.project_id)}) if view.project_id is not None else view
        for view in views
    ]


class KeyCreated(KeyView):
    key: str = Field(description="The secret. It is shown here and never again.")
