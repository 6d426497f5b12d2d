"""The application: the control plane, health, and the gateway as one pure-ASGI layer before them.

`app` serves from the environment's settings (`uvicorn tollkeeper.main:app`); `tollkeeper serve` makes one per worker
with the settings its supervisor hands over.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from tollkeeper import __version__
from tollkeeper.api import health, pages, v1
from tollkeeper.api.inference import with_inference_paths
from tollkeeper.console import DIST
from tollkeeper.core.config import Settings
from tollkeeper.gateway.app import ASGIApp, Gateway
from tollkeeper.gateway.edge.limits import Receive, Scope, Send
from tollkeeper.web.deps import install_kernel, public
from tollkeeper.web.hosts import AllowedHosts
from tollkeeper.wiring import open_services


class Application(FastAPI):
    """The gateway stands before everything, FastAPI's own middleware included: a call pays for none of it."""

    gateway: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = self.gateway
        if gateway is None:
            await self.control_plane(scope, receive, send)
        else:
            await gateway(scope, receive, send)

    async def control_plane(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything but the gateway's paths; and the start, which opens what the gateway needs."""
        await super().__call__(scope, receive, send)


def create_app(settings: Settings | None = None, *, console: Path = DIST) -> Application:
    """`console`: the folder of the built console, which may be empty."""

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        async with open_services(settings or Settings()) as services:
            app.state.services = services
            gateway: ASGIApp = Gateway(app.control_plane, services.gateway).serve
            hosts = services.settings.allowed_hosts
            app.gateway = gateway if hosts.strip() == "*" else AllowedHosts(gateway, hosts)
            yield

    app = Application(
        title="Tollkeeper",
        version=__version__,
        summary="An OpenAI-compatible gateway between your applications and every model provider.",
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=True,
        # FastAPI's pages load scripts from elsewhere; the document itself is served below.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A redirect would be built from the Host header, which the caller writes.
        redirect_slashes=False,
    )
    app.include_router(health.router)
    app.include_router(v1.router, prefix=v1.PREFIX)
    app.include_router(pages.make_router(console))
    install_kernel(app)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = with_inference_paths(plain())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/openapi.json", include_in_schema=False, dependencies=[public()])
    async def openapi_document() -> ORJSON:
        return ORJSON(app.openapi())

    return app


def control_document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of `/api/v1` without the inference paths."""
    return FastAPI.openapi(app)


class ORJSON(JSONResponse):
    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0] if route.tags else 'tollkeeper'}_{route.name}"


def __getattr__(name: str) -> Application:
    # Made when it is asked for: a worker makes its own, and two would cost twice the time and memory to start.
    if name == "app":
        app = globals()[name] = create_app()
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
