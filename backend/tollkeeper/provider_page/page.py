"""Writes the page: who is there, what becomes of each field of a chat call, and what the OpenAI-speaking ones do otherwise."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tollkeeper.contracts.catalog import ProviderKind
from tollkeeper.contracts.chat import Operation
from tollkeeper.gateway.paths import GEMINI_METHODS, GEMINI_PREFIXES, OPERATION_PATHS, PREFIXES
from tollkeeper.gateway.providers import PROVIDERS, provider_kinds
from tollkeeper.provider_page.samples import CONTENTS, FIELDS, Sample
from tollkeeper.provider_page.trial import CALLERS, Outcome, Trial

# The vendors whose answers differ from each other; the others speak OpenAI's form and are held against it.
_COLUMNS: Final = ("openai", "azure", "anthropic", "bedrock", "gemini", "vertex")
_OPERATIONS: Final[Mapping[Operation, str]] = {
    Operation.CHAT: "chat",
    Operation.COMPLETIONS: "completions",
    Operation.EMBEDDINGS: "embeddings",
    Operation.MODERATIONS: "moderations",
    Operation.IMAGE_GENERATIONS: "images",
    Operation.IMAGE_EDITS: "image edits",
    Operation.IMAGE_VARIATIONS: "image variations",
    Operation.SPEECH: "speech",
    Operation.TRANSCRIPTIONS: "transcriptions",
    Operation.TRANSLATIONS: "translations",
    Operation.RERANK: "rerank",
}
_HEAD: Final = """\
# Providers and dialects

<!-- Written by `tollkeeper docs providers > docs/providers.md`; a test holds it against the registry. Do not edit. -->

What each provider has, and what becomes of what a caller sends. This page is found out, not written: every provider is
given one call of each kind, and what it makes of it stands here.

- **as it is**: the vendor gets the field as it was sent.
- **translated**: said in the vendor's own words.
- **dropped**: the vendor has no word for it and the answer is none the worse: left out, and named in
  `x-tollkeeper-dropped`. A model with `drop_params: refuse` refuses such calls instead.
- **refused**: left out, it would change what was asked: 400 with `param` and a stable code, before anything is sent.
- **no effect**: nothing has to be sent for it.

Any dialect of a caller reaches any provider. Where both speak the same one, the call goes out and the answer comes back
as it is, unknown fields included; else both are translated, each once, through one common form.
"""
_OTHERS: Final = """\
## Vendors that speak OpenAI's form

What they do otherwise than the column of OpenAI says; each is one row of the registry
([vendors.py](../backend/tollkeeper/gateway/providers/vendors.py)).
"""


def write_page() -> str:
    trials = {kind: Trial(provider) for kind, provider in PROVIDERS.items()}
    sections = [
        _HEAD,
        _callers(),
        _providers(trials),
        "## A chat call's fields\n",
        _models(trials),
        _matrix(FIELDS, trials, "field"),
        "## A chat call's content\n",
        _matrix(CONTENTS, trials, "content"),
        _departures(trials),
    ]
    return "\n".join(sections)


def _callers() -> str:
    first, second = PREFIXES
    lines = ["## What callers may speak\n", f"Under `{first}` and `{second}` alike:\n"]
    lines += _table(["path", "operation"], [[f"`{path}`", operation] for path, operation in OPERATION_PATHS.items()])
    places = ", ".join(f"`{prefix}/models/{{model}}:…`" for prefix in (*GEMINI_PREFIXES, *PREFIXES))
    lines += ["", f"Gemini's methods stand behind the model: {places}.\n"]
    lines += _table(["method", "operation"], [[f"`{method}`", found] for method, found in GEMINI_METHODS.items()])
    return "\n".join(lines) + "\n"


def _providers(trials: Mapping[str, Trial]) -> str:
    rows = []
    for kind in provider_kinds():
        trial = trials[kind.kind]
        relayed = [name for dialect, name in CALLERS.items() if trial.speaks(dialect) == dialect]
        offered = [name for operation, name in _OPERATIONS.items() if trial.has(operation)]
        rows.append([kind.title, f"`{kind.kind}`", ", ".join(relayed) or "none", ", ".join(offered), _address(kind)])
    table = _table(["provider", "kind", "callers relayed as they are", "operations", "address and key"], rows)
    return "\n".join(["## Providers\n", *table]) + "\n"


def _address(kind: ProviderKind) -> str:
    base = "its `base_url`" if kind.base_url is None and kind.needs_base_url else f"`{kind.base_url}`"
    if kind.base_url is None and not kind.needs_base_url:
        return "in this process"
    key = f", `{kind.env_var}`" if kind.env_var else ""
    return base + key + ("" if kind.needs_credential else ", no key needed")


def _models(trials: Mapping[str, Trial]) -> str:
    named = ", ".join(f"{_title(kind)} `{trials[kind].model}`" for kind in _COLUMNS)
    return (
        "For a call in OpenAI's Chat Completions. Generations of models differ in what they take; these stand for their "
        f"vendors here: {named}.\n"
    )


def _matrix(samples: Iterable[Sample], trials: Mapping[str, Trial], what: str) -> str:
    rows = [[sample.label, *(trials[kind].outcome(sample) for kind in _COLUMNS)] for sample in samples]
    return "\n".join(_table([what, *map(_title, _COLUMNS)], rows)) + "\n"


def _departures(trials: Mapping[str, Trial]) -> str:
    """Of the vendors that speak OpenAI's form: what they do otherwise than OpenAI."""
    usual = {sample.label: trials["openai"].outcome(sample) for sample in (*FIELDS, *CONTENTS)}
    groups: dict[str, list[str]] = {}
    for kind in provider_kinds():
        trial = trials[kind.kind]
        if kind.kind in _COLUMNS or trial.speaks() != "openai_chat":
            continue
        others: dict[Outcome, list[str]] = {}
        for sample in (*FIELDS, *CONTENTS):
            outcome = trial.outcome(sample)
            if outcome is not usual[sample.label]:
                others.setdefault(outcome, []).append(sample.label)
        said = "; ".join(f"{outcome}: {', '.join(labels)}" for outcome, labels in others.items())
        groups.setdefault(said or "nothing", []).append(kind.title)
    rows = [[", ".join(titles), said] for said, titles in groups.items()]
    return "\n".join([_OTHERS, *_table(["providers", "otherwise than OpenAI"], rows)]) + "\n"


def _title(kind: str) -> str:
    return next(known.title for known in provider_kinds() if known.kind == kind)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
