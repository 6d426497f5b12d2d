"""`tollkeeper limits`: how often, for whom."""

from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.levels import sent
from tollkeeper.commands.output import Json, Yes, confirm, print_object, print_removed, print_rows
from tollkeeper.commands.rules import (
    About,
    Named,
    OfModel,
    On,
    OnlyModels,
    PerModel,
    Platform,
    Shown,
    Subject,
    on_a_line,
    read_scope,
    scope_query,
)

app = typer.Typer(help="List, set, change and remove limits, and see what is left of them.", no_args_is_help=True)

LimitId = Annotated[str, typer.Argument(help="The limit's id: lim_…")]
_COLUMNS = ("id", "name", "on", "unit", "amount", "period", "burst", "models", "is_shadow", "managed_by")


@app.command("list")
def list_limits(
    *,
    on: Shown = None,
    platform: Platform = False,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the limits of the tenant, those behind `rate_limit` and `rate_limit_override` among them."""
    client = Client(url, key, data_dir)
    rows = client.pages(
        "/api/v1/limits", tenant_id=client.tenant_id(tenant), is_platform=platform or None, **scope_query(on)
    )
    print_rows(rows if as_json else map(on_a_line, rows), _COLUMNS, as_json=as_json)


@app.command("show")
def show_limit(
    limit_id: LimitId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Show one limit."""
    print_object(Client(url, key, data_dir).request("GET", f"/api/v1/limits/{limit_id}"), as_json=as_json)


@app.command("status")
def show_status(
    limit_id: LimitId,
    *,
    subject: Subject = None,
    model: OfModel = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show what of it is left now."""
    client = Client(url, key, data_dir)
    status = client.request("GET", f"/api/v1/limits/{limit_id}/status", subject=subject, model=model)
    print_object(status, as_json=as_json)


@app.command("create")
def create_limit(
    amount: Annotated[int, typer.Argument(help="How many.")],
    *,
    on: On = "tenant",
    unit: Annotated[
        str, typer.Option("--unit", help="requests, input_tokens, output_tokens, total_tokens or parallel.")
    ] = "requests",
    period: Annotated[str | None, typer.Option("--per", help="second, minute, hour or day.")] = None,
    burst: Annotated[int | None, typer.Option("--burst", help="How many may come at once.")] = None,
    models: OnlyModels = None,
    per_model: PerModel = False,
    shadow: Annotated[bool, typer.Option("--shadow", help="Count and report, but refuse nothing.")] = False,
    name: Named = None,
    description: About = None,
    platform: Platform = False,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Limit requests, tokens or parallel calls: tollkeeper limits create 60 --per minute --on key_…"""
    client = Client(url, key, data_dir)
    body = sent(
        scope=read_scope(on),
        unit=unit,
        amount=amount,
        period=period,
        burst=burst,
        models=models,
        is_per_model=per_model or None,
        is_shadow=shadow or None,
        name=name,
        description=description,
        is_platform=platform or None,
        tenant_id=client.tenant_id(tenant),
    )
    print_object(client.request("POST", "/api/v1/limits", body), as_json=as_json)


@app.command("update")
def update_limit(
    limit_id: LimitId,
    *,
    amount: Annotated[int | None, typer.Option("--amount", help="How many.")] = None,
    burst: Annotated[int | None, typer.Option("--burst", help="How many may come at once.")] = None,
    override: Annotated[
        int | None, typer.Option("--override", help="Another amount for a while; with --until.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="When that ends, such as 2026-12-01T00:00:00Z.")] = None,
    shadow: Annotated[bool | None, typer.Option("--shadow/--enforce", help="Refuse nothing, or refuse again.")] = None,
    name: Named = None,
    description: About = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Change what is named."""
    body = sent(
        amount=amount,
        burst=burst,
        override_amount=override,
        override_until=until,
        is_shadow=shadow,
        name=name,
        description=description,
    )
    client = Client(url, key, data_dir)
    print_object(client.request("PATCH", f"/api/v1/limits/{limit_id}", body), as_json=as_json)


@app.command("delete")
def delete_limit(
    limit_id: LimitId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Take a limit away."""
    client = Client(url, key, data_dir)
    confirm(f"Take {limit_id} away?", is_sure=yes)
    client.request("DELETE", f"/api/v1/limits/{limit_id}")
    print_removed(limit_id, as_json=as_json)
