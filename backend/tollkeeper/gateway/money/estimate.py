"""Tokens before a provider says how many: a bound that is never too low and an estimate that is near. Pure, no tokenizer.

Byte-pair encodings never make more tokens than there are bytes, so the length of a body bounds its text, wherever it
hides. What is no text is taken out of that sum and counted by rules of its own: pictures, sounds and files by `media`,
token ids one by one. A call is walked once, its shape only.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Operation, Usage
from tollkeeper.gateway.money.extent import asked_of
from tollkeeper.gateway.money.families import OTHER, Family
from tollkeeper.gateway.money.media import raw_picture_size
from tollkeeper.gateway.money.survey import Survey, take_picture, walk_messages, walk_parts

BYTES_PER_TOKEN: Final = 4
# Of a picture whose size cannot be seen: OpenAI, "Images and vision", 2026-08: 85 tokens + 170 for each of six tiles.
IMAGE_TOKENS: Final = 1_105
# Two pages: Anthropic, "PDF support", 2026-08, has 1,500 to 3,000 tokens a page.
FILE_TOKENS: Final = 4_000
# Marks around each text of a list.
_PER_TEXT: Final = 4

# A tuple: what a caller sends may be no text at all, which no set can be asked for.
_OWN_TOOLS: Final = ("function", "custom")
# Of Anthropic's own, those that the caller runs. Their definitions are the vendor's.
_RUN_BY_CALLERS: Final = ("bash_", "text_editor_", "memory_", "computer_", "browser_")
# Fields of bodies that make a vendor read, search or choose by itself, and take money for it.
_OPEN_FIELDS: Final[Mapping[str, str]] = {
    "web_search_options": "a search of the vendor's own",
    "search_parameters": "a search of the vendor's own",
    "enable_search": "a search of the vendor's own",
    "web_search": "a search of the vendor's own",
    "plugins": "a plugin of the vendor's own",
    "mcp_servers": "a server that the vendor asks",
    "container": "a container of the vendor's own",
    "data_sources": "a source that the vendor reads",
    "models": "a choice between models that the vendor makes",
}
# Fields that stand for text which the vendor keeps: at most as much as the model can read.
_KEPT_FIELDS: Final = frozenset({"previous_response_id", "conversation", "cached_content", "cachedContent"})
# Where Google's clients for OpenAI's format put its own fields (`google.cached_content`).
_EXTRA: Final = "extra_body"
_TOLD_FIELDS: Final = _KEPT_FIELDS.union(_OPEN_FIELDS, {_EXTRA})
_OTHERS: Final = frozenset(Operation) - {Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS}


def survey(call: Call) -> Survey:
    body = call.body
    seen = Survey(_size(call))
    if call.operation is Operation.CHAT:
        messages = body.get("messages")
        if type(messages) is list:
            walk_messages(messages, seen)
        tools = body.get("tools")
        if tools and type(tools) is list:
            _tools(tools, seen)
        elif body.get("functions"):
            seen.has_tools = True
    else:
        _no_chat(call, seen)
    if not _TOLD_FIELDS.isdisjoint(body):
        _fields(body, seen)
    if call.needs_native is not None or call.unbounded is not None:
        seen.unseen = seen.unseen or call.unbounded or "something that only the vendor reads"
    return seen


def _size(call: Call) -> int:
    return len(call.raw) if call.raw is not None else len(orjson.dumps(call.body)) + beyond_bytes(call)


def beyond_bytes(call: Call) -> int:
    """What only the caller's own document says, and a vendor of its dialect reads."""
    if call.native is None or not (call.unexpressed or call.needs_native):
        return 0
    return max(0, len(orjson.dumps(call.native)) - len(orjson.dumps(call.body)))


def bound_of(seen: Survey, family: Family) -> int:
    """Never less than the vendor counts of what can be seen."""
    tokens = seen.text_bytes + seen.ids + family.added
    if seen.has_tools:
        tokens += family.added_for_tools
    if seen.pictures or seen.most_sound_ms:
        tokens += media_most(seen, family)
    return tokens


def estimate_of(seen: Survey, family: Family) -> int:
    tokens = -(-seen.text_bytes // BYTES_PER_TOKEN) + seen.ids
    if seen.pictures or seen.has_sound or seen.files:
        tokens += media_usual(seen, family)
    return tokens


def media_most(seen: Survey, family: Family) -> int:
    images = family.images
    tokens = -(-seen.most_sound_ms * family.audio_per_second // 1000)
    for size, detail in seen.pictures:
        tokens += images.most(detail) if size is None else images.tokens(*size, detail)
    return tokens


def media_usual(seen: Survey, family: Family) -> int:
    images = family.images
    tokens = -(-seen.sound_ms * family.audio_per_second // 1000) + seen.files * FILE_TOKENS
    for size, detail in seen.pictures:
        tokens += min(images.most(detail), IMAGE_TOKENS) if size is None else images.tokens(*size, detail)
    return tokens


def bound_input_tokens(call: Call, family: Family = OTHER) -> int:
    """Never less than the call has, one token per byte of its text. What cannot be seen is not in it."""
    return bound_of(survey(call), family)


def estimate_input_tokens(call: Call, family: Family = OTHER) -> int:
    """About what the provider will count: the `estimated_input_tokens` of an `Intent`."""
    return estimate_of(survey(call), family)


def estimate_output_tokens(text_length: int) -> int:
    """From the characters relayed so far (the sum of `Chunk.text_length`)."""
    return -(-text_length // BYTES_PER_TOKEN)


def estimate_usage(input_tokens: int, text_length: int) -> Usage:
    """The usage of an attempt whose provider did not report any."""
    return Usage(input=input_tokens, output=estimate_output_tokens(text_length), is_estimated=True)


def _tools(tools: list[Any], seen: Survey) -> None:
    seen.has_tools = True
    for tool in tools:
        kind = tool.get("type") if type(tool) is dict else None
        if kind in _OWN_TOOLS:
            continue
        if type(kind) is str and kind.startswith(_RUN_BY_CALLERS):
            seen.unseen = "a tool that only the vendor can describe"
        else:
            seen.open_cost = "a tool that the vendor runs"


def _fields(body: Mapping[str, Any], seen: Survey) -> None:
    for name, words in _OPEN_FIELDS.items():
        # False and null leave it out; an empty object asks for it.
        if body.get(name) not in (None, False):
            seen.open_cost = words
    extra = body.get(_EXTRA)
    inner = [body, extra, *extra.values()] if type(extra) is dict else [body]
    if any(type(one) is dict and one.get(name) for one in inner for name in _KEPT_FIELDS):
        seen.unseen = "text that the vendor keeps"


def texts_of(call: Call) -> list[str]:
    """Of a call that is no chat: every text that a vendor reads."""
    texts: list[str] = []
    for name in ("prompt", "input", "instructions", "query", "documents"):
        value = call.body.get(name)
        for entry in value if type(value) is list else [value]:
            if type(entry) is dict:
                texts += [inner for inner in entry.values() if type(inner) is str]
            elif type(entry) is str:
                texts.append(entry)
    return texts


def _no_chat(call: Call, seen: Survey) -> None:
    if call.operation not in _OTHERS:
        _prompts(call, seen)
        return
    body = call.body
    seen.most = call.at_most or asked_of(call)
    seen.open_cost = call.unbounded
    if call.operation is Operation.MODERATIONS:
        value = body.get("input")
        if type(value) is list:
            walk_parts(value, seen)
            seen.text_bytes += _PER_TEXT * len(value)
    elif call.operation is Operation.RERANK:
        # The query is read anew with each document.
        documents = body.get("documents")
        query = body.get("query")
        if type(documents) is list and type(query) is str:
            seen.text_bytes += len(documents) * (len(query.encode("utf-8", "replace")) + _PER_TEXT)
    elif call.asked is not None and call.asked.audio_ms:
        seen.has_sound = True
        seen.sound_ms = call.asked.audio_ms
        seen.most_sound_ms = 0 if seen.most is None else seen.most.audio_ms
    else:
        _pictures(call, seen)


def _pictures(call: Call, seen: Survey) -> None:
    """Those that a call for pictures begins with."""
    body, form = call.body, call.form
    detail = "high" if body.get("input_fidelity") == "high" else "auto"
    if form is not None:
        files = [*form.files("image"), *form.files("mask")]
        seen.pictures = [(raw_picture_size(form.view(part)), detail) for part in files]
    elif call.operation is Operation.IMAGE_EDITS:
        for name in ("images", "image", "mask"):
            value = body.get(name)
            for entry in value if type(value) is list else [value]:
                if entry is not None:
                    inner = entry if type(entry) is dict else {"image_url": entry}
                    take_picture({**inner, "detail": detail}, seen)


def _prompts(call: Call, seen: Survey) -> None:
    """`prompt` of completions and `input` of embeddings: a text, texts, token ids, or several rows of them."""
    name = "prompt" if call.operation is Operation.COMPLETIONS else "input"
    value = call.body.get(name)
    if type(value) is not list or not value:
        return
    kinds = set(map(type, value))
    if kinds == {int}:
        seen.ids = len(value)
    else:
        seen.prompts = len(value)
        seen.text_bytes += _PER_TEXT * len(value)
        if kinds == {list}:
            if any(set(map(type, row)) - {int} for row in value):
                return
            seen.ids = sum(map(len, value))
        elif dict in kinds:
            seen.unseen = "an input that is no text"
    if seen.ids:
        # The numbers are not text; the rest of the body may have some.
        rest = {field_name: inner for field_name, inner in call.body.items() if field_name != name}
        seen.text_bytes = len(orjson.dumps(rest)) + _PER_TEXT * seen.prompts
