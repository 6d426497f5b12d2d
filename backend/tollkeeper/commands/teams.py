"""`tollkeeper teams` and `tollkeeper projects`: the levels between a tenant and its keys."""

from typing import Annotated, Any

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.output import Json, print_object, print_rows

teams = typer.Typer(help="List and make teams, and put people into them.", no_args_is_help=True)
projects = typer.Typer(help="List and make projects.", no_args_is_help=True)

Tenant = Annotated[str | None, typer.Option("--tenant", help="Another tenant's id; for platform administrators.")]
Description = Annotated[str | None, typer.Option("--description", help="What it is for.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Allowed model; may repeat.")]
Providers = Annotated[list[str] | None, typer.Option("--provider", help="Allowed provider; may repeat.")]


@teams.command("list")
def list_teams(
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the teams of the tenant."""
    columns = ("id", "name", "is_active", "allowed_models", "allowed_providers", "logging_policy", "description")
    print_rows(Client(url, key, data_dir).pages("/api/v1/teams", tenant_id=tenant), columns, as_json=as_json)


@teams.command("create")
def create_team(
    name: Annotated[str, typer.Argument(help="The team's name.")],
    *,
    description: Description = None,
    model: Models = None,
    provider: Providers = None,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Make a team."""
    body = _body(name, description=description, allowed_models=model, allowed_providers=provider, tenant_id=tenant)
    print_object(Client(url, key, data_dir).request("POST", "/api/v1/teams", body), as_json=as_json)


@teams.command("add")
def add_member(
    team_id: Annotated[str, typer.Argument(help="The team's id: team_…")],
    user_id: Annotated[str, typer.Argument(help="The user's id: usr_…")],
    *,
    maintainer: Annotated[bool, typer.Option("--maintainer", help="May manage its people and projects.")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Put somebody into a team, or give them another part in it."""
    body = {"role": "maintainer" if maintainer else "member"}
    path = f"/api/v1/teams/{team_id}/members/{user_id}"
    print_object(Client(url, key, data_dir).request("PUT", path, body), as_json=as_json)


@projects.command("list")
def list_projects(
    *,
    team: Annotated[str | None, typer.Option("--team", help="Of this team alone: team_…")] = None,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the projects of the tenant."""
    columns = ("id", "name", "team_id", "is_active", "allowed_models", "allowed_providers", "logging_policy")
    rows = Client(url, key, data_dir).pages("/api/v1/projects", tenant_id=tenant, team_id=team)
    print_rows(rows, columns, as_json=as_json)


@projects.command("create")
def create_project(
    name: Annotated[str, typer.Argument(help="The project's name.")],
    *,
    team: Annotated[str | None, typer.Option("--team", help="The team it is in: team_…")] = None,
    description: Description = None,
    model: Models = None,
    provider: Providers = None,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Make a project."""
    body = _body(
        name,
        team_id=team,
        description=description,
        allowed_models=model,
        allowed_providers=provider,
        tenant_id=tenant,
    )
    print_object(Client(url, key, data_dir).request("POST", "/api/v1/projects", body), as_json=as_json)


def _body(name: str, **optional: Any) -> dict[str, Any]:
    """What was not named is left to the levels above."""
    return {"name": name, **{field: value for field, value in optional.items() if value is not None}}
