"""Payloads of `/me`."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tollkeeper.core.ids import KeyId, TenantId, UserId
from tollkeeper.core.money import Usd
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.keys.schemas import Effective, KeyView
from tollkeeper.web.schemas import Schema


class MeTenant(Schema):
    id: TenantId
    name: str


class MeMembership(MeTenant):
    """A tenant to switch to: `POST /auth/switch`."""

    role: str
    is_home: bool = Field(description="Whether it manages the account.")
    is_current: bool


class MeSecondFactor(Schema):
    is_set_up: bool
    is_required: bool = Field(description="Whether the tenant asks for one.")
    must_set_up: bool = Field(description="Until it is, nothing else is allowed.")


class MeSession(Schema):
    """Null for a key."""

    method: str = Field(description="How the user proved who they are.")
    authenticated_at: datetime
    fresh_until: datetime = Field(
        description="Until then credentials, roles and exports need no further proof: `POST /auth/step-up`."
    )


class MeUsage(Schema):
    """The caller's own calls of this calendar month, UTC."""

    since: datetime
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str


class MeLimits(Schema):
    """What bounds the caller's tenant, and the key in use."""

    tenant_requests_per_minute: int | None
    key_requests_per_minute: int | None
    monthly_budget_usd: Usd | None
    current_spend_usd: str
    remaining_usd: str | None
    allowed_models: list[str] | None
    allowed_providers: list[str] | None


class Me(Schema):
    id: UserId
    email: str
    name: str
    role: str
    tenant: MeTenant
    home_tenant_id: TenantId = Field(description="The tenant that manages the account.")
    tenants: list[MeMembership] = Field(description="Where a session may work; a key stays in its own.")
    permissions: list[Permission]
    credential: Literal["session", "key"]
    key_id: KeyId | None = Field(description="The key in use.")
    csrf_token: str | None = Field(description="For `x-tollkeeper-csrf`; None without a session.")
    session: MeSession | None
    second_factor: MeSecondFactor
    keys: list[KeyView]
    usage: MeUsage
    limits: MeLimits
    effective: Effective = Field(description="What holds for the key in use, or for the tenant's members.")
