"""`tollkeeper tenants` and `tollkeeper users`: who is served, and who administers it."""

import sys
from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.output import Json, print_object, print_rows

tenants = typer.Typer(help="List and make tenants.", no_args_is_help=True)
users = typer.Typer(help="List and make users.", no_args_is_help=True)


@tenants.command("list")
def list_tenants(
    *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """List the tenants."""
    columns = ("id", "name", "is_active", "rate_limit", "monthly_budget_usd", "current_spend_usd", "created_at")
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
    tenant_id: Annotated[str, typer.Argument(help="The tenant's id: ten_…")],
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show one tenant."""
    print_object(Client(url, key, data_dir).request("GET", f"/api/v1/tenants/{tenant_id}"), as_json=as_json)


@users.command("list")
def list_users(
    *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """List the users of the tenant."""
    columns = ("id", "email", "name", "role", "is_active", "last_login_at")
    print_rows(Client(url, key, data_dir).pages("/api/v1/users"), columns, as_json=as_json)


@users.command("create")
def create_user(
    email: Annotated[str, typer.Argument(help="The e-mail address to sign in with.")],
    *,
    role: Annotated[str, typer.Option("--role", help="tenant_admin, developer, finance, auditor or viewer.")],
    name: Annotated[str | None, typer.Option("--name", help="The person's name.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from a pipe.")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Make a user; asks for the password, so that it never stands on a command line."""
    client = Client(url, key, data_dir)
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    body = {"email": email, "role": role, "name": name or email, "password": password}
    print_object(client.request("POST", "/api/v1/users", body), as_json=as_json)
