"""Places in which a value hides from whoever reads only what a document calls a text."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

import pytest

from tests.gateway.guardrails.guarding import CARD, MAIL, guarded, pii, policy
from tests.gateway.upstream import answer_json, completion
from tollkeeper.contracts.guardrails import Action, OnFailure, RuleUse

DIGITS: Final = CARD.replace(" ", "")
TOKEN: Final = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
ENCODED: Final = b64encode(f"paid with {CARD}".encode()).decode()
HELLO: Final = {"role": "user", "content": "hello"}
ESCAPED: Final = '{"note": "' + "".join(f"\\u{ord(letter):04x}" for letter in CARD) + '"}'


def chat(content: Any, **fields: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/chat/completions", {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": content}],
        **fields,
    }


def arguments(text: str) -> tuple[str, dict[str, Any]]:
    call = {"id": "call_1", "type": "function", "function": {"name": "pay", "arguments": text}}
    answer = {"role": "tool", "tool_call_id": "call_1", "content": "done"}
    messages = [HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}, answer]
    return "/v1/chat/completions", {"model": "gpt-4o-mini", "messages": messages}


def tool(schema: dict[str, Any]) -> list[dict[str, Any]]:
    function = {"name": "pay", "description": "Pays.", "parameters": {"type": "object", "properties": schema}}
    return [{"type": "function", "function": function}]


def file(data: str) -> tuple[str, dict[str, Any]]:
    return chat([{"type": "file", "file": {"filename": "a.txt", "file_data": data}}])


def data_url(raw: bytes) -> str:
    return "data:text/plain;base64," + b64encode(raw).decode()


def inputs(path: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return path, {"model": "gpt-4o-mini", **fields}


def given(**values: Any) -> tuple[str, dict[str, Any]]:
    use = {"type": "tool_use", "id": "toolu_1", "name": "pay", "input": values}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}
    messages = [HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return "/v1/messages", {"model": "claude", "max_tokens": 50, "messages": messages}


PLACES: Final = {
    "a text that begins like an address of data": chat(f"data: {CARD}"),
    "a part between words": chat([{"type": "text", "text": text} for text in ("card", CARD, "thanks")]),
    "another field of a part": chat([{"type": "text", "text": "hi", "note": CARD}]),
    "an escaped text of a tool's result": chat(ESCAPED),
    "the caller's user": chat("hello", user=MAIL),
    "JSON in arguments, deeper than anybody reads": arguments("[" * 210 + ESCAPED + "]" * 210),
    "JSON in arguments, too deep to be written": arguments("[" * 400 + ESCAPED + "]" * 400),
    "arguments without an end": arguments(ESCAPED[:-1]),
    "JSON behind words": chat(f"It said: {ESCAPED}"),
    "a file in an old encoding": file(data_url(f"gekauft für {CARD}".encode("latin-1"))),
    "a file without a mark of its encoding": file(data_url(f"paid with {CARD}".encode("utf-16-le"))),
    "a file with a letter that is none": file(data_url(f"paid with {CARD} \xff".encode("latin-1"))),
    "a text of a name's type with nothing in it": file(data_url(f"\0\0\0paid with {CARD}".encode())),
    "a file in base64 with spaces": file("data:text/plain;base64, " + ENCODED[:9] + " !\n" + ENCODED[9:]),
    "a name in metadata": chat("hello", metadata={CARD: "x"}),
    "an id in metadata": chat("hello", metadata={"id": CARD}),
    "an argument called token": arguments(json.dumps({"token": TOKEN})),
    "an argument called data": arguments(json.dumps({"data": CARD})),
    "an argument called user": arguments(json.dumps({"user": MAIL})),
    "an argument that is a number": arguments(json.dumps({"card": int(DIGITS)})),
    "the name of an argument": arguments(json.dumps({CARD: 1})),
    "arguments in arguments": arguments(json.dumps({"arguments": json.dumps({"card": CARD})})),
    "escaped JSON in arguments": arguments(json.dumps({"payload": ESCAPED})),
    "the first of two equal arguments": arguments(f'{ESCAPED[:-1]}, "note": "x"}}'),
    "a parameter called language": chat("hello", tools=tool({"language": {"type": "string", "description": CARD}})),
    "a file of bytes": file(f"data:application/octet-stream;base64,{ENCODED}"),
    "a file of a loud kind": file(f"data:Text/Plain;base64,{ENCODED}"),
    "a file of no kind": file(f"data:;base64,{ENCODED}"),
    "a bare file": file(ENCODED),
    "a file that is not encoded": file(CARD),
    "a file in quoted letters": file(f"data:text/plain,{CARD.replace(' ', '%20')}"),
    "a drawing": chat([{"type": "image_url", "image_url": {"url": f"data:image/svg+xml;base64,{ENCODED}"}}]),
    "input of a tool": given(id=CARD, token=TOKEN, number=int(DIGITS)),
    "one of many inputs": inputs("/v1/embeddings", input=["foo", DIGITS, "bar"]),
    "one of many prompts": inputs("/v1/completions", prompt=["foo", CARD, "bar"]),
    "one of many documents": inputs("/v1/rerank", query="q", documents=["foo", DIGITS, "bar"]),
    "a field of a document": inputs("/v1/rerank", query="q", documents=[{"text": "foo", "title": CARD}]),
    "the id of a document": inputs("/v1/rerank", query="q", documents=[{"id": DIGITS, "text": "foo"}]),
    "the style of a picture": inputs("/v1/images/generations", prompt="a cat", style=CARD),
    "between letters that need no spaces": chat(f"卡号{DIGITS}谢谢"),
    "behind a word that ends like another": chat(f"Please refund {DIGITS}, I paid."),
    "in points": chat(f"card {CARD.replace(' ', '.')}"),
    "a small account": chat("de89370400440532013000"),
    "a call that is only counted": ("/v1/messages/count_tokens", {"model": "claude", "messages": [{**HELLO, "content": CARD}]}),
}  # fmt: skip


@pytest.mark.parametrize("place", sorted(PLACES))
async def test_what_may_not_pass_does_not_pass_in_disguise(tmp_path: Path, place: str) -> None:
    path, body = PLACES[place]
    async with guarded(tmp_path, policy(pii(Action.BLOCK), RuleUse("keys", "secrets", Action.BLOCK))) as (
        gateway,
        vendor,
    ):
        response = await gateway.post(path, body)
        assert response.status_code == 400, response.text
        assert "stopped by the guardrail" in response.text
        assert vendor.seen == []


@pytest.mark.parametrize("tokens", [[15339, 11, 1917], [[15339], [11]]])
@pytest.mark.parametrize(("path", "field"), [("/v1/completions", "prompt"), ("/v1/embeddings", "input")])
async def test_tokens_that_no_rule_can_read_do_not_pass(
    tmp_path: Path, path: str, field: str, tokens: list[Any]
) -> None:
    async with guarded(tmp_path, policy(pii(Action.REDACT))) as (gateway, vendor):
        response = await gateway.post(path, {"model": "gpt-4o-mini", field: tokens})
        assert response.status_code == 400, response.text
        assert "unreadable_tokens" in response.text
        assert vendor.seen == []


@pytest.mark.parametrize(
    "use",
    [
        pii(Action.FLAG),
        pii(Action.BLOCK, on_failure=OnFailure.FLAG),
        RuleUse("offers", "tools", Action.BLOCK, settings={"allow": ["pay"]}),
    ],
)
async def test_tokens_pass_where_nothing_could_stop_them(tmp_path: Path, use: RuleUse) -> None:
    async with guarded(tmp_path, policy(use)) as (gateway, vendor):
        vendor.script = answer_json(completion("fine"))
        await gateway.post("/v1/completions", {"model": "gpt-4o-mini", "prompt": [15339, 11]})
        assert len(vendor.seen) == 1


@pytest.mark.parametrize(
    ("arguments_sent", "arguments_seen"),
    [
        (json.dumps({"card": int(DIGITS), "sum": 5}), {"card": "[CARD]", "sum": 5}),
        (json.dumps({CARD: {"user": MAIL}}), {"[CARD]": {"user": "[EMAIL]"}}),
        (json.dumps({"arguments": json.dumps({"id": CARD})}), {"arguments": '{"id":"[CARD]"}'}),
    ],
)
async def test_arguments_stay_json_when_something_is_taken_out(
    tmp_path: Path, arguments_sent: str, arguments_seen: dict[str, Any]
) -> None:
    async with guarded(tmp_path, policy(pii(Action.REDACT))) as (gateway, vendor):
        vendor.script = answer_json(completion("fine"))
        path, body = arguments(arguments_sent)
        assert (await gateway.post(path, body)).status_code == 200
        sent = json.loads(vendor.seen[0].body)["messages"][1]["tool_calls"][0]["function"]["arguments"]
        assert json.loads(sent) == arguments_seen


async def test_a_picture_is_left_as_it_is(tmp_path: Path) -> None:
    picture = "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8).decode()
    async with guarded(tmp_path, policy(pii(Action.BLOCK))) as (gateway, vendor):
        response = await gateway.post(*chat([{"type": "image_url", "image_url": {"url": picture}}]))
        assert response.status_code == 200
        assert picture in vendor.seen[0].body.decode()
