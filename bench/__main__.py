"""`./tollkeeper bench`: measure Tollkeeper against the floor, print the table, write `bench/results/<name>.json`.

`./tollkeeper bench guardrails` measures the guardrails instead: what they find, and what that costs;
`./tollkeeper bench cache` what the semantic cache gives again, and how often wrongly.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from bench import report, targets, wrk
from bench.cache import cli as cache
from bench.guardrails import command as guardrails
from bench.harness import run_suite
from bench.processes import ROOT, StartFailed
from bench.rig import set_up
from bench.scenarios import MODELS, suite


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main() -> None:
    if sys.argv[1:2] == ["guardrails"]:
        guardrails.main(sys.argv[2:])
        return
    if sys.argv[1:2] == ["cache"]:
        sys.exit(cache.main(sys.argv[2:]))
    names = [scenario.name for scenario in suite(is_quick=True).scenarios]
    parser = argparse.ArgumentParser(prog="tollkeeper bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about half a minute instead of two to three minutes")
    parser.add_argument(
        "--target", choices=targets.NAMES, default=targets.NAMES[0], help="floor measures the method's own noise"
    )
    parser.add_argument("--only", action="append", choices=[*names, "latency"], default=[], help="may be repeated")
    parser.add_argument("--generator", choices=("auto", "own", "wrk"), default="auto")
    parser.add_argument("--name", help="of the file in bench/results (default: the target's name)")
    given = parser.parse_args()
    if given.generator != "own" and wrk.find() is None:
        _say(wrk.INSTALL)
    target = targets.choose(given.target, MODELS)
    with tempfile.TemporaryDirectory(prefix="tollkeeper-bench-") as folder:
        try:
            _say(f"starting the mock upstream, the floor and {target.name} ...")
            with set_up(target, Path(folder), generator=given.generator) as rig:
                measured = run_suite(rig, suite(is_quick=given.quick), frozenset(given.only), _say)
        except StartFailed as failed:
            sys.exit(f"bench: {failed}")
    print(report.table(measured, rig.target.name, rig.cores))
    name = given.name or target.name + ("-quick" if given.quick else "")
    path = report.write_json(measured, name=name, target=target.name, is_quick=given.quick, cores=rig.cores)
    print(f"\nwritten to {path.relative_to(ROOT)}")
    sys.exit(0 if measured.is_sound else 1)


if __name__ == "__main__":
    main()
