"""A part of `tollkeeper routing`: how targets are, and forgetting what is held against them."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.output import Json, note, print_json, print_rows

_COLUMNS = (
    "provider", "model", "credential_id", "state", "why", "until", "latency_ms_p50", "latency_ms_p95", "in_flight", "errors",
)  # fmt: skip


def register(group: typer.Typer) -> None:
    group.command("health")(show_health)
    group.command("reset")(reset_targets)


def show_health(
    *,
    provider: Annotated[str | None, typer.Option("--provider", help="Of this provider alone.")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show how targets are by the calls of the worker that answers: breakers, pauses, quarantines and latencies."""
    rows = Client(url, key, data_dir).pages("/api/v1/router/health", provider=provider)
    print_rows(rows if as_json else map(_on_a_line, rows), _COLUMNS, as_json=as_json)


def reset_targets(
    provider: Annotated[str, typer.Argument(help="The provider's name.")],
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="Only of this model there, by the vendor's name.")
    ] = None,
    credential: Annotated[str | None, typer.Option("--credential", help="Only with this one: crd_…")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Let every worker forget open breakers, pauses, quarantines and rolled-back canaries."""
    body = {"provider": provider, "model": model, "credential_id": credential}
    answer = Client(url, key, data_dir).request("POST", "/api/v1/router/breakers/reset", body=body)
    if as_json:
        print_json(answer)
    else:
        note(f"{answer['count']} targets of the worker that answered are as new; the others hear of it.")


def _on_a_line(row: Mapping[str, Any]) -> Mapping[str, Any]:
    share = row["error_share"]
    return {**row, "errors": None if share is None else f"{share:.0%}", "until": row["until"] and row["until"][:19]}
