"""What the data plane asks of the rest of the system. Implemented in `domains/`, handed over by `wiring`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from tollkeeper.contracts.batches import Answered, Batch, NewBatch
from tollkeeper.contracts.catalog import ProviderConfig, Snapshot
from tollkeeper.contracts.explained import ExplainedRoute, RouteQuestion
from tollkeeper.contracts.files import Asked, StoredFile
from tollkeeper.contracts.fine_tuning import FineTuningJob
from tollkeeper.contracts.guardrails import GuardrailEvent, GuardrailPolicy, RuleKind, Tried, TriedText
from tollkeeper.contracts.money import Limit, Spend
from tollkeeper.contracts.principal import KeyRecord, Principal
from tollkeeper.contracts.request_log import CallRecord
from tollkeeper.contracts.responses import Item, StoredResponse
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.secrets import KeyDigest


class KeyLookup(Protocol):
    """All raise `DependencyUnavailable` when PostgreSQL does not answer within the deadline, never None for that."""

    async def find_by_public_id(self, public_id: str) -> KeyRecord | None:
        """The key whose 12-character public id stands in a `tk-live_…` or `tk-test_…` token; revoked ones included."""
        ...

    async def find_by_digest(self, digests: Sequence[bytes]) -> KeyRecord | None:
        """An initial or imported key in another form, by the HMAC of the whole token under each known pepper."""
        ...

    async def find_by_id(self, key_id: UUID) -> KeyRecord | None:
        """The key that a run key was made of: without digests, because nothing here proves its secret, with `ended_runs`."""
        ...


class ForeignKeys(Protocol):
    """Which keys in other forms than ours there are, known without asking."""

    def may_hold(self, digests: Iterable[bytes]) -> bool:
        """False when none of these is a key's for certain."""
        ...


class KeyUses(Protocol):
    """Takes note of keys in use; written later, in batches. Neither method waits or raises."""

    def used(self, key_id: UUID) -> None: ...

    def renew(self, key_id: UUID, known: bytes, renewed: KeyDigest) -> None:
        """The key was proven under an older pepper; keep its digest under the current one."""
        ...

    def refused(self, principal: Principal, reason: str, address: str | None) -> None:
        """Somebody holds the key's secret, and it may not be used, or not from there: a matter for the audit trail."""
        ...


class SessionLookup(Protocol):
    """Lets a console session act as one of its user's keys (the playground)."""

    async def find_by_session(self, access_token: str, key_id: UUID) -> KeyRecord | None:
        """None when the token is not valid or the key is not one the session's user may use."""
        ...


class TokenLookup(Protocol):
    """Lets a workload call with the token that its own platform gave it (CI, Kubernetes, a cloud's identity)."""

    async def find_by_token(self, token: str, key_id: UUID | None) -> tuple[KeyRecord, float] | None:
        """The key that a trusted issuer's token is bound to, without digests, and the token's end in seconds since 1970.

        `key_id`: the key the caller names, for issuers that cannot put our tenant into the audience. None when the token
        is not one we trust. Raises `DependencyUnavailable` when PostgreSQL or the issuer does not answer.
        """
        ...


class SnapshotSource(Protocol):
    def current(self) -> Snapshot:
        """The snapshot in force; a call keeps the one it began with."""
        ...


class UsageSink(Protocol):
    async def ship(self, settlements: Sequence[Settlement]) -> Sequence[Spend]:
        """Write ledger rows, rollups and what the budgets have spent, once however often the same is shipped.

        Returns the counters that the settlements name, as they are after the commit, also those it did not change.

        Raises `DependencyUnavailable` when nothing was committed; the caller keeps the lines and tries again. Raises
        `ValueError`, nothing committed either, when the ledger can never take one of them.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What became of one small request to a provider; `message` is for the operator."""

    ok: bool
    message: str
    latency_ms: int | None = None
    models: int | None = None
    credential_id: UUID | None = None
    # What a call would have met as well: `credential`, `rate` or `server`; None says nothing about calls.
    trouble: str | None = None


class ProviderProbe(Protocol):
    async def probe(self, config: ProviderConfig) -> list[ProbeResult]:
        """Ask the provider for its models with each credential. Never raises for a provider that fails."""
        ...


class GuardrailTrial(Protocol):
    def rules(self) -> Sequence[RuleKind]: ...

    def faults(self, policy: GuardrailPolicy) -> list[tuple[int, str]]:
        """What is wrong with its rules: the rule's place and why. It compiles them, so not in the loop."""
        ...

    async def try_policy(self, policy: GuardrailPolicy, texts: Sequence[TriedText]) -> list[Tried]:
        """What a policy without faults makes of each text."""
        ...

    async def test(
        self,
        text: TriedText,
        policies: Sequence[GuardrailPolicy] | None,
        snapshot: Snapshot,
        tenant_id: UUID,
        model: str,
    ) -> Tried:
        """What `policies` make of a text; None: those that hold for a tenant's calls of a model.

        Raises `BadRequest` (`guardrail_invalid`) for settings that a rule does not take.
        """
        ...


class GuardrailEventSink(Protocol):
    async def write(self, events: Sequence[GuardrailEvent]) -> None:
        """Raises `DependencyUnavailable` or, for what can never be kept, `ValueError`: nothing is written then."""
        ...


class SpendSource(Protocol):
    async def read(self, tenant_id: UUID, refs: Sequence[str]) -> Sequence[Spend]:
        """What the ledger holds of these counters now; one nobody has spent from is 0 at version 0.

        Raises `DependencyUnavailable`.
        """
        ...


class Fleet(Protocol):
    """The other processes that admit calls."""

    async def call_for_counters(self, tenant_id: UUID) -> frozenset[UUID]:
        """Ask every worker, this one too, for what it holds of a tenant; the ids of those that have to answer.

        Raises `DependencyUnavailable`.
        """
        ...

    async def live_workers(self) -> frozenset[UUID]:
        """Those that are not known to be gone. Raises `DependencyUnavailable`."""
        ...

    def rebuilding(self, tenant_id: UUID) -> AbstractAsyncContextManager[bool]:
        """The right to rebuild a tenant's counters, held by one worker at a time; False when another one has it.

        Entering raises `DependencyUnavailable`.
        """
        ...

    async def lost_here(self) -> frozenset[UUID]:
        """Workers of this host that are gone together with their journals: what they held is told by Redis alone.

        Raises `DependencyUnavailable`.
        """
        ...

    async def bury(self, worker_id: UUID) -> None:
        """A worker is known to be dead: nobody waits for it any more. Raises `DependencyUnavailable`."""
        ...

    def live(self) -> int:
        """How many workers there are, as last known."""
        ...

    def is_counted(self) -> bool:
        """Whether the others know for certain that this worker lives."""
        ...


@dataclass(frozen=True, slots=True)
class CounterState:
    """`held_nano`: holds of open calls and what is settled but not in the ledger yet; None for both: not known now."""

    ref: str
    spent_nano: int | None
    held_nano: int | None


@dataclass(frozen=True, slots=True)
class OpenHold:
    request_id: UUID
    worker_id: UUID
    amount_nano: int
    age_seconds: float
    is_settled: bool
    model: str | None = None
    key_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class RateState:
    """Of one limit and subject. `refused` counts since the worker's start, `shadow_refused` what would have been."""

    remaining: int
    reset_seconds: float


class CounterView(Protocol):
    """Live counters, for the control plane. Everything raises `DependencyUnavailable` when Redis does not answer."""

    async def counters(self, tenant_id: UUID, refs: Sequence[str]) -> Sequence[CounterState]: ...

    async def holds(self, tenant_id: UUID, ref: str, *, limit: int) -> Sequence[OpenHold]:
        """Open holds that count against a counter, oldest first."""
        ...

    async def rate(self, tenant_id: UUID, limit: Limit, subject: str) -> RateState: ...


class RequestLogSink(Protocol):
    async def write(self, records: Sequence[CallRecord]) -> None:
        """Keep finished calls for whoever looks them up; each once, however often it is written.

        Raises `DependencyUnavailable`, or `ValueError` for what can never be kept: nothing is written then.
        """
        ...


class ResponseLookup(Protocol):
    """Stored responses as a key may see them: those of its tenant that were made in its own project.

    All raise `DependencyUnavailable` when PostgreSQL does not answer within the deadline.
    """

    async def find(self, principal: Principal, response_id: UUID) -> StoredResponse | None: ...

    async def history(self, principal: Principal, response_id: UUID) -> Sequence[StoredResponse] | None:
        """The response and all it continues, oldest first; None when one of them is not there.

        Raises `BadRequest` (`conversation_too_long`) when together they are larger than a call may be.
        """
        ...

    async def items(self, principal: Principal, item_ids: Sequence[str]) -> Mapping[str, Item]:
        """Items of stored responses by their ids; those that are not there are left out."""
        ...


class ResponseSink(Protocol):
    async def keep(self, principal: Principal, stored: StoredResponse) -> bool:
        """Store a response for as long as the operator keeps them; False when it is too large or none are kept.

        Raises `DependencyUnavailable`.
        """
        ...

    async def delete(self, principal: Principal, response_id: UUID) -> bool:
        """False when there is none that the key may see. Raises `DependencyUnavailable`."""
        ...


class Upload(Protocol):
    """A file on its way in. Whoever does not finish it discards it."""

    async def write(self, data: bytes) -> None:
        """Raises `PayloadTooLarge`, and `InsufficientQuota` when the tenant's files take up all they may."""
        ...

    async def finish(self, *, filename: str, purpose: str, seconds: int | None) -> StoredFile:
        """`seconds` that it is kept; None: as long as files of its purpose are."""
        ...

    async def discard(self) -> None: ...


class FileStore(Protocol):
    """Files as a key may see them: those of its tenant that were made in its own project and environment.

    All raise `DependencyUnavailable` when PostgreSQL or the object store does not answer.
    """

    async def begin(self, principal: Principal) -> Upload: ...

    async def find(self, principal: Principal, file_id: UUID) -> StoredFile | None: ...

    async def list(
        self, principal: Principal, asked: Asked, purpose: str | None = None
    ) -> tuple[Sequence[StoredFile], bool]:
        """A page, and whether more follow. Raises `NotFound` when `after` names none of them."""
        ...

    async def delete(self, principal: Principal, file_id: UUID) -> bool:
        """False when there is none that the key may see. Raises `Conflict` while a batch reads it."""
        ...

    def read(self, principal: Principal, file_id: UUID) -> AsyncIterator[bytes]:
        """Its bytes, from one that `find` has found."""
        ...


class FineTuningJobs(Protocol):
    """Jobs that run at vendors, seen as files are. All raise `DependencyUnavailable`."""

    async def keep(self, principal: Principal, job: FineTuningJob) -> None:
        """Note a new job, or what its vendor says of it now."""
        ...

    async def find(self, principal: Principal, vendor_id: str) -> FineTuningJob | None: ...

    async def list_page(self, principal: Principal, after: str | None, limit: int) -> Sequence[FineTuningJob] | None:
        """Newest first; None when `after` names none of them."""
        ...


class BatchStore(Protocol):
    """Batches, seen as files are. All raise `DependencyUnavailable`."""

    async def create(self, principal: Principal, new: NewBatch) -> Batch:
        """Raises `BadRequest` for an input that is no file of the key's, or not for batches."""
        ...

    async def find(self, principal: Principal, batch_id: UUID) -> Batch | None: ...

    async def list(self, principal: Principal, asked: Asked) -> tuple[Sequence[Batch], bool]:
        """A page, and whether more follow. Raises `NotFound` when `after` names none of them."""
        ...

    async def cancel(self, principal: Principal, batch_id: UUID) -> Batch | None:
        """None when there is none that the key may see. Raises `Conflict` for one that is over."""
        ...


class ModelCalls(Protocol):
    """Calls made inside, on behalf of a key whose secret is not at hand."""

    async def principal(self, key_id: UUID, endpoint: str) -> Principal:
        """The key as it is now. Raises as for a caller: `Unauthenticated`, `Forbidden`, `DependencyUnavailable`."""
        ...

    async def call(
        self,
        principal: Principal,
        endpoint: str,
        body: bytes,
        request_id: UUID,
        keep: Callable[[Answered], Awaitable[None]],
    ) -> None:
        """One call through every stage. `keep` is awaited with its answer before the call is settled."""
        ...


class RouteExplainer(Protocol):
    async def explain(self, question: RouteQuestion) -> ExplainedRoute:
        """Where a call would go, by the very decision that it would get; nobody is called and nothing is held.

        Raises `ModelNotFound` for a name that leads nowhere, and `BadRequest` for a body that is no call of its endpoint.
        """
        ...
