"""The page with the numbers: `docs/cache.md` between its marks, and the curves beside it."""

from collections.abc import Sequence
from pathlib import Path

from bench.cache.evaluate import STEPS, Judged, Rates, best_cosine, by_both, by_cosine, by_domain, by_guards, rates
from bench.cache.trace import Traced

BEGIN = "<!-- figures: written by ./tollkeeper bench cache -->"
END = "<!-- end of figures -->"
BOUND = 0.02
_WIDTH, _HEIGHT, _EDGE = 640, 360, 48


def table(judged: Sequence[Judged], chosen: float | None) -> list[str]:
    """A row for each way to decide."""
    rows = [
        "| decided by | paraphrases served | false hits of what was served |",
        "|---|---|---|",
    ]
    if judged and judged[0].similarity is None:
        found = rates(judged, by_guards)
        return [*rows, f"| guards alone | {_hits(found)} | {_false(found)} |"]
    best = best_cosine(judged, BOUND)
    ways: list[tuple[str, Rates | None]] = [
        ("cosine ≥ 0.80", rates(judged, by_cosine(0.8))),
        ("cosine ≥ 0.95", rates(judged, by_cosine(0.95))),
        (
            "best cosine within the bound: none" if best is None else f"best cosine within the bound: {best:.2f}",
            None if best is None else rates(judged, by_cosine(best)),
        ),
        ("guards alone", rates(judged, by_guards)),
    ]
    if chosen is not None:
        ways.append((f"**guards and cosine ≥ {chosen:.2f}** (default policy)", rates(judged, by_both(chosen))))
    return rows + [f"| {name} | {_hits(found)} | {_false(found)} |" for name, found in ways]


def _hits(found: Rates | None) -> str:
    if found is None:
        return "0.0 %"
    low, high = found.hit_interval
    return f"{found.hit_rate:.1%} ({low:.1%}–{high:.1%}), {found.hits:,} of {found.paraphrases:,}".replace("%", " %")


def _false(found: Rates | None) -> str:
    if found is None:
        return "–"
    low, high = found.false_interval
    return f"{found.false_rate:.2%} ({low:.2%}–{high:.2%}), {found.wrong:,} of {found.served:,}".replace("%", " %")


def domains(judged: Sequence[Judged], chosen: float | None) -> list[str]:
    rows = ["| | paraphrases served | false hits |", "|---|---|---|"]
    groups = {name: some for name, some in by_domain(judged).items() if name != "general"}
    languages = sorted({each.pair.language for each in judged})
    groups |= {f"in {name}": [each for each in judged if each.pair.language == name] for name in languages}
    for name, some in groups.items():
        found = rates(some, by_guards if chosen is None else by_both(chosen))
        rows.append(f"| {name} | {_hits(found)} | {_false(found)} |")
    return rows


def refusals(judged: Sequence[Judged]) -> list[str]:
    """Which guard refuses first what: near-misses it stops, paraphrases it costs."""
    names = sorted({each.refused_by for each in judged if each.refused_by})
    rows = ["| guard | near-misses refused | paraphrases refused |", "|---|---|---|"]
    for name in names:
        of_guard = [each.pair.same for each in judged if each.refused_by == name]
        rows.append(f"| {name} | {of_guard.count(False):,} | {of_guard.count(True):,} |")
    return rows


def traced(found: Traced) -> str:
    return (
        f"{found.questions:,} questions: {found.exact / found.questions:.1%} answered to the letter, "
        f"{found.semantic / found.questions:.1%} by meaning, together **{found.hit_rate:.1%}**; {found.wrong} of them wrongly."
    ).replace("%", " %")


def speeds(found: dict[str, tuple[float, float]]) -> list[str]:
    rows = ["| | middle | 95th |", "|---|---|---|"]
    return rows + [f"| {name} | {_time(middle)} | {_time(late)} |" for name, (middle, late) in found.items()]


def _time(microseconds: float) -> str:
    return f"{microseconds:.0f} µs" if microseconds < 1_000 else f"{microseconds / 1_000:.1f} ms"


def put(path: Path, lines: Sequence[str]) -> None:
    """The lines between the page's marks; the rest of it is written by hand."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")


def chart(judged: Sequence[Judged]) -> str:
    """Hit rate (down to up) against false-hit rate (left to right) as thresholds fall, as SVG."""
    ways = [("cosine alone", "#b3261e", by_cosine), ("cosine and guards", "#1a6b3c", by_both)]
    lines = []
    for place, (name, colour, way) in enumerate(ways):
        points = [rates(judged, way(step)) for step in STEPS]
        path = " ".join(f"{_x(each.false_rate):.1f},{_y(each.hit_rate):.1f}" for each in points if each.served)
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2.5" points="{path}"/>')
        lines.append(f'<text x="{_WIDTH - 170}" y="{80 + 20 * place}" fill="{colour}">{name}</text>')
    for tenth in range(0, 11, 2):
        share = tenth / 10
        lines.append(f'<text x="{_x(share):.0f}" y="{_HEIGHT - 26}" text-anchor="middle">{share:.0%}</text>')
        lines.append(f'<text x="{_EDGE - 6}" y="{_y(share) + 4:.0f}" text-anchor="end">{share:.0%}</text>')
        lines.append(
            f'<line x1="{_EDGE}" x2="{_WIDTH - 16}" y1="{_y(share):.1f}" y2="{_y(share):.1f}" stroke="#8884"/>'
        )
    lines.append(f'<text x="{_WIDTH // 2}" y="{_HEIGHT - 6}" text-anchor="middle">wrong of what was served</text>')
    lines.append(f'<text x="{_EDGE}" y="14">paraphrases served</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>', *lines, "</svg>"]) + "\n"


def _x(share: float) -> float:
    return _EDGE + share * (_WIDTH - _EDGE - 16)


def _y(share: float) -> float:
    return _HEIGHT - 44 - share * (_HEIGHT - 68)
