"""The local model gives the vectors its authors publish; the embedder in front of it batches, bounds and never raises."""

import asyncio
import threading
from math import erf
from pathlib import Path

import numpy as np
import pytest

from tollkeeper.gateway.cache import embedding_local
from tollkeeper.gateway.cache.embedding import LocalEmbedder
from tollkeeper.gateway.cache.embedding_local import ModelMissing, SentenceModel, load, normalised

needs_model = pytest.mark.skipif(
    not embedding_local.is_installed(), reason="the extra `embed` is not installed (TOLLKEEPER_EXTRAS=embed)"
)


class FakeModel:
    """At the model's place: remembers its batches, waits where it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def embed(self, texts: list[str]) -> np.ndarray:
        self.go_on.wait(30)
        self.batches.append(texts)
        return normalised(np.array([[len(text), 1.0] for text in texts], dtype=np.float32))


@pytest.fixture(scope="module")
def model() -> SentenceModel:
    return load()


@needs_model
def test_similarities_are_those_of_its_authors(model: SentenceModel) -> None:
    # sbert.net, "Quickstart", the example for all-MiniLM-L6-v2.
    made = model.embed(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    assert made.shape == (3, 384)
    assert made.dtype == np.float32
    wanted = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(made @ made.T, wanted, atol=2e-4)


@needs_model
def test_a_text_has_one_vector_in_whatever_company(model: SentenceModel) -> None:
    texts = ["short", "a question of some more words?", "¿Dónde está la biblioteca?", "word " * 300, ""]
    together = model.embed(texts)
    alone = np.concatenate([model.embed([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)


@needs_model
def test_weights_that_are_not_the_published_ones_are_not_used(tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(ModelMissing, match="not the published file"):
        load(tmp_path)
    with pytest.raises(ModelMissing, match="TOLLKEEPER_EXTRAS=embed"):
        load(tmp_path / "nowhere")


def test_the_error_function_is_as_exact_as_it_says() -> None:
    rows = np.linspace(-8, 8, 4_001, dtype=np.float32)
    wanted = [value * 0.5 * (1 + erf(value / 2**0.5)) for value in rows.tolist()]
    np.testing.assert_allclose(embedding_local._gelu(rows), wanted, atol=2e-6)


async def test_texts_that_wait_together_go_together() -> None:
    fake = FakeModel()
    embedder = LocalEmbedder(lambda: fake)
    fake.go_on.clear()
    asked = [asyncio.ensure_future(embedder.embed(f"text {number}", None, is_awaited=True)) for number in range(10)]
    await asyncio.sleep(0)
    fake.go_on.set()
    made = await asyncio.gather(*asked)
    assert all(each is not None for each in made)
    assert [len(batch) for batch in fake.batches] == [1, 8, 1]
    await embedder.embed("text 3", None, is_awaited=True)
    assert len(fake.batches) == 3
    embedder.close()


async def test_more_than_may_wait_are_told_at_once() -> None:
    fake = FakeModel()
    embedder = LocalEmbedder(lambda: fake)
    fake.go_on.clear()
    asked = [asyncio.ensure_future(embedder.embed(f"text {number}", None, is_awaited=True)) for number in range(200)]
    await asyncio.sleep(0)
    refused = [each for each in asked if each.done()]
    assert len(refused) == 200 - 65
    assert all(each.result() is None for each in refused)
    fake.go_on.set()
    await asyncio.gather(*asked)
    embedder.close()


async def test_a_model_that_is_not_there_is_asked_for_once() -> None:
    loads: list[int] = []

    def missing() -> SentenceModel:
        loads.append(1)
        raise ModelMissing("not here")

    embedder = LocalEmbedder(missing)
    assert [await embedder.embed(f"text {number}", None, is_awaited=True) for number in range(3)] == [None, None, None]
    assert len(loads) == 1
    embedder.close()


async def test_one_that_gave_up_waiting_costs_the_others_nothing() -> None:
    fake = FakeModel()
    embedder = LocalEmbedder(lambda: fake)
    fake.go_on.clear()
    first, second = (asyncio.ensure_future(embedder.embed(text, None, is_awaited=True)) for text in ("one", "two"))
    await asyncio.sleep(0)
    second.cancel()
    fake.go_on.set()
    assert await first is not None
    with pytest.raises(asyncio.CancelledError):
        await second
    assert await embedder.embed("three", None, is_awaited=True) is not None
    embedder.close()


async def test_what_nobody_waits_for_lets_callers_go_first() -> None:
    fake = FakeModel()
    embedder = LocalEmbedder(lambda: fake)
    fake.go_on.clear()
    later = [asyncio.ensure_future(embedder.embed(f"later {number}", None, is_awaited=False)) for number in range(3)]
    await asyncio.sleep(0)
    awaited = [asyncio.ensure_future(embedder.embed(f"now {number}", None, is_awaited=True)) for number in range(2)]
    await asyncio.sleep(0)
    fake.go_on.set()
    await asyncio.gather(*later, *awaited)
    assert fake.batches == [["later 0"], ["now 0", "now 1"], ["later 1"], ["later 2"]]
    embedder.close()
