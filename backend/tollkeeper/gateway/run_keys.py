"""What a run key may do: what its parent may do now, narrowed by what the run was given. Pure."""

from dataclasses import replace
from hashlib import sha256
from uuid import UUID

from tollkeeper.contracts.money import Budget, RuleScope, ScopeKind, Window, WindowKind
from tollkeeper.contracts.principal import KeyRecord, Principal, narrow
from tollkeeper.core.ids import format_id
from tollkeeper.core.run_keys import Run


def principal_of_run(parent: Principal, run: Run) -> Principal:
    """Everything that is not narrowed stays the parent's: its rules, its place in the tree, where it may go."""
    run_id = format_id("run", run.run_id)
    budgets = parent.budgets
    if run.budget_nano is not None:
        budgets = (*budgets, _budget(run, run_id, run.budget_nano))
    return replace(parent, allowed_models=narrow((parent.allowed_models, run.models)), budgets=budgets, run_id=run_id)


def ends_of_run(record: KeyRecord, run: Run) -> float:
    """When the run is over, in seconds since 1970: by itself, with its parent, or because somebody ended it."""
    ends = [run.expires_at]
    if record.expires_at is not None:
        ends.append(record.expires_at)
    ends += [
        ended.ends_at
        for ended in record.ended_runs
        if ended.run_id == run.run_id or (ended.issued_before is not None and run.issued_at < ended.issued_before)
    ]
    return min(ends)


def _budget(run: Run, run_id: str, amount_nano: int) -> Budget:
    return Budget(
        id=budget_id_of_run(run.tenant_id, run.key_id, run.run_id),
        scope=RuleScope(ScopeKind.RUN, run_id),
        amount_nano=amount_nano,
        window=Window(WindowKind.TOTAL),
        # Under an id that the caller chose there may be spending from before this run key was made.
        counts_from=0 if run.is_named else int(run.issued_at),
    )


def budget_id_of_run(tenant_id: UUID, key_id: UUID, run_id: UUID) -> UUID:
    """Every run key of one run of one key spends from one counter, whatever amount each of them was given."""
    digest = sha256(b"budget of run\0" + tenant_id.bytes + key_id.bytes + run_id.bytes).digest()
    return UUID(bytes=digest[:16])
