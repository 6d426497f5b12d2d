"""Google's own SDK, unmodified, against the gateway: any vendor behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.gateway.gemini.wire import SIGNATURE, answer, call, candidate, error, event, response
from tests.gateway.serving import KEY, Serving, provider, route, serving, snapshot
from tests.gateway.upstream import (
    FakeUpstream,
    Seen,
    answer_json,
    chunk,
    completion,
    good_stream,
    running_upstream,
    silent,
    stream,
)
from tests.gateway.upstream import event as openai_event


@pytest.fixture
async def google() -> AsyncIterator[FakeUpstream]:
    async with running_upstream() as upstream:
        upstream.script = answer_json(answer("Hello."))
        yield upstream


@pytest.fixture
async def gateway(tmp_path: Path, google: FakeUpstream, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    snap = snapshot(
        [
            provider("google", google.base_url.removesuffix("/v1"), kind="gemini"),
            provider("openai", vendor.base_url),
        ],
        [route("gem", ("google", "gemini-3-flash")), route("openai/gpt", ("openai", "gpt-4o-mini"))],
    )
    async with serving(tmp_path, snap, commit_after_seconds=0.1, keepalive_comment_seconds=0.1) as running:
        yield running


def client(gateway: Serving, version: str | None = None, key: str = KEY) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=gateway.origin, api_version=version))


async def in_thread(function: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


@pytest.mark.parametrize("version", [None, "v1", "v1beta"])
@pytest.mark.parametrize("model", ["gem", "openai/gpt"])
async def test_whole_and_streamed(
    gateway: Serving, google: FakeUpstream, vendor: FakeUpstream, version: str | None, model: str
) -> None:
    def ask() -> tuple[str | None, str]:
        with client(gateway, version) as sdk:
            whole = sdk.models.generate_content(model=model, contents="Hi.")
            vendor.script = stream(*good_stream("Grü", "ße"))
            google.script = stream(event(response(candidate({"text": "Grü"}))), event(answer("ße")))
            pieces = sdk.models.generate_content_stream(model=model, contents="Hi.")
            return whole.text, "".join(piece.text or "" for piece in pieces)

    whole, streamed = await in_thread(ask)
    assert whole in {"Hello.", completion()["choices"][0]["message"]["content"]}
    assert streamed == "Grüße"


async def test_silence_is_no_part_of_an_answer(gateway: Serving, google: FakeUpstream) -> None:
    """Its SDK takes a comment for one."""

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        await silent(0.4, first=head)(seen, writer)
        body = event(answer("late"))
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        await writer.drain()
        return False

    google.script = script

    def ask() -> list[str | None]:
        with client(gateway) as sdk:
            return [piece.text for piece in sdk.models.generate_content_stream(model="gem", contents="Hi.")]

    assert await in_thread(ask) == ["late"]


async def test_error_in_a_stream_is_raised(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(openai_event(chunk({"role": "assistant", "content": "a"})))

    def ask() -> errors.APIError:
        with client(gateway) as sdk, pytest.raises(errors.APIError) as caught:
            for _ in sdk.models.generate_content_stream(model="openai/gpt", contents="Hi."):
                pass
        return caught.value

    raised = await in_thread(ask)
    assert (raised.code, raised.status) == (502, "UNAVAILABLE")


@pytest.mark.parametrize(
    ("model", "key", "status"), [("nobody", KEY, "NOT_FOUND"), ("gem", "tk-live_wrong", "UNAUTHENTICATED")]
)
async def test_refusals_are_the_sdks_own_errors(gateway: Serving, model: str, key: str, status: str) -> None:
    def ask() -> errors.APIError:
        with client(gateway, key=key) as sdk, pytest.raises(errors.ClientError) as caught:
            sdk.models.generate_content(model=model, contents="Hi.")
        return caught.value

    assert (await in_thread(ask)).status == status


async def test_vendors_overload_is_a_server_error(gateway: Serving, google: FakeUpstream) -> None:
    google.script = answer_json(error(503, "UNAVAILABLE"), 503)

    def ask() -> errors.APIError:
        with client(gateway) as sdk, pytest.raises(errors.ServerError) as caught:
            sdk.models.generate_content(model="gem", contents="Hi.")
        return caught.value

    assert (await in_thread(ask)).code == 503


async def test_conversation_plays_signatures_back(gateway: Serving, google: FakeUpstream) -> None:
    google.script = answer_json(
        response(candidate(call(args={"city": "Rome"}, signature="YWJj+/8=", id="a"), finish="STOP"))
    )

    def ask() -> types.GenerateContentResponse:
        tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="weather")])
        manual = types.AutomaticFunctionCallingConfig(disable=True)
        with client(gateway) as sdk:
            talk = sdk.chats.create(
                model="gem", config=types.GenerateContentConfig(tools=[tool], automatic_function_calling=manual)
            )
            first = talk.send_message("Weather?")
            assert first.function_calls is not None
            result = types.Part.from_function_response(name="weather", response={"output": "sunny"})
            return talk.send_message(result)

    await in_thread(ask)
    contents = google.seen[-1].json()["contents"]
    (part,) = contents[1]["parts"]
    # Bytes in its types, so it writes the alphabet it likes.
    assert part["thoughtSignature"].translate(str.maketrans("-_", "+/")) == "YWJj+/8="


async def test_another_vendors_thoughts_come_back_through_the_sdk(gateway: Serving, vendor: FakeUpstream) -> None:
    details = [{"type": "reasoning.encrypted", "data": SIGNATURE, "id": "rs_1", "format": "openai", "index": 0}]
    document = completion("Hello.")
    document["choices"][0]["message"]["reasoning_details"] = details
    vendor.script = answer_json(document)

    def ask() -> None:
        with client(gateway) as sdk:
            talk = sdk.chats.create(model="openai/gpt")
            talk.send_message("Hi.")
            talk.send_message("And?")

    await in_thread(ask)
    played = vendor.seen[-1].json()["messages"]
    assert [message["role"] for message in played] == ["user", "assistant", "user"]
    assert played[1]["content"] == "Hello."


async def test_tokens_embeddings_and_models(gateway: Serving, google: FakeUpstream) -> None:
    google.script = answer_json({"embeddings": [{"values": [0.5]}]})

    def ask() -> tuple[Any, Any, list[str | None], str | None]:
        with client(gateway) as sdk:
            return (
                sdk.models.count_tokens(model="gem", contents="Hi.").total_tokens,
                sdk.models.embed_content(model="gem", contents="Hi.").embeddings,
                [model.name for model in sdk.models.list()],
                sdk.models.get(model="openai/gpt").name,
            )

    tokens, embeddings, models, one = await in_thread(ask)
    assert tokens > 0
    assert embeddings[0].values == [0.5]
    assert models == ["models/gem", "models/openai/gpt"]
    assert one == "models/openai/gpt"


async def test_structured_output_and_media_are_understood(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(completion(json.dumps({"n": 1})))

    def ask() -> Any:
        config = types.GenerateContentConfig(
            response_mime_type="application/json",
            response_schema={"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}},
            system_instruction="Be brief.",
            thinking_config=types.ThinkingConfig(thinking_budget=2000),
        )
        image = types.Part.from_bytes(data=b"\x89PNG\r\n\x1a\n" + b"\0" * 16, mime_type="image/png")
        with client(gateway) as sdk:
            return sdk.models.generate_content(model="openai/gpt", contents=["Look.", image], config=config).parsed

    assert await in_thread(ask) == {"n": 1}
    sent = vendor.seen[0].json()
    assert sent["response_format"]["json_schema"]["schema"] == {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
    }
    assert sent["messages"][1]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
