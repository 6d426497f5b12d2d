"""`tollkeeper keys`: make, import, list, rotate and revoke keys of a running gateway, and exchange them for run keys."""

from pathlib import Path
from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.key_import import LARGEST_PART, read_rows
from tollkeeper.commands.output import Json, Yes, confirm, note, print_json, print_line, print_object, print_rows

app = typer.Typer(help="Make, import, list, rotate and revoke keys.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="The key's id: key_…")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the secret alone.")]
_COLUMNS = ("id", "name", "environment", "scopes", "status", "last_used_at", "expires_at")


@app.command("list")
def list_keys(
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the keys of the tenant."""
    client = Client(url, key, data_dir)
    print_rows(client.pages("/api/v1/keys", tenant_id=client.tenant_id(tenant)), _COLUMNS, as_json=as_json)


@app.command("create")
def create(
    *,
    name: Annotated[str, typer.Option("--name", help="What the key is for.")],
    scope: Annotated[list[str] | None, typer.Option("--scope", help="inference, admin; may repeat.")] = None,
    environment: Annotated[str, typer.Option("--environment", help="live, or test: simulated models only.")] = "live",
    model: Annotated[list[str] | None, typer.Option("--model", help="Allowed model; may repeat.")] = None,
    provider: Annotated[list[str] | None, typer.Option("--provider", help="Allowed provider; may repeat.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="name=value, goes with each call; may repeat.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option("--rpm", min=1, help="Requests per minute.")] = None,
    expires_at: Annotated[str | None, typer.Option("--expires-at", help="RFC 3339 time.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose key it is: usr_…")] = None,
    team: Annotated[str | None, typer.Option("--team", help="The team it is in: team_…")] = None,
    project: Annotated[str | None, typer.Option("--project", help="The project it is in: prj_…")] = None,
    endpoint: Annotated[
        list[str] | None, typer.Option("--endpoint", help="Allowed endpoint, as chat/completions; may repeat.")
    ] = None,
    address: Annotated[
        list[str] | None, typer.Option("--address", help="Allowed network, as 10.0.0.0/8; may repeat.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="Origin of pages that may use it; may repeat.")
    ] = None,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a key. Its secret is shown here and never again."""
    client = Client(url, key, data_dir)
    body: dict[str, object] = {"name": name, "scopes": scope or ["inference"], "environment": environment}
    optional = {
        "allowed_models_override": model,
        "allowed_providers_override": provider,
        "tags": _tags(tag),
        "rate_limit_override": requests_per_minute,
        "expires_at": expires_at,
        "user_id": user,
        "team_id": team,
        "project_id": project,
        "allowed_endpoints": endpoint,
        "allowed_addresses": address,
        "allowed_origins": origin,
        "tenant_id": client.tenant_id(tenant),
    }
    body |= {field: value for field, value in optional.items() if value is not None}
    _show_secret(client.request("POST", "/api/v1/keys", body), quiet=quiet, as_json=as_json)


@app.command("import")
def import_keys(
    file: Annotated[Path, typer.Argument(help="JSON Lines, or CSV with a header line: sha256 or key, name, email, …")],
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Take over keys of another gateway: whoever holds one goes on using it. Tokens are hashed here, never sent."""
    rows = read_rows(file)
    client = Client(url, key, data_dir)
    tenant_id = client.tenant_id(tenant)
    made: list[dict[str, object]] = []
    for start in range(0, len(rows), LARGEST_PART):
        part = rows[start : start + LARGEST_PART]
        body: dict[str, object] = {"keys": [row for _, row in part]}
        if tenant_id is not None:
            body["tenant_id"] = tenant_id
        if start:
            note(f"{start} keys are imported; going on with {part[0][0]} ...")
        names = [place for place, _ in part]
        answer = client.request("POST", "/api/v1/keys/import", body, row_names=names)
        made += [{"place": names[entry["row"]], "id": entry["id"], "name": entry["name"]} for entry in answer["data"]]
    print_rows(made, ("place", "id", "name"), as_json=as_json)


@app.command("show")
def show(
    key_id: KeyId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Show one key; never its secret."""
    print_object(Client(url, key, data_dir).request("GET", f"/api/v1/keys/{key_id}"), as_json=as_json)


@app.command("explain")
def explain(
    key_id: KeyId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Show what holds for a key, and which level decided it."""
    answer = Client(url, key, data_dir).request("GET", f"/api/v1/keys/{key_id}/effective")
    if as_json:
        print_json(answer)
        return
    rows = [
        {
            "what": name,
            "value": each["value"],
            "from": " ".join(filter(None, (each["source"]["kind"], each["source"]["name"]))),
        }
        for name, each in answer.items()
        if isinstance(each, dict)
    ]
    print_rows(rows, ("what", "value", "from"), as_json=False)


@app.command("rotate")
def rotate(
    key_id: KeyId,
    *,
    grace_seconds: Annotated[int, typer.Option("--grace", min=0, help="Seconds the old secret goes on working.")] = 0,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Give a key a new secret; the old one works for the grace period."""
    body = {"grace_seconds": grace_seconds}
    answer = Client(url, key, data_dir).request("POST", f"/api/v1/keys/{key_id}/rotate", body)
    _show_secret(answer, quiet=quiet, as_json=as_json)


@app.command("revoke")
def revoke(
    key_id: KeyId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Revoke a key, on every worker within a second."""
    client = Client(url, key, data_dir)
    confirm(f"Revoke {key_id}? Calls that use it are refused at once", is_sure=yes)
    answer = client.request("POST", f"/api/v1/keys/{key_id}/revoke")
    if as_json:
        print_json(answer)
    else:
        note(f"{key_id} is revoked.")


@app.command("run")
def run(
    key_id: KeyId,
    *,
    expires_in: Annotated[
        int | None, typer.Option("--expires-in", min=1, max=86_400, help="Seconds; an hour without it.")
    ] = None,
    budget: Annotated[str | None, typer.Option("--budget", help="Dollars for the whole run, as 0.50.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Allowed model; may repeat.")] = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="run_ and 32 hexadecimal digits; made without it.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the run is for.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="End this run instead: run_…")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Exchange a key for a run key, which does less and ends soon. It is shown here and never again."""
    client = Client(url, key, data_dir)
    path = f"/api/v1/keys/{key_id}/runs"
    if end is not None:
        client.request("DELETE", f"{path}/{end}")
        if as_json:
            print_json({"run_id": end, "is_ended": True})
        else:
            note(f"{end} is ended.")
        return
    optional = {
        "expires_in_seconds": expires_in,
        "budget_usd": budget,
        "models": model,
        "run_id": run_id,
        "name": name,
    }
    answer = client.request("POST", path, {field: value for field, value in optional.items() if value is not None})
    _show_secret(answer, quiet=quiet, as_json=as_json)


def _tags(words: list[str] | None) -> dict[str, str] | None:
    if words is None:
        return None
    tags = dict(word.partition("=")[::2] for word in words)
    if "" in tags or not all("=" in word for word in words):
        raise typer.BadParameter("expected name=value, as in --tag app=shop", param_hint="--tag")
    return tags


def _show_secret(answer: dict[str, object], *, quiet: bool, as_json: bool) -> None:
    if quiet:
        print_line(str(answer["key"]))
        return
    if as_json:
        print_json(answer)
    else:
        first: dict[str, object] = {name: answer[name] for name in ("id", "run_id", "key") if name in answer}
        print_object(first | answer, as_json=False)
        note("The secret is shown once. Keep it now.")
