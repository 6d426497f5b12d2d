"""Whether a call's cost has an end that a hard budget can rely on: a worst case, or an answer that can be cut."""

from collections.abc import Mapping

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.money.appraiser import reachable
from tollkeeper.gateway.money.cuttable import can_cut
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.provider import Provider
from tollkeeper.gateway.stage import Exchange


def can_cut_all(exchange: Exchange, providers: Mapping[str, Provider]) -> bool:
    """Every target it may go to can be: the hold is made once."""
    for target in reachable(exchange):
        config = exchange.snapshot.providers[target.provider]
        provider = providers.get(config.kind)
        if provider is None or not can_cut(provider, config, exchange.call, target):
            return False
    return True


def check_bounded(appraisal: Appraisal, *, is_cuttable: bool) -> None:
    """A hard budget pays for nothing that has no end."""
    if not appraisal.needs_cap:
        raise BadRequest(
            f"A budget limits what this call may cost, and nothing bounds that: {appraisal.unbounded_because} Send the "
            "content itself, or ask an administrator for a ceiling.",
            code="cost_unbounded",
        )
    if not is_cuttable:
        raise BadRequest(
            "A budget limits what this call may cost, and the length of its answer has no known end. Set "
            "'max_completion_tokens' (or 'max_tokens').",
            code="cap_required",
            param="max_completion_tokens",
        )
