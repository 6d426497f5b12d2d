"""What one call has put aside from the budgets it is under, and the appraisal it rests on.

`Admission` makes a hold, extends and settles it; `dispatch` watches it while an answer flows; nobody else changes one.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

if TYPE_CHECKING:
    pass


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


@dataclass(slots=True)
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
    # Operations on it are told apart by this number.
    sequence: int = 0
    is_settled: bool = False
    # Where it counts, as the admission needs it again.
    terms: object = field(default=None, repr=False)


class Holds(Protocol):
    """The part of the admission that `dispatch` and `meter` use."""

    async def extend(self, hold: Hold, add_nano: int) -> bool:
        """Put more aside; False when a budget has no room for it (then nothing changed)."""
        ...

    def settle(self, hold: Hold, charge_nano: int, *, input_tokens: int, output_tokens: int) -> None:
        """The call is over and took so much, all attempts together. Never waits, never raises; a second time is nothing."""
        ...
