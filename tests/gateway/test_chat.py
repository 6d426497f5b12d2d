"""The main road: chat, whole and streamed, through a vendor over sockets, accounted for once."""

import json

from tests.gateway.serving import Serving, chat, events_of
from tests.gateway.upstream import USAGE, FakeUpstream, answer, chunk, completion, event, good_stream, stream
from tollkeeper.contracts.usage import CallStatus


async def test_whole_answer_is_relayed_byte_for_byte(gateway: Serving, vendor: FakeUpstream) -> None:
    body = json.dumps(completion("Grüße"), ensure_ascii=False, indent=1).encode()
    vendor.script = answer(200, body)
    response = await gateway.post()
    assert response.status_code == 200
    assert response.content == body
    assert response.headers["content-type"] == "application/json"


async def test_request_is_relayed_byte_for_byte_when_nothing_changes(gateway: Serving, vendor: FakeUpstream) -> None:
    body = b'{ "model" : "gpt-4o-mini", "messages":[{"role":"user","content":"\\u00fc"}], "x_unknown": [1.50, null] }'
    await gateway.post(body=body)
    assert vendor.seen[0].body == body
    assert vendor.seen[0].path == "/v1/chat/completions"
    assert vendor.seen[0].header("authorization") == "Bearer secret-of-one"


async def test_alias_reaches_the_vendor_under_its_own_name(gateway: Serving, vendor: FakeUpstream) -> None:
    await gateway.post(body=chat(model="alias", x_unknown={"a": None}))
    assert vendor.seen[0].json() == chat(x_unknown={"a": None})


async def test_whole_call_is_settled_once_with_the_vendors_usage(gateway: Serving) -> None:
    response = await gateway.post()
    (row,) = await gateway.settled()
    assert row.status is CallStatus.OK
    assert (row.usage.input, row.usage.output, row.usage.is_estimated) == (10, 5, False)
    assert row.cost_nano == row.charge_nano == 10 * 150 + 5 * 600
    assert response.headers["x-tollkeeper-cost-usd"] == "0.0000045"
    assert response.headers["x-request-id"] == f"req_{row.intent.request_id.hex}"
    assert response.headers["x-tollkeeper-provider"] == "one"
    assert response.headers["x-tollkeeper-model"] == "gpt-4o-mini"
    assert response.headers["x-tollkeeper-attempts"] == "1"
    assert float(response.headers["x-tollkeeper-overhead-ms"]) < 1000
    assert response.headers["openai-processing-ms"].isdigit()


async def test_stream_is_relayed_with_its_usage_hidden(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("Hel", "lo ✓"))
    response = await gateway.post(body=chat(stream=True))
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    sent = good_stream("Hel", "lo ✓")
    comment = b": x-tollkeeper-cost-usd 0.0000045\n\n"
    assert response.content == b"".join(sent[:4]) + comment + sent[-1]
    assert vendor.seen[0].json()["stream_options"] == {"include_usage": True}
    (row,) = await gateway.settled()
    assert (row.usage.input, row.usage.output, row.intent.is_stream) == (10, 5, True)
    assert row.first_token_ms is not None


async def test_stream_shows_usage_to_who_asked(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("Hello"))
    response = await gateway.post(body=chat(stream=True, stream_options={"include_usage": True}))
    *_, last, done = events_of(response.text)
    assert done == "[DONE]"
    assert json.loads(last) == chunk(None, usage=USAGE)


async def test_stream_without_usage_is_estimated_from_what_was_relayed(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(
        event(chunk({"role": "assistant", "content": "x" * 400})), event(chunk({}, "stop")), b"data: [DONE]\n\n"
    )
    await gateway.post(body=chat(stream=True))
    (row,) = await gateway.settled()
    assert row.usage.is_estimated
    assert row.usage.output == 100
    assert row.usage.input == row.intent.estimated_input_tokens > 0


async def test_api_v1_serves_the_same(gateway: Serving) -> None:
    assert (await gateway.post("/api/v1/chat/completions")).status_code == 200


async def test_other_paths_belong_to_the_next_app(gateway: Serving) -> None:
    assert (await gateway.client.get("/api/v1/keys")).status_code == 299
    assert (await gateway.client.get("/")).status_code == 299
