"""What `serve` prints when it is ready: where it listens, the first key once, and snippets that work when pasted."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tollkeeper import __version__
from tollkeeper.console import is_built
from tollkeeper.core.config import Settings
from tollkeeper.core.first_run_file import NAME, base_url, read_first_run


def show(console: Console, settings: Settings, origin: str, report: dict[str, Any], seconds: float) -> None:
    """`report` is a worker's `ready` report; `seconds` from the start of the command to now."""
    # A secret that was not made now is empty.
    made = {name: value for name, value in (report.get("first_run") or {}).items() if value}
    key = made.get("api_key")
    command = "./tollkeeper" if "TOLLKEEPER_CHECKOUT" in os.environ else "tollkeeper"
    kept = settings.data_dir / NAME
    is_kept = bool(read_first_run(settings.data_dir).get("api_key"))
    url = base_url(origin)
    model = report["example_model"]
    table = Table.grid(padding=(0, 3))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    stores = [
        f"PostgreSQL {'embedded' if settings.is_database_embedded else 'yours'}",
        f"Redis {'embedded' if settings.is_redis_embedded else 'yours'}",
    ]
    table.add_row("Base URL", url)
    table.add_row("Admin API", f"{origin}/api/v1   described in {origin}/openapi.json")
    how = "" if is_built() else f"   not built: {command} console build"
    table.add_row("Console", f"{origin}/console{how}")
    table.add_row("Store", ", ".join(stores) + f", data in {escape(str(settings.data_dir))}")
    table.add_row("Providers", escape(", ".join(report["providers"])))
    if "admin_password" in made:
        table.add_row("Admin", f"{escape(made['admin_email'])}   password {escape(made['admin_password'])}")
    if key:
        table.add_row("Key", escape(key))
        table.add_row("", f"shown once; kept in {escape(str(kept))}")
    else:
        place = f"kept in {escape(str(kept))}" if is_kept else "made at the first start"
        table.add_row("Key", f"{place}; another: {command} keys create --name NAME")
    console.print()
    console.print(f"[bold]Tollkeeper {__version__}[/bold]   ready in {seconds:.1f} s", highlight=False)
    console.print(table, highlight=False)
    console.print("\nTry it")
    if key is None and is_kept:
        console.out(export_snippet(kept.resolve()), highlight=False)
    console.out(curl_snippet(url, key, model), highlight=False)
    console.print()
    console.out(python_snippet(url, key, model), highlight=False)
    if report["only_simulated"]:
        console.print(
            "\nNo provider is configured, so the [bold]simulated[/bold] models answer: nothing is sent anywhere and nothing "
            "costs.\nNext: set OPENAI_API_KEY (or another vendor's variable) and start again, or name providers in a "
            f"file: {command} serve --config tollkeeper.yaml",
            highlight=False,
        )
    console.print(f"\nHealth  {command} doctor      Stop  Ctrl-C\n", highlight=False)


def export_snippet(path: Path) -> str:
    """The key of the first start into the environment, where the other snippets of a later start look for it."""
    code = f'import json; print(json.load(open({json.dumps(str(path))}))["api_key"])'
    return f"export TOLLKEEPER_API_KEY=$(python3 -c {shlex.quote(code)})"


def curl_snippet(url: str, key: str | None, model: str) -> str:
    """Without a key, the one in the environment: a later start does not know it any more."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    header = '"Authorization: Bearer $TOLLKEEPER_API_KEY"' if key is None else f"'Authorization: Bearer {key}'"
    return f"curl {url}/chat/completions -H {header} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def python_snippet(url: str, key: str | None, model: str) -> str:
    """Needs `pip install openai`; the only line that differs from calling OpenAI is `base_url`."""
    named = 'os.environ["TOLLKEEPER_API_KEY"]' if key is None else json.dumps(key)
    head = "import os\n" if key is None else ""
    return (
        f"{head}from openai import OpenAI\n"
        f"client = OpenAI(base_url={json.dumps(url)}, api_key={named})\n"
        f"answer = client.chat.completions.create("
        f'model={json.dumps(model)}, messages=[{{"role": "user", "content": "Hello"}}])\n'
        "print(answer.choices[0].message.content)"
    )
