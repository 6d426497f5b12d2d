"""The paths of what is kept here for callers, files and batches: found, proven who asks, served, answered.

A boundary as `app` is: what these raise becomes bytes in the caller's dialect, with the request id. Nothing here is an
inference call, so nothing is limited, held or billed.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import MethodNotAllowed, TollkeeperError
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.edge.answer import Answer, Content
from tollkeeper.gateway.edge.errors import internal_error
from tollkeeper.gateway.edge.limits import Body, ClientGone, Receive, Scope, Send, single_headers
from tollkeeper.gateway.edge.query import refuse_credential
from tollkeeper.gateway.edge.request_id import read_client_request_id
from tollkeeper.gateway.paths import Paths
from tollkeeper.gateway.pipeline import Services
from tollkeeper.gateway.stage import Exchange
from tollkeeper.gateway.stages.authenticate import Authenticate
from tollkeeper.gateway.stored_batches import BatchPlace, StoredBatches, find_batch_place
from tollkeeper.gateway.stored_files import FilePlace, StoredFiles, find_file_place

log = structlog.get_logger(__name__)

# A file of the largest size on a slow line; the HTTP protocol holds it to a pace besides.
_UPLOAD_SECONDS: Final = 1_800.0
Serve = Callable[[Scope, Receive, Send], Awaitable[None]]


class KeptObjects:
    def __init__(self, services: Services, authenticate: Authenticate, paths: Paths) -> None:
        self._services = services
        self._settings = services.settings
        self._authenticate = authenticate
        self._paths = paths
        self._files = StoredFiles(services.files)
        self._batches = StoredBatches(services.batches)

    def find(self, path: str) -> Serve | None:
        place = find_file_place(path) or find_batch_place(path)
        return None if place is None else functools.partial(self._serve, place)

    async def _serve(self, place: FilePlace | BatchPlace, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        body = Body(receive, headers, self._settings.max_control_body_bytes)
        exchange = self._exchange(scope, body)
        settings = self._settings
        seconds = settings.commit_after_seconds, settings.keepalive_comment_seconds
        answer = Answer(send, None, exchange, self._services.clock, *seconds)
        method = scope["method"]
        try:
            if method == "OPTIONS":
                await answer.write_empty(place.allow)
                return
            _check_method(place, method, exchange.path)
            single_headers(scope["headers"])
            refuse_credential(scope["query_string"])
            principal = await self._authenticate.principal(headers, exchange.path, exchange.client)
            served = await self._ask(place, scope, principal, body)
            if isinstance(served, Content):
                await answer.write_content(served)
            else:
                await answer.write_document(served)
        except TollkeeperError as error:
            await answer.refuse(error, body)
        except ClientGone:
            pass
        except Exception:
            log.exception("call_failed", request_id=exchange.shown_id)
            await answer.refuse(internal_error(), body)

    async def _ask(
        self, place: FilePlace | BatchPlace, scope: Scope, principal: Principal, body: Body
    ) -> bytes | Content:
        headers, query = dict(scope["headers"]), scope["query_string"]
        if isinstance(place, BatchPlace):
            return await self._batches.serve(place, scope["method"], query, principal, body)
        connection = scope["extensions"].get("tollkeeper.connection") if "extensions" in scope else None
        if connection is not None:
            connection.allow_body_seconds(_UPLOAD_SECONDS)
        return await self._files.serve(place, scope["method"], query, principal, headers, body)

    def _exchange(self, scope: Scope, body: Body) -> Exchange:
        headers = dict(scope["headers"])
        started = self._services.clock.monotonic()
        return Exchange(
            request_id=uuid7(),
            operation=Operation.CHAT,
            dialect=self._paths.dialect_of(scope["path"], headers),
            headers=headers,
            read_body=body.read,
            started=started,
            deadline=started + self._settings.upstream_total_seconds,
            client_request_id=read_client_request_id(headers),
            path=scope["path"],
            client=scope.get("client"),
        )


def _check_method(place: FilePlace | BatchPlace, method: str, path: str) -> None:
    if method not in place.allow.split(", "):
        raise MethodNotAllowed(
            f"Not allowed to {method} on {path[:200]}; use {place.allow}.", headers={"allow": place.allow}
        )
