"""Payloads of the roles API."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from tollkeeper.core.ids import RoleId, TenantId
from tollkeeper.core.permissions import CUSTOM, Permission, Role
from tollkeeper.web.schemas import Name, Schema


def _not_built_in(name: str) -> str:
    if name.lower() in {CUSTOM, *(role.value for role in Role)}:
        raise ValueError(f"{name.lower()} is the name of a built-in role")
    return name


# Of any role: a built-in's, or one the tenant made.
RoleName = Annotated[Name, Field(max_length=64)]
# Of a role the tenant makes.
OwnRoleName = Annotated[Name, Field(max_length=64), AfterValidator(_not_built_in)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
Permissions = Annotated[list[Permission], Field(min_length=1, max_length=200)]


class RoleCreate(Schema):
    name: OwnRoleName
    description: Description = ""
    permissions: Permissions
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")


class RoleUpdate(Schema):
    """Only the members that are sent are changed. Whoever holds the role is affected at once."""

    name: OwnRoleName | None = None
    description: Description | None = None
    permissions: Permissions | None = None

    @model_validator(mode="after")
    def _not_null(self) -> "RoleUpdate":
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class RoleView(Schema):
    """A built-in role has neither id nor times."""

    id: RoleId | None
    tenant_id: TenantId | None
    name: str
    description: str
    permissions: list[Permission]
    is_built_in: bool
    created_at: datetime | None
    updated_at: datetime | None
    version: int | None


class PermissionView(Schema):
    name: Permission
    description: str
    is_grantable: bool = Field(description="Whether a tenant's own role may hold it.")
