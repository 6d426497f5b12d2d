"""The Responses API over sockets, whatever the vendor speaks: turns that go on, answers that are kept and looked at."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.openai_responses.responses_payloads import message, numbered, response, text_events
from tests.gateway.openai_responses.stored import FakeResponses, conversing
from tests.gateway.serving import KEY, Serving
from tests.gateway.upstream import (
    FakeUpstream,
    answer_json,
    answer_raw,
    chunk,
    completion,
    event,
    good_stream,
    stream,
)
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.core.secrets import new_key

STORED = "x-tollkeeper-stored"


@pytest.fixture
def responses() -> FakeResponses:
    return FakeResponses()


@pytest.fixture
async def gateway(tmp_path: Path, vendor: FakeUpstream, responses: FakeResponses) -> AsyncIterator[Serving]:
    async with conversing(tmp_path, vendor, responses) as running:
        yield running


async def ask(gateway: Serving, items: Any = "Hi", **fields: Any) -> httpx.Response:
    return await gateway.post("/v1/responses", {"model": "gpt-4o-mini", "input": items, **fields})


async def answer(gateway: Serving, items: Any = "Hi", **fields: Any) -> Any:
    got = await ask(gateway, items, **fields)
    assert got.status_code == 200, got.text
    return got.json()


async def look(gateway: Serving, path: str, method: str = "GET", key: str = KEY) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return await gateway.client.request(method, f"/v1/responses/{path}", headers=headers)


def events_of(text: str) -> list[dict[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("event: ")]
    return [json.loads(block.partition("\ndata: ")[2]) for block in blocks]


def sent(vendor: FakeUpstream) -> Any:
    return vendor.seen[-1].json()


async def test_a_turn_goes_on_where_the_last_one_ended(gateway: Serving, vendor: FakeUpstream) -> None:
    first = await answer(gateway, "My name is Ada.", instructions="Be brief.")
    second = await answer(gateway, "And?", previous_response_id=first["id"])
    third = await answer(gateway, "Who am I?", previous_response_id=second["id"], instructions="Be kind.")
    # Instructions are of their own turn alone.
    assert sent(vendor)["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "Who am I?"},
    ]
    assert third["previous_response_id"] == second["id"]


async def test_a_streamed_turn_is_kept_before_its_last_event_leaves(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("Hel", "lo"))
    got = await ask(gateway, stream=True)
    last = events_of(got.text)[-1]
    assert last["type"] == "response.completed"
    assert (await look(gateway, last["response"]["id"])).json() == last["response"]


async def test_a_tool_loop_over_stored_turns(gateway: Serving, vendor: FakeUpstream) -> None:
    call = {"id": "call_9", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    vendor.script = answer_json(
        completion("", choices=[_choice({"content": None, "tool_calls": [call]}, "tool_calls")])
    )
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    first = await answer(gateway, "Go.", tools=tools)
    assert first["output"][0]["call_id"] == "call_9"
    vendor.script = answer_json(completion("Done."))
    output = [{"type": "function_call_output", "call_id": "call_9", "output": "2"}]
    second = await answer(gateway, output, previous_response_id=first["id"], tools=tools)
    assert second["output"][0]["content"][0]["text"] == "Done."
    assert sent(vendor)["messages"][1:] == [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_9", "content": "2"},
    ]


async def test_references_stand_for_items_of_earlier_turns(gateway: Serving, vendor: FakeUpstream) -> None:
    first = await answer(gateway, "My name is Ada.")
    listed = (await look(gateway, f"{first['id']}/input_items")).json()["data"]
    items = [
        {"type": "item_reference", "id": listed[0]["id"]},
        {"id": first["output"][0]["id"]},
        {"role": "user", "content": "Who am I?"},
    ]
    second = await answer(gateway, items)
    assert [one["content"] for one in sent(vendor)["messages"]] == ["My name is Ada.", "hello", "Who am I?"]
    # What is kept is what was meant.
    third = await answer(gateway, "And?", previous_response_id=second["id"])
    assert sent(vendor)["messages"][0]["content"] == "My name is Ada."
    assert third["status"] == "completed"


async def test_a_reference_to_nothing_is_refused_by_its_place(gateway: Serving) -> None:
    got = await ask(gateway, [{"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_nobodys"}])
    assert got.status_code == 400
    assert (got.json()["error"]["code"], got.json()["error"]["param"]) == ("item_not_found", "input[1].id")


async def test_what_shall_not_be_kept_is_not(gateway: Serving, responses: FakeResponses) -> None:
    got = await ask(gateway, store=False)
    assert STORED not in got.headers
    assert got.json()["store"] is False
    assert responses.kept == {}
    assert (await look(gateway, got.json()["id"])).status_code == 404
    again = await ask(gateway, previous_response_id=got.json()["id"])
    assert (again.status_code, again.json()["error"]["code"]) == (400, "previous_response_not_found")


async def test_who_logs_nothing_keeps_nothing(gateway: Serving, responses: FakeResponses) -> None:
    private = new_key().token
    gateway.keys.add(private, logging_policy="none")
    got = await ask_as(gateway, private)
    assert (got.status_code, got.headers[STORED]) == (200, "false")
    assert responses.kept == {}


async def ask_as(gateway: Serving, key: str, **fields: Any) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "input": "Hi", **fields}
    return await gateway.post("/v1/responses", body, headers={"authorization": f"Bearer {key}"})


@pytest.mark.parametrize("of", ["tenant", "project"])
async def test_what_another_has_is_unknown_in_the_very_same_words(gateway: Serving, of: str) -> None:
    other = new_key().token
    gateway.keys.add(other, **{f"{of}_id": uuid7()})
    theirs = (await ask_as(gateway, other)).json()["id"]
    nobodys = "resp_" + uuid7().hex
    for path, method in (("{}", "GET"), ("{}", "DELETE"), ("{}/input_items", "GET"), ("{}/cancel", "POST")):
        ours, unknown = [await look(gateway, path.format(name), method) for name in (theirs, nobodys)]
        assert ours.status_code == unknown.status_code == 404
        assert _told(ours, theirs) == _told(unknown, nobodys)
    ours, unknown = [await ask(gateway, previous_response_id=name) for name in (theirs, nobodys)]
    assert ours.status_code == unknown.status_code == 400
    assert _told(ours, theirs) == _told(unknown, nobodys)
    assert (await look(gateway, theirs, key=other)).status_code == 200


def _told(got: httpx.Response, name: str) -> str:
    return got.text.replace(name, "it").replace(got.headers["x-request-id"], "req")


async def test_look_list_and_delete(gateway: Serving) -> None:
    first = await answer(gateway, "One")
    second = await answer(
        gateway,
        [{"role": "user", "content": "Two"}, {"role": "user", "content": "Three"}],
        previous_response_id=first["id"],
    )
    path = f"{second['id']}/input_items"
    everything = (await look(gateway, f"{path}?order=asc")).json()
    texts = [item["content"][0]["text"] for item in everything["data"]]
    assert texts == ["One", "hello", "Two", "Three"]
    assert [item["role"] for item in everything["data"]] == ["user", "assistant", "user", "user"]
    assert (everything["object"], everything["has_more"]) == ("list", False)
    page = (await look(gateway, f"{path}?limit=2")).json()
    assert [item["content"][0]["text"] for item in page["data"]] == ["Three", "Two"]
    assert page["has_more"] is True
    rest = (await look(gateway, f"{path}?limit=2&after={page['last_id']}")).json()
    assert [item["content"][0]["text"] for item in rest["data"]] == ["hello", "One"]
    assert (rest["has_more"], rest["first_id"]) == (False, rest["data"][0]["id"])
    gone = await look(gateway, second["id"], "DELETE")
    assert gone.json() == {"id": second["id"], "object": "response", "deleted": True}
    assert (await look(gateway, second["id"])).status_code == 404
    assert (await look(gateway, second["id"], "DELETE")).status_code == 404
    assert (await look(gateway, first["id"])).status_code == 200


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=msg_x", "after"),
    ],
)
async def test_a_page_that_is_none_is_refused(gateway: Serving, query: str, param: str) -> None:
    first = await answer(gateway)
    got = await look(gateway, f"{first['id']}/input_items?{query}")
    assert (got.status_code, got.json()["error"]["param"]) == (400, param)


async def test_nothing_runs_that_could_be_cancelled(gateway: Serving) -> None:
    first = await answer(gateway)
    got = await look(gateway, f"{first['id']}/cancel", "POST")
    assert (got.status_code, got.json()["error"]["code"]) == (400, "unsupported_operation")


async def test_ways_that_are_none(gateway: Serving) -> None:
    first = await answer(gateway)
    assert (await look(gateway, first["id"], "PUT")).status_code == 405
    assert (await look(gateway, first["id"], "PUT")).headers["allow"] == "GET, HEAD, DELETE"
    assert (await look(gateway, f"{first['id']}/nothing")).status_code == 404
    assert (await look(gateway, first["id"], key="tk-live_wrong")).status_code == 401
    assert (await look(gateway, "resp_x" + "?" + "&".join(["a=b"] * 200))).status_code in {400, 404}
    assert (await gateway.client.get("/api/v1/responses/resp_x")).status_code == 401


# PostgreSQL away


async def test_an_answer_that_cannot_be_kept_is_given_and_says_so(
    gateway: Serving, vendor: FakeUpstream, responses: FakeResponses
) -> None:
    responses.is_down = True
    got = await ask(gateway)
    assert (got.status_code, got.headers[STORED]) == (200, "false")
    # A stream whose headers have left says it in a comment.
    vendor.script = stream(*good_stream("Hel", "lo"), pause=0.01)
    got = await ask(gateway, stream=True)
    assert f": {STORED} false\n\n" in got.text
    assert events_of(got.text)[-1]["type"] == "response.completed"
    responses.is_down, responses.is_full = False, True
    vendor.script = answer_json(completion("hello"))
    assert (await ask(gateway)).headers[STORED] == "false"


async def test_a_turn_that_cannot_be_looked_up_is_503(
    gateway: Serving, vendor: FakeUpstream, responses: FakeResponses
) -> None:
    first = await answer(gateway)
    calls = len(vendor.seen)
    responses.is_down = True
    got = await ask(gateway, previous_response_id=first["id"])
    assert (got.status_code, got.json()["error"]["code"]) == (503, DependencyUnavailable.code)
    assert (await look(gateway, first["id"])).status_code == 503
    assert len(vendor.seen) == calls


# Vendors


def _choice(answered: dict[str, Any], finish: str) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", **answered}, "logprobs": None, "finish_reason": finish}


NATIVE = {"options": {"api": "both"}}


async def test_a_vendor_of_the_same_dialect_gets_the_whole_conversation(
    tmp_path: Path, vendor: FakeUpstream, responses: FakeResponses
) -> None:
    """Its own ids never meet ours, and it is told to keep nothing."""
    async with conversing(tmp_path, vendor, responses, **NATIVE) as gateway:
        vendor.script = answer_json(response([message("Hello!")]))
        first = await answer(gateway, "My name is Ada.", tools=[{"type": "web_search"}])
        assert vendor.seen[-1].path == "/v1/responses"
        vendor.script = stream(*numbered(text_events("Ada", "!")))
        got = await ask(gateway, "Who am I?", previous_response_id=first["id"], stream=True)
        last = events_of(got.text)[-1]["response"]
        document = sent(vendor)
        assert document["store"] is False
        assert "previous_response_id" not in document
        assert [item.get("role") for item in document["input"]] == ["user", "assistant", "user"]
        assert not any("id" in item for item in document["input"])
        assert last["id"] != response()["id"]
        assert last["previous_response_id"] == first["id"]
        assert (await look(gateway, last["id"])).json()["output"] == last["output"]
        [_, settled] = await gateway.settled(2)
        assert settled.usage.prompt_tokens == 37


async def test_what_the_vendor_does_not_have_is_refused_before_it_is_called(
    gateway: Serving, vendor: FakeUpstream
) -> None:
    got = await ask(gateway, tools=[{"type": "web_search"}])
    assert got.status_code == 400
    error = got.json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", "tools[0].type")
    assert vendor.seen == []


async def test_what_has_no_place_is_reported(gateway: Serving, vendor: FakeUpstream) -> None:
    got = await ask(gateway, truncation="auto", max_tool_calls=2)
    assert set(got.headers["x-tollkeeper-dropped"].split(",")) == {"truncation", "max_tool_calls"}
    assert got.json()["truncation"] == "auto"


# Case 59 (litellm#21090)
async def test_any_model_that_streams_has_all_events(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(completion("I do not stream."))
    got = await gateway.post("/api/v1/responses", {"model": "other", "input": "Hi", "stream": True})
    kinds = [one["type"] for one in events_of(got.text)]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [one["sequence_number"] for one in events_of(got.text)] == list(range(len(kinds)))
    assert "response.output_text.delta" in kinds


async def test_a_stream_that_is_cut_ends_in_an_error_and_is_not_kept(
    gateway: Serving, vendor: FakeUpstream, responses: FakeResponses
) -> None:
    vendor.script = stream(event(chunk({"role": "assistant", "content": "Hel"})), ends=False)
    got = await ask(gateway, stream=True)
    kinds = [one["type"] for one in events_of(got.text)]
    assert kinds[-2:] == ["response.failed", "error"]
    assert events_of(got.text)[-1]["code"] == "upstream_cut"
    assert responses.kept == {}


async def test_a_native_stream_that_fails_is_an_error_of_ours(
    tmp_path: Path, vendor: FakeUpstream, responses: FakeResponses
) -> None:
    async with conversing(tmp_path, vendor, responses, **NATIVE) as gateway:
        failed = {
            "type": "response.failed",
            "response": response(status="failed", error={"code": "server_error", "message": "x"}),
        }
        vendor.script = stream(*numbered([*text_events("Hel")[:5], failed]))
        events = events_of((await ask(gateway, stream=True)).text)
        assert [one["type"] for one in events][-2:] == ["response.failed", "error"]
        assert [one["sequence_number"] for one in events] == list(range(len(events)))
        assert responses.kept == {}


async def test_refusals_have_openais_shape(gateway: Serving, vendor: FakeUpstream) -> None:
    got = await gateway.post("/v1/responses", b"[]")
    assert (got.status_code, got.json()["error"]["code"]) == (400, "invalid_json")
    got = await gateway.post("/v1/responses", {"model": "nobodys", "input": "Hi"})
    assert (got.status_code, got.json()["error"]["code"]) == (404, "model_not_found")
    vendor.script = answer_raw(b"HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}", closes=True)
    got = await ask(gateway, stream=True)
    assert (got.status_code, got.headers["retry-after"]) == (429, "7")


async def test_input_is_counted_with_the_turns_before_it(gateway: Serving, vendor: FakeUpstream) -> None:
    first = await answer(gateway, "word " * 200)
    calls = len(vendor.seen)
    body = {"model": "gpt-4o-mini", "input": "Hi"}
    short = (await gateway.post("/v1/responses/input_tokens", body)).json()
    assert short["object"] == "response.input_tokens"
    assert 1 <= short["input_tokens"] < 50
    long = await gateway.post("/v1/responses/input_tokens", {**body, "previous_response_id": first["id"]})
    assert long.json()["input_tokens"] > 200
    assert len(vendor.seen) == calls


async def test_streams_ask_the_vendor_for_their_usage(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("Hi"))
    await ask(gateway, stream=True)
    assert sent(vendor)["stream_options"] == {"include_usage": True}
