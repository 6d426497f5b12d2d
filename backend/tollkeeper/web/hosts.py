"""Host names this gateway answers to, where the operator names them: everything else is refused before it is looked at."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.web.errors import problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# Load balancers and the container's own probe ask by address.
_OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready"})


class AllowedHosts:
    """`names` as in the setting `allowed_hosts`; one may begin with `*.` for every name below it."""

    def __init__(self, app: ASGIApp, names: str) -> None:
        self._app = app
        wanted = [name.strip().lower() for name in names.split(",") if name.strip()]
        self._exact = frozenset(name for name in wanted if not name.startswith("*."))
        self._below = tuple(name[1:] for name in wanted if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN_PATHS or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        request_id = format_id("req", uuid7())
        refusal = BadRequest("This gateway does not answer to that host name.", code="unknown_host", status=421)
        answer = problem(refusal, request_id)
        answer.headers["x-request-id"] = request_id
        await answer(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.strip("[]")
        return name in self._exact or name.endswith(self._below)
