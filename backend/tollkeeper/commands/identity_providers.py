"""`tollkeeper identity-providers`: the OpenID Connect issuers that people and workloads of a tenant come from."""

import json
from typing import Annotated, Any

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.output import FAILED, Json, Yes, confirm, fail, print_object, print_removed, print_rows

app = typer.Typer(help="List, make, test and remove identity providers.", no_args_is_help=True)

ProviderId = Annotated[str, typer.Argument(help="The identity provider's id: idp_…")]


@app.command("list")
def list_providers(
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the identity providers of the tenant."""
    client = Client(url, key, data_dir)
    columns = ("id", "name", "issuer", "is_active", "allows_sign_in", "allows_workloads", "email_domains")
    print_rows(client.pages("/api/v1/identity-providers", tenant_id=client.tenant_id(tenant)), columns, as_json=as_json)


@app.command("create")
def create_provider(
    file: Annotated[
        typer.FileText, typer.Argument(help="A JSON object: name, issuer, client_id, client_secret …; - for a pipe.")
    ],
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Make an identity provider of a file, so that its client secret never stands on a command line."""
    body = _read_object(file)
    client = Client(url, key, data_dir)
    if (tenant_id := client.tenant_id(tenant)) is not None:
        body["tenant_id"] = tenant_id
    print_object(client.request("POST", "/api/v1/identity-providers", body), as_json=as_json)


@app.command("test")
def ask_provider(
    provider_id: ProviderId,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Ask the issuer for what it says of itself, and say what is wrong."""
    answer = Client(url, key, data_dir).request("POST", f"/api/v1/identity-providers/{provider_id}/test")
    print_object(answer, as_json=as_json)
    if not answer["ok"]:
        raise typer.Exit(FAILED)


@app.command("remove")
def remove_provider(
    provider_id: ProviderId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Remove an identity provider: nobody signs in through it any more."""
    client = Client(url, key, data_dir)
    confirm(f"Remove {provider_id}? Nobody signs in through it any more", is_sure=yes)
    client.request("DELETE", f"/api/v1/identity-providers/{provider_id}")
    print_removed(provider_id, as_json=as_json)


def _read_object(file: typer.FileText) -> dict[str, Any]:
    try:
        document = json.loads(file.read())
    except ValueError as error:
        # A decoding error holds what it could not read, which may be the secret.
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        fail(f"{file.name} is not JSON{place}.", code=2)
    if not isinstance(document, dict):
        fail(f"{file.name} is not a JSON object.", code=2)
    return document
