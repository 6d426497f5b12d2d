"""`tollkeeper providers` and `tollkeeper models`: what the gateway can reach."""

from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.output import FAILED, Json, fail, note, print_json, print_rows

providers = typer.Typer(help="List and test providers.", no_args_is_help=True)
models = typer.Typer(help="List models.", no_args_is_help=True)


@providers.command("list")
def list_providers(
    *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """List the providers."""
    columns = ("name", "kind", "base_url", "managed_by", "is_active")
    print_rows(Client(url, key, data_dir).pages("/api/v1/catalog/providers"), columns, as_json=as_json)


@providers.command("test")
def probe_providers(
    name: Annotated[list[str] | None, typer.Argument(help="Providers by name; all of them when none is named.")] = None,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Ask each provider for its models with our credential: latency, number of models, or the error in words."""
    client = Client(url, key, data_dir)
    known = {row["name"]: row["id"] for row in client.pages("/api/v1/catalog/providers")}
    results = []
    for wanted in name or known:
        if wanted not in known:
            fail(f"no provider is named {wanted}. There are: {', '.join(known)}")
        note(f"testing {wanted} ...")
        answer = client.request("POST", f"/api/v1/catalog/providers/{known[wanted]}/test")
        results.append({"provider": wanted, **answer})
    if as_json:
        print_json(results)
    else:
        print_rows(results, ("provider", "ok", "latency_ms", "models", "message"), as_json=False)
    if not all(result["ok"] for result in results):
        raise typer.Exit(FAILED)


@models.command("list")
def list_models(
    *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """List the models that the key may call."""
    answer = Client(url, key, data_dir).request("GET", "/v1/models")
    print_rows(answer["data"], ("id", "owned_by", "created"), as_json=as_json)
