"""Payloads of signing in, of accounts and of sessions. What is secret goes in as `SecretStr`, and comes out once."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from tollkeeper.core.ids import SessionId, TenantId
from tollkeeper.domains.users.schemas import Password
from tollkeeper.web.schemas import Email, Name, Schema

# Whatever length an old one may have.
KnownPassword = Annotated[SecretStr, Field(min_length=1, max_length=1024)]
Code = Annotated[
    SecretStr, Field(min_length=1, max_length=64, description="Of the authenticator app, or a recovery code.")
]
LinkToken = Annotated[SecretStr, Field(min_length=1, max_length=200, description="What stands behind `#token=`.")]


class Login(Schema):
    email: Email
    password: KnownPassword
    code: Code | None = None


class SignedIn(Schema):
    """The refresh token goes into an HttpOnly cookie, never here."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="Seconds.")
    csrf_token: str = Field(description="For `x-tollkeeper-csrf` on changes made by cookie.")


class Switch(Schema):
    tenant_id: TenantId


class StepUp(Schema):
    password: KnownPassword
    code: Code | None = None


class SteppedUp(Schema):
    authenticated_at: datetime
    fresh_until: datetime = Field(description="Until then credentials, roles and exports may be changed.")

    @classmethod
    def of(cls, moment: datetime, seconds: int) -> "SteppedUp":
        return cls(authenticated_at=moment, fresh_until=moment + timedelta(seconds=seconds))


class PasswordChange(Schema):
    current_password: KnownPassword
    new_password: Password


class ResetRequest(Schema):
    email: Email


class ResetCompletion(Schema):
    token: LinkToken
    new_password: Password


class Accepted(Schema):
    """The same for every address."""

    status: Literal["accepted"] = "accepted"


class Registration(Schema):
    email: Email
    password: Password
    name: Name
    organisation: Name


class Registered(Accepted):
    needs_verification: bool = Field(description="Whether the link of a mail opens the account.")


class Verification(Schema):
    token: LinkToken


class SecondFactorState(Schema):
    is_set_up: bool
    confirmed_at: datetime | None
    recovery_codes_left: int


class SecondFactorBegun(Schema):
    """Shown once. It counts when `confirm` has seen a code of it."""

    secret: str = Field(description="Base32, to be typed into an app.")
    uri: str = Field(description="For a QR code.")


class CodeSent(Schema):
    code: Code


class RecoveryCodes(Schema):
    """Shown once; each replaces the second factor one time."""

    recovery_codes: list[str]


class SecondFactorEnabled(RecoveryCodes):
    session: SignedIn = Field(description="Every other session has ended.")


class SessionView(Schema):
    id: SessionId
    tenant_id: TenantId
    tenant_name: str
    user_agent: str | None
    address: str | None
    method: str
    created_at: datetime
    last_used_at: datetime
    authenticated_at: datetime
    expires_at: datetime
    is_current: bool


class ResetLink(Schema):
    """Shown once; hand it to the person."""

    link: str
    expires_at: datetime
