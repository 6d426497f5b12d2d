"""Makes a number that a JSON Schema accepts. Exact fractions throughout: 0.1 is no binary float."""

import math
from fractions import Fraction
from typing import Any

from tollkeeper.gateway.simulator.dice import Dice
from tollkeeper.gateway.simulator.unfit import UnfitSchema

# How far a value goes from the only bound it has, and how many steps are drawn from at most.
_SPAN = 100
_STEPS = 10_000


def make_number(schema: dict[str, Any], dice: Dice, *, is_integer: bool) -> int | float:
    low, is_above = _bound(schema, "minimum", "exclusiveMinimum", sign=1)
    high, is_below = _bound(schema, "maximum", "exclusiveMaximum", sign=-1)
    step = _step(schema, low, high, is_integer=is_integer)
    if low is None and high is None:
        low = Fraction(0)
    last = None if high is None else math.floor(high / step)
    if low is None:
        assert last is not None
        first = last - _SPAN
    else:
        first = math.ceil(low / step)
    last = first + _SPAN if last is None else min(last, first + _STEPS)
    if is_above and first * step == low:
        first += 1
    if is_below and last * step == high:
        last -= 1
    if last < first:
        raise UnfitSchema("no number lies between its bounds")
    value = dice.between(first, last) * step
    return int(value) if value.denominator == 1 else float(value)


def _step(schema: dict[str, Any], low: Fraction | None, high: Fraction | None, *, is_integer: bool) -> Fraction:
    """What the value is a multiple of."""
    if "multipleOf" in schema:
        step = Fraction(str(schema["multipleOf"]))
        if step <= 0:
            raise UnfitSchema("'multipleOf' must be above 0")
        return Fraction(step.numerator) if is_integer else step
    if is_integer:
        return Fraction(1)
    if low is not None and high is not None and low < high:
        # Powers of two, so that the floats are exact; fine enough for a narrow range.
        return Fraction(2) ** (math.floor(math.log2(high - low)) - 3)
    if low is not None and low == high and low != 0:
        return low
    return Fraction(1, 4)


def _bound(schema: dict[str, Any], name: str, exclusive: str, *, sign: int) -> tuple[Fraction | None, bool]:
    """The tighter of the two bounds, and whether the bound itself is left out (also in the older, boolean way)."""
    plain, strict = schema.get(name), schema.get(exclusive)
    if strict is True:
        return _exact(plain), True
    inner, outer = _exact(plain), _exact(strict)
    if outer is not None and (inner is None or outer * sign >= inner * sign):
        return outer, True
    return inner, False


def _exact(value: object) -> Fraction | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Fraction(str(value))
