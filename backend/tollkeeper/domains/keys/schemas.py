"""Payloads of the keys API. The secret stands in `KeyCreated` alone."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from tollkeeper.contracts.principal import Environment
from tollkeeper.core.ids import KeyId, TenantId, UserId
from tollkeeper.core.permissions import Scope
from tollkeeper.web.schemas import Name, Patterns, Rate, Schema, Tags

KeyStatus = Literal["active", "revoked", "expired"]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=8)]
# A week of grace is plenty for any rollout; longer, the old secret is simply still in use.
GraceSeconds = Annotated[int, Field(strict=True, ge=0, le=7 * 86_400)]


class KeyCreate(Schema):
    name: Name
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")
    user_id: UserId | None = Field(None, description="Whose key it is; without it the caller's own.")
    environment: Environment = Field(Environment.LIVE, description="`test` reaches simulated models only.")
    scopes: Scopes = Field(default_factory=lambda: [Scope.INFERENCE])
    expires_at: AwareDatetime | None = None
    rate_limit_override: Rate | None = Field(None, description="Requests a minute.")
    allowed_models_override: Patterns | None = Field(None, description="Names of models; `*` may end one.")
    tags: Tags = Field(default_factory=dict)


class KeyUpdate(Schema):
    """Only the members that are sent are changed; null removes a limit."""

    name: Name | None = None
    scopes: Scopes | None = None
    expires_at: AwareDatetime | None = None
    rate_limit_override: Rate | None = None
    allowed_models_override: Patterns | None = None
    tags: Tags | None = None

    @model_validator(mode="after")
    def _not_null(self) -> "KeyUpdate":
        for name in ("name", "scopes", "tags"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class KeyRotate(Schema):
    grace_seconds: GraceSeconds = Field(0, description="How long the old secret goes on working.")


class KeyView(Schema):
    id: KeyId
    tenant_id: TenantId
    user_id: UserId
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
    tags: dict[str, Any]
    last_used_at: datetime | None
    created_by: UserId | None
    created_at: datetime
    updated_at: datetime
    version: int


class KeyCreated(KeyView):
    key: str = Field(description="The secret. It is shown here and never again.")
