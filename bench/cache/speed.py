"""What looking costs in CPU: reading a question, comparing two, embedding one, searching 50,000; the middle and the 95th.

Of this thread's CPU and not of the clock, so that what else runs on the machine is not counted.
"""

import statistics
from collections.abc import Callable, Sequence
from time import thread_time

import numpy as np
import numpy.typing as npt

from tollkeeper.gateway.cache.guards import find_refusal, read
from tollkeeper.gateway.cache.similarity import nearest

Floats = npt.NDArray[np.float32]

_ROWS = 50_000
_ROUNDS = 200


def _timed(run: Callable[[], object], rounds: int = _ROUNDS) -> tuple[float, float]:
    run()
    taken = []
    for _ in range(rounds):
        began = thread_time()
        run()
        taken.append((thread_time() - began) * 1e6)
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]


def measure(questions: Sequence[str], embed: Callable[[list[str]], Floats] | None) -> dict[str, tuple[float, float]]:
    """Microseconds, by what was done. `questions`: at most 32 tokens each."""
    first, second = read(questions[0]), read(questions[1])
    random = np.random.default_rng(1)
    matrix = random.standard_normal((_ROWS, 384), dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    found = {
        "read a question": _timed(lambda: read(questions[0])),
        "compare two readings": _timed(lambda: find_refusal(first, second)),
        "search 50,000 × 384": _timed(lambda: nearest(matrix, matrix[17], 5), 50),
    }
    if embed is not None:
        turns = iter(questions * 10)
        found["embed a question"] = _timed(lambda: embed([next(turns)]), 100)
    return found
