"""Liveness, readiness and metrics: public, without a word about tenants, addresses or secrets."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from pydantic import BaseModel

from tollkeeper.readiness import Dependency
from tollkeeper.web.deps import public

router = APIRouter(tags=["health"])


class Live(BaseModel):
    status: Literal["ok"] = "ok"


class DependencyState(BaseModel):
    status: Literal["ok", "degraded", "unavailable"]
    message: str | None


class Ready(BaseModel):
    """`degraded` is ready: calls are served inside a declared degraded mode."""

    status: Literal["ok", "degraded", "unavailable", "draining"]
    dependencies: Mapping[str, DependencyState]
    # By the calls of the worker that answers; one that is down leaves the gateway ready.
    providers: Mapping[str, DependencyState] = {}


@router.get("/health/live", dependencies=[public()])
async def live() -> Live:
    """Whether the event loop turns."""
    return Live()


@router.get("/health/ready", dependencies=[public()], responses={503: {"model": Ready}})
async def ready(request: Request, response: Response) -> Ready:
    """Whether billable work can be admitted: 200 for ok and degraded, 503 otherwise and while draining."""
    response.headers["cache-control"] = "no-store"
    services = getattr(request.app.state, "services", None)
    if services is None:
        response.status_code = 503
        return Ready(status="unavailable", dependencies={})
    report = await services.readiness.report()
    status: Literal["ok", "degraded", "unavailable", "draining"] = report.status.value
    connection = request.scope.get("extensions", {}).get("tollkeeper.connection")
    if connection is not None and connection.draining:
        status = "draining"
    if status in {"unavailable", "draining"}:
        response.status_code = 503
    return Ready(status=status, dependencies=_states(report.dependencies), providers=_states(report.providers))


def _states(dependencies: Mapping[str, Dependency]) -> dict[str, DependencyState]:
    return {name: DependencyState(**asdict(state)) for name, state in dependencies.items()}


@router.get("/metrics", dependencies=[public()], response_class=Response)
def metrics(request: Request) -> Response:
    """Prometheus text; with several workers the sums over all of them."""
    services = request.app.state.services
    registry: CollectorRegistry = services.gateway.metrics.registry
    if services.is_multiprocess:
        # What this worker has gathered since its last look goes to the files the collector reads.
        services.gateway.metrics.flush()
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})
