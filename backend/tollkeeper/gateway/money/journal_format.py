r"""The lines of a journal segment: how they are written, and how they are read back from a file that may be damaged.

    <crc32, 8 hex> <length of the body, 6 hex> <sequence> <kind> <JSON>\n

The checksum and the length cover the body (sequence, kind, JSON). Kinds: `h` heads a segment, `i` is an intent, `s` a
settlement with its intent inside (so one line is enough to write the ledger row), `v` an attempt that was not billed.
A segment is allocated ahead, so its unwritten rest reads as zero bytes: that is a clean end, not damage.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from zlib import crc32

import orjson

from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.usage import CallStatus, Intent, LedgerKind, Settlement

FORMAT: Final = 1
HEAD: Final = b"h"
INTENT: Final = b"i"
SETTLE: Final = b"s"
VOID: Final = b"v"
# Longest text of a caller that goes into a line; a model name or an end user's id is far below it.
MAX_TEXT: Final = 256
# What a settlement may add to its intent; room for it is kept from the moment the intent is written.
MAX_SETTLE_BYTES: Final = 1_024
_PREFIX: Final = 16  # "xxxxxxxx xxxxxx "
# What lines of earlier releases lack.
_LATER: Final = [None] * 7


@dataclass(frozen=True, slots=True)
class Line:
    sequence: int
    kind: bytes
    payload: bytes


@dataclass(slots=True)
class Damage:
    """What could not be read from a segment. A torn end is what kill -9 or a power cut leaves; the rest is the disk."""

    torn_lines: int = 0
    damaged_lines: int = 0
    missing_lines: int = 0

    def __bool__(self) -> bool:
        return bool(self.torn_lines or self.damaged_lines or self.missing_lines)


def format_line(sequence: int, kind: bytes, payload: bytes) -> bytes:
    body = b"%d %b %b" % (sequence, kind, payload)
    return b"%08x %06x %b\n" % (crc32(body), len(body), body)


def pack_intent(intent: Intent) -> bytes:
    return orjson.dumps(
        (
            intent.request_id,
            intent.attempt,
            intent.tenant_id,
            intent.key_id,
            intent.user_id,
            intent.operation,
            _clip(intent.model),
            intent.provider,
            _clip(intent.upstream_model),
            intent.estimated_input_tokens,
            intent.price_version,
            intent.estimated_cost_nano,
            intent.is_stream,
            intent.environment,
            intent.end_user and _clip(intent.end_user),
            intent.team_id,
            intent.project_id,
            intent.tags,
            intent.budgets or None,
            intent.run_id,
            intent.estimated_charge_nano,
            intent.hold,
        )
    )


def pack_settlement(settlement: Settlement, intent_payload: bytes) -> bytes:
    packed = _pack_outcome(settlement, with_details=True)
    if len(packed) > MAX_SETTLE_BYTES - 64 and settlement.extra:
        # The row must fit the room that was kept for it; tags are the longest and the key has them too.
        settlement = replace(settlement, extra={})
        packed = _pack_outcome(settlement, with_details=True)
    if len(packed) > MAX_SETTLE_BYTES - 64:
        # Details serve look-ups.
        packed = _pack_outcome(settlement, with_details=False)
    return b"[%b,%b]" % (intent_payload, packed)


def _pack_outcome(settlement: Settlement, *, with_details: bool) -> bytes:
    usage = settlement.usage
    return orjson.dumps(
        (
            settlement.status,
            settlement.kind,
            (
                usage.input,
                usage.cache_read,
                usage.cache_write,
                usage.cache_write_1h,
                usage.input_audio,
                usage.input_image,
                usage.output,
                usage.reasoning,
                usage.output_audio,
                usage.output_image,
                usage.is_estimated,
            ),
            settlement.cost_nano,
            settlement.charge_nano,
            settlement.latency_ms,
            settlement.first_token_ms,
            settlement.http_status,
            settlement.error_code and settlement.error_code[:64],
            settlement.client_request_id and settlement.client_request_id[:128] if with_details else None,
            settlement.upstream_request_id and settlement.upstream_request_id[:128] if with_details else None,
            (settlement.extra or None) if with_details else None,
        )
    )


def pack_void(request_id: UUID, attempt: int) -> bytes:
    return orjson.dumps((request_id, attempt))


def unpack_intent(payload: bytes) -> Intent:
    return _intent(orjson.loads(payload))


def unpack_settlement(payload: bytes) -> Settlement:
    intent, outcome = orjson.loads(payload)
    status, kind, usage, *rest = outcome
    cost, charge, latency, first_token, http_status, error_code, client_id, upstream_id, extra = rest
    return Settlement(
        intent=_intent(intent),
        status=CallStatus(status),
        usage=Usage(*usage),
        cost_nano=cost,
        charge_nano=charge,
        latency_ms=latency,
        first_token_ms=first_token,
        http_status=http_status,
        error_code=error_code,
        kind=LedgerKind(kind),
        client_request_id=client_id,
        upstream_request_id=upstream_id,
        extra=extra or {},
    )


def unpack_void(payload: bytes) -> tuple[UUID, int]:
    request_id, attempt = orjson.loads(payload)
    return UUID(request_id), attempt


def _intent(fields: list[Any]) -> Intent:
    request_id, attempt, tenant_id, key_id, user_id, operation, model, provider, upstream_model, *rest = fields
    tokens, price_version, cost, is_stream, environment, end_user, *later = rest
    # A line that an earlier release wrote ends here, or further on.
    team_id, project_id, tags, budgets, run_id, charge, hold = later + _LATER[len(later) :]
    return Intent(
        request_id=UUID(request_id),
        attempt=attempt,
        tenant_id=UUID(tenant_id),
        key_id=UUID(key_id),
        user_id=user_id and UUID(user_id),
        operation=operation,
        model=model,
        provider=provider,
        upstream_model=upstream_model,
        estimated_input_tokens=tokens,
        price_version=price_version and UUID(price_version),
        estimated_cost_nano=cost,
        is_stream=is_stream,
        environment=environment,
        end_user=end_user,
        team_id=team_id and UUID(team_id),
        project_id=project_id and UUID(project_id),
        tags=tags,
        budgets=tuple(budgets or ()),
        run_id=run_id,
        estimated_charge_nano=charge,
        hold=hold or 0,
    )


def _clip(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT]


def read_lines(path: Path, damage: Damage) -> Iterator[Line]:
    """The intact lines of a segment in order; `damage` collects what was not intact. Never raises for content."""
    expected: int | None = None
    with path.open("rb") as file:
        for raw in file:
            if raw[0] == 0:
                # The allocated rest. Lines behind zeros mean that a power cut lost the pages between.
                raw = raw.lstrip(b"\0")  # noqa: PLW2901 - the same line without what was never written
                if not raw:
                    continue
                damage.damaged_lines += 1
            line = _read_line(raw)
            if line is None:
                if raw.endswith(b"\n"):
                    damage.damaged_lines += 1
                else:
                    damage.torn_lines += 1
                continue
            if expected is not None and line.sequence != expected:
                damage.missing_lines += max(0, line.sequence - expected)
            expected = line.sequence + 1
            yield line


def _read_line(raw: bytes) -> Line | None:
    body = raw[_PREFIX:-1]
    if not raw.endswith(b"\n") or raw[:_PREFIX] != b"%08x %06x " % (crc32(body), len(body)):
        return None
    sequence, kind, payload = body.split(b" ", 2)
    return Line(int(sequence), kind, payload)


def read_settlements(path: Path, start: int, end: int, limit: int) -> tuple[list[Settlement], int]:
    """Up to `limit` settlements between two offsets of a segment that is being written, and the offset to go on at."""
    found: list[Settlement] = []
    with path.open("rb") as file:
        file.seek(start)
        while start < end and len(found) < limit:
            raw = file.readline()
            start += len(raw)
            line = _read_line(raw)
            if line is not None and line.kind == SETTLE:
                found.append(unpack_settlement(line.payload))
    return found, start
