"""`tollkeeper users`: who acts in a tenant, and as what."""

import sys
from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.output import (
    Json,
    Yes,
    confirm,
    note,
    print_json,
    print_line,
    print_object,
    print_removed,
    print_rows,
)
from tollkeeper.commands.rescue import reset_password

users = typer.Typer(help="List, make, invite, change and remove users.", no_args_is_help=True)
users.command("reset-password")(reset_password)

UserId = Annotated[str, typer.Argument(help="The user's id: usr_…")]
Role = Annotated[str, typer.Option("--role", help="A built-in role, or one of the tenant's own: tollkeeper roles list")]


@users.command("list")
def list_users(
    *,
    role: Annotated[str | None, typer.Option("--role", help="Of this role only.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="person or service.")] = None,
    q: Annotated[str | None, typer.Option("--search", "-q", help="Part of a name or an address.")] = None,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the users of the tenant."""
    columns = ("id", "email", "name", "role", "kind", "is_guest", "is_active", "last_login_at")
    client = Client(url, key, data_dir)
    pages = client.pages("/api/v1/users", tenant_id=client.tenant_id(tenant), role=role, kind=kind, q=q)
    print_rows(pages, columns, as_json=as_json)


@users.command("show")
def show_user(
    user_id: UserId,
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show one user."""
    client = Client(url, key, data_dir)
    answer = client.request("GET", f"/api/v1/users/{user_id}", tenant_id=client.tenant_id(tenant))
    print_object(answer, as_json=as_json)


@users.command("create")
def create_user(
    email: Annotated[str, typer.Argument(help="The e-mail address to sign in with.")],
    *,
    role: Role,
    name: Annotated[str | None, typer.Option("--name", help="The person's name.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from a pipe.")] = False,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Make a user; asks for the password, so that it never stands on a command line."""
    client = Client(url, key, data_dir)
    tenant_id = client.tenant_id(tenant)
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    body = {"email": email, "role": role, "name": name or email, "password": password}
    if tenant_id is not None:
        body["tenant_id"] = tenant_id
    print_object(client.request("POST", "/api/v1/users", body), as_json=as_json)


@users.command("invite")
def invite_user(
    email: Annotated[str, typer.Argument(help="The e-mail address of the person.")],
    *,
    role: Role = "developer",
    team: Annotated[str | None, typer.Option("--team", help="The team to join as well: team_…")] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=30, help="How long the link works.")] = 7,
    tenant: Tenant = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the link alone.")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Invite a person: by mail where mail is set up, else by a link to hand over."""
    client = Client(url, key, data_dir)
    optional = {"team_id": team, "tenant_id": client.tenant_id(tenant)}
    body = {"email": email, "role": role, "expires_in_days": days}
    body |= {field: value for field, value in optional.items() if value is not None}
    answer = client.request("POST", "/api/v1/invitations", body)
    if as_json:
        print_json(answer)
    elif answer["link"] is None:
        note(f"An invitation was mailed to {email}.")
    else:
        print_line(answer["link"])
        if not quiet:
            note(f"Hand this link to {email}. It works once, until {answer['expires_at']}, and is shown only now.")


@users.command("update")
def update_user(
    user_id: UserId,
    *,
    role: Annotated[str | None, typer.Option("--role", help="The new role.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The new name.")] = None,
    active: Annotated[bool | None, typer.Option("--active/--disabled", help="Let in, or keep out at once.")] = None,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Change a user's role, name or state, on every worker within a second."""
    sent = (("role", role), ("name", name), ("is_active", active))
    body = {field: value for field, value in sent if value is not None}
    client = Client(url, key, data_dir)
    answer = client.request("PATCH", f"/api/v1/users/{user_id}", body, tenant_id=client.tenant_id(tenant))
    print_object(answer, as_json=as_json)


@users.command("remove")
def remove_user(
    user_id: UserId,
    *,
    tenant: Tenant = None,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Remove a user: the keys are revoked at once. A guest's account goes on elsewhere."""
    client = Client(url, key, data_dir)
    tenant_id = client.tenant_id(tenant)
    confirm(f"Remove {user_id}? Their keys are revoked at once", is_sure=yes)
    client.request("DELETE", f"/api/v1/users/{user_id}", tenant_id=tenant_id)
    print_removed(user_id, as_json=as_json)
