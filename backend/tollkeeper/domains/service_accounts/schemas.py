"""Payloads of the service accounts API."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, model_validator

from tollkeeper.core.ids import RoleId, TeamId, TenantId, UserId
from tollkeeper.core.permissions import Role
from tollkeeper.domains.roles.schemas import RoleName
from tollkeeper.domains.users.schemas import UserTeam
from tollkeeper.web.schemas import Name, Schema

TeamIds = Annotated[list[TeamId], Field(max_length=50)]


class ServiceAccountCreate(Schema):
    name: Name
    role: RoleName = Field(Role.DEVELOPER.value, description="A built-in role, or one of the tenant's own.")
    team_ids: TeamIds = Field(default_factory=list)
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")


class ServiceAccountUpdate(Schema):
    """Only the members that are sent are changed; `team_ids` replaces the teams it is in."""

    name: Name | None = None
    role: RoleName | None = None
    is_active: bool | None = Field(None, strict=True)
    team_ids: TeamIds | None = None

    @model_validator(mode="after")
    def _not_null(self) -> "ServiceAccountUpdate":
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class ServiceAccountView(Schema):
    id: UserId = Field(description="Make its keys with this as `user_id`.")
    tenant_id: TenantId
    name: str
    role: str
    role_id: RoleId | None = Field(description="Of the tenant's own role.")
    is_active: bool
    teams: list[UserTeam] = Field(description="Empty for who may not see teams.")
    created_at: datetime
    updated_at: datetime
    version: int
