"""`./tollkeeper bench cache`: what the semantic cache serves and how often wrongly, on our pairs or on a file of yours."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from bench.cache import evaluate, page, speed, trace
from bench.cache.corpus import Pair, generate, read_pairs, write_pairs
from tollkeeper.gateway.cache import embedding_local
from tollkeeper.gateway.cache.embedding_local import ModelMissing
from tollkeeper.gateway.cache.similarity import choose, wilson

Floats = npt.NDArray[np.float32]

ROOT = Path(__file__).resolve().parents[2]
_CURVES = ROOT / "backend" / "tollkeeper" / "gateway" / "cache" / "curves.json"
_PAGE = ROOT / "docs" / "cache.md"
_CHART = ROOT / "docs" / "cache-curves.svg"
_DELTA = 0.02


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tollkeeper bench cache", description=__doc__)
    parser.add_argument("--data", type=Path, help='pairs of your own: one {"a", "b", "same", "domain"} a line')
    parser.add_argument("--seed", type=int, default=7, help="of the generated pairs")
    parser.add_argument("--out", type=Path, help="write the pairs that were judged, as JSON lines")
    parser.add_argument("--guards-only", action="store_true", help="no embeddings: what the guards do by themselves")
    parser.add_argument("--write-page", action="store_true", help="put the figures into docs/cache.md")
    parser.add_argument("--write-curves", action="store_true", help="measure the thresholds that policies are given")
    given = parser.parse_args(arguments)
    pairs = read_pairs(given.data) if given.data else generate(given.seed)
    if given.out:
        write_pairs(pairs, given.out)
    embed = None if given.guards_only else _embedder()
    texts = [text for pair in pairs for text in (pair.a, pair.b)]
    vectors = None if embed is None else evaluate.embed_all(texts, embed, _say)
    judged = evaluate.judge_all(pairs, vectors)
    tuned = [each for each in judged if each.pair.part == "tuned"] or judged
    held = [each for each in judged if each.pair.part == "held"] or judged
    if given.write_curves:
        _write_curves(tuned)
    chosen = None if embed is None else _chosen(tuned)
    lines = _report(pairs, tuned, held, chosen, is_ours=given.data is None, seed=given.seed)
    if given.data is None:
        lines += _desk(given.seed, embed, chosen)
        lines += ["", "### What it costs", "", *page.speeds(speed.measure(_short(pairs), embed))]
    print("\n".join(lines))
    if given.write_page:
        page.put(_PAGE, lines)
        if embed is not None:
            _CHART.write_text(page.chart(held), encoding="utf-8")
    return 0 if given.data or _holds(held, chosen) else 1


def _embedder() -> Callable[[list[str]], Floats]:
    try:
        return embedding_local.load().embed
    except ModelMissing as missing:
        sys.exit(f"bench: {missing} Or `--guards-only`.")


def _chosen(tuned: Sequence[evaluate.Judged]) -> float | None:
    chosen = choose(evaluate.curve(tuned, with_guards=True), _DELTA)
    return None if chosen is None else chosen.similarity


def _report(
    pairs: Sequence[Pair],
    tuned: Sequence[evaluate.Judged],
    held: Sequence[evaluate.Judged],
    chosen: float | None,
    *,
    is_ours: bool,
    seed: int,
) -> list[str]:
    same = sum(pair.same for pair in pairs)
    languages = sorted({pair.language for pair in pairs if pair.language})
    origin = f"seed {seed}, " if is_ours else ""
    lines = [
        f"{len(pairs):,} pairs ({origin}{same:,} paraphrases, {len(pairs) - same:,} near-misses; {', '.join(languages)})."
    ]
    if is_ours:
        lines += [
            "",
            "### On scenarios that nobody looked at while the guards were written",
            "",
            *page.table(held, chosen),
        ]
        lines += ["", "### On those that were", "", *page.table(tuned, chosen)]
    else:
        lines += ["", *page.table(held, chosen)]
    lines += ["", "### By domain and language", "", *page.domains(held, chosen)]
    return [*lines, "", "### Which guard refuses first", "", *page.refusals(held)]


def _desk(seed: int, embed: Callable[[list[str]], Floats] | None, chosen: float | None) -> list[str]:
    one = np.ones(1, dtype=np.float32)
    known: dict[str, Floats] = {}

    def vector(text: str) -> Floats:
        if embed is None:
            return one
        if text not in known:
            known[text] = embed([text])[0]
        return known[text]

    found = trace.replay(trace.make_trace(seed), vector, chosen or 0.0)
    return ["", "### A support desk's day", "", page.traced(found)]


def _short(pairs: Sequence[Pair]) -> list[str]:
    """As many words as make at most 32 tokens."""
    return [pair.a for pair in pairs if pair.language == "en" and 8 <= len(pair.a.split()) <= 16][:100]


def _write_curves(tuned: Sequence[evaluate.Judged]) -> None:
    measured = {
        name: [astuple(point) for point in evaluate.curve(some, with_guards=True)]
        for name, some in evaluate.by_domain(tuned).items()
    }
    _CURVES.write_bytes(orjson.dumps({embedding_local.NAME: measured}) + b"\n")


def _holds(held: Sequence[evaluate.Judged], chosen: float | None) -> bool:
    """The bars: enough served, few of it wrong, a fifth of the paraphrases, twice what a bare threshold can."""
    found = evaluate.rates(held, evaluate.by_guards if chosen is None else evaluate.by_both(chosen))
    best = None if chosen is None else evaluate.best_cosine(held, _DELTA)
    bare = 0.0 if best is None else evaluate.rates(held, evaluate.by_cosine(best)).hit_rate
    is_exact = found.false_rate <= 0.01 and wilson(found.wrong, found.served)[1] <= _DELTA
    return found.served >= 1_000 and is_exact and found.hit_rate >= max(0.2, 2 * bare)


if __name__ == "__main__":
    sys.exit(main())
