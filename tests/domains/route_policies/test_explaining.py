"""Who is shown what of an explanation: the data plane's answer is the same for everybody."""

from typing import Any

import pytest

from tests.callers import someone
from tollkeeper.contracts.explained import ExplainedRoute, RoutedTarget, RouteQuestion
from tollkeeper.contracts.routing import FallbackKind
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.domains.route_policies.explain_schemas import RouteQuestionIn
from tollkeeper.domains.route_policies.explaining import Explaining

BUSY = RoutedTarget("shared", "m", None, in_flight=7)
NOTHING: Any = None


class Answering:
    """The port `RouteExplainer`."""

    async def explain(self, question: RouteQuestion) -> ExplainedRoute:
        return ExplainedRoute(
            question.model, 0.5, (BUSY,), (), {FallbackKind.BUDGET: (BUSY,)}, (), 1, 1, False, None, None, (), ()
        )


@pytest.mark.parametrize(("role", "calls"), [(Role.PLATFORM_ADMIN, 7), (Role.TENANT_ADMIN, None)])
async def test_only_the_platform_sees_how_many_calls_of_all_tenants_are_under_way(
    role: Role, calls: int | None
) -> None:
    explaining = Explaining(Answering(), NOTHING, SystemClock())

    shown = await explaining(NOTHING, someone(uuid7(), role), NOTHING, RouteQuestionIn(model="m"))

    assert [target.in_flight for target in (*shown.targets, *shown.fallbacks[0].targets)] == [calls, calls]
