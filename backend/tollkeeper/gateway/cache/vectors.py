"""The questions of this worker's tenants as matrices: one per partition, (n, d) float32, normalised.

Questions are only held against each other within a partition, which has the tenant, the model, the parameters, every
earlier turn and the embedder in its name: another model or dimension is another partition. A tenant has a bounded number
of bytes; what it used least recently goes first. No I/O: `mirror` feeds it from Redis.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import numpy.typing as npt

from tollkeeper.gateway.cache.similarity import nearest

Floats = npt.NDArray[np.float32]

# An object or two in dictionaries beside its vector and its text.
_OVERHEAD_BYTES = 400
_FIRST_ROWS = 16


@dataclass(frozen=True, slots=True)
class Known:
    """A question that was answered. `signature`: what the guards compare, as one number (`guards.signature`)."""

    partition: bytes
    fingerprint: bytes
    turn: str
    vector: Floats
    signature: bytes
    created_at: float
    model: str = ""
    answer: Floats | None = None
    """Of its answer's text, to tell whether another says the same."""

    @property
    def size(self) -> int:
        answer = 0 if self.answer is None else self.answer.nbytes
        # Its vector is a row of the matrix as well.
        return 2 * self.vector.nbytes + answer + 4 * len(self.turn) + _OVERHEAD_BYTES


@dataclass(slots=True)
class Partition:
    """Rows in no order: one that goes is replaced by the last."""

    dimension: int
    matrix: Floats = field(init=False)
    rows: list[Known] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)
    by_signature: dict[bytes, set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.matrix = np.zeros((_FIRST_ROWS, self.dimension), dtype=np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, question: Known) -> None:
        self.drop(question.fingerprint)
        row = len(self.rows)
        if row == len(self.matrix):
            wider = np.zeros((2 * row, self.dimension), dtype=np.float32)
            wider[:row] = self.matrix
            self.matrix = wider
        self.matrix[row] = question.vector
        self.rows.append(question)
        self.places[question.fingerprint] = row
        self.by_signature.setdefault(question.signature, set()).add(question.fingerprint)

    def drop(self, fingerprint: bytes) -> Known | None:
        row = self.places.pop(fingerprint, None)
        if row is None:
            return None
        gone, last = self.rows[row], self.rows.pop()
        if last is not gone:
            self.rows[row] = last
            self.matrix[row] = self.matrix[len(self.rows)]
            self.places[last.fingerprint] = row
        alike = self.by_signature[gone.signature]
        alike.discard(fingerprint)
        if not alike:
            del self.by_signature[gone.signature]
        return gone

    def find(self, fingerprint: bytes) -> Known | None:
        row = self.places.get(fingerprint)
        return None if row is None else self.rows[row]

    def alike(self, signature: bytes) -> list[Known]:
        """Those that the guards may let pass: all others they refuse."""
        return [self.rows[self.places[fingerprint]] for fingerprint in self.by_signature.get(signature, ())]

    def nearest(self, vector: Floats, most: int) -> list[tuple[Known, float]]:
        """Blocks for what it is long: 6 ms at 50,000 rows. In a thread, rows may move meanwhile: look at them again."""
        rows = list(self.rows)
        return [(rows[row], score) for row, score in nearest(self.matrix[: len(rows)], vector, most) if row < len(rows)]


class Vectors:
    """All partitions of this worker."""

    def __init__(self, tenant_bytes: int, worker_bytes: int) -> None:
        self._tenant_bytes = tenant_bytes
        self._worker_bytes = worker_bytes
        self._partitions: dict[tuple[UUID, bytes], Partition] = {}
        # By tenant, then in the order of their last use: which partition each fingerprint lies in.
        self._used: OrderedDict[UUID, OrderedDict[bytes, bytes]] = OrderedDict()
        self._sizes: dict[UUID, int] = {}
        self.size = 0

    def find(self, tenant_id: UUID, partition: bytes) -> Partition | None:
        return self._partitions.get((tenant_id, partition))

    def size_of(self, tenant_id: UUID) -> int:
        return self._sizes.get(tenant_id, 0)

    def add(self, tenant_id: UUID, question: Known) -> None:
        if question.size > self._tenant_bytes:
            return
        self.drop(tenant_id, question.fingerprint)
        at = (tenant_id, question.partition)
        partition = self._partitions.get(at)
        if partition is None:
            partition = self._partitions[at] = Partition(len(question.vector))
        elif partition.dimension != len(question.vector):
            # The embedder's name is in the partition's; one that changes its dimension under its name is broken.
            return
        partition.add(question)
        self._used.setdefault(tenant_id, OrderedDict())[question.fingerprint] = question.partition
        self._grow(tenant_id, question.size)
        while self._sizes[tenant_id] > self._tenant_bytes:
            self._drop_oldest(tenant_id)
        while self.size > self._worker_bytes:
            self._drop_oldest(next(iter(self._used)))

    def use(self, tenant_id: UUID, fingerprint: bytes) -> None:
        """It was given: it goes last."""
        used = self._used.get(tenant_id)
        if used is not None and fingerprint in used:
            used.move_to_end(fingerprint)
            self._used.move_to_end(tenant_id)

    def drop(self, tenant_id: UUID, fingerprint: bytes) -> bool:
        used = self._used.get(tenant_id)
        partition_name = None if used is None else used.pop(fingerprint, None)
        if partition_name is None:
            return False
        partition = self._partitions[tenant_id, partition_name]
        gone = partition.drop(fingerprint)
        if not len(partition):
            del self._partitions[tenant_id, partition_name]
        if gone is not None:
            self._grow(tenant_id, -gone.size)
        return True

    def drop_where(self, tenant_id: UUID, model: str | None, before: float | None) -> int:
        """Of a tenant: those answered by `model`, those older than `before`, or all."""
        going = [
            question.fingerprint
            for question in self.of(tenant_id)
            if (model is None or question.model == model) and (before is None or question.created_at < before)
        ]
        return sum(self.drop(tenant_id, fingerprint) for fingerprint in going)

    def of(self, tenant_id: UUID) -> Iterator[Known]:
        for fingerprint, name in self._used.get(tenant_id, {}).items():
            partition = self._partitions[tenant_id, name]
            yield partition.rows[partition.places[fingerprint]]

    def clear(self, tenant_id: UUID) -> None:
        self.drop_where(tenant_id, None, None)

    def _drop_oldest(self, tenant_id: UUID) -> None:
        self.drop(tenant_id, next(iter(self._used[tenant_id])))

    def _grow(self, tenant_id: UUID, size: int) -> None:
        self.size += size
        self._sizes[tenant_id] = self._sizes.get(tenant_id, 0) + size
        if not self._used.get(tenant_id):
            self._used.pop(tenant_id, None)
            self._sizes.pop(tenant_id, None)
