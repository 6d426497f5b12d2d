"""`tollkeeper projects`: the level between a team, or the tenant itself, and its keys."""

from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.levels import Description, Models, Providers, sent
from tollkeeper.commands.output import Json, Yes, confirm, print_object, print_removed, print_rows

app = typer.Typer(help="List, make, move, archive and remove projects.", no_args_is_help=True)

ProjectId = Annotated[str, typer.Argument(help="The project's id: prj_…")]


@app.command("list")
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
    client = Client(url, key, data_dir)
    columns = ("id", "name", "team_id", "is_active", "allowed_models", "allowed_providers", "logging_policy")
    rows = client.pages("/api/v1/projects", tenant_id=client.tenant_id(tenant), team_id=team)
    print_rows(rows, columns, as_json=as_json)


@app.command("show")
def show_project(
    project_id: ProjectId,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show one project."""
    print_object(Client(url, key, data_dir).request("GET", f"/api/v1/projects/{project_id}"), as_json=as_json)


@app.command("create")
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
    client = Client(url, key, data_dir)
    body = sent(
        name=name,
        team_id=team,
        description=description,
        allowed_models=model,
        allowed_providers=provider,
        tenant_id=client.tenant_id(tenant),
    )
    print_object(client.request("POST", "/api/v1/projects", body), as_json=as_json)


@app.command("move")
def move_project(
    project_id: ProjectId,
    *,
    team: Annotated[str | None, typer.Option("--team", help="The team to move to: team_…")] = None,
    no_team: Annotated[bool, typer.Option("--no-team", help="Out of its team, directly into the tenant.")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Move a project to another team, with its keys: that team's limits hold from then on."""
    if (team is None) is not no_team:
        raise typer.BadParameter("name the team to move to, or --no-team", param_hint="--team")
    client = Client(url, key, data_dir)
    print_object(client.request("PATCH", f"/api/v1/projects/{project_id}", {"team_id": team}), as_json=as_json)


@app.command("archive")
def archive_project(
    project_id: ProjectId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Refuse every key of the project, on every worker within a second, until it is resumed."""
    client = Client(url, key, data_dir)
    confirm(f"Archive {project_id}? Calls with its keys are refused at once", is_sure=yes)
    print_object(client.request("PATCH", f"/api/v1/projects/{project_id}", {"is_active": False}), as_json=as_json)


@app.command("resume")
def resume_project(
    project_id: ProjectId,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Let an archived project work again."""
    client = Client(url, key, data_dir)
    print_object(client.request("PATCH", f"/api/v1/projects/{project_id}", {"is_active": True}), as_json=as_json)


@app.command("remove")
def remove_project(
    project_id: ProjectId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Remove a project that has no keys any more; its usage stays."""
    client = Client(url, key, data_dir)
    confirm(f"Remove {project_id}?", is_sure=yes)
    client.request("DELETE", f"/api/v1/projects/{project_id}")
    print_removed(project_id, as_json=as_json)
