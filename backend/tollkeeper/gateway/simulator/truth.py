"""What the simulator's server really served, for tests that compare a ledger with it."""

import collections
import hashlib
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_SECRET_HEADERS: Final = frozenset({"authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"})
_MOST_RECORDS = 20_000


@dataclass(slots=True)
class Record:
    """One request. `outcome`: open, complete, refused, cut, hang, or cancelled when the caller went away first."""

    sequence: int
    request_id: str
    path: str
    peer: str  # address and port: the same for requests on one connection
    headers: dict[str, str]
    started_unix: float
    vendor: str = "openai"
    model: str = ""
    is_stream: bool = False
    status: int = 0
    outcome: str = "open"
    # As told in the usage, or as they would have been.
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    # What left before the end.
    tokens_sent: int = 0
    chunks_sent: int = 0
    seconds: float | None = None
    body: dict[str, Any] | None = field(default=None, repr=False)


class Truth:
    def __init__(self) -> None:
        self._records: collections.deque[Record] = collections.deque(maxlen=_MOST_RECORDS)
        self._sequence = 0

    def open(self, path: str, peer: str, headers: dict[str, str]) -> Record:
        self._sequence += 1
        shown = {name: _fingerprint(value) if name in _SECRET_HEADERS else value for name, value in headers.items()}
        record = Record(self._sequence, f"req_sim_{self._sequence}", path, peer, shown, time.time())
        self._records.append(record)
        return record

    def close(self, record: Record, outcome: str) -> None:
        if record.outcome == "open":
            record.outcome = outcome
            record.seconds = time.time() - record.started_unix

    def forget(self) -> None:
        """Sequence numbers go on: no two requests of a run share one."""
        self._records.clear()

    def report(self, after: int = 0) -> dict[str, Any]:
        """Totals of all records kept, and those with a sequence number above `after`."""
        outcomes = collections.Counter(record.outcome for record in self._records)
        served = [record for record in self._records if record.status == 200]
        return {
            "last_sequence": self._sequence,
            "requests": len(self._records),
            "outcomes": dict(outcomes),
            "connections": len({record.peer for record in self._records}),
            "prompt_tokens": sum(record.prompt_tokens for record in served),
            "completion_tokens": sum(record.completion_tokens for record in served),
            "tokens_sent": sum(record.tokens_sent for record in served),
            "chunks_sent": sum(record.chunks_sent for record in served),
            "records": [asdict(record) for record in self._records if record.sequence > after],
        }


def _fingerprint(value: str) -> str:
    """Enough to compare with, nothing to steal."""
    return "sha256:" + hashlib.sha256(value.encode()).hexdigest()[:16]
