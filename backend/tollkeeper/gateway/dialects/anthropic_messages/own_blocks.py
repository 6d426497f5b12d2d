"""A caller's document without what another vendor's answer became in it: Anthropic refuses signatures it did not make."""

from collections.abc import Mapping
from typing import Any

Block = dict[str, Any]


def without_foreign(native: Mapping[str, Any], foreign: Mapping[tuple[int, int], Block | None]) -> Block:
    """`foreign`: by (message, block), what stands in its place. A message of which nothing is left goes as well."""
    messages = []
    of_messages = {position for position, _ in foreign}
    for position, message in enumerate(native["messages"]):
        if position not in of_messages:
            messages.append(message)
            continue
        content = [
            own
            for number, block in enumerate(message["content"])
            if (own := foreign.get((position, number), block)) is not None
        ]
        if content:
            messages.append({**message, "content": content})
    return {**native, "messages": messages}


def without_our_citations(block: Mapping[str, Any]) -> Block | None:
    """The block with Anthropic's own citations alone; None where they all are."""
    citations = block["citations"]
    if not isinstance(citations, list):
        return None
    own = [
        citation for citation in citations if not (isinstance(citation, dict) and citation.get("encrypted_index") == "")
    ]
    if len(own) == len(citations):
        return None
    kept = {name: value for name, value in block.items() if name != "citations"}
    return {**kept, "citations": own} if own else kept
