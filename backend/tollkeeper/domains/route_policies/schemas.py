"""What the routes of route policies take and answer."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from tollkeeper.contracts.routing import Strategy
from tollkeeper.core.ids import RoutePolicyId, TenantId
from tollkeeper.domains.catalog.schemas import (
    MOST_TARGETS,
    BranchFields,
    BreakerFields,
    CanaryFields,
    DeadlineFields,
    FallbackFields,
    HedgeFields,
    ManagedBy,
    PolicyFields,
    PolicyName,
    ProbeSeconds,
    RetryFields,
)
from tollkeeper.web.schemas import Schema

_Description = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,500}$")]
_Number = Annotated[int, Field(ge=1, le=2_147_483_647, strict=True)]
# Of an update and of an answer, what is the policy itself.
DOCUMENT = frozenset(PolicyFields.model_fields)


class RoutePolicyCreate(PolicyFields):
    """The first version: a draft, unless it is published at once."""

    name: PolicyName
    description: _Description = ""
    tenant_id: TenantId | None = Field(None, description="Only for this tenant's models; left out: for everybody's.")
    publish: bool = Field(default=False, strict=True, description="Let calls follow it at once.")


class RoutePolicyUpdate(Schema):
    """Changes the draft, or begins one from the version that is published. The name stays: models refer to it."""

    description: _Description = ""
    strategy: Strategy = Strategy.PRIORITY
    branches: Annotated[tuple[BranchFields, ...], Field(min_length=1, max_length=MOST_TARGETS)] = ()
    sticky_by: Annotated[str, StringConstraints(max_length=120)] | None = None
    canary: CanaryFields | None = None
    fallbacks: FallbackFields = FallbackFields()
    retry: RetryFields = RetryFields()
    deadlines: DeadlineFields = DeadlineFields()
    hedge: HedgeFields | None = None
    breaker: BreakerFields = BreakerFields()
    probe_seconds: ProbeSeconds | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self

    def document(self) -> dict[str, Any]:
        """What of the policy is changed, as it is stored."""
        return self.model_dump(mode="json", include=set(self.model_fields_set & DOCUMENT))


class RoutePolicyRollback(Schema):
    version: _Number | None = Field(
        None, description="One that was published before; left out: the latest before the present one."
    )


class RoutePolicyOut(PolicyFields):
    """A policy as its draft says where there is one, else as it is published. Conditions name no other tenants."""

    id: RoutePolicyId
    name: str
    description: str
    tenant_id: TenantId | None
    published_version: int | None = Field(description="The version that calls follow; null: none yet.")
    draft_version: int | None = Field(description="The version that the next publication puts in force.")
    managed_by: ManagedBy
    declared_at: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int | None = Field(None, description="Of this object, for If-Match.")


class RoutePolicyVersionOut(PolicyFields):
    number: int
    is_published: bool
    created_at: datetime
    published_at: datetime | None = Field(description="The first time; null: a draft.")
