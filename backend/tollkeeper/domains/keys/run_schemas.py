"""Payloads of run keys. The secret stands in `RunCreated` alone."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from tollkeeper.contracts.principal import Environment
from tollkeeper.core.ids import KeyId, PublicId
from tollkeeper.core.money import Usd, nano_from_usd
from tollkeeper.core.run_keys import LONGEST_SECONDS
from tollkeeper.web.schemas import Name, Pattern, Schema

RunId = Annotated[UUID, PublicId("run")]


def _positive(amount: Decimal) -> Decimal:
    if nano_from_usd(amount) < 1:
        raise ValueError("a budget is at least one nano-dollar")
    return amount


class RunCreate(Schema):
    """What the run may do at most; whatever is left out is as far as the key itself reaches."""

    # Chosen, not a reference: there is nothing of that id before.
    run_id: Annotated[str, StringConstraints(pattern=r"^run_[a-f0-9]{32}$")] | None = Field(
        None, description="`run_` and 32 hexadecimal digits, such as those of a UUID; without it one is made."
    )
    expires_in_seconds: Annotated[int, Field(strict=True, ge=1, le=LONGEST_SECONDS)] | None = Field(
        None, description="An hour unless it is sent, or as long as the key itself lives."
    )
    budget_usd: Annotated[Usd, AfterValidator(_positive)] | None = Field(
        None, description="For the whole run, in addition to the budgets of the key."
    )
    models: Annotated[list[Pattern], Field(min_length=1, max_length=50)] | None = Field(
        None, description="Names of models that the key may use; `*` may end one."
    )
    name: Name | None = Field(None, description="For the audit trail.")


class RunCreated(Schema):
    run_id: RunId
    key_id: KeyId
    key: str = Field(description="The run key. It is shown here and never again.")
    environment: Environment
    expires_at: datetime
    budget_usd: Usd | None
    models: list[str] | None
