"""What a window has cost before its budget was made, put on the budget's counters in the same transaction."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import PLATFORM, Budget, ScopeKind, counter_ref, shorten_subject
from tollkeeper.contracts.principal import name_allowed
from tollkeeper.core.errors import MalformedPayload
from tollkeeper.domains.budgets import repository
from tollkeeper.domains.limits.service import counts_apart
from tollkeeper.domains.usage.service import backfill

# The ledger's column for each scope; of the others it knows nothing.
_COLUMNS: Final = {
    ScopeKind.TENANT: "tenant_id",
    ScopeKind.TEAM: "team_id",
    ScopeKind.PROJECT: "project_id",
    ScopeKind.USER: "user_id",
    ScopeKind.KEY: "api_key_id",
    ScopeKind.MODEL: "model",
    ScopeKind.PROVIDER: "provider",
    ScopeKind.END_USER: "end_user",
}
_IDS: Final = frozenset({"tenant_id", "team_id", "project_id", "user_id", "api_key_id"})
_NONE: Final = UUID(int=0).hex


async def backfill_counters(session: AsyncSession, budget: Budget, tenant_id: UUID | None, start: int) -> None:
    """Of the window that began at `start`. Raises MalformedPayload for a scope that the ledger does not record."""
    group, where, params = _question(budget)
    sums: dict[str, int] = defaultdict(int)
    since = datetime.fromtimestamp(start, tz=UTC)
    for value, model, nano in await repository.spent_by(session, tenant_id, group, since, where, params):
        subject = _subject(budget, value, model)
        if subject is not None:
            sums[subject] += nano
    async with repository.as_platform(session):
        for subject, nano in sorted(sums.items()):
            if nano:
                ref = counter_ref(budget.id, start, subject)
                await backfill(session, tenant_id or PLATFORM, ref, nano)


def _question(budget: Budget) -> tuple[str, str, dict[str, Any]]:
    """What to sum by and over, as SQL."""
    scope = budget.scope
    if scope.kind is ScopeKind.TAG:
        name, _, wanted = (scope.subject or "").partition("=")
        params = {"tag": name} if wanted == "*" else {"tag": name, "wanted": wanted}
        value = "tags ->> CAST(:tag AS text)"
        return value, f"{value} IS NOT NULL" if wanted == "*" else f"{value} = :wanted", params
    column = _COLUMNS.get(scope.kind)
    if column is None:
        raise MalformedPayload(
            f"The ledger does not record the {scope.kind} of a call, so there is nothing to backfill; leave it out.",
            param="backfill",
        )
    if column in _IDS:
        group = f"replace({column}::text, '-', '')"
        if scope.subject is None:
            return group, f"{column} IS NOT NULL", {}
        return group, f"{column} = :named", {"named": UUID(hex=scope.subject)}
    if scope.subject is None or scope.kind is ScopeKind.MODEL:
        return column, f"{column} IS NOT NULL", {}
    return column, f"{column} = :named", {"named": scope.subject}


def _subject(budget: Budget, value: str, model: str) -> str | None:
    """The counter of a sum, as `gateway/money/terms` names it; None where the budget is not about it."""
    if value in {"", _NONE} or (budget.models is not None and not name_allowed(model, budget.models)):
        return None
    scope = budget.scope
    if (
        scope.kind is ScopeKind.MODEL
        and scope.subject is not None
        and not name_allowed(value, frozenset((scope.subject,)))
    ):
        return None
    counted = value if counts_apart(scope) else ""
    return shorten_subject(f"{counted}|{model}" if budget.is_per_model else counted)
