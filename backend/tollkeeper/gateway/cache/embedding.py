"""Where vectors come from: the local model in a thread of its own, or an embeddings model of the gateway.

Both answer None where they cannot say in time: too much is waiting, the model is not there, a provider failed. The
semantic tier then finds nothing, which is a miss. Their names are part of a partition's, so their vectors never mix.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt
import structlog

from tollkeeper.gateway.cache import embedding_local
from tollkeeper.gateway.cache.embedding_local import ModelMissing, SentenceModel

log = structlog.get_logger(__name__)

Floats = npt.NDArray[np.float32]

_MOST_IN_A_BATCH: Final = 8
_MOST_WAITING: Final = 64
_REMEMBERED: Final = 1_024


class Embedder(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def deadline_seconds(self) -> float:
        """How long a caller waits for it."""
        ...

    async def embed(self, text: str, key_id: UUID | None, *, is_awaited: bool) -> Floats | None:
        """(d,) float32 of length 1. `key_id`: who pays where it costs something. `is_awaited`: by a caller, just now."""
        ...


class LocalEmbedder:
    """Texts that wait together go together; the model is read when the first one comes."""

    deadline_seconds: Final = 0.15

    def __init__(self, load: Callable[[], SentenceModel] = embedding_local.load) -> None:
        self.name = embedding_local.NAME
        self._load = load
        self._model: SentenceModel | None = None
        self._is_missing = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="embedding")
        self._waiting: deque[tuple[str, asyncio.Future[Floats | None]]] = deque()
        # What nobody waits for comes when nothing else does, one by one, so that it never holds a caller up for long.
        self._later: deque[tuple[str, asyncio.Future[Floats | None]]] = deque()
        self._running: asyncio.Future[list[Floats]] | None = None
        self._known: OrderedDict[str, Floats] = OrderedDict()

    async def embed(self, text: str, key_id: UUID | None, *, is_awaited: bool) -> Floats | None:  # noqa: ARG002 - nobody pays
        if (known := self._known.get(text)) is not None:
            self._known.move_to_end(text)
            return known
        queue = self._waiting if is_awaited else self._later
        if self._is_missing or len(queue) >= _MOST_WAITING:
            return None
        made: asyncio.Future[Floats | None] = asyncio.get_running_loop().create_future()
        queue.append((text, made))
        self._go()
        return await made

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        for queue in (self._waiting, self._later):
            for _, made in queue:
                made.cancel()
            queue.clear()

    def _go(self) -> None:
        if self._running is not None or not (self._waiting or self._later):
            return
        if self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_MOST_IN_A_BATCH, len(self._waiting)))]
        else:
            batch = [self._later.popleft()]
        texts = [text for text, _ in batch]
        self._running = asyncio.get_running_loop().run_in_executor(self._pool, self._work, texts)
        self._running.add_done_callback(lambda done: self._tell(batch, done))

    def _work(self, texts: list[str]) -> list[Floats]:
        if self._model is None:
            self._model = self._load()
        return list(self._model.embed(texts))

    def _tell(self, batch: list[tuple[str, asyncio.Future[Floats | None]]], done: asyncio.Future[list[Floats]]) -> None:
        self._running = None
        vectors: list[Floats] | None = None
        if not done.cancelled():
            error = done.exception()
            if error is None:
                vectors = done.result()
            elif isinstance(error, ModelMissing):
                self._is_missing = True
                log.error("embedding_model_missing", reason=str(error))
            else:
                log.error("embedding_failed", error=type(error).__name__)
        for place, (text, made) in enumerate(batch):
            vector = None if vectors is None else vectors[place]
            if vector is not None:
                self._known[text] = vector
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            if not made.done():
                made.set_result(vector)
        if not done.cancelled():
            self._go()
