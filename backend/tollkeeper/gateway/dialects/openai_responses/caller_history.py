"""A call that continues earlier turns → the same call with all of them in it, so that any vendor can take it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tollkeeper.contracts.chat import Call
from tollkeeper.contracts.responses import Item, StoredResponse, Turn
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.openai_responses.read_call import read_document
from tollkeeper.gateway.openai_repair import new_id

_OF_ANSWERS: Final = frozenset({"id", "status"})
_PREFIXES: Final = {
    "message": "msg_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
    "reasoning": "rs_",
}


def resumed(call: Call, history: Sequence[StoredResponse], referenced: Mapping[str, Item]) -> Call:
    """`history` oldest first; `referenced`: the items that the call's references stand for.

    Raises `BadRequest` (`item_not_found`) for a reference that stands for none.
    """
    turn = call.turn
    assert turn is not None
    items: list[Item] = []
    for stored in history:
        items += stored.input
        items += stored.response["output"]
    own = [_resolved(item, position, referenced) for position, item in enumerate(turn.input)]
    document = {name: value for name, value in turn.document.items() if name != "previous_response_id"}
    again = read_document({**document, "input": [_sent(item) for item in items] + [_sent(item) for item in own]})
    again.turn = replace(turn, input=own, references=())
    return again


def stored_response(turn: Turn) -> StoredResponse:
    """A turn with its answer, as it is kept."""
    assert turn.answer is not None
    items, made = [], []
    for item in turn.input:
        kept = _kept(item)
        items.append(kept)
        # A caller's own ids may be anybody's: nothing is looked up by them.
        if kept["id"] is not item.get("id"):
            made.append(kept["id"])
    made += [item["id"] for item in turn.answer["output"] if isinstance(item.get("id"), str)]
    return StoredResponse(turn.response_id, turn.previous_id, items, turn.answer, tuple(made))


def _kept(item: Item) -> dict[str, Any]:
    """As it is listed: with an id, a message in its full form."""
    kind = item.get("type") or "message"
    kept = {"type": kind, **item}
    if not isinstance(kept.get("id"), str):
        kept["id"] = new_id(_PREFIXES.get(kind, "item_"))
    if kind != "message":
        return kept
    content = kept.get("content")
    if isinstance(content, str):
        is_answer = kept.get("role") == "assistant"
        part = {"type": "output_text" if is_answer else "input_text", "text": content}
        kept["content"] = [{**part, "annotations": []} if is_answer else part]
    return {"status": "completed", **kept}


def is_reference(item: Item) -> bool:
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "role" not in item)


def _resolved(item: Item, position: int, referenced: Mapping[str, Item]) -> Item:
    if not is_reference(item):
        return item
    found = referenced.get(item["id"])
    if found is None:
        raise BadRequest(
            f"Item with id '{item['id'][:80]}' not found.", code="item_not_found", param=f"input[{position}].id"
        )
    return found


def _sent(item: Item) -> dict[str, Any]:
    """An item as a caller would send it: without what makes a vendor look for it in a store of its own."""
    if item.get("type") == "reasoning":
        return dict(item)
    return {name: value for name, value in item.items() if name not in _OF_ANSWERS}
