"""What Prometheus learns of targets, and that no caller's text becomes a label."""

from types import MappingProxyType
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from tollkeeper.contracts.catalog import Credential, ModelRoute, ProviderConfig, Snapshot
from tollkeeper.contracts.routing import BreakerRule, Place, Target
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.provider import Failure, FailureClass
from tollkeeper.gateway.routing.targets import Targets
from tollkeeper.gateway.target_metrics import TargetMetrics

ONE = UUID(int=1)
RULE = BreakerRule(failures=1, open_seconds=60, most_open_seconds=60)


class Board:
    def __init__(self) -> None:
        self.clock = SystemClock()
        self.registry = CollectorRegistry()
        self.snapshot = catalog("acme")
        self.targets = Targets(lambda: self.snapshot)
        self.metrics = TargetMetrics(self.registry, self.targets, lambda: self.snapshot, self.clock)

    def fail(self, model: str, kind: FailureClass = FailureClass.SERVER) -> None:
        now = self.clock.monotonic()
        ticket = self.targets.enter(Place("acme", model, ONE), RULE, now)
        assert ticket is not None
        ticket.failed(now, Failure(kind, UpstreamError("no")))

    def value(self, name: str, **labels: str) -> float | None:
        self.metrics.show()
        return self.registry.get_sample_value(name, labels)


def catalog(*names: str) -> Snapshot:
    providers = {
        name: ProviderConfig(UUID(int=7), name, "openai", "https://t", (Credential(ONE, "s"),)) for name in names
    }
    route = ModelRoute(UUID(int=8), "chat", (Target("acme", "large"),))
    models: dict[tuple[UUID | None, str], ModelRoute] = {(None, "chat"): route}
    return Snapshot(1, MappingProxyType(providers), MappingProxyType(models))


@pytest.fixture
def board() -> Board:
    return Board()


def test_breakers_and_their_changes_are_shown(board: Board) -> None:
    assert board.value("tollkeeper_breaker_state", provider="acme", model="large") is None
    board.fail("large")

    assert board.value("tollkeeper_breaker_state", provider="acme", model="large") == 2
    assert board.value("tollkeeper_breaker_transitions_total", provider="acme", model="large", state="open") == 1
    board.targets.reset("acme", board.clock.monotonic())

    assert board.value("tollkeeper_breaker_state", provider="acme", model="large") == 0
    assert board.value("tollkeeper_breaker_transitions_total", provider="acme", model="large", state="closed") == 1


def test_names_that_callers_made_up_share_one_label(board: Board) -> None:
    for number in range(50):
        board.fail(f"made up {number}")

    assert board.value("tollkeeper_breaker_state", provider="acme", model="*") == 2
    assert board.value("tollkeeper_breaker_transitions_total", provider="acme", model="*", state="open") == 50
    shown = [sample.labels for family in board.registry.collect() for sample in family.samples]
    assert not [labels for labels in shown if "made up" in str(labels)]


def test_pauses_and_quarantines_are_counted(board: Board) -> None:
    board.fail("large", FailureClass.RATE)
    board.targets.reset("acme", board.clock.monotonic())
    board.fail("large", FailureClass.CREDENTIAL)

    assert board.value("tollkeeper_target_pauses_total", provider="acme", model="large") == 1
    assert board.value("tollkeeper_credential_quarantines_total", provider="acme", model="large") == 1


def test_repeats_and_those_that_had_no_room_are_counted(board: Board) -> None:
    budget = board.targets.retry_budget("acme", board.clock.monotonic())
    granted = [budget.may_repeat(0.0) for _ in range(10)].count(True)

    assert board.value("tollkeeper_retries_total", provider="acme") == granted
    assert board.value("tollkeeper_retries_refused_total", provider="acme") == 10 - granted
    left = board.value("tollkeeper_retry_budget", provider="acme")
    assert left is not None
    assert left < 10


def test_a_provider_that_went_and_came_back_is_counted_on(board: Board) -> None:
    board.targets.retry_budget("acme", 0.0).may_repeat(0.0)
    assert board.value("tollkeeper_retries_total", provider="acme") == 1
    board.fail("large")
    assert board.value("tollkeeper_breaker_state", provider="acme", model="large") == 2
    board.snapshot = catalog("other")

    assert board.value("tollkeeper_breaker_state", provider="acme", model="large") == 0
    board.snapshot = catalog("acme")
    board.targets.look(0.0)
    budget = board.targets.retry_budget("acme", 0.0)
    assert [budget.may_repeat(0.0), budget.may_repeat(0.0)] == [True, True]

    assert board.value("tollkeeper_retries_total", provider="acme") == 2
