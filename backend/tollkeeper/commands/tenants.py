"""`tollkeeper tenants`: who is served."""

from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.output import Json, Yes, confirm, print_object, print_rows

tenants = typer.Typer(help="List, make, suspend and resume tenants.", no_args_is_help=True)

TenantName = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id, ten_…, or its slug.")]


@tenants.command("list")
def list_tenants(
    *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """List the tenants."""
    columns = ("id", "name", "slug", "is_active", "rate_limit", "monthly_budget_usd", "current_spend_usd", "created_at")
    print_rows(Client(url, key, data_dir).pages("/api/v1/tenants"), columns, as_json=as_json)


@tenants.command("create")
def create_tenant(
    name: Annotated[str, typer.Argument(help="The tenant's name.")],
    *,
    email: Annotated[str | None, typer.Option("--email", help="Whom to write to.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option("--rpm", min=1, help="Requests per minute.")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Make a tenant."""
    optional = {"email": email, "rate_limit": requests_per_minute}
    body = {"name": name, **{field: value for field, value in optional.items() if value is not None}}
    print_object(Client(url, key, data_dir).request("POST", "/api/v1/tenants", body), as_json=as_json)


@tenants.command("show")
def show_tenant(
    tenant: TenantName,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show one tenant."""
    client = Client(url, key, data_dir)
    print_object(client.request("GET", f"/api/v1/tenants/{client.tenant_id(tenant)}"), as_json=as_json)


@tenants.command("suspend")
def suspend_tenant(
    tenant: TenantName,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Told to everybody of the tenant who tries a call.")],
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Refuse every key and session of a tenant, on every worker within a second."""
    client = Client(url, key, data_dir)
    tenant_id = client.tenant_id(tenant)
    confirm(f"Suspend {tenant}? Its calls are refused at once", is_sure=yes)
    answer = client.request("POST", f"/api/v1/tenants/{tenant_id}/suspend", {"reason": reason})
    print_object(answer, as_json=as_json)


@tenants.command("resume")
def resume_tenant(
    tenant: TenantName,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Let a suspended tenant work again."""
    client = Client(url, key, data_dir)
    print_object(client.request("POST", f"/api/v1/tenants/{client.tenant_id(tenant)}/resume"), as_json=as_json)
