"""Payloads of signing in and of `/me`."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from tollkeeper.core.ids import KeyId, TenantId, UserId
from tollkeeper.core.money import Usd
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.keys.schemas import KeyView
from tollkeeper.web.schemas import Email, Schema


class Login(Schema):
    email: Email
    password: Annotated[SecretStr, Field(min_length=1, max_length=1024)]


class SignedIn(Schema):
    """The refresh token goes into an HttpOnly cookie, never here."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="Seconds.")
    csrf_token: str = Field(description="For `x-tollkeeper-csrf` on changes made by cookie.")


class MeTenant(Schema):
    id: TenantId
    name: str


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
    permissions: list[Permission]
    credential: Literal["session", "key"]
    key_id: KeyId | None = Field(description="The key in use.")
    csrf_token: str | None = Field(description="For `x-tollkeeper-csrf`; None without a session.")
    keys: list[KeyView]
    usage: MeUsage
    limits: MeLimits
