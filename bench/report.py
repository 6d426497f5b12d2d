"""Shows a report as a table for people and as JSON for machines, and says which bars are met."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Paired
from bench.harness import Outcome, Report
from bench.processes import ROOT, Cores

RESULTS = ROOT / "bench" / "results"

# (what, at most or at least, bar): `backend/README.md` says where each comes from.
_THROUGHPUT_RATIO = 0.65
_EVENT_COST_RATIO = 1.3
_LARGE_COST_RATIO = 1.5
_ADDED_P50_MS = 0.6
_ADDED_P99_MS = 2.0
_RESIDENT_MB = 200.0
_READY_SECONDS = 3.0
_KNOWN_KEY_US = 15.0
_QUIET_SHARE = 0.05
_GAP_MAX_MS = 500.0  # ten times the pace of 20 tokens/s


def table(report: Report, target: str, cores: Cores) -> str:
    where = (
        f"{target} and floor on core {cores.server}; load and mock upstream on core {cores.load}"
        if cores.are_apart
        else "ONE CORE for everything: ratios are meaningful, rates are not"
    )
    if report.boot.stores_moved:
        where += f"; {report.boot.stores_moved} embedded server processes moved to core {cores.load}"
    lines = [where]
    if report.foreign_share is not None and report.foreign_share > _QUIET_SHARE:
        lines.append(
            f"NOT QUIET: other processes used {report.foreign_share:.0%} of the cores; times are too long, ratios less so"
        )
    lines += ["", _row("", "floor", target, "ratio", "range", "bar")]
    for outcome in report.outcomes:
        lines += ["", f"{outcome.title}  ({outcome.generator}, {outcome.sent:,} {outcome.unit})"]
        lines += [_row(*cells) for cells in _outcome_rows(outcome) if cells]
    lines += [_row(*cells) for cells in _other_rows(report)]
    if not report.is_sound:
        lines += ["", *(f"UNSOUND: {reason}" for reason in _faults(report))]
    return "\n".join(lines)


def _outcome_rows(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    at_least = _THROUGHPUT_RATIO if outcome.name == "whole" else None
    if outcome.name != "paced":
        yield _paired(f"{outcome.unit}/s", outcome.per_second, at_least=at_least)
    at_most = _LARGE_COST_RATIO if outcome.name == "large" else None
    yield _paired(f"CPU µs per {outcome.unit[:-1]}", outcome.cpu_us, at_most=at_most)
    yield _paired(f"  to floor-thin: {outcome.unit}/s", outcome.thin_per_second)
    yield _paired("  to floor-thin: CPU µs", outcome.thin_cpu_us)
    yield _paired("CPU µs per event", outcome.cpu_us_per_event, at_most=_EVENT_COST_RATIO)
    if outcome.name != "paced":
        yield _paired("p50 ms", outcome.p50_ms)
        yield _paired("p99 ms", outcome.p99_ms)
    yield _paired("first event p50 ms", outcome.first_event_p50_ms)
    yield _paired("first event p99 ms", outcome.first_event_p99_ms)
    if outcome.name == "paced":
        yield _paired("gap p99 ms", outcome.gap_p99_ms)
        worst = outcome.gap_max_ms
        yield _paired("gap max ms", worst, verdict=_verdict(worst.target <= _GAP_MAX_MS, "≤ 500 ms") if worst else "")
    if outcome.store_cpu_us is not None:
        yield ("embedded servers' µs", "", _number(outcome.store_cpu_us), "", "", "")


def _other_rows(report: Report) -> Iterator[tuple[str, ...]]:
    added = report.added
    if added is not None:
        yield ("", "", "", "", "", "")
        yield (f"added at {added.per_second:,.0f} calls/s (half the knee), to a direct call", "", "", "", "", "")
        for name, direct, floor, target, bar in (
            ("p50", added.direct_p50_ms, added.floor_p50_ms, added.target_p50_ms, _ADDED_P50_MS),
            ("p99", added.direct_p99_ms, added.floor_p99_ms, added.target_p99_ms, _ADDED_P99_MS),
        ):
            verdict = _verdict(target <= bar, f"≤ {bar} ms")
            ratio = f"{target / floor:.2f}" if floor > 0 else "-"
            yield (f"{name} added ms", f"{floor:.3f}", f"{target:.3f}", ratio, f"direct {direct:.3f}", verdict)
    yield ("", "", "", "", "", "")
    known = report.known_key
    if known is not None:
        verdict = _verdict(known.plain_us <= _KNOWN_KEY_US, "≤ 15 µs")
        bounded = f"bounded {known.bounded_us:.1f}"
        yield ("a known key's CPU µs", "", f"{known.plain_us:.1f}", "", bounded, verdict)
    if report.resident_mb and report.floor_resident_mb:
        verdict = _verdict(report.resident_mb <= _RESIDENT_MB, "≤ 200 MB")
        cells = (
            f"{report.floor_resident_mb:.0f}",
            f"{report.resident_mb:.0f}",
            f"{report.resident_mb / report.floor_resident_mb:.2f}",
            "",
            verdict,
        )
        yield ("resident MB per worker", *cells)
    again = report.boot.again_seconds
    if again is not None:
        verdict = _verdict(again <= _READY_SECONDS, "≤ 3 s")
        yield ("ready after, s", "", f"{again:.2f}", "", f"first {report.boot.first_seconds:.2f}", verdict)


def _faults(report: Report) -> Iterator[str]:
    for outcome in report.outcomes:
        if outcome.failed:
            yield f"{outcome.name}: {outcome.failed:,} of {outcome.sent:,} calls failed"
        if outcome.unaccounted:
            yield f"{outcome.name}: answers and calls at the upstream differ by {outcome.unaccounted:,}"
        if outcome.wrong_streams:
            yield f"{outcome.name}: a stream had more or fewer events than the upstream sent"
    if report.added is not None and report.added.failed:
        yield f"fixed rate: {report.added.failed:,} calls failed"


def _paired(
    name: str,
    paired: Paired | None,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    verdict: str = "",
) -> tuple[str, ...]:
    if paired is None:
        return ()
    if at_least is not None:
        verdict = _verdict(paired.ratio >= at_least, f"≥ {at_least}")
    elif at_most is not None:
        verdict = _verdict(paired.ratio <= at_most, f"≤ {at_most}")
    spread = f"{paired.ratio_low:.2f}-{paired.ratio_high:.2f}"
    return name, _number(paired.floor), _number(paired.target), f"{paired.ratio:.2f}", spread, verdict


def _verdict(is_met: bool, bar: str) -> str:
    return f"{'met' if is_met else 'MISSED'} ({bar})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _row(*cells: str) -> str:
    if len(cells) < 6:
        return ""
    name, floor, target, ratio, spread, bar = cells
    return f"  {name:<26}{floor:>10}{target:>12}{ratio:>8}  {spread:<14}{bar}".rstrip()


def write_json(report: Report, *, name: str, target: str, is_quick: bool, cores: Cores) -> Path:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "target": target,
        "quick": is_quick,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": sys.version.split()[0],
        "machine": {"processor": _processor(), "system": platform.system(), "release": platform.release()},
        "cores": {**asdict(cores), "apart": cores.are_apart},
        "sound": report.is_sound,
        **asdict(report),
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def _commit() -> str | None:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except FileNotFoundError:
        pass
    return platform.processor()
