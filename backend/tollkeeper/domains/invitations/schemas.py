"""Payloads of the invitations API. The link's token stands in `link` of a new invitation alone, if anywhere."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr

from tollkeeper.core.ids import InvitationId, RoleId, TeamId, TenantId, UserId
from tollkeeper.core.permissions import Role
from tollkeeper.domains.roles.schemas import RoleName
from tollkeeper.domains.users.schemas import Password, PersonEmail
from tollkeeper.web.schemas import Name, Schema

DEFAULT_DAYS: Final = 7
InvitationStatus = Literal["open", "accepted", "revoked", "expired"]
Days = Annotated[int, Field(strict=True, ge=1, le=30)]


class InvitationCreate(Schema):
    email: PersonEmail
    role: RoleName = Field(Role.DEVELOPER.value, description="A built-in role, or one of the tenant's own.")
    team_id: TeamId | None = Field(None, description="The team the person joins as well.")
    expires_in_days: Days = DEFAULT_DAYS
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")


class InvitationResend(Schema):
    expires_in_days: Days = DEFAULT_DAYS


class InvitationAccept(Schema):
    token: Annotated[SecretStr, Field(min_length=1, max_length=200)] = Field(description="What follows `#token=`.")
    name: Name | None = Field(None, description="Of a new account; without it the address.")
    password: Password | None = Field(None, description="Of a new account; who has an account signs in first.")


class InvitationView(Schema):
    id: InvitationId
    tenant_id: TenantId
    email: str
    role: str
    role_id: RoleId | None = Field(description="Of the tenant's own role.")
    team_id: TeamId | None
    status: InvitationStatus
    invited_by: UserId
    expires_at: datetime
    accepted_at: datetime | None
    accepted_by: UserId | None
    revoked_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int


class InvitationSent(InvitationView):
    is_mailed: bool
    link: str | None = Field(description="To hand over, shown once; None when it is mailed.")


class InvitationAccepted(Schema):
    user_id: UserId
    tenant_id: TenantId
    tenant_name: str
    email: str
    role: str
    is_new: bool = Field(description="An account was made; sign in with it.")
