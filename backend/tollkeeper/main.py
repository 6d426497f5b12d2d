"""The application: the control plane, health, and the gateway as one pure-ASGI middleware before them.

`app` serves from the environment's settings (`uvicorn tollkeeper.main:app`); `tollkeeper serve` makes one per worker
with the settings its supervisor hands over.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from tollkeeper import __version__
from tollkeeper.api import health, v1
from tollkeeper.api.inference import with_inference_paths
from tollkeeper.core.config import Settings
from tollkeeper.gateway.app import ASGIApp, Gateway
from tollkeeper.gateway.edge.limits import Receive, Scope, Send
from tollkeeper.web.deps import install_kernel, public
from tollkeeper.wiring import open_services


class GatewayMiddleware:
    """Stands before everything; until the services are open there is nothing to serve calls with."""

    def __init__(self, app: ASGIApp, owner: FastAPI) -> None:
        self._app = app
        self._owner = owner
        self._gateway: Gateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = self._gateway
        if gateway is None:
            services = getattr(self._owner.state, "services", None)
            if services is None:
                await self._app(scope, receive, send)
                return
            gateway = self._gateway = Gateway(self._app, services.gateway)
        await gateway(scope, receive, send)


def create_app(settings: Settings | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings or Settings()) as services:
            app.state.services = services
            yield

    app = FastAPI(
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
    app.include_router(v1.router)
    install_kernel(app)
    app.add_middleware(GatewayMiddleware, owner=app)
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


class ORJSON(JSONResponse):
    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0] if route.tags else 'tollkeeper'}_{route.name}"


app = create_app()
