"""Runs the suite: floor and target in turn, round after round, every figure a ratio inside one run."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import processes
from bench.figures import Paired, Spread, pair_up
from bench.rig import Boot, KnownKey, Rig, Sample, Side
from bench.scenarios import Latency, Scenario, Suite
from bench.targets import Tollkeeper

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """One scenario, floor beside target. Times in milliseconds, CPU in microseconds."""

    name: str
    title: str
    unit: str
    per_second: Paired
    cpu_us: Paired | None
    cpu_us_per_event: Paired | None
    store_cpu_us: float | None
    p50_ms: Paired | None
    p99_ms: Paired | None
    first_event_p50_ms: Paired | None
    first_event_p99_ms: Paired | None
    gap_p99_ms: Paired | None
    gap_max_ms: Paired | None
    sent: int
    failed: int
    unaccounted: int
    wrong_streams: bool
    generator: str
    # The target beside the second floor, the one with the gateway's own client.
    thin_per_second: Paired | None = None
    thin_cpu_us: Paired | None = None


@dataclass(frozen=True)
class Added:
    """What passing through adds to a call at half the knee, against the same rate straight at the upstream."""

    per_second: float
    direct_p50_ms: float
    direct_p99_ms: float
    floor_p50_ms: float
    floor_p99_ms: float
    target_p50_ms: float
    target_p99_ms: float
    failed: int


@dataclass(frozen=True)
class Report:
    outcomes: tuple[Outcome, ...]
    added: Added | None
    boot: Boot
    resident_mb: float | None
    floor_resident_mb: float | None
    served: dict[str, int]
    foreign_share: float | None
    known_key: KnownKey | None = None

    @property
    def is_sound(self) -> bool:
        """Every call was answered with 2xx, every stream was whole, and nothing was served that nobody asked for."""
        is_added_sound = self.added is None or self.added.failed == 0
        return is_added_sound and all(
            outcome.failed == 0 and outcome.unaccounted == 0 and not outcome.wrong_streams for outcome in self.outcomes
        )


def run_suite(rig: Rig, suite: Suite, only: frozenset[str], say: Say) -> Report:
    outcomes = []
    added = None
    before = processes.look()
    for scenario in suite.scenarios:
        is_wanted = not only or scenario.name in only
        wants_latency = scenario.name == "whole" and (not only or "latency" in only)
        if not is_wanted and not wants_latency:
            continue
        outcome = run_scenario(rig, scenario, suite.warmup_seconds, say)
        outcomes.append(outcome)
        if wants_latency:
            added = run_latency(rig, scenario, suite.latency, outcome.per_second.target, suite.warmup_seconds, say)
    after = processes.look()
    return Report(
        outcomes=tuple(outcomes),
        added=added,
        boot=rig.boot,
        resident_mb=_resident_mb(rig.target),
        floor_resident_mb=_resident_mb(rig.floor),
        served=rig.stats(),
        foreign_share=after.foreign_share_since(before) if after and before else None,
        known_key=rig.measure_known_key() if rig.target.name == Tollkeeper.name else None,
    )


def _resident_mb(side: Side) -> float | None:
    return processes.resident_mb(side.child.pid) if side.child else None


def run_scenario(rig: Rig, scenario: Scenario, warmup_seconds: float, say: Say) -> Outcome:
    floor: list[Sample] = []
    target: list[Sample] = []
    thin: list[Sample] = []
    for number in range(scenario.rounds):
        say(f"{scenario.title}: round {number + 1} of {scenario.rounds}")
        floor.append(rig.run(rig.floor, scenario, warmup_seconds=warmup_seconds))
        target.append(rig.run(rig.target, scenario, warmup_seconds=warmup_seconds))
        if scenario.has_thin:
            thin.append(rig.run(rig.thin, scenario, warmup_seconds=warmup_seconds))
    return compare(scenario, floor, target, thin)


def compare(scenario: Scenario, floor: list[Sample], target: list[Sample], thin: Sequence[Sample] = ()) -> Outcome:
    """Pure: pair the rounds up and check that all sides did what they were asked."""
    samples = [*floor, *target, *thin]

    def paired(read: Callable[[Sample], float | None], beside: Sequence[Sample] = floor) -> Paired | None:
        ours = [value for sample in beside if (value := read(sample))]
        theirs = [value for sample in target if (value := read(sample))]
        return pair_up(ours, theirs) if ours and len(ours) == len(theirs) else None

    per_second = paired(lambda sample: sample.measured.per_second) or Paired(0, 0, 0, 0, 0)
    stores = [
        sample.store_cpu_seconds / sample.served * 1e6
        for sample in target
        if sample.served and sample.store_cpu_seconds
    ]
    return Outcome(
        name=scenario.name,
        title=scenario.title,
        unit=scenario.unit,
        per_second=per_second,
        cpu_us=paired(lambda sample: sample.cpu_us_per_call),
        cpu_us_per_event=paired(lambda sample: sample.cpu_us_per_event) if scenario.is_stream else None,
        store_cpu_us=statistics.median(stores) if stores else None,
        p50_ms=paired(_spread("latency_ms", "p50")),
        p99_ms=paired(_spread("latency_ms", "p99")),
        first_event_p50_ms=paired(_spread("first_event_ms", "p50")),
        first_event_p99_ms=paired(_spread("first_event_ms", "p99")),
        gap_p99_ms=paired(_spread("gap_ms", "p99")),
        gap_max_ms=paired(_spread("gap_ms", "max")),
        sent=sum(sample.measured.sent for sample in samples),
        failed=sum(sample.measured.failed for sample in samples),
        unaccounted=sum(_unaccounted(sample) for sample in samples),
        wrong_streams=scenario.is_stream and any(_has_wrong_streams(sample, scenario) for sample in samples),
        generator=samples[0].measured.generator,
        thin_per_second=paired(lambda sample: sample.measured.per_second, thin),
        thin_cpu_us=paired(lambda sample: sample.cpu_us_per_call, thin),
    )


def _spread(series: str, rank: str) -> Callable[[Sample], float | None]:
    def read(sample: Sample) -> float | None:
        spread: Spread | None = getattr(sample.measured, series)
        return None if spread is None else float(getattr(spread, rank))

    return read


def _unaccounted(sample: Sample) -> int:
    """Answered calls that the upstream did not serve, or served more often than asked.

    wrk leaves when its time is up and abandons what is in flight, so its runs cannot be reconciled.
    """
    return 0 if sample.measured.generator == "wrk" else abs(sample.served - sample.measured.completed)


def _has_wrong_streams(sample: Sample, scenario: Scenario) -> bool:
    seen = {sample.measured.events_fewest, sample.measured.events_most}
    return bool(sample.measured.completed) and seen != {scenario.events_per_stream}


def run_latency(
    rig: Rig, scenario: Scenario, latency: Latency, knee_per_second: float, warmup_seconds: float, say: Say
) -> Added:
    per_second = max(1.0, latency.share_of_knee * knee_per_second)
    rounds: list[tuple[Sample, Sample, Sample]] = []
    for number in range(latency.rounds):
        say(f"fixed rate of {per_second:,.0f} calls/s: round {number + 1} of {latency.rounds}")

        def measure(side: Side) -> Sample:
            return rig.run(
                side,
                scenario,
                warmup_seconds=warmup_seconds,
                per_second=per_second,
                seconds=latency.seconds,
                connections=latency.connections,
            )

        rounds.append((measure(rig.direct), measure(rig.floor), measure(rig.target)))
    return add_up(per_second, rounds)


def add_up(per_second: float, rounds: list[tuple[Sample, Sample, Sample]]) -> Added:
    """Pure: medians over the rounds of what the floor and the target add to the direct call of the same round."""

    def ms(rank: str, sample: Sample) -> float:
        value = _spread("latency_ms", rank)(sample)
        return math.nan if value is None else value

    return Added(
        per_second=per_second,
        direct_p50_ms=statistics.median(ms("p50", direct) for direct, _, _ in rounds),
        direct_p99_ms=statistics.median(ms("p99", direct) for direct, _, _ in rounds),
        floor_p50_ms=statistics.median(ms("p50", floor) - ms("p50", direct) for direct, floor, _ in rounds),
        floor_p99_ms=statistics.median(ms("p99", floor) - ms("p99", direct) for direct, floor, _ in rounds),
        target_p50_ms=statistics.median(ms("p50", target) - ms("p50", direct) for direct, _, target in rounds),
        target_p99_ms=statistics.median(ms("p99", target) - ms("p99", direct) for direct, _, target in rounds),
        failed=sum(sample.measured.failed for samples in rounds for sample in samples),
    )
