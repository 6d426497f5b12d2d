"""Vectors from an embeddings model of the gateway: a call like any other, under the key of whoever asked, and on its bill.

The answer itself goes through the exact cache like any other too. Failure policy: whatever goes wrong, no vector.
"""

import asyncio
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson
import structlog

from tollkeeper.contracts.batches import Answered
from tollkeeper.contracts.ports import ModelCalls
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.cache.embedding_local import normalised

log = structlog.get_logger(__name__)

Floats = npt.NDArray[np.float32]

_ENDPOINT: Final = "/v1/embeddings"
_MOST_AT_ONCE: Final = 32


class ModelEmbedder:
    deadline_seconds: Final = 1.0

    def __init__(self, name: str, calls: ModelCalls) -> None:
        self.name = name
        self._calls = calls
        self._under_way = 0

    async def embed(self, text: str, key_id: UUID | None, *, is_awaited: bool) -> Floats | None:  # noqa: ARG002 - all are calls
        if key_id is None or self._under_way >= _MOST_AT_ONCE:
            return None
        self._under_way += 1
        try:
            return await self._ask(text, key_id)
        except TollkeeperError as error:
            log.warning("embedding_failed", model=self.name, code=error.code)
            return None
        finally:
            self._under_way -= 1

    async def _ask(self, text: str, key_id: UUID) -> Floats | None:
        answers: asyncio.Queue[Answered] = asyncio.Queue()
        principal = await self._calls.principal(key_id, _ENDPOINT)
        body = orjson.dumps({"model": self.name, "input": text, "encoding_format": "float"})
        await self._calls.call(principal, _ENDPOINT, body, uuid7(), answers.put)
        answered = answers.get_nowait()
        if answered.status != 200:
            log.warning("embedding_failed", model=self.name, status=answered.status)
            return None
        return read_vector(answered.body)


def read_vector(body: bytes) -> Floats | None:
    """The one vector of an answer, normalised; None where it is none that anything could be like."""
    try:
        found: Floats = np.asarray(orjson.loads(body)["data"][0]["embedding"], dtype=np.float32)
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    if found.ndim != 1 or not found.any() or not np.isfinite(found).all():
        return None
    made: Floats = normalised(found[None])[0]
    return made
