"""The corpus that guardrails are measured on, from a seed: `python -m bench.guardrails_corpus FILE [--seed N]` writes it.

What is made is the same on every machine; clean code is read from the machine's own Python and so differs with it.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.guardrails.attacks import attacks, usual_attacks
from bench.guardrails.clean import clean_code, clean_prose
from bench.guardrails.items import Item, write_items
from bench.guardrails.lookalikes import lookalikes
from bench.guardrails.personal import personal
from bench.guardrails.tokens import tokens

DEFAULT_SEED: Final = 7
# Of each kind, before what is said twice is left out.
_COUNTS: Final = {"personal": 1500, "tokens": 1000, "attacks": 1200, "lookalikes": 1500, "prose": 800, "code": 600}


def make_corpus(seed: int = DEFAULT_SEED, scale: float = 1.0, *, with_code: bool = True) -> list[Item]:
    """Each kind from a generator of its own, so that more of one changes nothing of another."""

    def of(kind: str) -> tuple[random.Random, int]:
        # Not of secrets: the same numbers each time is what is asked for.
        return random.Random(f"{seed}/{kind}"), max(1, round(_COUNTS[kind] * scale))

    items = [
        *personal(*of("personal")),
        *tokens(*of("tokens")),
        *attacks(*of("attacks")),
        *usual_attacks(),
        *lookalikes(*of("lookalikes")),
        *clean_prose(*of("prose")),
    ]
    if with_code:
        items += clean_code(*of("code"))
    # What is said twice counts once.
    return list({item.text: item for item in reversed(items)}.values())[::-1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.guardrails_corpus", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    given = parser.parse_args(arguments)
    items = make_corpus(given.seed)
    write_items(given.file, items)
    print(f"{len(items)} items written to {given.file}")


if __name__ == "__main__":
    main()
