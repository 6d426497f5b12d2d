"""What the audit API shows, and the canonical form that the chain's hashes are made over."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, Final
from uuid import UUID

import orjson

from tollkeeper.core.ids import AuditId, RequestId, TenantId
from tollkeeper.web.caller import Caller
from tollkeeper.web.schemas import Schema

# What the first record of a tenant follows.
GENESIS: Final = bytes(32)
_SAFE_INT: Final = 2**53


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: a user, a key, or the system itself."""

    type: str
    id: str
    name: str
    request_id: UUID | None = None
    address: str | None = None

    @classmethod
    def of(cls, caller: Caller) -> "Actor":
        if caller.key is None:
            return cls("user", f"usr_{caller.user_id.hex}", caller.email, caller.request_id, caller.address)
        return cls("key", f"key_{caller.key.key_id.hex}", caller.email, caller.request_id, caller.address)


SYSTEM: Final = Actor("system", "tollkeeper", "Tollkeeper")


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as the chain sees it; reads from a row by attribute."""

    id: UUID
    tenant_id: UUID
    sequence: int
    actor_type: str
    actor_id: str
    actor_name: str
    action: str
    object_type: str
    object_id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    request_id: UUID | None
    address: str | None
    created_at: datetime
    outcome: str = "success"

    @classmethod
    def of(cls, row: Any) -> "Entry":
        return cls(
            id=row.id,
            tenant_id=row.tenant_id,
            sequence=row.sequence,
            actor_type=row.actor_type,
            actor_id=row.actor_id,
            actor_name=row.actor_name,
            action=row.action,
            object_type=row.object_type,
            object_id=row.object_id,
            before=row.before,
            after=row.after,
            request_id=row.request_id,
            address=None if row.address is None else str(row.address),
            created_at=row.created_at,
            outcome=row.outcome,
        )

    def hash_after(self, previous: bytes) -> bytes:
        """SHA-256(previous ‖ canonical record): names sorted, times in UTC, ids as text."""
        document: dict[str, Any] = {
            "id": self.id.hex,
            "tenant_id": self.tenant_id.hex,
            "sequence": self.sequence,
            "actor_type": self.actor_type,
            "actor_id": self.actor_id,
            "actor_name": self.actor_name,
            "action": self.action,
            "object_type": self.object_type,
            "object_id": self.object_id,
            "before": self.before,
            "after": self.after,
            "request_id": None if self.request_id is None else self.request_id.hex,
            "address": self.address,
            "created_at": self.created_at.astimezone(UTC).isoformat(),
        }
        if self.outcome != "success":
            # Left out where it says nothing: chains from before there were outcomes stay as they are.
            document["outcome"] = self.outcome
        return hashlib.sha256(previous + orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).digest()


def plain(value: Any) -> Any:
    """A value as the chain keeps it: only what JSONB gives back unchanged. Numbers it might rewrite become text."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool | str) or (isinstance(value, int) and abs(value) <= _SAFE_INT):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, int | float | Decimal | UUID | date):
        return str(value)
    raise TypeError(f"an audit record cannot hold a {type(value).__name__}")


class Outcome(StrEnum):
    SUCCESS = "success"
    REFUSED = "refused"


class ActorView(Schema):
    type: str
    id: str
    name: str


class AuditView(Schema):
    id: AuditId
    tenant_id: TenantId
    sequence: int
    actor: ActorView
    action: str
    object_type: str
    object_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: RequestId | None
    address: str | None
    outcome: Outcome
    created_at: datetime
    hash: str


class AuditLine(AuditView):
    """One line of an export; with both hashes the chain can be followed without us."""

    previous_hash: str


class ChainReport(Schema):
    """`head` is the newest record's hash: kept elsewhere, it also shows a tail that was cut off.

    `signed_sequence` is the newest record that a signed head outside the database vouches for; None when none was
    signed yet.
    """

    tenant_id: TenantId
    is_intact: bool
    records: int
    head_sequence: int
    head: str
    signed_sequence: int | None = None
    signed_at: datetime | None = None
    broken_at: int | None = None
    problem: str | None = None
