"""Exact money: decimals at the edges, integer nano-dollars inside, rounded once, half up.

A price is kept as integer pico-dollars per token (`"0.15"` dollars per million tokens = 150 000 pico-dollars per token),
so every price a vendor publishes with up to six decimals is exact. No binary float ever holds an amount.
"""

import functools
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

NANO_PER_USD: Final = 1_000_000_000
PICO_PER_NANO: Final = 1_000
# A budget window must stay below 2**53 nano-dollars, because Lua counts in doubles.
MAX_USD: Final = Decimal(9_000_000)


def nano_from_usd(amount: Decimal) -> int:
    return int((amount * NANO_PER_USD).to_integral_value(rounding=ROUND_HALF_UP))


def usd_from_nano(nano: int) -> Decimal:
    return Decimal(nano) / NANO_PER_USD


@functools.lru_cache(maxsize=1024)
def format_usd(nano: int) -> str:
    """Plain decimal text without exponent or trailing zeros: 1 500 000 → "0.0015"."""
    whole, rest = divmod(abs(nano), NANO_PER_USD)
    sign = "-" if nano < 0 else ""
    return f"{sign}{whole}.{rest:09d}".rstrip("0") if rest else f"{sign}{whole}"


def pico_per_token(usd_per_million: Decimal) -> int:
    """Raises ValueError for a price with more than six decimals: it could not be exact."""
    pico = usd_per_million * 1_000_000
    if pico != pico.to_integral_value():
        raise ValueError("a price per million tokens has at most six decimals")
    return int(pico)


def pico_per_unit(usd: Decimal, units: int = 1) -> int:
    """Pico-dollars of one of `units` things that cost so much together.

    Raises ValueError unless that is a whole number of nano-dollars: nine decimals at most.
    """
    nano = usd * NANO_PER_USD
    if nano != nano.to_integral_value() or int(nano) * PICO_PER_NANO % units:
        raise ValueError("a price per unit has at most nine decimals")
    return int(nano) * PICO_PER_NANO // units


def nano_from_pico(pico: int) -> int:
    """Round a sum of token × price products once, half up."""
    return (pico + PICO_PER_NANO // 2) // PICO_PER_NANO


def _read_amount(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError('money is a decimal string, for example "1.50"')
    try:
        amount = Decimal(value)
    except ArithmeticError as error:
        raise ValueError('money is a decimal string, for example "1.50"') from error
    if not amount.is_finite():
        raise ValueError("money is finite")
    return amount


def _within_range(amount: Decimal) -> Decimal:
    if amount < 0 or amount > MAX_USD:
        raise ValueError(f"an amount lies between 0 and {MAX_USD} dollars")
    return amount


def _write_amount(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# A field that ends in `_usd` of a control-plane schema, or a price: a decimal string on the wire, never a float.
Usd = Annotated[
    Decimal,
    BeforeValidator(_read_amount),
    AfterValidator(_within_range),
    PlainSerializer(_write_amount, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?$", "examples": ["1.50"]}),
]
