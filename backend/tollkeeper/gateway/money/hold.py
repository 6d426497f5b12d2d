"""What one call has put aside from the budgets it is under, and the appraisal it rests on.

`Admission` makes a hold, extends and settles it; `dispatch` watches it while an answer flows; nobody else changes one.
"""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from tollkeeper.gateway.money.terms import Pairs, Terms


@dataclass(slots=True)
class Appraisal:
    """What a call may come to, before it is made. Made by `appraise`; amounts are charges, rounded up.

    `full_nano`: the worst case of one attempt at the dearest target, None where nothing bounds it (`unbounded_because`
    says what). `forecast_nano`: input and the forecast of the output, never above `full_nano`. `output_cap`: tokens of
    output that the vendor will not go beyond (all choices together); None without a cap.
    """

    input_tokens: int
    output_tokens: int
    full_nano: int | None
    forecast_nano: int
    output_cap: int | None = None
    # Pico-dollars of charge for one more token of visible output: what watching a stream costs it.
    output_pico: int = 0
    unbounded_because: str | None = None
    # `full_nano` is None only because nothing caps the output: a forecast, or a cap, helps.
    needs_cap: bool = False
    has_caller_cap: bool = False
    # Tokens of input that the hold rests on.
    input_bound: int = 0


@dataclass(slots=True, eq=False)
class Part:
    """A hold in one space. `pairs` are the places its call counts in, with what was taken there."""

    terms: Terms
    pairs: Pairs


@dataclass(slots=True, eq=False)
class Hold:
    """`held_nano` is what stands in Redis for this call, all attempts together; `spent_nano` what earlier attempts took.

    `is_full`: the whole worst case is held, so nothing has to be watched.
    """

    request_id: UUID
    tenant_id: UUID
    refs: tuple[str, ...]
    held_nano: int
    is_full: bool
    appraisal: Appraisal
    spent_nano: int = 0
    # The rest is the admission's own. `sequence` tells operations on it apart.
    sequence: int = 0
    is_settled: bool = False
    parts: list[Part] = field(default_factory=list, repr=False)
    payload: bytes = field(default=b"", repr=False)
    # Rows of the ledger that are still to come.
    rows: int = 0
    opened_ms: int = 0
    # Made while Redis was away, or changed since: it is to be told.
    is_untold: bool = False
    # Which of its call's holds it is (`Intent.hold`).
    number: int = 0
    # Its id as the script knows it.
    name: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.request_id.hex.encode("ascii")


@dataclass(slots=True)
class Entries:
    """The holds of a call that goes to several providers, where these have rules of their own (`crossing.py`).

    By provider; those without rules of their own share the one under "".
    """

    by_provider: dict[str, Hold | None]
    count: int = 0


class Holds(Protocol):
    """The part of the admission that `dispatch` and `meter` use."""

    async def extend(self, hold: Hold, add_nano: int) -> bool:
        """Put more aside; False when a budget has no room for it (then nothing changed)."""
        ...

    def shrink(self, hold: Hold, spent_nano: int) -> None:
        """No attempt under way is paid from it: only what was spent stays aside, until `extend` or `settle`."""
        ...

    def settle(
        self,
        hold: Hold,
        charge_nano: int,
        *,
        rows: int,
        input_tokens: int,
        output_tokens: int,
        own_tokens: tuple[int, int] | None = None,
    ) -> None:
        """The call is over and took so much, all attempts together, in so many rows of the ledger (0: nothing was sent).

        `own_tokens`: input and output at the hold's provider, where the call had others too.
        Never waits, never raises; a second time is nothing.
        """
        ...
