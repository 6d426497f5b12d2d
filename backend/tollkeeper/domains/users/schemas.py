"""Payloads of the users API. A password goes in and never comes out."""

import json
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, SecretStr, model_validator

from tollkeeper.core.ids import TenantId, UserId
from tollkeeper.core.permissions import Role
from tollkeeper.web.schemas import Email, Name, Schema

SHORTEST_PASSWORD: Final = 8  # NIST SP 800-63B, section 5.1.1.2
LONGEST_PASSWORD: Final = 1024
_LARGEST_PREFERENCES: Final = 16_384


def _bounded(preferences: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(preferences)) > _LARGEST_PREFERENCES:
        raise ValueError(f"preferences are larger than {_LARGEST_PREFERENCES} bytes")
    return preferences


Password = Annotated[SecretStr, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
Preferences = Annotated[dict[str, Any], Field(max_length=100), AfterValidator(_bounded)]


class UserCreate(Schema):
    email: Email
    name: Name | None = Field(None, description="Without it the address.")
    role: Role = Role.DEVELOPER
    password: Password | None = Field(None, description="Without one the user cannot sign in yet.")
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")


class UserUpdate(Schema):
    """Only the members that are sent are changed."""

    email: Email | None = None
    name: Name | None = None
    role: Role | None = None
    is_active: bool | None = Field(None, strict=True)
    password: Password | None = None
    preferences: Preferences | None = None

    @model_validator(mode="after")
    def _not_null(self) -> "UserUpdate":
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class UserView(Schema):
    id: UserId
    tenant_id: TenantId
    email: str
    name: str
    role: str
    is_active: bool
    has_password: bool
    preferences: dict[str, Any]
    last_login_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int
