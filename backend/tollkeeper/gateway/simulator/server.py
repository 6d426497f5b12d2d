"""The simulator as an ASGI application that speaks the vendors' wire formats; `tollkeeper simulate` listens for it.

`vendors.places` has the paths: OpenAI's under `/v1`, `/api/v1` or nothing, Anthropic's Messages, Gemini and Vertex, Azure,
Bedrock. Besides them it answers `GET /stats`: what was served, token by token,
and who went away when. `DELETE /stats` forgets it. It stands in for any provider, so it answers for models of any name.
"""

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from tollkeeper.gateway.simulator.directed import Wire, direct
from tollkeeper.gateway.simulator.directives import read_model
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.script import Ending, Script
from tollkeeper.gateway.simulator.truth import Record, Truth
from tollkeeper.gateway.simulator.tuning import TuningShop
from tollkeeper.gateway.simulator.vendors.places import Ask, Place, check_key, find_place, is_google, strip

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MODELS: Final = ("simulated", "simulated-embedding", "simulated-reasoning")
_CREATED_UNIX: Final = 1_700_000_000
# Elsewhere `x-request-id`.
_REQUEST_IDS: Final = {"anthropic": "request-id", "azure": "apim-request-id", "bedrock": "x-amzn-requestid"}
_MOST_BODY_BYTES: Final = 64 * 1024 * 1024
_MOST_DIGESTS = 10_000
# Of one field of a request, in the record of what was served.
_MOST_NOTED_BYTES = 8_000
# After so many chunks without a pause the event loop gets a turn, to hear that the caller has gone.
_CHUNKS_PER_TURN = 32
_JSON_HEADERS: Final = {"content-type": "application/json"}


class SimulatorServer:
    def __init__(self, api_key: str | None = None) -> None:
        self._api_key = api_key
        self._truth = Truth()
        self._tuning = TuningShop()
        self._seen: collections.OrderedDict[bytes, int] = collections.OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/stats":
            await self._stats(scope, send)
        elif path == "/health":
            await _send_json(send, 200, {"status": "ok"})
        else:
            await self._inference(scope, receive, send)

    async def _stats(self, scope: Scope, send: Send) -> None:
        if scope["method"] == "DELETE":
            self._truth.forget()
        after = parse_qs(scope["query_string"].decode("latin-1")).get("after", ["0"])[0]
        await _send_json(send, 200, self._truth.report(int(after) if after.isdigit() else 0))

    async def _inference(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope.get("client") or ("", 0)
        record = self._truth.open(scope["path"], f"{client[0]}:{client[1]}", headers)
        ask = Ask(scope["path"], scope["query_string"].decode("latin-1"), headers, record.request_id)
        place = find_place(ask)
        record.vendor = place.vendor
        try:
            check_key(place, ask, self._api_key)
            found = self._tuning.find(ask, scope["method"])
            if found is not None:
                answer = orjson.dumps(found(await _read_body(receive)))
                record.status = 200
                self._truth.close(record, "complete")
                await _send(send, 200, {**_JSON_HEADERS, "x-request-id": record.request_id}, answer)
                return
            models = _models(ask)
            if models is not None:
                _check_method(scope, "GET")
                record.status = 200
                self._truth.close(record, "complete")
                await _send(send, 200, {**_JSON_HEADERS, "x-request-id": record.request_id}, orjson.dumps(models))
                return
            if place.problem is not None:
                raise place.problem
            _check_method(scope, "POST")
            body = await _read_body(receive)
        except Refusal as refusal:
            refused = place.wire.refused(refusal)
            record.status = refused.status
            self._truth.close(record, "refused")
            shown = {**refused.headers, **_identity(place.vendor, record.request_id)}
            await _send(send, refused.status, shown, refused.content)
            return
        await self._answer(place, body, headers.get("x-simulate", ""), record, receive, send)

    async def _answer(
        self, place: Place, body: bytes, header: str, record: Record, receive: Receive, send: Send
    ) -> None:
        script = direct(place.wire, body, header=header, tries=self._count, stands_in=True)
        _note(record, script, place.wire, body)
        playing = asyncio.ensure_future(_play(script, record, send))
        leaving = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                playing.result()
                self._truth.close(record, "refused" if script.status >= 400 else str(script.ending))
            else:
                self._truth.close(record, "cancelled")
        finally:
            # Also when the server stops: nothing of a request outlives it.
            self._truth.close(record, "cancelled")
            for task in (playing, leaving):
                task.cancel()
            await asyncio.gather(playing, leaving, return_exceptions=True)

    def _count(self, digest: bytes) -> int:
        """How often this request has come; the longest unseen are forgotten."""
        number = self._seen.pop(digest, 0) + 1
        self._seen[digest] = number
        if len(self._seen) > _MOST_DIGESTS:
            self._seen.popitem(last=False)
        return number


async def _play(script: Script, record: Record, send: Send) -> None:
    """Returning without the last message makes the server close the connection: that is how an answer is cut."""
    await asyncio.sleep(script.wait_seconds)
    if script.never_begins:
        await asyncio.get_running_loop().create_future()
    headers = {**script.headers, **_identity(record.vendor, record.request_id)}
    if script.content_length is not None:
        headers["content-length"] = str(script.content_length)
    if record.vendor == "openai":
        headers["openai-processing-ms"] = str(round((time.time() - record.started_unix) * 1000))
    await send({"type": "http.response.start", "status": script.status, "headers": _encode(headers)})
    due = time.monotonic()
    for part in script.parts:
        if part.wait_seconds:
            # Against the schedule, so that the pace holds whatever each chunk takes.
            due = max(due + part.wait_seconds, time.monotonic() - part.wait_seconds)
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
        elif record.chunks_sent % _CHUNKS_PER_TURN == _CHUNKS_PER_TURN - 1:
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": part.data, "more_body": True})
        record.chunks_sent += 1
        record.tokens_sent += part.tokens
    if script.ending is Ending.HANG:
        await asyncio.get_running_loop().create_future()
    if script.ending is Ending.COMPLETE:
        await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _note(record: Record, script: Script, wire: Wire, body: bytes) -> None:
    record.model, record.status, record.is_stream = script.model, script.status, script.is_stream
    record.prompt_tokens, record.completion_tokens = script.prompt_tokens, script.completion_tokens
    record.cached_tokens = script.details.get("cached_tokens", 0)
    record.reasoning_tokens = script.details.get("reasoning_tokens", 0)
    if script.status == 200:
        request = wire.read(body)
        # Long texts and vectors aside: what a test wants to see of the request are its switches.
        record.body = {name: value for name, value in request.items() if len(orjson.dumps(value)) <= _MOST_NOTED_BYTES}


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The caller went away.", code="disconnected")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _MOST_BODY_BYTES:
            raise Refusal(413, "The request is too large.", code="payload_too_large")
        if not message.get("more_body"):
            return b"".join(parts)


def _identity(vendor: str, request_id: str) -> dict[str, str]:
    """The headers in which a vendor names the request."""
    if vendor == "openai":
        return {"x-request-id": request_id, "openai-version": "2020-10-01"}
    return {_REQUEST_IDS.get(vendor, "x-request-id"): request_id}


def _check_method(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise Refusal(
            405, f"Not allowed to {scope['method']} here; use {method}.", code="method_not_allowed", headers={"allow": method}
        )  # fmt: skip


def _models(ask: Ask) -> dict[str, Any] | None:
    """The list of models, or one of them, in the form of whoever asks; None: the path is about something else."""
    path = strip(ask.path).removeprefix("openai/v1/").removeprefix("v1beta/")
    if ":" in path and is_google(ask):
        return None
    if path != "models" and not path.startswith("models/"):
        return None
    name = path.removeprefix("models").removeprefix("/")
    one = _google_model if is_google(ask) else _anthropic_model if "anthropic-version" in ask.headers else _model
    if name:
        read_model(name, stands_in=True)
        return one(name)
    listed = [one(model) for model in MODELS]
    if one is _google_model:
        return {"models": listed}
    if one is _anthropic_model:
        return {"data": listed, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
    return {"object": "list", "data": listed}


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED_UNIX, "owned_by": "tollkeeper"}


def _anthropic_model(name: str) -> dict[str, Any]:
    released = "2023-11-14T22:13:20Z"
    return {"type": "model", "id": name, "display_name": name, "created_at": released, "lifecycle": "active"}


def _google_model(name: str) -> dict[str, Any]:
    methods = ["generateContent", "countTokens", "embedContent"]
    return {"name": f"models/{name}", "displayName": name, "version": "1", "supportedGenerationMethods": methods}


def _encode(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _send_json(send: Send, status: int, document: Any) -> None:
    await _send(send, status, _JSON_HEADERS, orjson.dumps(document))


async def _send(send: Send, status: int, headers: dict[str, str], content: bytes) -> None:
    whole = {**headers, "content-length": str(len(content))}
    await send({"type": "http.response.start", "status": status, "headers": _encode(whole)})
    await send({"type": "http.response.body", "body": content})
