"""The data plane's entry: one pure-ASGI middleware. Inference paths are served here, all else goes to the next app.

It is a boundary: whatever a call raises becomes bytes in the caller's dialect, with the request id, and every call's
finishers run exactly once, also when its caller goes away.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from tollkeeper.contracts.chat import Operation, Reply
from tollkeeper.contracts.passthrough import METHODS
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import BadRequest, MethodNotAllowed, ModelNotFound, NotFound, TollkeeperError
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway import anthropic_models, gemini_models
from tollkeeper.gateway.dialect import CallerDialect
from tollkeeper.gateway.dialects.gemini import GeminiCaller
from tollkeeper.gateway.edge.answer import Answer, Wire
from tollkeeper.gateway.edge.errors import forget_frames, internal_error, stopping_error
from tollkeeper.gateway.edge.limits import Body, ClientGone, Receive, Scope, Send, single_headers
from tollkeeper.gateway.edge.passed_answer import PassedAnswer
from tollkeeper.gateway.edge.query import refuse_credential
from tollkeeper.gateway.edge.record import Record
from tollkeeper.gateway.edge.request_id import read_client_request_id
from tollkeeper.gateway.edge.watch import Watch
from tollkeeper.gateway.kept import KeptObjects
from tollkeeper.gateway.model_list import write_model, write_models
from tollkeeper.gateway.passthrough import PassedRequest
from tollkeeper.gateway.passthrough_paths import is_passthrough
from tollkeeper.gateway.paths import FORM_OPERATIONS, GEMINI_PREFIXES, PREFIXES, Paths
from tollkeeper.gateway.pipeline import (
    Services,
    compose,
    make_authenticate,
    make_count_stages,
    make_passthrough,
    make_stages,
    make_tuning,
)
from tollkeeper.gateway.stage import Ending, Exchange, Next, Outcome, do_nothing
from tollkeeper.gateway.stages.resolve import is_visible
from tollkeeper.gateway.stored_responses import Place, StoredResponses, find_place
from tollkeeper.gateway.tuning_paths import TuningPlace, find_tuning_place

log = structlog.get_logger(__name__)

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_MODELS: Final = frozenset(prefix + "/models" for prefix in (*PREFIXES, *GEMINI_PREFIXES))
# Nobody else serves anything beneath them.
_OWN_PREFIXES: Final = (
    "/v1/",
    *(prefix + "/messages/" for prefix in PREFIXES),
    *(prefix + "/" for prefix in GEMINI_PREFIXES),
)
_ROOTS: Final = frozenset({"/v1", *GEMINI_PREFIXES})
_MODEL_PREFIXES: Final = tuple(path + "/" for path in _MODELS)
# Whose answers have no dialect.
_PASSED: Final = frozenset({Operation.PASSTHROUGH, Operation.FINE_TUNING})
# nginx's word for a caller that closed its connection; only logs and metrics see it.
_CLIENT_GONE: Final = 499
_DROPPED: Final = Outcome(Ending.DROPPED, _CLIENT_GONE)


class Gateway:
    """`Gateway(next_app, services)`: paths that are not ours go to `next_app`."""

    def __init__(self, next_app: ASGIApp, services: Services) -> None:
        self._next_app = next_app
        self._services = services
        self._settings = services.settings
        self._clock = services.clock.monotonic
        self._paths = Paths(services.settings.max_json_depth)
        self._authenticate = make_authenticate(services)
        self._pipeline = compose(make_stages(services, self._authenticate))
        self._count = compose(make_count_stages(services, self._authenticate))
        self._pass = make_passthrough(services, self._authenticate)
        self._tuning = make_tuning(services, self._authenticate)
        self._responses = StoredResponses(services.response_lookup, services.response_sink)
        self._kept = KeptObjects(services, self._authenticate, self._paths)
        self._record = Record(services.metrics, services.access_log, services.request_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.serve(scope, receive, send)

    def serve(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The same, a coroutine less."""
        if scope["type"] != "http":
            return self._next_app(scope, receive, send)
        way = self._paths.find(scope["path"], scope["query_string"])
        if way is not None and scope["method"] == "POST":
            return self._serve(*way, scope, receive, send)
        return self._serve_other(scope, receive, send, is_call=way is not None)

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send, *, is_call: bool) -> None:
        path = scope["path"]
        if is_call:
            await self._answer_plainly(scope, receive, send, "POST", None)
        elif path in _MODELS or path.startswith(_MODEL_PREFIXES):
            list_models = functools.partial(self._list_models, scope["query_string"])
            await self._answer_plainly(scope, receive, send, "GET, HEAD", list_models)
        elif (place := find_place(path)) is not None:
            serve = functools.partial(self._show_response, place, scope["method"], scope["query_string"])
            await self._answer_plainly(scope, receive, send, place.allow, serve)
        elif (serve_kept := self._kept.find(path)) is not None:
            await serve_kept(scope, receive, send)
        elif (tuning := find_tuning_place(path)) is not None:
            await self._tune(tuning, scope, receive, send)
        elif is_passthrough(path):
            await self._pass_on(scope, receive, send)
        elif path in _ROOTS or path.startswith(_OWN_PREFIXES):
            await self._answer_plainly(scope, receive, send, None, None)
        else:
            await self._next_app(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method not in METHODS:
            await self._answer_plainly(scope, receive, send, ", ".join(METHODS), None)
            return
        run = self._pass(PassedRequest(method, scope["raw_path"], scope["query_string"], scope["headers"]))
        dialect = self._paths.dialect_of(path, dict(scope["headers"]))
        await self._serve(Operation.PASSTHROUGH, dialect, scope, receive, send, run)

    async def _tune(self, place: TuningPlace, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method not in place.allow.split(", "):
            await self._answer_plainly(scope, receive, send, place.allow, None)
            return
        run = self._tuning(place, method, scope["query_string"])
        dialect = self._paths.dialect_of(scope["path"], dict(scope["headers"]))
        await self._serve(Operation.FINE_TUNING, dialect, scope, receive, send, run)

    async def _serve(
        self,
        operation: Operation,
        dialect: CallerDialect,
        scope: Scope,
        receive: Receive,
        send: Send,
        run: Next | None = None,
    ) -> None:
        """One inference call from its headers to its finishers."""
        try:
            headers = single_headers(scope["headers"])
            refuse_credential(scope["query_string"])
            refusal = None
        except BadRequest as error:
            headers, refusal = dict(scope["headers"]), error
        # Our own HTTP server tells more, and takes more at once, than ASGI has words for.
        connection = scope["extensions"].get("tollkeeper.connection") if "extensions" in scope else None
        watch = Watch(connection, receive)
        take = None if connection is None else connection.take_body
        body = Body(
            receive,
            headers,
            self._settings.max_body_bytes,
            take,
            takes_form=operation in FORM_OPERATIONS,
            takes_any=operation in _PASSED,
        )
        exchange = self._exchange(operation, dialect, scope, headers, body)
        answer = self._answer(send, connection, exchange)
        exchange.on_accepted = answer.accepted
        if not watch.is_told:
            exchange.read_body = functools.partial(watch.after, body.get)
        self._record.begin()
        outcome = _DROPPED
        reply: Reply | None = None
        try:
            try:
                reply = await self._reply(exchange, refusal, run)
                outcome = await answer.write(reply)
            except TollkeeperError as error:
                outcome = await answer.refuse(error, body)
            except ClientGone:
                pass
            except Exception:
                log.exception("call_failed", request_id=exchange.shown_id)
                outcome = await answer.refuse(internal_error(), body)
        except asyncio.CancelledError:
            # Our own watch's cancellation ends here, where it was aimed at; anybody else's goes on.
            if not watch.absorbs():
                raise
            if watch.is_late:
                outcome = await answer.refuse(stopping_error(), body)
        finally:
            watch.close()
            answer.close()
            exchange.finish(outcome)
            try:
                self._record.end(exchange, outcome, self._clock())
            finally:
                _release(exchange, outcome)
                if reply is not None and reply.rest is not None:
                    await reply.rest.aclose()  # type: ignore[attr-defined]

    def _reply(self, exchange: Exchange, refusal: TollkeeperError | None, run: Next | None) -> Awaitable[Reply]:
        if refusal is not None:
            raise refusal
        if run is None:
            run = self._count if exchange.operation is Operation.COUNT_TOKENS else self._pipeline
        return run(exchange)

    def _exchange(
        self,
        operation: Operation,
        dialect: CallerDialect,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        body: Body,
    ) -> Exchange:
        started = self._clock()
        return Exchange(
            request_id=uuid7(),
            operation=operation,
            dialect=dialect,
            headers=headers,
            read_body=body.get,
            started=started,
            deadline=started + self._settings.upstream_total_seconds,
            snapshot=self._services.snapshots.current(),
            client_request_id=read_client_request_id(headers),
            path=scope["path"],
            client=scope.get("client"),
        )

    def _answer(self, send: Send, wire: Wire | None, exchange: Exchange) -> Answer:
        settings = self._settings
        kind = PassedAnswer if exchange.operation in _PASSED else Answer
        return kind(
            send,
            wire,
            exchange,
            self._services.clock,
            settings.commit_after_seconds,
            settings.keepalive_comment_seconds,
        )

    async def _answer_plainly(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        allow: str | None,
        serve: Callable[[str, Principal, Exchange], bytes | Awaitable[bytes]] | None,
    ) -> None:
        """Everything but inference calls: the models, wrong methods, unknown paths."""
        headers = dict(scope["headers"])
        body = Body(receive, headers, self._settings.max_body_bytes)
        dialect = self._paths.dialect_of(scope["path"], headers)
        exchange = self._exchange(Operation.CHAT, dialect, scope, headers, body)
        answer = self._answer(send, None, exchange)
        method = scope["method"]
        try:
            if method == "OPTIONS" and allow is not None:
                await answer.write_empty(allow)
            else:
                is_served = serve is not None and allow is not None and method in allow.split(", ")
                _check_method(scope, allow, is_served=is_served)
                assert serve is not None
                single_headers(scope["headers"])
                refuse_credential(scope["query_string"])
                principal = await self._authenticate.principal(headers, exchange.path, exchange.client)
                document = serve(scope["path"], principal, exchange)
                await answer.write_document(document if isinstance(document, bytes) else await document)
        except TollkeeperError as error:
            await answer.refuse(error, body)
        except Exception:
            log.exception("call_failed", request_id=exchange.shown_id)
            await answer.refuse(internal_error(), body)

    async def _show_response(
        self,
        place: Place,
        method: str,
        query: bytes,
        path: str,  # noqa: ARG002 - the interface
        principal: Principal,
        exchange: Exchange,  # noqa: ARG002 - the interface
    ) -> bytes:
        return await self._responses.serve(place, method, query, principal)

    def _list_models(self, query: bytes, path: str, principal: Principal, exchange: Exchange) -> bytes:
        snapshot = exchange.snapshot
        is_anthropic = anthropic_models.ANTHROPIC_VERSION in exchange.headers
        is_gemini = exchange.dialect.NAME == GeminiCaller.NAME
        if path in _MODELS:
            visible = [route for route in snapshot.models.values() if is_visible(principal, route)]
            if is_gemini:
                return gemini_models.write_models(visible, query)
            return anthropic_models.write_models(visible, query) if is_anthropic else write_models(visible)
        # ASGI has undone the percent-encoding, so slashes and colons of a name are simply there.
        name = path.split("/models/", 1)[1]
        route = snapshot.find_model(principal.tenant_id, name)
        if route is None or not is_visible(principal, route):
            raise ModelNotFound(
                f"The model `{name[:200]}` does not exist or you do not have access to it.", param="model"
            )
        if is_gemini:
            return gemini_models.write_model(route, name)
        return anthropic_models.write_model(route, name) if is_anthropic else write_model(route, name)


def _release(exchange: Exchange, outcome: Outcome) -> None:
    """Undo what ties a finished call into a circle: bodies of 32 MB would otherwise wait for the collector."""
    exchange.on_accepted = do_nothing
    forget_frames(outcome.error)
    for attempt in exchange.tries:
        forget_frames(attempt.error)


def _check_method(scope: Scope, allow: str | None, *, is_served: bool) -> None:
    method, path = scope["method"], scope["path"][:200]
    if allow is None:
        raise NotFound(f"Unknown request URL: {method} {path}.", code="unknown_url")
    if not is_served:
        raise MethodNotAllowed(f"Not allowed to {method} on {path}; use {allow}.", headers={"allow": allow})
