"""Choices that look random and are not: the same seed gives the same row of them, on every machine and version."""

import hashlib


class Dice:
    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._round = 0
        self._pool: list[int] = []

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1."""
        if not self._pool:
            block = hashlib.blake2b(self._seed, salt=self._round.to_bytes(8, "big")).digest()
            self._pool = [int.from_bytes(block[start : start + 8], "big") for start in range(0, 64, 8)]
            self._round += 1
        return self._pool.pop() % limit

    def between(self, least: int, most: int) -> int:
        """A number from `least` to `most`, both included."""
        return least + self.below(most - least + 1)
