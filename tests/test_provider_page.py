"""`docs/providers.md` says what the registry does; a provider that is missing or a field that changed its fate shows."""

import re
from pathlib import Path

from typer.testing import CliRunner

from tollkeeper.cli import app
from tollkeeper.gateway.providers import PROVIDERS
from tollkeeper.provider_page import write_page
from tollkeeper.provider_page.samples import BASE, Sample
from tollkeeper.provider_page.trial import Outcome, Trial

PAGE = Path(__file__).parent.parent / "docs" / "providers.md"


def test_the_page_is_up_to_date() -> None:
    assert write_page() == PAGE.read_text(), "run: tollkeeper docs providers > docs/providers.md"


def test_the_command_prints_it() -> None:
    assert CliRunner().invoke(app, ["docs", "providers"]).stdout == PAGE.read_text()


def test_every_provider_is_on_it_once() -> None:
    kinds = re.findall(r"^\| [^|]+ \| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(kinds) == sorted(PROVIDERS)


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists()


def test_outcomes_are_told_apart() -> None:
    def outcome(kind: str, **fields: object) -> Outcome:
        return Trial(PROVIDERS[kind]).outcome(Sample("", fields, {}))

    assert outcome("openai", seed=7) is Outcome.AS_IS
    assert outcome("anthropic", seed=7) is Outcome.DROPPED
    assert outcome("gemini", seed=7) is Outcome.TRANSLATED
    assert outcome("anthropic", n=2) is Outcome.REFUSED
    assert outcome("openai", **BASE) is Outcome.NOTHING
