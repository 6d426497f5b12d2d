"""Token counts as vendors write them, read with care: what cannot be is left out, and what was left out is remembered.

Every reader of a vendor's `usage` (`openai_usage`, `vendor_usage`) is made of this: so none can make a negative class,
a class larger than its total, or a count nobody could have sent.
"""

from collections.abc import Mapping
from typing import Any, Final

# More than any context window or answer; a larger number is a vendor's mistake, and ours to count instead.
MOST: Final = 1_000_000_000
# A total beyond its parts is output that was not shown, up to the longest that models write; more is a mistake.
MOST_HIDDEN: Final = 200_000
# A tuple: a union written with | would be built anew at every check.
_NUMBER: Final = (int, float)


def read_count(value: object) -> int | None:
    """None for anything that is no count of tokens."""
    if type(value) is int and 0 <= value <= MOST:
        return value
    if isinstance(value, bool) or not isinstance(value, _NUMBER):
        return None
    # Some vendors write 12.0; NaN and fractions are refused by the comparison.
    count = int(value) if value == value and abs(value) <= MOST else -1  # noqa: PLR0124 - NaN differs from itself
    return count if count >= 0 and count == value else None


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


class Doubts:
    """Reads the parts of one total after another, and remembers whether any of them could not be.

    `is_estimated` of the `Usage` says so: its totals are the vendor's, how they divide is our guess.
    """

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found = False

    def count(self, value: object) -> int:
        """What is left out is nought; what is no count is nought, and doubtful."""
        if value is None:
            return 0
        count = read_count(value)
        if count is None:
            self.found = True
            return 0
        return count

    def take(self, part: object, total: int, remaining: int) -> tuple[int, int]:
        """A class out of what is left of its total. One beyond the total cannot be; one beyond the rest overlaps."""
        count = self.count(part)
        if count > remaining:
            self.found = True
            count = 0 if count > total else remaining
        return count, remaining - count
