"""Payload of `/bootstrap`: all that a console needs to know before it draws its first page, in one answer."""

from typing import Literal

from pydantic import Field

from tollkeeper.core.ids import TenantId, UserId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.identity.me_schemas import MeMembership, MeSession, MeTenant
from tollkeeper.web.schemas import Schema

Home = Literal["platform", "tenant", "developer", "finance"]


class BootstrapUser(Schema):
    id: UserId
    email: str
    name: str
    role: str = Field(description="In the current tenant.")


class Bootstrap(Schema):
    version: str
    base_url: str = Field(description="What applications set as `base_url`.")
    user: BootstrapUser
    tenant: MeTenant
    home_tenant_id: TenantId
    tenants: list[MeMembership] = Field(description="Where the session may work: `POST /auth/switch`.")
    permissions: list[Permission]
    home: Home = Field(description="Which of the four home pages fits what the caller may do.")
    offers: list[str] = Field(
        description="The nouns of `/api/v1` that this deployment serves; pages of others are not shown."
    )
    csrf_token: str | None = Field(description="For `x-tollkeeper-csrf`; null without a session.")
    session: MeSession | None
    must_set_up_second_factor: bool
    has_mail: bool = Field(description="Whether links are mailed; without it they are shown to who makes them.")
    retention_days: int = Field(description="How long calls are kept in the request log.")
