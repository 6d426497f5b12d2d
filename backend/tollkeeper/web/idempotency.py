"""`Idempotency-Key` on POST: the same write twice is done once, and its answer is given again.

The claim, the write and the stored answer are one transaction: a crash leaves neither, and a second request meets
either an advisory lock (409, in flight) or the row. Keys are of one caller and one address, for a day; another body
under a used key is 409. An answer with a secret is not stored: its repetition is 409 and names the object.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from fastapi import Request, Response
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import BadRequest, Conflict
from tollkeeper.db.models import IdempotencyKey
from tollkeeper.web.caller import Caller

HEADER: Final = "idempotency-key"
LIFETIME: Final = timedelta(hours=24)
_LONGEST_KEY: Final = 255
_WITHHELD: Final = "withheld_object_id"
_LARGEST_ANSWER: Final = 256 * 1024


class Replay(Exception):
    """Carries the stored answer past the route; caught by `ControlRoute`, never by a domain."""

    def __init__(self, response: Response) -> None:
        super().__init__("the answer was given before")
        self.response = response


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do this write, held until the transaction ends."""

    session: AsyncSession
    tenant_id: UUID
    route: str
    key: str
    body_digest: bytes

    async def record(self, response: Response) -> None:
        """Keep the answer in the transaction of the write, or only that it was given when it holds a secret."""
        withheld: str | None = self.session.info.get(_WITHHELD)
        body = bytes(response.body)
        if withheld is None and len(body) > _LARGEST_ANSWER:
            withheld = ""
        self.session.add(
            IdempotencyKey(
                tenant_id=self.tenant_id,
                route=self.route,
                key=self.key,
                body_digest=self.body_digest,
                status_code=response.status_code,
                response=body if withheld is None else None,
                object_id=withheld,
            )
        )
        await self.session.flush()


def withhold_answer(session: AsyncSession, object_id: str) -> None:
    """The answer of this write holds a secret: do not store it, remember the object it made."""
    session.info[_WITHHELD] = object_id


async def claim(request: Request, session: AsyncSession, tenant_id: UUID, caller: Caller) -> Claim | None:
    """None without the header. Raises `Replay` when the write was done before, Conflict when it may not be done."""
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return None
    if not 0 < len(key) <= _LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise BadRequest(
            f"Idempotency-Key is at most {_LONGEST_KEY} printable ASCII characters.", code="invalid_idempotency_key"
        )
    route = f"{request.scope['path']} {caller.user_id.hex}"
    digest = hashlib.sha256(await request.body() + b"\0" + request.scope["query_string"]).digest()
    claimed = Claim(session, tenant_id, route, key, digest)
    await _lock(session, claimed)
    row = await session.get(IdempotencyKey, (tenant_id, route, key))
    if row is None:
        return claimed
    if row.created_at < datetime.now(UTC) - LIFETIME:
        await session.execute(
            delete(IdempotencyKey).where(
                IdempotencyKey.tenant_id == tenant_id, IdempotencyKey.route == route, IdempotencyKey.key == key
            )
        )
        session.expunge(row)
        return claimed
    raise _answer_again(row, digest)


async def _lock(session: AsyncSession, claimed: Claim) -> None:
    name = f"{claimed.tenant_id.hex} {claimed.route} {claimed.key}"
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(number))):
        raise Conflict(
            "A request with this Idempotency-Key is being worked on; ask again shortly.",
            code="idempotency_key_in_flight",
            retry_after_seconds=1,
        )


def _answer_again(row: IdempotencyKey, digest: bytes) -> Exception:
    if row.body_digest != digest:
        return Conflict(
            "This Idempotency-Key was used with another body; take a new key.", code="idempotency_key_reused"
        )
    if row.response is None or row.status_code is None:
        details = {"object_id": row.object_id} if row.object_id else {}
        return Conflict(
            "This was done already. Its answer held a secret that is shown once and kept nowhere.",
            code="already_done",
            details=details,
        )
    return Replay(
        Response(
            row.response,
            row.status_code,
            {"idempotent-replayed": "true"},
            media_type="application/json",
        )
    )
