"""What an operator sells of a provider beyond models: paths that are passed through, and fine-tuning jobs, each at a
flat price, because nobody can count what happens behind them.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tollkeeper.contracts.passthrough import Passthrough, check_open_header, read_open_path
from tollkeeper.core.money import Usd, nano_from_usd, pico_per_unit, usd_from_nano


def _check_rule(text: str) -> str:
    read_open_path(text)
    return text


def _check_exact(amount: Decimal) -> Decimal:
    pico_per_unit(amount)
    return amount


Rule = Annotated[str, AfterValidator(_check_rule)]
OpenHeader = Annotated[str, AfterValidator(check_open_header)]
FlatPrice = Annotated[Usd, AfterValidator(_check_exact)]


class PassthroughFields(BaseModel):
    """Paths below the provider's address that callers reach at `/v1/providers/{name}/…`, as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: tuple[Rule, ...] = Field(
        min_length=1,
        max_length=200,
        description="Methods and paths, such as GET /files/*: * stands for one part or any method, ** for all that follows.",
    )
    per_request_usd: FlatPrice = Field(
        description="US dollars for each request that the provider does not refuse, as decimal text; it has no default."
    )
    headers: tuple[OpenHeader, ...] = Field(
        (),
        max_length=50,
        description="Headers of the caller's that go along beside the usual ones; never a credential.",
    )


class FineTuningFields(BaseModel):
    """What a fine-tuning job at this provider costs: without it, calls under a hard budget make none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_job_usd: FlatPrice = Field(description="US dollars for each job that is made, as decimal text.")


def read_passthrough(fields: PassthroughFields | None) -> Passthrough | None:
    if fields is None:
        return None
    return Passthrough(
        tuple(map(read_open_path, fields.allow)), nano_from_usd(fields.per_request_usd), frozenset(fields.headers)
    )


def read_fine_tuning(fields: FineTuningFields | None) -> int | None:
    return None if fields is None else nano_from_usd(fields.per_job_usd)


def show_passthrough(opened: Passthrough | None) -> PassthroughFields | None:
    if opened is None:
        return None
    return PassthroughFields(
        allow=tuple(map(str, opened.allow)),
        per_request_usd=usd_from_nano(opened.request_nano),
        headers=tuple(sorted(opened.headers)),
    )


def show_fine_tuning(nano: int | None) -> FineTuningFields | None:
    return None if nano is None else FineTuningFields(per_job_usd=usd_from_nano(nano))


def write_fields(fields: BaseModel | None) -> dict[str, Any] | None:
    """As a row keeps them; amounts as decimal text."""
    return None if fields is None else fields.model_dump(mode="json")


def read_stored_passthrough(stored: Mapping[str, Any] | None) -> Passthrough | None:
    return None if stored is None else read_passthrough(PassthroughFields.model_validate(stored))


def read_stored_fine_tuning(stored: Mapping[str, Any] | None) -> int | None:
    return None if stored is None else read_fine_tuning(FineTuningFields.model_validate(stored))
