"""The check digits of numbers that have them. Each takes the characters without separators and says whether they fit."""

from collections.abc import Sequence
from typing import Final

_VERHOEFF_PRODUCT: Final = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_PERMUTATION: Final = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


# Twice a digit, and of what has two digits their sum.
_DOUBLED: Final = str.maketrans("0123456789", "0246813579")


def luhn(digits: str) -> bool:
    return (sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))) % 10 == 0


def verhoeff(digits: str) -> bool:
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_VERHOEFF_PRODUCT[check][int(_VERHOEFF_PERMUTATION[place % 8][int(digit)])])
    return check == 0


def weighted(digits: str, weights: Sequence[int]) -> int:
    """The sum of digits by weights; a shorter list of weights leaves the rest alone."""
    return sum((ord(digit) - 48) * weight for digit, weight in zip(digits, weights, strict=False))


_AS_NUMBER: Final = {letter: str(int(letter, 36)) for letter in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def mod_97(text: str) -> int:
    """Of letters and digits as ISO 7064 has it: A is 10."""
    return int("".join(map(_AS_NUMBER.__getitem__, text))) % 97


def iso_7064_mod_11_10(digits: str) -> bool:
    product = 10
    for digit in digits[:-1]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def ean(digits: str) -> bool:
    return sum((ord(d) - 48) * (3 if place % 2 else 1) for place, d in enumerate(reversed(digits))) % 10 == 0


def is_day(day: int, month: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= (29, 31)[month != 2] - (month in {4, 6, 9, 11})
