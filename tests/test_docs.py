"""The documents are true: links lead somewhere, commands and paths exist, examples are accepted, settings are explained."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from fastapi.routing import iter_route_contexts

from tollkeeper.cli import app
from tollkeeper.configuration import load_configuration
from tollkeeper.core.config import Settings
from tollkeeper.gateway.paths import OPERATION_PATHS, PREFIXES
from tollkeeper.gateway.providers import provider_kinds

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DECISIONS = sorted((ROOT / "backend" / "decisions").glob("*.md"))
DOCUMENTS = [
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "backend" / "README.md",
    ROOT / "bench" / "README.md",
    ROOT / "frontend" / "README.md",
    *DECISIONS,
]
# What `./tollkeeper` itself takes, beside the commands of the program.
BOOTSTRAP = {"test", "check", "bench"}
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fences(path: Path, language: str) -> list[str]:
    return [body for kind, body in _FENCE.findall(path.read_text()) if kind == language]


def command_of(words: list[str]) -> Any:
    """The command that the words name; KeyError when there is none."""
    node: Any = typer.main.get_command(app)
    for word in words:
        if not hasattr(node, "commands") or not re.fullmatch(r"[a-z-]+", word):
            break
        node = node.commands[word]
    return node


def named_commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """`tollkeeper …` in code, as (what stands there, its words)."""
    code = [body for _, body in _FENCE.findall(text)]
    code += re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
    for line in "\n".join(code).splitlines():
        for found in re.finditer(r"(?:^|[\s;&])(?:\./)?tollkeeper((?: +[^\s#|;&`]+)*)", line):
            if not line[: found.end()].strip().startswith(("from ", "import ", "│", "CREATE ", "/")):
                yield found[0].strip(), found[1].split()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(document: Path) -> None:
    for target in _LINK.findall(document.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_document_knows_a_machine(document: Path) -> None:
    found = re.findall(r"(?:^|[\s`'\"(=])(/(?:home|root|Users|work|tmp|mnt|opt)/[\w./-]*)", document.read_text())
    assert found == []


@pytest.mark.parametrize("document", [README, ROOT / "CHANGELOG.md", *DECISIONS], ids=name_of)
def test_commands_named_exist(document: Path) -> None:
    for shown, words in named_commands(document.read_text()):
        if words and words[0] not in BOOTSTRAP and re.fullmatch(r"[a-z][a-z-]*", words[0]):
            try:
                command = command_of(words)
            except KeyError:
                pytest.fail(f"no such command: {shown}")
            options = {
                option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
            }
            wanted = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert wanted <= options | {"--help"}, shown


def test_readme_names_every_command_of_the_program() -> None:
    [table] = re.findall(r"## The command\n(.*?)\n## ", README.read_text(), re.DOTALL)
    listed = {word for word in re.findall(r"`([a-z][a-z-]*)`", table) if word != "tollkeeper"}
    program: Any = typer.main.get_command(app)
    assert listed == program.commands.keys()


def test_readmes_two_commands_are_those_of_the_bootstrap_and_of_the_gate() -> None:
    commands = re.findall(r"^\./tollkeeper (\w+)", fences(README, "sh")[0], re.MULTILINE)
    assert commands == ["serve", "test"]
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec ./tollkeeper test"


def test_readmes_configuration_is_accepted(tmp_path: Path) -> None:
    example, parameters, rules, policies, guardrails, caches = fences(README, "yaml")
    path = tmp_path / "tollkeeper.yaml"
    path.write_text(example + rules)
    configuration = load_configuration(path, {}, kinds=provider_kinds())
    assert configuration.warnings == ()
    assert [provider.name for provider in configuration.catalog.providers] == ["local"]
    assert [model.name for model in configuration.catalog.models] == ["gpt-4o-mini"]
    assert [rule.name for rule in configuration.rules] == ["Everybody", "Search a month"]
    path.write_text("providers: [{name: openai, kind: openai, api_key: key}]\n" + parameters)
    (model,) = load_configuration(path, {}, kinds=provider_kinds()).catalog.models
    assert model.parameters.refuses_dropped
    assert dict(model.parameters.overrides) == {"seed": 7, "logit_bias": None}
    assert dict(model.capabilities) == {"vision": False, "reasoning": False}
    names = ("openai", "azure-eu", "google", "anthropic")
    providers = ", ".join(f"{{name: {name}, kind: openai, api_key: key}}" for name in names)
    path.write_text(f"providers: [{providers}]\n{policies}")
    assert [policy.name for policy in load_configuration(path, {}, kinds=provider_kinds()).policies] == [
        "fast",
        "night",
    ]
    path.write_text(guardrails)
    attached = load_configuration(path, {}, kinds=provider_kinds()).guardrails
    assert [attachment.policy.name for attachment in attached] == ["house", "codenames"]
    path.write_text(caches)
    held = load_configuration(path, {}, kinds=provider_kinds()).caches
    assert [attachment.policy.name for attachment in held] == ["house", "sampling"]


def test_readmes_curl_calls_a_path_that_is_served_with_a_body_that_fits() -> None:
    [block] = [block for block in fences(README, "sh") if "curl http" in block]
    words = shlex.split(block[block.index("curl http") :].replace("\\\n", " "))
    assert words[1].removeprefix("http://localhost:8000") in {
        prefix + path for prefix in PREFIXES for path in OPERATION_PATHS
    }
    body = json.loads(words[words.index("-d") + 1])
    assert body["model"] == "simulated"
    assert body["messages"][0]["role"] == "user"
    assert f"localhost:{Settings.model_fields['port'].default}" in words[1]
    # The key is read from the file that the first start writes.
    assert str(Settings.model_fields["data_dir"].default / "first-run.json") in block
    [code] = re.findall(r"python3 -c '([^']+)'", block)
    compile(code, "README", "exec")


def test_readmes_python_differs_in_one_line_and_is_python() -> None:
    [block] = fences(README, "diff")
    lines = block.splitlines()
    assert [line[0] for line in lines].count("-") == [line[0] for line in lines].count("+") == 1
    ast.parse("\n".join(line[1:] for line in lines if not line.startswith("-")))
    assert f"localhost:{Settings.model_fields['port'].default}{PREFIXES[0]}" in block


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "docker-compose.yml", ROOT / "Dockerfile"], ids=name_of)
def test_variables_named_are_settings(document: Path) -> None:
    known = {f"TOLLKEEPER_{name.upper()}" for name in Settings.model_fields}
    # Of the command line's client and of the bootstrap.
    known |= {
        "TOLLKEEPER_URL",
        "TOLLKEEPER_API_KEY",
        "TOLLKEEPER_UV",
        "TOLLKEEPER_EXTRAS",
        "TOLLKEEPER_CHECKOUT",
        "TOLLKEEPER_SKIP_CONSOLE_BUILD",
    }
    named = set(re.findall(r"\bTOLLKEEPER_[A-Z_]*[A-Z]\b", document.read_text()))
    if document.parent.name == "bench":
        named = {name for name in named if not name.startswith("TOLLKEEPER_BENCH")}
    assert named <= known


@pytest.mark.parametrize("document", [README, ROOT / "backend" / "README.md"], ids=name_of)
def test_addresses_named_are_served(document: Path) -> None:
    # Imported here: the application pulls in everything, and the tests beside this one need little of it.
    from tollkeeper.main import create_app

    application = create_app()
    served = {*application.openapi()["paths"], *(context.path for context in iter_route_contexts(application.routes))}
    for address in re.findall(r"`(/[\w./{}-]*)`", document.read_text()):
        assert any(path == address or path.startswith(f"{address}/") for path in served), address


def test_every_setting_is_explained_in_a_sentence() -> None:
    for name, setting in Settings.model_fields.items():
        assert setting.description, name
        assert setting.description.endswith("."), name


def test_readme_tells_where_the_settings_are_explained() -> None:
    assert "tollkeeper config show" in README.read_text()


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_decision_page_has_its_four_parts_in_order(page: Path) -> None:
    number = int(page.name[:4])
    text = page.read_text()
    assert re.match(rf"# {number}\. .+\n", text)
    assert re.findall(r"^\*\*(\w+)\.\*\* \S", text, re.MULTILINE) == [
        "Context",
        "Decision",
        "Consequences",
        "Alternatives",
    ]


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_architecture_page_names_what_is_there() -> None:
    package = ROOT / "backend" / "tollkeeper"
    text = (ROOT / "backend" / "README.md").read_text()
    [tree] = re.findall(r"^backend/tollkeeper/\n((?:  .*\n)+)", text, re.MULTILINE)
    named = set()
    for line in tree.splitlines():
        if re.match(r"  \S", line):
            names = line[2:22].split("  ")[0]
            named |= {name.strip().rstrip("/") for name in names.split(",")}
    for name in named:
        assert (package / name).exists(), name
    # What is not drawn is small print of the files that are.
    actual = {path.name for path in package.iterdir() if not path.name.startswith(("_", "console"))}
    assert {name for name in actual if (package / name).is_dir()} <= named


def test_architecture_page_lists_every_domain() -> None:
    domains = {path.parent.name for path in (ROOT / "backend" / "tollkeeper" / "domains").glob("*/__init__.py")}
    [line] = re.findall(r"^  domains/ +(.*)$", (ROOT / "backend" / "README.md").read_text(), re.MULTILINE)
    assert set(line.split()) == domains


def test_changelog_keeps_the_agreed_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    allowed = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= allowed


def test_compose_files_first_lines_can_be_followed() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert required <= set(re.findall(r"\b([A-Z_]+)=", comment))
    assert yaml.safe_load(text)
