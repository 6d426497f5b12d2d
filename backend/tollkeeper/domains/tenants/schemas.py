"""Payloads of the tenants API. `monthly_budget` is the short spelling of `monthly_budget_usd`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from tollkeeper.core.ids import TenantId
from tollkeeper.core.money import Usd
from tollkeeper.core.tenant_settings import TenantSettings
from tollkeeper.web.schemas import Email, Name, Patterns, Rate, Schema
from tollkeeper.web.tree import FlagChanges, LoggingPolicy


def _from_number(value: object) -> object:
    """The short spelling is often written as a JSON number; its decimal digits are what was meant."""
    return repr(value) if isinstance(value, float) else value


Budget = Annotated[Usd, BeforeValidator(_from_number)]


class _Limits(Schema):
    email: Email | None = Field(None, description="Whom to write to.")
    is_active: bool | None = Field(None, strict=True, description="False suspends the tenant at once.")
    rate_limit: Rate | None = Field(None, description="Requests a minute of the whole tenant.")
    monthly_budget_usd: Usd | None = Field(None, description="For a calendar month, UTC.")
    monthly_budget: Budget | None = Field(None, description="The short spelling of `monthly_budget_usd`.")
    allowed_models: Patterns | None = Field(None, description="Names of models; `*` may end one.")
    allowed_providers: Patterns | None = None
    logging_policy: LoggingPolicy | None = None
    require_second_factor: bool | None = Field(
        None, strict=True, description="True: who has none may do nothing but set one up."
    )
    flags: FlagChanges | None = Field(None, description="Flags to set; null goes back to the default.")
    settings: TenantSettings | None = Field(None, description="Only the members that are sent are changed.")

    @model_validator(mode="after")
    def _one_budget(self) -> "_Limits":
        if {"monthly_budget", "monthly_budget_usd"} <= self.model_fields_set:
            raise ValueError("monthly_budget and monthly_budget_usd are one field; send one")
        for name in ("name", "is_active", "logging_policy", "require_second_factor", "flags", "settings"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self

    def columns(self) -> dict[str, Any]:
        """What was sent, with the budget under one name."""
        fields = {name: getattr(self, name) for name in self.model_fields_set}
        if "monthly_budget" in fields:
            fields["monthly_budget_usd"] = fields.pop("monthly_budget")
        return fields


class TenantCreate(_Limits):
    name: Name


class TenantUpdate(_Limits):
    """Only the members that are sent are changed; null removes a limit."""

    name: Name | None = None


class Suspend(Schema):
    reason: Name = Field(description="Told to everybody of the tenant who tries a call or signs in.")


class FlagView(Schema):
    name: str
    default: bool
    is_self_service: bool = Field(description="Whether a tenant sets it itself, also for its teams and projects.")
    description: str


class TenantView(Schema):
    id: TenantId
    name: str
    slug: str
    email: str | None
    is_active: bool
    suspension_reason: str | None
    rate_limit: int | None
    monthly_budget_usd: Usd | None
    monthly_budget: Usd | None = Field(description="The same as `monthly_budget_usd`.")
    current_spend_usd: str = Field(description="Of this calendar month, UTC; read-only.")
    allowed_models: list[str] | None
    allowed_providers: list[str] | None
    logging_policy: LoggingPolicy
    require_second_factor: bool
    flags: dict[str, bool] = Field(description="What is set for the tenant; `GET /tenants/flags` has the defaults.")
    settings: TenantSettings
    created_at: datetime
    updated_at: datetime
    version: int
