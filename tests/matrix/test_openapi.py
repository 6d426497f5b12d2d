"""Everything the OpenAPI document says of an answer is true, whatever the request: by Schemathesis, over real sockets.

Requests are drawn from the document itself, with and without a credential; ids in paths are those of real objects half
of the time. `./tollkeeper test --full` draws more of them.
"""

import asyncio
import os
import warnings
from typing import Any, Final
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import checks

from tests.matrix.calls import own_ids
from tests.matrix.operations import Operation, document, operations
from tests.matrix.recipes import RECIPES
from tests.matrix.world import World, shown
from tollkeeper.core.permissions import Role

_EXAMPLES: Final = 30 if os.environ.get("TOLLKEEPER_TEST_FULL") == "1" else 6
_KNOWN: Final = {(op.method, op.path): op for op in operations()}
_CHECKS: Final = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
_DESCRIBED: Final[dict[str, Any]] = {
    f"{found.ok().method.upper()} {found.ok().path}": found.ok()
    for found in schemathesis.openapi.from_dict(document()).get_all_operations()
}
# It ends the session, or every one of them, that the other examples come with.
_AS_SOMEBODY_NEW: Final = {name for name, recipe in RECIPES.items() if recipe.is_own}


def drawing(examples: int) -> Any:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def test_every_route_is_described() -> None:
    described = set(_DESCRIBED)
    pages = {"GET /", "GET /console", "GET /console/{path:path}"}
    assert {op.name for op in operations()} - described == {"GET /openapi.json", *pages}


@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in sorted(_DESCRIBED)])
async def test_answers_are_as_the_document_says(world: World, name: str) -> None:
    described = _DESCRIBED[name]
    operation = _KNOWN.get((described.method.upper(), described.path))
    real = {} if operation is None else await real_ids(world, operation)
    person = await (world.new_person if name in _AS_SOMEBODY_NEW else world.person)(Role.PLATFORM_ADMIN)
    credential = person.token if operation is not None else await inference_key(world)
    origin = f"http://127.0.0.1:{world.port}"

    def check(headers: dict[str, str], examples: int) -> None:
        @seed(1)
        @drawing(examples)
        @given(case=described.as_strategy(), is_real=st.booleans())
        def answers_fit(case: Any, is_real: bool) -> None:
            if is_real:
                case.path_parameters = {**(case.path_parameters or {}), **real}
            for _ in range(5):
                response = case.call(base_url=origin, headers=headers, timeout=20)
                # A busy machine is late for the look-up of the credential.
                if response.status_code != 503:
                    break
            case.validate_response(response, checks=_CHECKS, headers=headers)

        with warnings.catch_warnings():
            # Of Schemathesis and of what it is made of, about themselves.
            warnings.simplefilter("ignore")
            answers_fit()

    # In a thread: the server under test turns in this loop.
    await asyncio.to_thread(check, {"authorization": f"Bearer {credential}"}, _EXAMPLES)
    await asyncio.to_thread(check, {}, max(1, _EXAMPLES // 4))


async def real_ids(world: World, operation: Operation) -> dict[str, str]:
    admin = await world.person(Role.PLATFORM_ADMIN)
    ids: dict[str, UUID] = await own_ids(world, operation, admin)
    return {name: shown(str(operation.path_ids[name]), value) for name, value in ids.items()}


async def inference_key(world: World) -> str:
    person = await world.person(Role.DEVELOPER)
    _, key = await world.new_key(person.user_id, person.side, scopes=["inference"])
    return key
