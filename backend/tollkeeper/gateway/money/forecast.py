"""How long answers get: a running quantile of the output of each model and key, in bounded memory. Pure, no clock.

Kept per worker and never stored: a forecast that is wrong costs an extension or a refusal near a limit, never money.
"""

from array import array
from collections import OrderedDict
from typing import Final, TypeVar
from uuid import UUID

# Before anything is known of a model: a few paragraphs.
DEFAULT_TOKENS: Final = 400
# Answers that have to be seen before they are believed.
ENOUGH: Final = 20
MAX_REMEMBERED: Final = 4_096
# Eight buckets for each doubling up to 2**24 tokens: an answer is at most an eighth shorter than the end of its bucket.
_STEPS: Final = 8
_BUCKETS: Final = 24 * _STEPS
# With this many answers the old ones count half: models and prompts change.
_MOST: Final = 2_048

Name = TypeVar("Name")


class _Sketch:
    """Counts by size of answer. `place` is the bucket that the quantile lies in, moved a little at each answer."""

    __slots__ = ("_above", "_counts", "_place", "total")

    def __init__(self) -> None:
        self._counts = array("H", bytes(2 * _BUCKETS))
        self._place = 0
        # Answers in the buckets beyond `place`.
        self._above = 0
        self.total = 0

    def add(self, bucket: int, share_above: float) -> None:
        self._counts[bucket] += 1
        self.total += 1
        if bucket > self._place:
            self._above += 1
        if self.total >= _MOST:
            self._halve()
        self._settle(share_above)

    def value(self) -> int:
        return _end(self._place)

    def _settle(self, share_above: float) -> None:
        allowed = self.total * share_above
        while self._above > allowed:
            self._place += 1
            self._above -= self._counts[self._place]
        while self._place and self._above + self._counts[self._place] <= allowed:
            self._above += self._counts[self._place]
            self._place -= 1

    def _halve(self) -> None:
        self._counts = array("H", [count // 2 for count in self._counts])
        self.total = sum(self._counts)
        self._above = sum(self._counts[self._place + 1 :])


class Forecasts:
    """`learn` when an answer has ended, `forecast` before a call. Both take a microsecond or two."""

    def __init__(
        self, *, percentile: int = 95, default_tokens: int = DEFAULT_TOKENS, remembers: int = MAX_REMEMBERED
    ) -> None:
        self._share_above = (100 - percentile) / 100
        self._default_tokens = default_tokens
        self._remembers = remembers
        # By the number that is a key's id: it takes a fraction of the time to hash.
        self._of_keys: OrderedDict[tuple[str, int], _Sketch] = OrderedDict()
        self._of_models: OrderedDict[str, _Sketch] = OrderedDict()

    def forecast(self, model: str, key_id: UUID, cap: int | None = None) -> int:
        """Tokens of output, all choices together: what nearly all calls of this model and key stayed below."""
        sketch = self._of_keys.get((model, key_id.int))
        if sketch is None or sketch.total < ENOUGH:
            sketch = self._of_models.get(model)
        tokens = self._default_tokens if sketch is None or sketch.total < ENOUGH else sketch.value()
        return tokens if cap is None or tokens < cap else cap

    def learn(self, model: str, key_id: UUID, output_tokens: int) -> None:
        bucket = _bucket(output_tokens)
        self._learn(self._of_keys, (model, key_id.int), bucket)
        self._learn(self._of_models, model, bucket)

    def _learn(self, known: OrderedDict[Name, _Sketch], name: Name, bucket: int) -> None:
        sketch = known.get(name)
        if sketch is None:
            if len(known) >= self._remembers:
                # Whoever was heard of longest ago.
                known.popitem(last=False)
            sketch = known[name] = _Sketch()
        else:
            known.move_to_end(name)
        sketch.add(bucket, self._share_above)


def _bucket(tokens: int) -> int:
    """0 to 8 have a bucket each; from there the three bits after the highest one tell."""
    if tokens <= _STEPS:
        return max(tokens, 0)
    exponent = tokens.bit_length() - 4
    return min(_BUCKETS - 1, exponent * _STEPS + (tokens >> exponent))


def _end(bucket: int) -> int:
    """The largest count of tokens in a bucket."""
    if bucket < 2 * _STEPS:
        return bucket
    exponent = bucket // _STEPS - 1
    return ((bucket - exponent * _STEPS + 1) << exponent) - 1
