"""Asking an `Admission` as the stage does."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.money import Budget, RuleScope, ScopeKind, Window, WindowKind
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.admission import Admission, Admitted
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.terms import Asked

ASKED: Final = Asked("gpt-4o-mini", "chat/completions", "local")


def make_budget(amount_nano: int = 1_000_000, **fields: Any) -> Budget:
    """Of the tenant, for all time."""
    values: dict[str, Any] = {
        "id": uuid7(),
        "scope": RuleScope(ScopeKind.TENANT),
        "amount_nano": amount_nano,
        "window": Window(WindowKind.TOTAL),
        "counts_from": 1_780_000_000,
    }
    return Budget(**(values | fields))


async def ask(
    admission: Admission,
    principal: Principal,
    *,
    full: int | None = 0,
    forecast: int | None = None,
    tokens: tuple[int, int] = (0, 0),
    is_cuttable: bool = False,
    asked: Asked = ASKED,
    payload: bytes = b"{}",
) -> Admitted:
    """`full` and `forecast` in nano-dollars; `tokens` of input and output."""
    appraisal = Appraisal(*tokens, full, (full or 0) if forecast is None else forecast)
    terms = admission.terms(principal, asked)
    return await admission.admit(terms, uuid7(), appraisal, is_cuttable=is_cuttable, payload=payload)


async def admit(admission: Admission, principal: Principal) -> Mapping[str, str]:
    """The headers of a call that costs nothing."""
    return (await ask(admission, principal)).headers
