"""Payloads of identity providers, of their workload bindings, and of signing in. The client secret goes in, never out."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from tollkeeper.core.addresses import find_location
from tollkeeper.core.ids import ExternalIdentityId, IdentityProviderId, KeyId, TeamId, TenantId, WorkloadBindingId
from tollkeeper.core.tenant_settings import Domain
from tollkeeper.web.schemas import Name, Schema

# Every token has these, or we judge them ourselves: a binding on them alone would take anybody's token.
_OURS_TO_JUDGE: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti", "nonce", "azp"})


def _issuer(url: str) -> str:
    location = find_location(url)
    if location is None or "?" in location.path:
        raise ValueError("an issuer is an https address without a query")
    return url


def _printable(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("printable ASCII characters only")
    return text


def _secret(value: SecretStr) -> SecretStr:
    _printable(value.get_secret_value())
    return value


def _scopes(scopes: list[str]) -> list[str]:
    if "openid" not in scopes:
        raise ValueError("the scope openid is what makes it a sign-in")
    return list(dict.fromkeys(scopes))


def _claims(claims: dict[str, str | bool | int]) -> dict[str, str | bool | int]:
    if not claims.keys() - _OURS_TO_JUDGE:
        raise ValueError("name at least one claim that tells this workload from every other of the issuer, such as sub")
    if any(value == "*" for value in claims.values()):
        raise ValueError("a value of * alone would take everybody")
    return claims


Issuer = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=500),
    AfterValidator(_issuer),
    Field(
        description="Exactly as the provider's discovery document calls itself.", examples=["https://login.example.com"]
    ),
]
ClientId = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_printable)]
ClientSecret = Annotated[SecretStr, Field(min_length=1, max_length=1024), AfterValidator(_secret)]
ScopeName = Annotated[str, StringConstraints(pattern=r"^[!#-\[\]-~]{1,100}$")]
Scopes = Annotated[list[ScopeName], Field(min_length=1, max_length=20), AfterValidator(_scopes)]
Audience = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_printable)]
Domains = Annotated[list[Domain], Field(min_length=1, max_length=50)]
RoleName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
ClaimName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(_printable),
    Field(description="A claim's name; a dot leads into an object, as in realm_access.roles."),
]
ClaimValue = Annotated[str, StringConstraints(min_length=1, max_length=500)]
RoleMap = Annotated[dict[ClaimValue, RoleName], Field(max_length=200)]
GroupMap = Annotated[dict[ClaimValue, TeamId], Field(max_length=500)]
BoundValue = ClaimValue | Annotated[bool, Field(strict=True)] | Annotated[int, Field(strict=True, ge=0, le=2**53)]
Claims = Annotated[
    dict[ClaimName, BoundValue],
    Field(
        min_length=1,
        max_length=20,
        description="What a token must say, all of it. A text that ends in * fits every text that begins so.",
        examples=[{"sub": "repo:example/app:ref:refs/heads/main"}],
    ),
    AfterValidator(_claims),
]


class _Facts(Schema):
    """What a provider is made of, beside its name, issuer and client."""

    scopes: Scopes = Field(default_factory=lambda: ["openid", "email", "profile"])
    is_active: bool = Field(True, strict=True)
    allows_sign_in: bool = Field(True, strict=True, description="People may sign in through it.")
    allows_workloads: bool = Field(
        False, strict=True, description="Its tokens may call inference, where a binding says."
    )
    audience: Audience | None = Field(
        None, description="What a workload's token must name as its audience; without it tollkeeper:ten_…, your tenant."
    )
    email_domains: Domains | None = Field(None, description="Only people with addresses of these come in.")
    creates_users: bool = Field(True, strict=True, description="Who signs in for the first time gets an account.")
    default_role: RoleName | None = Field(None, description="For whom role_map names none; without it they stay out.")
    role_claim: ClaimName | None = None
    role_map: RoleMap = Field(
        default_factory=dict, description="From values of role_claim to names of roles; the widest counts."
    )
    group_claim: ClaimName | None = None
    group_map: GroupMap = Field(default_factory=dict, description="From values of group_claim to teams.")
    allow_private_address: bool = Field(
        False,
        strict=True,
        description="It may be inside, and speak plain http. Only the platform's administrators set it.",
    )


class IdentityProviderCreate(_Facts):
    name: Name
    issuer: Issuer
    client_id: ClientId | None = None
    client_secret: ClientSecret | None = Field(None, description="Without one: a public client, with PKCE alone.")
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")


class IdentityProviderUpdate(Schema):
    """Only the members that are sent are changed. With a new issuer the client secret must be entered again."""

    name: Name | None = None
    issuer: Issuer | None = None
    client_id: ClientId | None = None
    client_secret: ClientSecret | None = None
    scopes: Scopes | None = None
    is_active: bool | None = Field(None, strict=True)
    allows_sign_in: bool | None = Field(None, strict=True)
    allows_workloads: bool | None = Field(None, strict=True)
    audience: Audience | None = None
    email_domains: Domains | None = None
    creates_users: bool | None = Field(None, strict=True)
    default_role: RoleName | None = None
    role_claim: ClaimName | None = None
    role_map: RoleMap | None = None
    group_claim: ClaimName | None = None
    group_map: GroupMap | None = None
    allow_private_address: bool | None = Field(None, strict=True)

    @model_validator(mode="after")
    def _not_null(self) -> "IdentityProviderUpdate":
        may_be_null = {
            "client_id",
            "client_secret",
            "audience",
            "email_domains",
            "default_role",
            "role_claim",
            "group_claim",
        }
        for name in self.model_fields_set - may_be_null:
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class IdentityProviderView(Schema):
    id: IdentityProviderId
    tenant_id: TenantId
    name: str
    issuer: str
    client_id: str | None
    has_client_secret: bool
    scopes: list[str]
    is_active: bool
    allows_sign_in: bool
    allows_workloads: bool
    audience: str | None
    email_domains: list[str] | None
    creates_users: bool
    default_role: str | None
    role_claim: str | None
    role_map: dict[str, str]
    group_claim: str | None
    group_map: dict[str, TeamId]
    allow_private_address: bool
    redirect_uri: str = Field(description="To be entered at the provider, exactly so.")
    created_at: datetime
    updated_at: datetime
    version: int


class ProviderTest(Schema):
    """What asking the provider gave. `problem` is a sentence for who set it up."""

    ok: bool
    problem: str | None = None
    authorization_endpoint: str | None = None
    keys: int | None = None


class BindingCreate(Schema):
    name: Name
    key_id: KeyId = Field(
        description="The key that such tokens act as: its limits, its budget, its name in the ledger."
    )
    claims: Claims
    is_active: bool = Field(True, strict=True)


class BindingUpdate(Schema):
    """Only the members that are sent are changed."""

    name: Name | None = None
    key_id: KeyId | None = None
    claims: Claims | None = None
    is_active: bool | None = Field(None, strict=True)

    @model_validator(mode="after")
    def _not_null(self) -> "BindingUpdate":
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class BindingView(Schema):
    id: WorkloadBindingId
    provider_id: IdentityProviderId
    tenant_id: TenantId
    name: str
    key_id: KeyId
    claims: dict[str, Any]
    is_active: bool
    created_at: datetime
    updated_at: datetime
    version: int


class SignInOption(Schema):
    id: IdentityProviderId
    name: str


class SignInOptions(Schema):
    data: list[SignInOption]


Purpose = Literal["sign_in", "link", "step_up"]


class LinkedAccount(Schema):
    """An account at a provider that signs in to this one."""

    id: ExternalIdentityId
    provider_id: IdentityProviderId
    provider_name: str
    email: str | None
    last_login_at: datetime | None
    created_at: datetime


class LinkedAccounts(Schema):
    data: list[LinkedAccount]
