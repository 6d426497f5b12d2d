"""How alike two questions are, and how alike they must be: cosine, confidence bounds, thresholds from measured curves.

Pure. A curve says, for each similarity, how many candidates that the guards let pass were at least so alike, and how many
of those were wrong; `./tollkeeper bench cache --write-curves` measures them into `curves.json`, per embedder and domain.
The threshold is the lowest at which the upper bound of the wrong ones' share is still within what a policy allows.
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson

Floats = npt.NDArray[np.float32]

GENERAL: Final = "general"
# For an embedder that nobody has measured with these guards.
UNMEASURED: Final = 0.95
# However well the guards did: what is less alike than this is not looked at. They know words, and embeddings know subjects.
LEAST: Final = 0.7
# Of fewer, even without one that is wrong, the bound of 2 % says nothing.
_MEASURED: Final = 200
_Z_95: Final = 1.959963984540054
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Point:
    """Of the candidates at least `similarity` alike: `served` of them would be given, `wrong` of those wrongly."""

    similarity: float
    served: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Threshold:
    similarity: float
    p_wrong: float
    """Upper end of the 95 % interval of the wrong ones' share at this similarity; 1 where nothing was measured."""


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's score interval); nothing is known of none."""
    if total == 0:
        return 0.0, 1.0
    share, z2 = hits / total, _Z_95 * _Z_95
    middle = share + z2 / (2 * total)
    half = _Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return max(0.0, (middle - half) / (1 + z2 / total)), min(1.0, (middle + half) / (1 + z2 / total))


def choose(curve: tuple[Point, ...], delta: float) -> Threshold | None:
    """The lowest similarity at which the upper bound stays within `delta`, there and above; None where none does."""
    best = None
    looked_at = [point for point in curve if point.similarity >= LEAST]
    for point in sorted(looked_at, key=lambda each: -each.similarity):
        upper = wilson(point.wrong, point.served)[1]
        if upper <= delta:
            best = Threshold(point.similarity, upper)
        elif best is not None:
            break
    return best


def threshold(embedder: str, domain: str | None, delta_millionths: int) -> Threshold | None:
    """For a policy. A domain that was hardly measured has the curve of all; an embedder that was not, a fixed threshold."""
    of_embedder = curves().get(embedder)
    if of_embedder is None:
        return Threshold(UNMEASURED, 1.0)
    curve = of_embedder.get(domain or GENERAL, ())
    if max((point.served for point in curve), default=0) < _MEASURED:
        curve = of_embedder[GENERAL]
    return choose(curve, delta_millionths / _MILLION)


@cache
def curves() -> dict[str, dict[str, tuple[Point, ...]]]:
    """By embedder and domain, as measured."""
    read = orjson.loads(files(__package__).joinpath("curves.json").read_bytes())
    return {
        embedder: {domain: tuple(Point(*point) for point in points) for domain, points in domains.items()}
        for embedder, domains in read.items()
    }


def scores(matrix: Floats, vector: Floats) -> Floats:
    """Cosines of (n, d) and (d,), both normalised."""
    found: Floats = matrix @ vector
    return found


def nearest(matrix: Floats, vector: Floats, most: int) -> list[tuple[int, float]]:
    """Rows and their cosines, the nearest first."""
    found = scores(matrix, vector)
    most = min(most, len(found))
    if most == 0:
        return []
    rows = np.argpartition(found, len(found) - most)[len(found) - most :]
    rows = rows[np.argsort(-found[rows], kind="stable")]
    return [(int(row), float(found[row])) for row in rows]
