"""`tollkeeper service-accounts`: members of a tenant that are programs."""

from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.output import Json, Yes, confirm, print_object, print_removed, print_rows

app = typer.Typer(help="List, make and remove accounts of programs.", no_args_is_help=True)


@app.command("list")
def list_accounts(
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the service accounts of the tenant."""
    client = Client(url, key, data_dir)
    columns = ("id", "name", "role", "is_active", "created_at")
    print_rows(client.pages("/api/v1/service-accounts", tenant_id=client.tenant_id(tenant)), columns, as_json=as_json)


@app.command("create")
def create_account(
    name: Annotated[str, typer.Argument(help="What the program is called.")],
    *,
    role: Annotated[str, typer.Option("--role", help="A built-in role, or one of the tenant's own.")] = "developer",
    team: Annotated[list[str] | None, typer.Option("--team", help="A team it is in: team_…; may repeat.")] = None,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Make an account for programs. Then: tollkeeper keys create --user with its id."""
    client = Client(url, key, data_dir)
    body: dict[str, object] = {"name": name, "role": role, "team_ids": team or []}
    if (tenant_id := client.tenant_id(tenant)) is not None:
        body["tenant_id"] = tenant_id
    print_object(client.request("POST", "/api/v1/service-accounts", body), as_json=as_json)


@app.command("remove")
def remove_account(
    user_id: Annotated[str, typer.Argument(help="The account's id: usr_…")],
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Remove a service account: its keys are revoked at once."""
    client = Client(url, key, data_dir)
    confirm(f"Remove {user_id}? Its keys are revoked at once", is_sure=yes)
    client.request("DELETE", f"/api/v1/service-accounts/{user_id}")
    print_removed(user_id, as_json=as_json)
