"""`tollkeeper guardrails policies`: write policies, say where they hold, and exempt keys from them for a while."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.documents import read_policy, read_text
from tollkeeper.commands.levels import sent
from tollkeeper.commands.output import (
    Json,
    Yes,
    confirm,
    fail,
    print_json,
    print_line,
    print_object,
    print_removed,
    print_rows,
)

app = typer.Typer(help="Write guardrail policies, and say where they hold.", no_args_is_help=True)

PolicyId = Annotated[str, typer.Argument(help="The policy's id (grp_…) or its name.")]
Place = Annotated[
    str, typer.Argument(help="everyone, ten_…, team_…, prj_…, key_…, or a model as callers name it (gpt-*).")
]
_PATH = "/api/v1/guardrail-policies"
_COLUMNS = ("id", "name", "tenant_id", "mode", "starter", "published_version", "draft_version", "managed_by")
_ATTACHED = ("id", "level", "tenant", "team", "project", "key", "model", "created_at")
_EXEMPT = ("id", "rule", "label", "key", "expires_at", "is_expired", "reason", "created_by")
_MEMBERS = "name, starter, rules …"
_LEVELS = {"ten_": "tenant", "team_": "team", "prj_": "project", "key_": "key"}
_AHEAD = re.compile(r"(\d{1,4})([hd])")


@app.command("list")
def list_policies(
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List guardrail policies; platform administrators see everybody's and those of the configuration file."""
    client = Client(url, key, data_dir)
    print_rows(client.pages(_PATH, tenant_id=client.tenant_id(tenant)), _COLUMNS, as_json=as_json)


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
        Path, typer.Argument(help="The policy as JSON or YAML, as it stands under guardrails:; - reads it.")
    ],
    *,
    publish: Annotated[bool, typer.Option("--publish", help="Let it hold at once, where it is attached.")] = False,
    platform: Annotated[bool, typer.Option("--platform", help="The platform's own; no tenant can change it.")] = False,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Save a new policy as a draft; every fault is told with its path. It holds nowhere until it is attached."""
    client = Client(url, key, data_dir)
    document = {name: value for name, value in read_policy(source, _MEMBERS).items() if name != "attach"}
    owner = sent(tenant_id=client.tenant_id(tenant))
    body = {**document, **owner, "is_platform": platform, "publish": publish}
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
    """Change the draft, or begin one. Calls are held against what is published until `publish`."""
    client = Client(url, key, data_dir)
    changes = {name: value for name, value in read_policy(source, _MEMBERS).items() if name not in {"name", "attach"}}
    print_object(client.request("PATCH", f"{_PATH}/{_id_of(client, policy)}", changes), as_json=as_json)


@app.command()
def publish(
    policy: PolicyId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Hold calls against the draft, on every worker within a second."""
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
    """Hold calls against an earlier version again."""
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
    print_rows(rows, ("number", "is_published", "created_at", "published_at", "mode", "starter"), as_json=as_json)


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
    """Remove a policy with all its versions, attachments and exemptions."""
    client = Client(url, key, data_dir)
    policy_id = _id_of(client, policy)
    confirm(f"Delete {policy} with all its versions? It holds nowhere any more.", is_sure=yes)
    client.request("DELETE", f"{_PATH}/{policy_id}")
    print_removed(policy, as_json=as_json)


@app.command("dry-run")
def dry_run(
    policy: PolicyId,
    source: Annotated[Path, typer.Argument(help="Texts, one a line; - reads standard input.")],
    *,
    output: Annotated[bool, typer.Option("--output", help="As answers, not as questions.")] = False,
    version: Annotated[int | None, typer.Option("--version", help="Left out: the draft.")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """What a draft makes of texts, beside what the published version makes of them. Nothing is kept."""
    client = Client(url, key, data_dir)
    lines = [line for line in read_text(source).splitlines() if line.strip()]
    if not lines:
        fail(f"{source} holds no text", code=2)
    direction = "output" if output else "input"
    body = {"texts": [{"text": line, "direction": direction} for line in lines], **sent(version=version)}
    answer = client.request("POST", f"{_PATH}/{_id_of(client, policy)}/dry-run", body)
    if as_json:
        print_json(answer)
        return
    rows = [
        {
            "text": line if len(line) <= 60 else f"{line[:59]}…",
            "action": result["tried"]["action"],
            "now": "" if result["published"] is None else result["published"]["action"],
            "found": ", ".join(sorted({found["label"] for found in result["tried"]["findings"]})),
            "changed": result["is_changed"],
        }
        for line, result in zip(lines, answer["results"], strict=True)
    ]
    print_rows(rows, ("text", "action", "now", "found", "changed"), as_json=False)
    print_line(f"version {answer['version']}: {answer['changed']} of {len(lines)} would be treated otherwise than now")


@app.command()
def attach(
    policy: PolicyId,
    place: Place,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Let a policy hold for everybody, a tenant, team, project, key or model. It adds to what holds there."""
    client = Client(url, key, data_dir)
    answer = client.request("POST", f"{_PATH}/{_id_of(client, policy)}/attachments", _place(place))
    print_object(answer, as_json=as_json)


@app.command()
def attachments(
    policy: PolicyId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Where a policy holds."""
    client = Client(url, key, data_dir)
    print_rows(client.pages(f"{_PATH}/{_id_of(client, policy)}/attachments"), _ATTACHED, as_json=as_json)


@app.command()
def detach(
    policy: PolicyId,
    place: Annotated[str, typer.Argument(help="The attachment's id (gra_…), or the place as it was attached to.")],
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Let a policy hold there no more."""
    client = Client(url, key, data_dir)
    path = f"{_PATH}/{_id_of(client, policy)}/attachments"
    attachment_id: str | None = place
    if not place.startswith("gra_"):
        (level, subject), *_ = _place(place).items()
        wanted = "platform" if level == "everyone" else level
        found = (one["id"] for one in client.pages(path) if one["level"] == wanted and one.get(level, True) == subject)
        attachment_id = next(found, None)
        if attachment_id is None:
            fail(f"{policy} is not attached to {place}. See where it is: tollkeeper guardrails policies attachments")
    client.request("DELETE", f"{path}/{attachment_id}")
    print_removed(place, as_json=as_json)


@app.command()
def exempt(
    policy: PolicyId,
    rule: Annotated[str, typer.Argument(help="The rule's own name in the policy.")],
    key_id: Annotated[str, typer.Argument(help="Whose calls: key_…")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; the audit trail keeps it.")],
    until: Annotated[str, typer.Option("--until", help="When it ends: 12h, 30d, or 2027-01-31T18:00Z.")],
    label: Annotated[str | None, typer.Option("--label", help="Only for what it finds by this label.")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Exempt a key from a rule until a moment. It ends by itself."""
    client = Client(url, key, data_dir)
    body = sent(rule=rule, label=label, key=key_id, reason=reason, expires_at=_moment(until))
    print_object(client.request("POST", f"{_PATH}/{_id_of(client, policy)}/exemptions", body), as_json=as_json)


@app.command()
def exemptions(
    policy: PolicyId, *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """Who is exempt from what, why and until when; those that have ended among them."""
    client = Client(url, key, data_dir)
    print_rows(client.pages(f"{_PATH}/{_id_of(client, policy)}/exemptions"), _EXEMPT, as_json=as_json)


@app.command("end-exemption")
def end_exemption(
    policy: PolicyId,
    exemption: Annotated[str, typer.Argument(help="The exemption's id (gre_…).")],
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """End an exemption before its time."""
    client = Client(url, key, data_dir)
    client.request("DELETE", f"{_PATH}/{_id_of(client, policy)}/exemptions/{exemption}")
    print_removed(exemption, as_json=as_json)


def _id_of(client: Client, named: str) -> str:
    if named.startswith("grp_"):
        return named
    found = [str(policy["id"]) for policy in client.pages(_PATH, most=100_000) if policy["name"] == named]
    if not found:
        fail(f"no guardrail policy that this key sees is named {named}. See them: tollkeeper guardrails policies list")
    if len(found) > 1:
        fail(f"{len(found)} guardrail policies of several owners are named {named}: use an id ({', '.join(found)})")
    return found[0]


def _place(text: str) -> Mapping[str, Any]:
    if text == "everyone":
        return {"everyone": True}
    level = next((level for prefix, level in _LEVELS.items() if text.startswith(prefix)), "model")
    return {level: text.removeprefix("model:")}


def _moment(text: str) -> str:
    if (match := _AHEAD.fullmatch(text)) is not None:
        hours = int(match[1]) * (24 if match[2] == "d" else 1)
        return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"'{text}' is no moment: write 12h, 30d, or 2027-01-31T18:00Z", code=2)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).isoformat()
