"""`tollkeeper routing`: explain where a call would go, and manage the policies that decide it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tollkeeper.commands import routing_health
from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.documents import read_json, read_policy
from tollkeeper.commands.levels import sent
from tollkeeper.commands.output import (
    Json,
    Yes,
    confirm,
    fail,
    note,
    print_json,
    print_line,
    print_object,
    print_removed,
    print_rows,
)

app = typer.Typer(help="See where calls go and why, and write the policies that decide it.", no_args_is_help=True)
routing_health.register(app)

PolicyId = Annotated[str, typer.Argument(help="The policy's id (rtp_…) or its name.")]
_PATH = "/api/v1/route-policies"
_COLUMNS = ("id", "name", "tenant_id", "strategy", "published_version", "draft_version", "managed_by", "description")
_MEMBERS = "name, strategy, branches …"
_TARGETS = ("order", "provider", "model", "input_per_million", "output_per_million", "latency_ms", "in_flight", "state")


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="The model's name, as callers use it.")],
    *,
    key: Annotated[
        str | None,
        typer.Option("--key", help="key_…: explain as this key. Else a key with scope admin, as everywhere."),
    ] = None,
    body: Annotated[
        Path | None, typer.Option("--body", help="A file with the call as JSON; - is standard input.")
    ] = None,
    endpoint: Annotated[str, typer.Option("--endpoint", help="Where the call would be made.")] = "chat/completions",
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="name: value")] = None,
    share: Annotated[
        float | None, typer.Option("--share", help="The random number it draws, from 0 to under 1.")
    ] = None,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Where a call would go, who is left out and why, what it may cost and what it counts under. Nobody is called."""
    is_asked_for = key is not None and key.startswith("key_")
    client = Client(url, os.environ.get("TOLLKEEPER_API_KEY") if is_asked_for or key is None else key, data_dir)
    question = sent(
        model=model,
        key_id=key if is_asked_for else None,
        body=None if body is None else read_json(body),
        endpoint=endpoint,
        headers=dict(_header(one) for one in header or ()),
        share=share,
    )
    answer = client.request("POST", "/api/v1/router/explain", question)
    if as_json:
        print_json(answer)
    else:
        _print(answer)


@app.command("policies")
def list_policies(
    *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """List route policies, those of the configuration file among them."""
    print_rows(Client(url, key, data_dir).pages(_PATH), _COLUMNS, as_json=as_json)


@app.command()
def show(
    policy: PolicyId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Show a policy: its draft where there is one, else what is published."""
    client = Client(url, key, data_dir)
    print_object(client.request("GET", f"{_PATH}/{_id_of(client, policy)}"), as_json=as_json)


@app.command()
def create(
    source: Annotated[
        Path, typer.Argument(help="The policy as JSON or YAML, as it stands in route_policies; - reads it.")
    ],
    *,
    publish: Annotated[bool, typer.Option("--publish", help="Let calls follow it at once.")] = False,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Save a new policy as a draft; every fault is told with its path."""
    client = Client(url, key, data_dir)
    body = {**read_policy(source, _MEMBERS), **sent(tenant_id=client.tenant_id(tenant)), "publish": publish}
    print_object(client.request("POST", _PATH, body), as_json=as_json)


@app.command()
def change(
    policy: PolicyId,
    source: Annotated[Path, typer.Argument(help="What is to change, as JSON or YAML; - reads it.")],
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Change the draft, or begin one. Calls follow what is published until `publish`."""
    client = Client(url, key, data_dir)
    changes = {name: value for name, value in read_policy(source, _MEMBERS).items() if name != "name"}
    print_object(client.request("PATCH", f"{_PATH}/{_id_of(client, policy)}", changes), as_json=as_json)


@app.command()
def publish(
    policy: PolicyId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Let calls follow the draft, on every worker within a second."""
    client = Client(url, key, data_dir)
    print_object(client.request("POST", f"{_PATH}/{_id_of(client, policy)}/publish"), as_json=as_json)


@app.command()
def rollback(
    policy: PolicyId,
    *,
    version: Annotated[int | None, typer.Option("--version", help="Left out: the one published before.")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Let calls follow an earlier version again."""
    client = Client(url, key, data_dir)
    answer = client.request("POST", f"{_PATH}/{_id_of(client, policy)}/rollback", sent(version=version))
    print_object(answer, as_json=as_json)


@app.command()
def versions(
    policy: PolicyId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """What a policy has said, the latest first."""
    client = Client(url, key, data_dir)
    rows = client.pages(f"{_PATH}/{_id_of(client, policy)}/versions")
    columns = ("number", "is_published", "created_at", "published_at", "strategy", "branches")
    print_rows(rows, columns, as_json=as_json)


@app.command()
def delete(
    policy: PolicyId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Remove a policy with all its versions; refused while models or other policies refer to it."""
    client = Client(url, key, data_dir)
    policy_id = _id_of(client, policy)
    confirm(f"Delete {policy} with all its versions?", is_sure=yes)
    client.request("DELETE", f"{_PATH}/{policy_id}")
    print_removed(policy, as_json=as_json)


def _id_of(client: Client, named: str) -> str:
    if named.startswith("rtp_"):
        return named
    found = [str(policy["id"]) for policy in client.pages(_PATH, most=100_000) if policy["name"] == named]
    if not found:
        fail(f"no route policy that this key sees is named {named}. See them: tollkeeper routing policies")
    if len(found) > 1:
        fail(f"{len(found)} route policies of several tenants are named {named}: use an id ({', '.join(found)})")
    return found[0]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        fail(f"'{text}' is no header: write name: value", code=2)
    return name.strip(), value.strip()


def _print(answer: Mapping[str, Any]) -> None:
    policy = answer["policy"]
    version = "" if answer["policy_version"] is None else f", version {answer['policy_version']}"
    print_line(f"{answer['model']}: {'its own targets' if policy is None else f'policy {policy}{version}'}")
    if answer["refusal"] is not None:
        refusal = answer["refusal"]
        print_line(f"refused: {refusal['status']} {refusal['code']}: {refusal['message']}")
    print_rows(_rows(answer["targets"]), _TARGETS, as_json=False)
    for one in answer["left_out"]:
        because = f"{one['reason']} ({one['detail']})" if one["detail"] else one["reason"]
        print_line(f"left out: {one['provider']}/{one['model']}: {because}")
    for fallback in answer["fallbacks"]:
        names = ", ".join(f"{target['provider']}/{target['model']}" for target in fallback["targets"])
        print_line(f"fallback {fallback['kind']}: {names}")
    for text in answer["notes"]:
        print_line(f"note: {text}")
    tokens = f"about {answer['input_tokens']} tokens in, {answer['output_tokens']} out"
    cost = "no price" if answer["usual_usd"] is None else f"usually ${answer['usual_usd']}"
    most = "" if answer["most_usd"] is None else f", ${answer['most_usd']} at the most"
    print_line(f"{tokens}: {cost}{most}")
    for limit in answer["limits"]:
        period = f" a {limit['period']}" if limit["period"] else " at once"
        print_line(f"limit {limit['id']}: {limit['amount']} {limit['unit']}{period} ({limit['scope']})")
    for budget in answer["budgets"]:
        print_line(
            f"budget {budget['id']}: ${budget['amount_usd']} a {budget['window']}, {budget['mode']} ({budget['scope']})"
        )
    if not answer["targets"] and answer["refusal"] is None:
        note("No target is left.")


def _rows(targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **target,
            **(target["price"] or {}),
            "order": number,
            "state": f"blocked for {target['blocked_seconds']} s" if target["blocked_seconds"] else "ok",
        }
        for number, target in enumerate(targets, 1)
    ]
