"""The simulator as an ASGI application that speaks OpenAI's wire format; `tollkeeper simulate` listens for it.

Besides the inference paths (under `/v1`, `/api/v1` or nothing) it answers `GET /stats`: what was served, token by token,
and who went away when. `DELETE /stats` forgets it. It stands in for any provider, so it answers for models of any name.
"""

import asyncio
import collections
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from tollkeeper.gateway.simulator import engine
from tollkeeper.gateway.simulator.directives import read_model
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.script import Ending, Script
from tollkeeper.gateway.simulator.truth import Record, Truth

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MODELS: Final = ("simulated", "simulated-embedding", "simulated-reasoning")
_CREATED_UNIX: Final = 1_700_000_000
_PREFIXES: Final = ("/api/v1/", "/v1/", "/")
_MOST_BODY_BYTES: Final = 64 * 1024 * 1024
_MOST_DIGESTS = 10_000
# After so many chunks without a pause the event loop gets a turn, to hear that the caller has gone.
_CHUNKS_PER_TURN = 32
_JSON_HEADERS: Final = {"content-type": "application/json"}


class SimulatorServer:
    def __init__(self, api_key: str | None = None) -> None:
        self._api_key = api_key
        self._truth = Truth()
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
        try:
            self._check_key(headers)
            path = _strip(scope["path"])
            if path == "models" or path.startswith("models/"):
                _check_method(scope, "GET")
                content = orjson.dumps(_models(path.removeprefix("models").removeprefix("/")))
                record.status = 200
                self._truth.close(record, "complete")
                await _send(send, 200, {**_JSON_HEADERS, "x-request-id": record.request_id}, content)
                return
            operation = _operation(path)
            _check_method(scope, "POST")
            body = await _read_body(receive)
        except Refusal as refusal:
            record.status = refusal.status
            self._truth.close(record, "refused")
            shown = {**_JSON_HEADERS, **refusal.headers, "x-request-id": record.request_id}
            await _send(send, refusal.status, shown, refusal.body())
            return
        await self._answer(operation, body, headers.get("x-simulate", ""), record, receive, send)

    async def _answer(
        self, operation: engine.Operation, body: bytes, header: str, record: Record, receive: Receive, send: Send
    ) -> None:
        script = engine.answer(operation, body, header=header, tries=self._count, stands_in=True)
        _note(record, script, body)
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

    def _check_key(self, headers: dict[str, str]) -> None:
        if self._api_key is None:
            return
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._api_key.encode()):
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")

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
    headers = {**script.headers, "x-request-id": record.request_id, "openai-version": "2020-10-01"}
    if script.content_length is not None:
        headers["content-length"] = str(script.content_length)
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


def _note(record: Record, script: Script, body: bytes) -> None:
    record.model, record.status, record.is_stream = script.model, script.status, script.is_stream
    record.prompt_tokens, record.completion_tokens = script.prompt_tokens, script.completion_tokens
    record.cached_tokens = script.details.get("cached_tokens", 0)
    record.reasoning_tokens = script.details.get("reasoning_tokens", 0)
    if script.status == 200:
        request = orjson.loads(body)
        # Long texts and vectors aside: what a test wants to see of the request are its switches.
        record.body = {name: value for name, value in request.items() if len(orjson.dumps(value)) <= 1000}


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


def _strip(path: str) -> str:
    prefix = next(prefix for prefix in _PREFIXES if path.startswith(prefix))
    return path.removeprefix(prefix)


def _operation(path: str) -> engine.Operation:
    try:
        return engine.Operation(path)
    except ValueError:
        raise Refusal(404, f"Invalid URL (/{path})", code="unknown_url") from None


def _check_method(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise Refusal(
            405, f"Not allowed to {scope['method']} here; use {method}.", code="method_not_allowed", headers={"allow": method}
        )  # fmt: skip


def _models(name: str) -> dict[str, Any]:
    if not name:
        return {"object": "list", "data": [_model(name) for name in MODELS]}
    read_model(name, stands_in=True)
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED_UNIX, "owned_by": "tollkeeper"}


def _encode(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _send_json(send: Send, status: int, document: Any) -> None:
    await _send(send, status, _JSON_HEADERS, orjson.dumps(document))


async def _send(send: Send, status: int, headers: dict[str, str], content: bytes) -> None:
    whole = {**headers, "content-length": str(len(content))}
    await send({"type": "http.response.start", "status": status, "headers": _encode(whole)})
    await send({"type": "http.response.body", "body": content})
