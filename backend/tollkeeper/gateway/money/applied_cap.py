"""The end that is given to an answer that has none, where a hard budget has to know what a call may come to.

Only for calls whose caller sets no cap and whose answer cannot be cut while it flows: the cap goes to the vendor and the
caller is told (`x-tollkeeper-applied-cap`); it is never put into a call in silence.
"""

from collections.abc import Sequence
from typing import Final

from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.gateway.money.hold import Appraisal

# No answer is cut shorter than this (RULING 3).
LEAST_CAP: Final = 1_024
# What is tried one after the other where a budget has no room for the longest answer.
_STEPS: Final = (16_384, 4_096, LEAST_CAP)


def caps_to_try(appraisal: Appraisal, route: ModelRoute, first: int) -> Sequence[int]:
    """Tokens of one answer, the most first; empty where a cap would change nothing.

    `first`: what an answer of a model that says nothing of itself is given. Several because what is left of a budget is
    known where it is decided and nowhere else; the next is asked for only when the one before was refused.
    """
    if appraisal.has_caller_cap or not appraisal.output_pico:
        return ()
    if appraisal.needs_cap:
        longest = first if route.context_tokens is None else min(first, max(route.context_tokens // 2, LEAST_CAP))
        return (longest, *(step for step in _STEPS if step < longest))
    most = appraisal.output_cap or 0
    # The model's own maximum was too much; without one in the call the vendor would go there.
    return tuple(step for step in _STEPS if step < most)


def with_cap(call: Call, cap: int) -> Call:
    """The call as it is sent, `cap` tokens for each of its answers."""
    name = "max_completion_tokens" if call.operation is Operation.CHAT else "max_tokens"
    capped = call.replace(**{name: cap})
    capped.applied_cap = cap
    return capped
