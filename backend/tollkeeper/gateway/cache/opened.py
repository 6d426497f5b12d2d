"""Puts the semantic tier together, from what `meaning` was given. Loading this module loads numpy and the word lists."""

from collections.abc import Callable

from tollkeeper.contracts.ports import ModelCalls
from tollkeeper.gateway.cache.embedding import Embedder, LocalEmbedder
from tollkeeper.gateway.cache.embedding_model import ModelEmbedder
from tollkeeper.gateway.cache.guards.lexicon import LANGUAGES, load
from tollkeeper.gateway.cache.meaning import Parts
from tollkeeper.gateway.cache.mirror import Mirror, Records
from tollkeeper.gateway.cache.observations import ObservationLog
from tollkeeper.gateway.cache.semantic import Semantics
from tollkeeper.gateway.cache.vectors import Vectors

# A few hundred models at most are anybody's embedders; more are names that somebody makes up.
_MOST_EMBEDDERS = 100

for _language in LANGUAGES:
    load(_language)


class Embedders:
    """By their name in a policy: the local one's is empty, all others are models of the gateway."""

    def __init__(self, calls: Callable[[], ModelCalls | None]) -> None:
        self._calls = calls
        self._local = LocalEmbedder()
        self._models: dict[str, ModelEmbedder] = {}

    def get(self, name: str) -> Embedder | None:
        if not name:
            return self._local
        calls = self._calls()
        if name not in self._models and calls is not None and len(self._models) < _MOST_EMBEDDERS:
            self._models[name] = ModelEmbedder(name, calls)
        return self._models.get(name)

    def close(self) -> None:
        self._local.close()


def open_tier(parts: Parts, calls: Callable[[], ModelCalls | None], chance: Callable[[], float]) -> Semantics:
    vectors = Vectors(tenant_bytes=min(parts.tenant_bytes, parts.worker_bytes), worker_bytes=parts.worker_bytes)
    records = Records(parts.key)
    mirror = Mirror(vectors, parts.link, records, parts.metrics, parts.clock, tenant_bytes=parts.tenant_bytes)
    mirror.start()
    return Semantics(Embedders(calls), vectors, mirror, ObservationLog(parts.link), parts.clock, chance)
