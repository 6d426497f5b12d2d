"""The page of figures: what was measured as Markdown, between words that stay the same."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.guardrails.costs import HOSTILE_BYTES, Costs
from bench.guardrails.scoring import Rate, Report, Tally, merged

_WORDS: Final = Path(__file__).with_name("page.md")
_MOST_ROWS: Final = 80


def render(reports: Mapping[str, Report], costs: Costs | None, *, source: str, count: int) -> str:
    """`reports` by title, in order."""
    figures = [f"Measured on {count:,} texts of {source}.", "", *_summary(reports)]
    for title, report in reports.items():
        figures += ["", f"### {title}, by family", "", *_table(_families(report), is_text=not report.labels)]
        if report.labels:
            figures += ["", f"### {title}, by label", "", *_labels(report)]
    spent = _costs(costs) if costs is not None else ["Not measured in this run."]
    words = _WORDS.read_text("utf-8")
    return words.replace("<!-- figures -->", "\n".join(figures)).replace("<!-- costs -->", "\n".join(spent))


def _summary(reports: Mapping[str, Report]) -> list[str]:
    rows = ["| rule | precision | recall | F1 | F2 | false positives |", "|---|---|---|---|---|---|"]
    for title, report in reports.items():
        t = report.total
        rows.append(
            f"| {title} | {_rate(t.precision)} | {_rate(t.recall)} | {t.f_score():.3f} | {t.f_score(2):.3f} | {_share(t)} |"
        )
    return rows


def _families(report: Report) -> dict[str, Tally]:
    """Those that the rule is for one by one, others by what they are."""
    own = {family.partition("/")[0] for family, tally in report.families.items() if tally.recall.count}
    own -= {"injection"} if report.labels else set()

    def coarse(family: str) -> str:
        head, _, tail = family.partition("/")
        if head == "clean":
            return "clean prose" if tail.startswith("prose") else "clean code and documents"
        if head == "hard":
            return "hard look-alikes"
        if head not in own:
            return f"texts made for other rules ({head})" if head in {"pii", "secrets", "injection"} else family
        kept = tail if tail.startswith("encoded") else tail.removesuffix("-buried").partition("-")[0]
        return f"{head}/{kept}"

    return dict(sorted(merged(report, coarse).items()))


def _table(families: Mapping[str, Tally], *, is_text: bool) -> list[str]:
    what = "texts" if is_text else "values"
    rows = [f"| family | {what} found | recall | false alarms | of texts without |", "|---|---|---|---|---|"]
    for family, t in families.items():
        found = f"{t.found} of {t.recall.count}" if t.recall.count else "–"
        recall = _rate(t.recall) if t.recall.count else "–"
        rows.append(f"| {family} | {found} | {recall} | {t.spoiled if t.clean else '–'} | {t.clean or '–'} |")
    return rows[: _MOST_ROWS + 2]


def _labels(report: Report) -> list[str]:
    flawless = {label: t for label, t in sorted(report.labels.items()) if t.recall.count and not t.missed + t.false}
    rows = []
    if flawless:
        every = ", ".join(f"{label} ({t.found})" for label, t in flawless.items())
        rows += [f"All found and nothing falsely, with how many there were: {every}.", ""]
    rest = {label: t for label, t in sorted(report.labels.items()) if label not in flawless}
    if rest:
        rows += ["| label | found | recall | false |", "|---|---|---|---|"]
    for label, t in rest.items():
        recall = _rate(t.recall) if t.recall.count else "–"
        rows.append(f"| {label} | {t.found} of {t.recall.count} | {recall} | {t.false} |")
    return rows


def _costs(costs: Costs) -> list[str]:
    rows = [
        f"One core of a shared machine ({platform.machine()}, Python {platform.python_version()}), CPU time, best of five rounds.",
        "",
    ]
    rows += ["| rule | ms per kB of prose | ms per kB of code |", "|---|---|---|"]
    rows += [f"| {name} | {prose:.3f} | {code:.3f} |" for name, (prose, code) in costs.per_kilobyte.items()]
    rows += ["", "| what, with `baseline` | measured | bar |", "|---|---|---|"]
    rows.append(f"| a kilobyte of prose in seven languages | {costs.per_kilobyte['baseline'][0]:.3f} ms | 0.15 ms |")
    rows.append(f"| a prompt of 200 characters | {costs.prompt_us:.0f} µs | 60 µs |")
    rows.append(f"| a streamed chunk of one word | {costs.chunk_us:.0f} µs | 15 µs |")
    rows += [
        "",
        f"Texts made to be slow, {HOSTILE_BYTES // 1024} kB each, looked at for the first time, in ms per kB (equal to seconds per MB):",
        "",
    ]
    rows += ["| text | `baseline` | pii, secrets and injection with all labels |", "|---|---|---|"]
    rows += [f"| {name} | {some:.2f} | {everything:.2f} |" for name, (some, everything) in costs.hostile.items()]
    return rows


def _rate(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.value:.3f} ({low:.3f}–{high:.3f})"


def _share(t: Tally) -> str:
    if not t.clean:
        return "–"
    low, high = t.false_positives.interval
    return f"{t.spoiled} of {t.clean:,}: {t.false_positives.value:.2%} ({low:.2%}–{high:.2%})"


def bars(reports: Sequence[tuple[str, Report, float, float]]) -> list[str]:
    """What misses its bar: title, report, the least F1 or recall, the highest share of false positives."""
    missed = []
    for title, report, least, highest in reports:
        value = report.total.f_score() if report.labels else report.total.recall.value
        if value < least:
            missed.append(f"{title}: {value:.3f} is below {least}")
        if report.total.false_positives.value > highest:
            missed.append(f"{title}: {report.total.false_positives.value:.2%} false positives are above {highest:.1%}")
    return missed
