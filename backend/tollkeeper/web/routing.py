"""The one kind of route of the control plane: who calls is proven, and may do it, before a byte of the body is read.

    router = control_router("keys")

    @router.post("", status_code=201, dependencies=[requires(Permission.API_KEYS_CREATE)])

A route declares exactly one permission, or `public()`; one that does not cannot be made.
"""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.params import Depends as DependsParam
from fastapi.routing import APIRoute

from tollkeeper.core.errors import MalformedPayload
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Permission
from tollkeeper.web.caller import Caller, StepUpRequired, allow, prove_caller, services_of
from tollkeeper.web.idempotency import Claim, Replay
from tollkeeper.web.json_body import check_json_body
from tollkeeper.web.schemas import problem_responses


class UndeclaredRoute(TypeError):
    """A route without a permission, or with several: a mistake of the code, found when it is imported."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A route's permission; None is public. As a dependency it enforces itself, on any kind of route.

    `fresh`: a session must have proven its user within `step_up_seconds`. A key needs no such proof: it is not left open
    in a browser, and it never holds what belongs to the person (`me:update`).
    `or_itself`: a key may do it to itself, the one in the path, with nothing but the right to call models.
    """

    permission: Permission | None
    fresh: bool = False
    or_itself: bool = False

    async def __call__(self, request: Request) -> None:
        if self.permission is None:
            return
        caller = await prove_caller(request)
        if self.or_itself and is_itself(caller, request.path_params.get("key_id")):
            return
        allow(caller, self.permission)
        if self.fresh and caller.session_id is not None:
            _check_fresh(request, caller)


def _check_fresh(request: Request, caller: Caller) -> None:
    services = services_of(request)
    seconds = services.settings.step_up_seconds
    proven_at = caller.authenticated_at
    if proven_at is None or (services.clock.now() - proven_at).total_seconds() > seconds:
        raise StepUpRequired(
            f"This needs a proof of who you are within the last {seconds} seconds: POST /api/v1/auth/step-up, then repeat.",
            details={"max_age_seconds": seconds},
        )


def is_itself(caller: Caller, key_id: object) -> bool:
    """Whether a key that may call models is used on the key of this public id, which is its own."""
    return (
        caller.key is not None and key_id == format_id("key", caller.key.key_id) and caller.may(Permission.GATEWAY_USE)
    )


def requires(permission: Permission, *, fresh: bool = False, or_itself: bool = False) -> DependsParam:
    """The permission a route needs: `dependencies=[requires(Permission.…)]`; `fresh` for credentials, roles, exports."""
    dependency: DependsParam = Depends(Declaration(permission, fresh, or_itself))
    return dependency


def public() -> DependsParam:
    """A route for everybody; there are few: sign-in, refresh, health, the OpenAPI document."""
    dependency: DependsParam = Depends(Declaration(None))
    return dependency


def declarations_of(dependant: Dependant) -> list[Declaration]:
    return [item.call for item in dependant.dependencies if isinstance(item.call, Declaration)]


def query_names(dependant: Dependant) -> Iterator[str]:
    """The query parameters that a route and its dependencies read."""
    for parameter in dependant.query_params:
        yield parameter.alias
    for dependency in dependant.dependencies:
        yield from query_names(dependency)


class ControlRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        declared = declarations_of(self.dependant)
        if len(declared) != 1:
            raise UndeclaredRoute(f"{self.path} declares {len(declared)} permissions; exactly one is needed")
        declaration = declared[0]
        known = frozenset(query_names(self.dependant))
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            await declaration(request)
            if unknown := request.query_params.keys() - known:
                # A filter that is not one would be believed to have filtered.
                raise MalformedPayload(
                    f"The query has no parameter {min(unknown)[:100]!r} here. Known are: {', '.join(sorted(known)) or 'none'}.",
                    code="unknown_parameter",
                )
            settings = services_of(request).settings
            if request.method not in {"GET", "HEAD"}:
                await check_json_body(request, largest=settings.max_control_body_bytes, deepest=settings.max_json_depth)
            try:
                response = await answer(request)
            except Replay as replay:
                return replay.response
            claimed: Claim | None = getattr(request.state, "claim", None)
            if claimed is not None:
                # Still inside the transaction: it ends when this function has returned, before the answer is sent.
                await claimed.record(response)
            return response

        return handle


def control_router(noun: str) -> APIRouter:
    """`/noun`, to be included under `/api/v1` by `api/v1.py`."""
    return APIRouter(prefix=f"/{noun}", tags=[noun], route_class=ControlRoute, responses=problem_responses())
