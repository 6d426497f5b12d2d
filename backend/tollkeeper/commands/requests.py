"""`tollkeeper requests`: calls that are over, and what came of one."""

from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.output import Json, print_object, print_rows

app = typer.Typer(help="Look up calls that are over.", no_args_is_help=True)

_COLUMNS = (
    "created_at",
    "request_id",
    "status",
    "http_status",
    "error_code",
    "model",
    "provider",
    "attempts",
    "latency_ms",
    "cost_usd",
)


@app.command("list")
def list_requests(
    *,
    request: Annotated[
        str | None, typer.Option("--request", help="Its id or how it begins, or the caller's own id of it.")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="A time or a date; the last 7 days without it.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Calls before.")] = None,
    api_key: Annotated[str | None, typer.Option("--api-key", help="Of one key: key_…")] = None,
    model: Annotated[str | None, typer.Option("--model", help="As callers named it.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Where the last attempt went.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="ok, error, cancelled, blocked or cached.")] = None,
    min_latency_ms: Annotated[int | None, typer.Option("--min-latency-ms", help="As long or longer.")] = None,
    min_cost_usd: Annotated[str | None, typer.Option("--min-cost-usd", help="As dear or dearer.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 20,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List calls, newest first."""
    client = Client(url, key, data_dir)
    query = {
        "request_id": request,
        "from": since,
        "to": until,
        "api_key_id": api_key,
        "model": model,
        "provider": provider,
        "status": status,
        "min_latency_ms": min_latency_ms,
        "min_cost_usd": min_cost_usd,
        "tenant_id": client.tenant_id(tenant),
    }
    print_rows(client.pages("/api/v1/requests", most=limit, **query), _COLUMNS, as_json=as_json)


@app.command("show")
def show_request(
    request_id: Annotated[str, typer.Argument(help="The call's id: req_…, as in the header x-request-id.")],
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show one call with its attempts."""
    print_object(Client(url, key, data_dir).request("GET", f"/api/v1/requests/{request_id}"), as_json=as_json)
