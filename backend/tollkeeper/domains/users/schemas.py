"""Payloads of the users API. A password goes in and never comes out."""

import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from tollkeeper.core.ids import RoleId, TeamId, TenantId, UserId
from tollkeeper.core.permissions import Role
from tollkeeper.domains.roles.schemas import RoleName
from tollkeeper.web.schemas import Email, Name, Schema

SHORTEST_PASSWORD: Final = 8  # NIST SP 800-63B, section 5.1.1.2
LONGEST_PASSWORD: Final = 1024
_LARGEST_PREFERENCES: Final = 16_384
# RFC 2606; ours mark service accounts and what is deleted.
_NOBODYS: Final = ".invalid"


def _bounded(preferences: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(preferences)) > _LARGEST_PREFERENCES:
        raise ValueError(f"preferences are larger than {_LARGEST_PREFERENCES} bytes")
    return preferences


def _somebodys(address: str) -> str:
    if f".{address.rpartition('@')[2]}".endswith(_NOBODYS):
        raise ValueError("nobody has an address that ends in .invalid")
    return address


PersonEmail = Annotated[Email, AfterValidator(_somebodys)]
Password = Annotated[SecretStr, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
Preferences = Annotated[dict[str, Any], Field(max_length=100), AfterValidator(_bounded)]
Kind = Literal["person", "service"]


class UserCreate(Schema):
    email: PersonEmail
    name: Name | None = Field(None, description="Without it the address.")
    role: RoleName = Field(Role.DEVELOPER.value, description="A built-in role, or one of the tenant's own.")
    password: Password | None = Field(None, description="Without one the user cannot sign in yet.")
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")


class UserUpdate(Schema):
    """Only the members that are sent are changed. Of a guest, only `role` and `is_active` can be."""

    email: PersonEmail | None = None
    name: Name | None = None
    role: RoleName | None = None
    is_active: bool | None = Field(None, strict=True)
    password: Password | None = None
    preferences: Preferences | None = None

    @model_validator(mode="after")
    def _not_null(self) -> "UserUpdate":
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class UserTeam(Schema):
    id: TeamId
    name: str
    role: Literal["member", "maintainer"]


class UserView(Schema):
    """An account as a member of the tenant. What only its own tenant knows of it is null or empty for a guest."""

    id: UserId
    tenant_id: TenantId
    email: str | None = Field(description="None for a service account.")
    name: str
    kind: Kind
    role: str = Field(description="A built-in role, or the name of one of the tenant's own.")
    role_id: RoleId | None = Field(description="Of the tenant's own role.")
    is_guest: bool = Field(description="Another tenant manages the account.")
    is_active: bool
    has_password: bool | None
    preferences: dict[str, Any]
    teams: list[UserTeam] = Field(description="Empty for who may not see teams.")
    last_login_at: datetime | None
    created_at: datetime = Field(description="When the account joined the tenant.")
    updated_at: datetime
    version: int
