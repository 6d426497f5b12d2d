"""Payloads of the teams API, and the fields that a team and a project share."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tollkeeper.core.ids import TeamId, TenantId, UserId
from tollkeeper.web.schemas import Name, Patterns, Schema, Tags
from tollkeeper.web.tree import LoggingPolicy, SelfServiceFlagChanges

TeamRole = Literal["member", "maintainer"]
Description = Annotated[str, Field(max_length=2000)]


class LevelFields(Schema):
    """What a level below the tenant may say. It narrows what the levels above allow, and never widens it."""

    description: Description | None = None
    is_active: bool | None = Field(None, strict=True, description="False refuses every key below at once.")
    allowed_models: Patterns | None = Field(None, description="Names of models; `*` may end one. Null inherits.")
    allowed_providers: Patterns | None = Field(None, description="Null inherits.")
    logging_policy: LoggingPolicy | None = Field(None, description="Null inherits; the strictest of all levels holds.")
    tags: Tags | None = Field(None, description="Go with every call below; the nearest level wins.")
    flags: SelfServiceFlagChanges | None = Field(None, description="Flags to set; null takes one back.")

    @model_validator(mode="after")
    def _not_null(self) -> "LevelFields":
        for name in ("name", "description", "is_active", "tags", "flags"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self

    def changes(self) -> dict[str, Any]:
        """What was sent, by the names of the columns."""
        return {name: getattr(self, name) for name in self.model_fields_set - {"tenant_id"}}


class TeamCreate(LevelFields):
    name: Name
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")


class TeamUpdate(LevelFields):
    """Only the members that are sent are changed; null takes a limit back."""

    name: Name | None = None


class LevelView(Schema):
    tenant_id: TenantId
    name: str
    description: str
    is_active: bool
    allowed_models: list[str] | None
    allowed_providers: list[str] | None
    logging_policy: LoggingPolicy | None
    tags: dict[str, Any]
    flags: dict[str, bool] = Field(description="What this level sets; `/keys/{id}/effective` tells what holds.")
    created_at: datetime
    updated_at: datetime
    version: int


class TeamView(LevelView):
    id: TeamId


class TeamMemberSet(Schema):
    role: TeamRole = Field("member", description="A maintainer manages the team's people and projects.")


class TeamMemberView(Schema):
    user_id: UserId
    name: str
    email: str | None = Field(description="For who may see users; null otherwise and for service accounts.")
    role: TeamRole
    source: Literal["manual", "identity_provider"] = Field(description="Who put the member here.")
    created_at: datetime
