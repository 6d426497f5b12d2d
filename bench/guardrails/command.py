"""`./tollkeeper bench guardrails`: how well the shipped rules find what is there, and what that costs.

Without `--data` on the corpus made from a seed, else on every `*.jsonl` of a folder (or one file): lines of
`{"text", "labels", "spans"}`, spans of `{"start", "end", "label"}` in characters; an attack has the label `injection`.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from bench.guardrails import costs, page
from bench.guardrails.items import HELD_OUT, HELD_OUT_USUAL, BadLine, Item, read_items
from bench.guardrails.rules import CHECKED, INJECTION, SECRETS, UNCHECKED, Rules
from bench.guardrails.scoring import Report, score_spans, score_texts
from bench.guardrails_corpus import DEFAULT_SEED, make_corpus

CHECKED_TITLE: Final = "PII with check digits"
UNCHECKED_TITLE: Final = "Other PII"
SECRETS_TITLE: Final = "Secrets"
INJECTION_TITLE: Final = "Injection"
USUAL_TITLE: Final = "Injection, held out, in usual words"
UNSEEN_TITLE: Final = "Injection, held out, in unusual words"


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def score(items: Sequence[Item]) -> dict[str, Report]:
    rules = Rules()
    held_out = {split: [item for item in items if item.split == split] for split in (HELD_OUT_USUAL, HELD_OUT)}
    known = [item for item in items if item.split not in held_out]
    reports = {
        CHECKED_TITLE: score_spans(CHECKED_TITLE, items, CHECKED, partial(rules.find_personal, labels=CHECKED)),
        UNCHECKED_TITLE: score_spans(UNCHECKED_TITLE, items, UNCHECKED, partial(rules.find_personal, labels=UNCHECKED)),
        SECRETS_TITLE: score_spans(SECRETS_TITLE, items, SECRETS, rules.find_secrets),
        INJECTION_TITLE: score_texts(INJECTION_TITLE, known, INJECTION, rules.find_injection),
    }
    for title, split in ((USUAL_TITLE, HELD_OUT_USUAL), (UNSEEN_TITLE, HELD_OUT)):
        if held_out[split]:
            reports[title] = score_texts(title, held_out[split], INJECTION, rules.find_injection)
    return reports


def read_folder(data: Path) -> list[Item]:
    files = [data] if data.is_file() else sorted(data.glob("*.jsonl"))
    if not files:
        raise BadLine(f"{data} has no *.jsonl")
    return [item for file in files for item in read_items(file)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tollkeeper bench guardrails", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of *.jsonl, or one such file")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the corpus that is made")
    parser.add_argument("--out", type=Path, help="write the page there (ours: docs/guardrails.md)")
    parser.add_argument("--faults", type=int, default=0, metavar="N", help="show so many of what went wrong, by rule")
    parser.add_argument("--no-costs", action="store_true", help="leave out what it costs")
    given = parser.parse_args(arguments)
    try:
        items = read_folder(given.data) if given.data else make_corpus(given.seed)
    except (BadLine, OSError) as error:
        sys.exit(f"bench: {error}")
    _say(f"looking at {len(items)} texts ...")
    reports = score(items)
    measured = None
    if not given.no_costs:
        _say("measuring what it costs ...")
        measured = costs.measure(items if not given.data else make_corpus(given.seed))
    source = str(given.data) if given.data else f"the corpus with seed {given.seed}"
    text = page.render(reports, measured, source=source, count=len(items))
    for report in reports.values():
        for kind, family, what in report.faults[: given.faults]:
            _say(f"{report.rule}: {kind} ({family}): {what[:200]!r}")
    if given.out is None:
        print(text)
    else:
        given.out.write_text(text, "utf-8")
        _say(f"written to {given.out}")
    if given.data:
        return
    missed = page.bars([
        (CHECKED_TITLE, reports[CHECKED_TITLE], 0.97, 0.005),
        (SECRETS_TITLE, reports[SECRETS_TITLE], 0.97, 0.005),
        (INJECTION_TITLE, reports[INJECTION_TITLE], 0.85, 0.01),
    ])  # fmt: skip
    for line in missed:
        _say(line)
    sys.exit(1 if missed else 0)
