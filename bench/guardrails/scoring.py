"""How well rules find what is there: precision, recall and their means, with Wilson's intervals. Pure.

A value counts as found when a finding of its label covers at least four fifths of it. A finding that touches no value of
its rule is false; one that touches a value under another label is counted apart, as a wrong name. Of injection the whole
text is judged, as the policy would.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.guardrails.items import Item, Span

# 95 % of a normal distribution.
_Z: Final = 1.959964
_COVERED: Final = 0.8

Find = Callable[[Item], Sequence[Span]]


@dataclass(frozen=True, slots=True)
class Rate:
    """A share, and the interval it lies in with 95 % confidence (Wilson)."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        if not self.count:
            return 0.0, 1.0
        n, p = self.count, self.value
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(slots=True)
class Tally:
    """What one rule found in some items."""

    found: int = 0
    missed: int = 0
    false: int = 0
    misnamed: int = 0
    # Items without a value of this rule, and those of them in which it found one.
    clean: int = 0
    spoiled: int = 0

    def add(self, other: "Tally") -> None:
        for name in Tally.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def recall(self) -> Rate:
        return Rate(self.found, self.found + self.missed)

    @property
    def precision(self) -> Rate:
        return Rate(self.found, self.found + self.false)

    @property
    def false_positives(self) -> Rate:
        return Rate(self.spoiled, self.clean)

    def f_score(self, beta: float = 1.0) -> float:
        precision, recall = self.precision.value, self.recall.value
        below = beta**2 * precision + recall
        return (1 + beta**2) * precision * recall / below if below else 0.0


@dataclass(slots=True)
class Report:
    """Of one rule: all together, by family of texts and by label."""

    rule: str
    total: Tally = field(default_factory=Tally)
    families: dict[str, Tally] = field(default_factory=dict)
    labels: dict[str, Tally] = field(default_factory=dict)
    # Some of what went wrong, for whoever mends it: family, and what.
    faults: list[tuple[str, str, str]] = field(default_factory=list)


def score_spans(rule: str, items: Iterable[Item], labels: frozenset[str], find: Find) -> Report:
    """`labels`: those that the rule is meant to find; others in the items are none of its business."""
    report = Report(rule)
    for item in items:
        wanted = [span for span in item.spans if span.label in labels]
        if not wanted and any(label in labels for label in item.labels):
            continue  # somewhere in it, but nobody says where
        findings = find(item)
        tally = Tally()
        for span in wanted:
            one = report.labels.setdefault(span.label, Tally())
            if any(finding.label == span.label and _covers(finding, span) for finding in findings):
                tally.found += 1
                one.found += 1
            else:
                tally.missed += 1
                one.missed += 1
                report.faults.append(("missed", item.family, f"{span.label}: {item.text}"))
        for finding in findings:
            touched = [span for span in item.spans if finding.start < span.end and span.start < finding.end]
            if not touched:
                tally.false += 1
                report.labels.setdefault(finding.label, Tally()).false += 1
                report.faults.append(("false", item.family, f"{finding.label}: {item.text}"))
            elif all(span.label != finding.label for span in touched):
                tally.misnamed += 1
        if not wanted:
            tally.clean = 1
            tally.spoiled = int(tally.false > 0)
        _file(report, item, tally)
    return report


def score_texts(rule: str, items: Iterable[Item], label: str, find: Find) -> Report:
    report = Report(rule)
    for item in items:
        is_there, is_found = label in item.labels, bool(find(item))
        tally = Tally(found=int(is_there and is_found), missed=int(is_there and not is_found))
        if not is_there:
            tally.clean, tally.spoiled, tally.false = 1, int(is_found), int(is_found)
        if is_there != is_found:
            report.faults.append(("missed" if is_there else "false", f"{item.family}, {item.split}", item.text))
        _file(report, item, tally)
    return report


def _file(report: Report, item: Item, tally: Tally) -> None:
    report.total.add(tally)
    report.families.setdefault(item.family, Tally()).add(tally)


def merged(report: Report, name: Callable[[str], str]) -> dict[str, Tally]:
    """Families under coarser names."""
    together: dict[str, Tally] = {}
    for family, tally in report.families.items():
        together.setdefault(name(family), Tally()).add(tally)
    return together


def fault_counts(report: Report) -> Counter[tuple[str, str]]:
    return Counter((kind, family) for kind, family, _ in report.faults)


def _covers(finding: Span, span: Span) -> bool:
    shared = min(finding.end, span.end) - max(finding.start, span.start)
    return shared >= _COVERED * (span.end - span.start)
