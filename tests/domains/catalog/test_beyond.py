"""What is sold of a provider beyond models: declared and stored, always with its price, and shown as it was given."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.domains.catalog.conftest import World
from tests.domains.catalog.kinds import KINDS
from tests.domains.catalog.test_providers import create, update
from tollkeeper.configuration import ConfigError, load_configuration
from tollkeeper.contracts.catalog import DeclaredCatalog, ProviderConfig
from tollkeeper.contracts.passthrough import OpenPath, Passthrough
from tollkeeper.core.ids import uuid7
from tollkeeper.domains.catalog.beyond import PassthroughFields
from tollkeeper.domains.catalog.declared import DeclaredProvider
from tollkeeper.domains.catalog.provider_view import show_declared_provider
from tollkeeper.domains.catalog.schemas import ManagedBy, ProviderCreate

OPENED = {
    "allow": ["GET /vector_stores/*", "* /threads/**"],
    "per_request_usd": "0.0015",
    "headers": ["OpenAI-Project"],
}
READ = Passthrough(
    (OpenPath("GET", "/vector_stores/*"), OpenPath("*", "/threads/**")), 1_500_000, frozenset({"openai-project"})
)
FILE = """\
providers:
  - name: p
    kind: openai
    api_key: k
"""


def load(folder: Path, lines: str) -> DeclaredCatalog:
    path = folder / "tollkeeper.yaml"
    path.write_text(FILE + lines, encoding="utf-8")
    return load_configuration(path, {}, kinds=KINDS).catalog


def test_file_opens_paths_and_says_what_a_job_costs(tmp_path: Path) -> None:
    (config,) = load(
        tmp_path,
        '    passthrough: {allow: [GET /vector_stores/*, "* /threads/**"], per_request_usd: 0.0015, headers: [OpenAI-Project]}\n'
        '    fine_tuning: {per_job_usd: "25"}\n',
    ).providers
    assert config.passthrough == READ
    assert config.fine_tuning_nano == 25 * 10**9


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("    passthrough: {allow: [GET /files]}\n", "per_request_usd"),
        ("    passthrough: {allow: [], per_request_usd: 0}\n", "allow"),
        ("    passthrough: {allow: [FETCH /files], per_request_usd: 0}\n", "expected a method"),
        ("    passthrough: {allow: [GET files], per_request_usd: 0}\n", "expected a method"),
        ("    passthrough: {allow: [GET /files/../x], per_request_usd: 0}\n", "single slashes"),
        ("    passthrough: {allow: [GET //files], per_request_usd: 0}\n", "single slashes"),
        ("    passthrough: {allow: [GET /**/x], per_request_usd: 0}\n", "ends a path"),
        ("    passthrough: {allow: [GET /a], per_request_usd: 0, headers: [Authorization]}\n", "never passed on"),
        ("    passthrough: {allow: [GET /a], per_request_usd: 0, headers: [x-forwarded-for]}\n", "never passed on"),
        ("    passthrough: {allow: [GET /a], per_request_usd: -1}\n", "between 0"),
        ("    passthrough: {allow: [GET /a], per_request_usd: 0.0000000001}\n", "nine decimals"),
        ("    fine_tuning: {}\n", "per_job_usd"),
    ],
)
def test_nothing_is_opened_without_a_price_or_by_halves(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, lines)
    (problem,) = caught.value.problems
    assert says in str(problem)
    assert "tollkeeper.yaml:" in str(problem)


async def test_stored_provider_serves_and_shows_what_it_was_given(world: World) -> None:
    shown = await create(world, passthrough=OPENED, fine_tuning={"per_job_usd": "25"})
    assert shown.passthrough == PassthroughFields.model_validate(OPENED)
    assert shown.fine_tuning is not None
    assert shown.fine_tuning.per_job_usd == Decimal(25)
    config = (await world.snapshot()).providers["acme"]
    assert (config.passthrough, config.fine_tuning_nano) == (READ, 25 * 10**9)
    changed = await update(world, shown.id, passthrough={**OPENED, "per_request_usd": "1"})
    assert changed.passthrough is not None
    assert changed.passthrough.per_request_usd == Decimal(1)
    assert changed.fine_tuning == shown.fine_tuning, "what is not named stays"
    closed = await update(world, shown.id, passthrough=None, fine_tuning=None)
    assert (closed.passthrough, closed.fine_tuning) == (None, None)
    config = (await world.snapshot()).providers["acme"]
    assert (config.passthrough, config.fine_tuning_nano) == (None, None)


async def test_change_of_what_is_open_is_on_record(world: World) -> None:
    shown = await create(world, passthrough=OPENED)
    await update(world, shown.id, passthrough=None)
    change = (await world.audited())[-1]
    assert change.action == "catalog.providers.update"
    assert change.before["passthrough"]["per_request_usd"] == "0.0015"
    assert change.after["passthrough"] is None


@pytest.mark.parametrize("missing", [{"allow": ["GET /a"]}, {"per_request_usd": "1"}, {**OPENED, "all": True}])
def test_api_takes_no_half_of_it(missing: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProviderCreate.model_validate({"name": "a", "kind": "openai", "passthrough": missing})


@pytest.mark.parametrize(
    ("rule", "method", "path", "is_open"),
    [
        ("GET /files", "GET", "files", True),
        ("GET /files", "POST", "files", False),
        ("GET /files", "GET", "files/x", False),
        ("GET /files/*", "GET", "files/x", True),
        ("GET /files/*", "GET", "files", False),
        ("GET /files/*", "GET", "files/x/content", False),
        ("* /files/*/content", "DELETE", "files/x/content", True),
        ("* /files/**", "PUT", "files/x/content", True),
        ("* /files/**", "PUT", "files", False),
        ("* /**", "PUT", "anything/at/all", True),
    ],
)
def test_rule_opens_what_it_says(rule: str, method: str, path: str, is_open: bool) -> None:
    opened = PassthroughFields.model_validate({"allow": [rule], "per_request_usd": "0"})
    method_of, _, path_of = opened.allow[0].partition(" ")
    assert OpenPath(method_of, path_of).admits(method, path.split("/")) is is_open


def test_declared_provider_shows_it_too() -> None:
    config = ProviderConfig(uuid7(), "p", "openai", None, passthrough=READ, fine_tuning_nano=5)
    shown = show_declared_provider(DeclaredProvider(config, ManagedBy.FILE, None), shows_everything=True)
    assert shown.passthrough == PassthroughFields.model_validate({**OPENED, "headers": ["openai-project"]})
    hidden = show_declared_provider(DeclaredProvider(config, ManagedBy.FILE, None), shows_everything=False)
    assert hidden.passthrough is None
