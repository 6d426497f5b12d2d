"""Asks providers how they are, where a policy wants that: the breakers of its targets hear of it.

A good answer counts where something is held against a target, as a trial does; a failure counts like a call's. One of
all workers asks and tells the others, which are more careful or try again by it; where nobody can say who, each asks for
itself. Providers of no such policy are never asked.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import structlog

from tollkeeper.contracts.catalog import REST, Snapshot
from tollkeeper.contracts.ports import ProbeResult, ProviderProbe
from tollkeeper.contracts.routing import BreakerRule, Place
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.provider import Failure, FailureClass
from tollkeeper.gateway.routing.catalogue import policy_targets
from tollkeeper.gateway.routing.targets import Targets

log = structlog.get_logger(__name__)

LEAST_SECONDS: Final = 1.0
# Intervals are spread by up to this share, so that workers and providers do not stay in step.
JITTER: Final = 0.2
_TICK_SECONDS: Final = 0.5
# Of its interval: for how long others leave a provider to the worker that asked; shorter than any two asks are apart.
_LEFT_ALONE: Final = 0.8
# Targets that stand for whatever model a caller asks for.
_ANY: Final = frozenset({"*", REST})
_KINDS: Final = MappingProxyType(
    {"credential": FailureClass.CREDENTIAL, "rate": FailureClass.RATE, "server": FailureClass.SERVER}
)


@dataclass(slots=True)
class _Plan:
    """Of one provider: how often, and which models hear of it by which rule."""

    seconds: float
    models: dict[str, BreakerRule]
    # Of whatever callers name, where they do.
    any_model: BreakerRule | None = None


class Probing:
    """`run` is a task; a probe that hangs holds up no other provider's."""

    def __init__(
        self,
        probe: ProviderProbe,
        targets: Targets,
        snapshot: Callable[[], Snapshot],
        clock: Clock,
        chance: Callable[[], float] = random.random,
        may_probe: Callable[[str, float], Awaitable[bool]] | None = None,
    ) -> None:
        """`may_probe`: whether no other worker asked a provider within these seconds; None: there is no other one."""
        self._probe = probe
        self._may_probe = may_probe
        self._targets = targets
        self._snapshot = snapshot
        self._clock = clock
        self._chance = chance
        self._due: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._planned: dict[str, _Plan] = {}
        self._planned_of: Snapshot | None = None

    async def run(self) -> None:
        """Never returns; cancel it."""
        try:
            while True:
                self.start_due()
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            await self.stop()

    async def stop(self) -> None:
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def start_due(self) -> list[asyncio.Task[None]]:
        """Those whose time has come, started."""
        snapshot, now = self._snapshot(), self._clock.monotonic()
        if snapshot is not self._planned_of:
            self._planned, self._planned_of = _plans(snapshot), snapshot
            self._due = {name: at for name, at in self._due.items() if name in self._planned}
        started = []
        for name, plan in self._planned.items():
            if name not in self._due:
                # Not all at the start.
                self._due[name] = now + plan.seconds * self._chance()
            if now < self._due[name] or name in self._running:
                continue
            self._due[name] = now + plan.seconds * (1 + JITTER * (self._chance() - 0.5))
            task = asyncio.get_running_loop().create_task(self._ask(name, plan), name=f"probe-{name}")
            self._running[name] = task
            task.add_done_callback(lambda _task, name=name: self._running.pop(name, None))  # type: ignore[misc]
            started.append(task)
        return started

    async def _ask(self, name: str, plan: _Plan) -> None:
        config = self._snapshot().providers.get(name)
        if config is None:
            return
        # Another address is another provider, also under the same name.
        asked = f"{name} {config.base_url}"
        if self._may_probe is not None and not await self._may_probe(asked, plan.seconds * _LEFT_ALONE):
            return
        results = await self._probe.probe(config)
        now = self._clock.monotonic()
        for result in results:
            if result.ok or result.trouble == "server":
                self._targets.tell_probe(Place(name, "", result.credential_id), plan.seconds, is_well=result.ok)
            if not result.ok:
                log.info("probe_failed", provider=name, credential=result.credential_id, trouble=result.trouble)
            rules = dict(plan.models)
            if plan.any_model is not None:
                for model in self._targets.models(name):
                    rules.setdefault(model, plan.any_model)
            for model, rule in rules.items():
                self._tell(Place(name, model, result.credential_id), rule, result, now)

    def _tell(self, place: Place, rule: BreakerRule, result: ProbeResult, now: float) -> None:
        if result.ok:
            self._targets.probed(place, rule, now, None)
        elif (kind := _KINDS.get(result.trouble or "")) is not None:
            self._targets.probed(place, rule, now, Failure(kind, UpstreamError(result.message)))


def _plans(snapshot: Snapshot) -> dict[str, _Plan]:
    """The most impatient policy says how often a provider is asked; a model's first one, by which rule it is judged."""
    plans: dict[str, _Plan] = {}
    for route in (*snapshot.models.values(), *snapshot.wildcards):
        policy = route.policy
        if policy is None or policy.probe_seconds is None:
            continue
        for target in policy_targets(policy):
            if target.provider not in snapshot.providers:
                continue
            plan = plans.setdefault(target.provider, _Plan(policy.probe_seconds, {}))
            plan.seconds = max(LEAST_SECONDS, min(plan.seconds, policy.probe_seconds))
            if target.model in _ANY:
                plan.any_model = plan.any_model or policy.breaker
            else:
                plan.models.setdefault(target.model, policy.breaker)
    return plans
