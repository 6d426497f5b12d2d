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
from tollkeeper.core.config import Settings


def base_url(origin: str) -> str:
    """What a developer sets as `base_url`; every snippet takes it from here."""
    return f"{origin}/v1"


def write_first_run(data_dir: Path, origin: str, first_run: dict[str, Any]) -> Path:
    """The first key and password, readable by their owner alone. An existing file is kept: it holds the same values."""
    path = data_dir / "first-run.json"
    document = {
        "base_url": base_url(origin),
        "api_key": first_run["api_key"],
        "admin_email": first_run["admin_email"],
        "admin_password": first_run["admin_password"],
    }
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
    fresh.rename(path)
    return path


def show(console: Console, settings: Settings, origin: str, report: dict[str, Any], seconds: float) -> None:
    """`report` is a worker's `ready` report; `seconds` from the start of the command to now."""
    first_run = report.get("first_run")
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
    table.add_row("API", f"{origin}/openapi.json   the control plane is under {origin}/api/v1")
    table.add_row("Store", ", ".join(stores) + f", data in {escape(str(settings.data_dir))}")
    table.add_row("Providers", escape(", ".join(report["providers"])))
    if first_run:
        table.add_row("Admin", f"{escape(first_run['admin_email'])}   password {escape(first_run['admin_password'])}")
        table.add_row("Key", f"{escape(first_run['api_key'])}   shown once; also in first-run.json")
    else:
        table.add_row("Key", "made at the first start; another: tollkeeper keys create --name NAME")
    console.print()
    console.print(f"[bold]Tollkeeper {__version__}[/bold]   ready in {seconds:.1f} s")
    console.print(table)
    console.print("\nTry it")
    key = first_run["api_key"] if first_run else None
    console.out(curl_snippet(url, key, model), highlight=False)
    console.print()
    console.out(python_snippet(url, key, model), highlight=False)
    if report["only_simulated"]:
        console.print(
            "\nNo provider is configured, so the [bold]simulated[/bold] models answer: nothing is sent anywhere and nothing "
            "costs.\nNext: set OPENAI_API_KEY (or another vendor's variable) and start again, or name providers in a "
            "file: tollkeeper serve --config tollkeeper.yaml"
        )
    console.print("\nHealth  tollkeeper doctor      Stop  Ctrl-C\n")


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
