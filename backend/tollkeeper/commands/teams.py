"""`tollkeeper teams`: the first level below a tenant, and the people in it. Projects have a file of their own."""

from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.levels import Description, Models, Providers, sent
from tollkeeper.commands.output import Json, Yes, confirm, note, print_json, print_object, print_removed, print_rows

app = typer.Typer(help="List, make, archive and remove teams, and put people into them.", no_args_is_help=True)

TeamId = Annotated[str, typer.Argument(help="The team's id: team_…")]
UserId = Annotated[str, typer.Argument(help="The user's id: usr_…")]


@app.command("list")
def list_teams(
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the teams of the tenant."""
    client = Client(url, key, data_dir)
    columns = ("id", "name", "is_active", "allowed_models", "allowed_providers", "logging_policy", "description")
    print_rows(client.pages("/api/v1/teams", tenant_id=client.tenant_id(tenant)), columns, as_json=as_json)


@app.command("show")
def show_team(
    team_id: TeamId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Show one team."""
    print_object(Client(url, key, data_dir).request("GET", f"/api/v1/teams/{team_id}"), as_json=as_json)


@app.command("create")
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
    client = Client(url, key, data_dir)
    body = sent(
        name=name,
        description=description,
        allowed_models=model,
        allowed_providers=provider,
        tenant_id=client.tenant_id(tenant),
    )
    print_object(client.request("POST", "/api/v1/teams", body), as_json=as_json)


@app.command("archive")
def archive_team(
    team_id: TeamId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Refuse every key of the team and its projects, on every worker within a second, until it is resumed."""
    client = Client(url, key, data_dir)
    confirm(f"Archive {team_id}? Calls with its keys are refused at once", is_sure=yes)
    print_object(client.request("PATCH", f"/api/v1/teams/{team_id}", {"is_active": False}), as_json=as_json)


@app.command("resume")
def resume_team(
    team_id: TeamId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Let an archived team work again."""
    client = Client(url, key, data_dir)
    print_object(client.request("PATCH", f"/api/v1/teams/{team_id}", {"is_active": True}), as_json=as_json)


@app.command("remove")
def remove_team(
    team_id: TeamId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Remove a team that has no projects and no keys any more; its usage stays."""
    client = Client(url, key, data_dir)
    confirm(f"Remove {team_id}?", is_sure=yes)
    client.request("DELETE", f"/api/v1/teams/{team_id}")
    print_removed(team_id, as_json=as_json)


@app.command("members")
def list_members(
    team_id: TeamId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """List the people and programs in a team."""
    columns = ("user_id", "name", "email", "role", "source", "created_at")
    print_rows(Client(url, key, data_dir).pages(f"/api/v1/teams/{team_id}/members"), columns, as_json=as_json)


@app.command("add")
def add_member(
    team_id: TeamId,
    user_id: UserId,
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


@app.command("remove-member")
def remove_member(
    team_id: TeamId,
    user_id: UserId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Take somebody out of a team; in the tenant they stay."""
    client = Client(url, key, data_dir)
    confirm(f"Take {user_id} out of {team_id}?", is_sure=yes)
    client.request("DELETE", f"/api/v1/teams/{team_id}/members/{user_id}")
    if as_json:
        print_json({"team_id": team_id, "user_id": user_id, "is_removed": True})
    else:
        note(f"{user_id} is taken out of {team_id}.")
