"""Readiness tells what leads nowhere, and stays ready for everything else."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

import pytest

from tollkeeper.contracts.catalog import ModelRoute, Snapshot
from tollkeeper.readiness import Dependency, Readiness, Status


class Well:
    """Whatever else there is to ask is as it should be."""

    is_available = is_accepting = True
    is_cut_off = False
    failing_since = None
    mode = None
    untrusted = 0

    async def ping(self) -> None: ...


async def catalog_of(policies: Sequence[str]) -> tuple[Status, Dependency]:
    models = {
        (None, f"m{number}"): ModelRoute(UUID(int=number), f"m{number}", (), policy_name=name)
        for number, name in enumerate(policies)
    }
    snapshot = Snapshot(
        1, MappingProxyType({}), MappingProxyType(cast("dict[tuple[UUID | None, str], ModelRoute]", models))
    )
    well = cast("Callable[[], Any]", Well)
    report = await Readiness(Well(), well, well, well, well, lambda: snapshot, well, dict).report()
    return report.status, report.dependencies["catalog"]


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        (["fast"], "models that lead nowhere: 1, as these route policies are gone or faulty: fast"),
        (
            ["d", "c", "b", "a", "a"],
            "models that lead nowhere: 5, as these route policies are gone or faulty: a, b, c …",
        ),
    ],
)
async def test_models_without_their_policy_make_it_degraded_and_are_told(policies: Sequence[str], words: str) -> None:
    status, catalog = await catalog_of(policies)

    assert status is Status.DEGRADED
    assert catalog == Dependency(Status.DEGRADED, words)


async def test_without_such_models_the_catalog_is_well() -> None:
    assert (await catalog_of([]))[1] == Dependency(Status.OK)
