"""How many tokens a call's input has, for who asks before sending it. Rather too many than too few, never a bill."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tollkeeper.contracts.chat import Call
from tollkeeper.contracts.routing import Target
from tollkeeper.gateway.money import encodings, tokens
from tollkeeper.gateway.money.estimate import FILE_TOKENS, media_most, survey
from tollkeeper.gateway.money.families import family_of

# Of a file: base64 characters for each token of what a reader may find in it, as prose in a compressed page.
_CHARACTERS: Final = 16


async def count_input(call: Call, plan: Sequence[Target]) -> int:
    """At the target of the plan that counts most. A long text is counted off the event loop."""
    size = survey(call).text_bytes
    if size <= tokens.OFF_LOOP_BYTES and encodings.is_loaded():
        return _count(call, plan)
    return await asyncio.to_thread(_count, call, plan)


def _count(call: Call, plan: Sequence[Target]) -> int:
    seen = survey(call)
    most = 0
    for target in plan:
        family = family_of(call.model if target.model == "*" else target.model)
        count = tokens.count_chat(call.body, family, counter=tokens.count_upper) + media_most(seen, family)
        if seen.files:
            count += max(seen.files * FILE_TOKENS, sum(map(len, seen.data)) // _CHARACTERS)
        if seen.has_tools:
            count += family.added_for_tools
        most = max(most, count)
    return most
