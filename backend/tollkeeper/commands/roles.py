"""`tollkeeper roles`: what members of a tenant may do, built in and put together by the tenant itself."""

from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.output import Json, Yes, confirm, print_object, print_removed, print_rows

app = typer.Typer(help="List, make and remove roles.", no_args_is_help=True)


@app.command("list")
def list_roles(
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the roles: the built-in ones, then the tenant's own."""
    client = Client(url, key, data_dir)
    columns = ("id", "name", "description", "permissions")
    print_rows(client.pages("/api/v1/roles", tenant_id=client.tenant_id(tenant)), columns, as_json=as_json)


@app.command("create")
def create_role(
    name: Annotated[str, typer.Argument(help="The role's name.")],
    *,
    permission: Annotated[list[str], typer.Option("--permission", help="What it grants; may repeat.")],
    description: Annotated[str, typer.Option("--description", help="Whom it is for.")] = "",
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Make a role of permissions that you hold yourself."""
    client = Client(url, key, data_dir)
    body: dict[str, object] = {"name": name, "description": description, "permissions": permission}
    if (tenant_id := client.tenant_id(tenant)) is not None:
        body["tenant_id"] = tenant_id
    print_object(client.request("POST", "/api/v1/roles", body), as_json=as_json)


@app.command("remove")
def remove_role(
    role_id: Annotated[str, typer.Argument(help="The role's id: role_…")],
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Remove a role of the tenant's own that nobody holds any more."""
    client = Client(url, key, data_dir)
    confirm(f"Remove {role_id}?", is_sure=yes)
    client.request("DELETE", f"/api/v1/roles/{role_id}")
    print_removed(role_id, as_json=as_json)
