"""`tollkeeper config`: check the file, show where each value comes from, reload a running gateway."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.output import FAILED, Json, fail, note, print_json, print_rows
from tollkeeper.commands.serving import read_layers

app = typer.Typer(help="Check, show and reload the configuration.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="Path of tollkeeper.yaml.")]


@app.command("validate")
def validate(path: File = Path("tollkeeper.yaml"), *, as_json: Json = False) -> None:
    """Check a file without starting anything: every problem with its line and what to do."""
    from tollkeeper.configuration import load_configuration
    from tollkeeper.core.config_source import ConfigError
    from tollkeeper.gateway.providers import provider_kinds

    try:
        configuration = load_configuration(path, os.environ, kinds=provider_kinds())
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "problems": [str(problem) for problem in error.problems]})
            raise typer.Exit(FAILED) from error
        fail(str(error))
    for warning in configuration.warnings:
        note(f"warning: {warning}")
    catalog = configuration.catalog
    summary = {"providers": len(catalog.providers), "models": len(catalog.models)}
    if as_json:
        print_json({"ok": True, **summary})
    else:
        note(f"{path} is fine: {summary['providers']} providers, {summary['models']} models.")


@app.command("show")
def show(
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Also where each value comes from.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="Path of tollkeeper.yaml.")] = None,
    as_json: Json = False,
) -> None:
    """Show the settings of a gateway started here and now, and what each is for; secrets are hidden."""
    layers = read_layers(config)
    fields = type(layers.settings).model_fields
    rows = [
        {
            "name": name,
            "value": "set, hidden" if hasattr(value, "get_secret_value") else value,
            "description": fields[name].description,
            "origin": " ".join(part for part in (layers.origins[name].layer, layers.origins[name].place) if part),
        }
        for name, value in layers.settings
    ]
    columns = ("name", "value", "origin" if origin else "description")
    print_rows(rows, columns, as_json=as_json)


@app.command("schema")
def schema(*, as_json: Json = True) -> None:  # noqa: ARG001 - it is JSON in any case
    """Print the JSON Schema of tollkeeper.yaml, for editors."""
    from tollkeeper.configuration import json_schema

    print_json(json_schema())


@app.command("reload")
def reload(*, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False) -> None:
    """Make a running gateway read its file again: the whole is validated first, the old stays on error."""
    answer = Client(url, key, data_dir).request("POST", "/api/v1/catalog/reload")
    if as_json:
        print_json(answer)
    else:
        note("Reloaded.")
