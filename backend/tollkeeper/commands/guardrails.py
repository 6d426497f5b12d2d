"""`tollkeeper guardrails`: which rules there are, and what they make of a text."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tollkeeper.commands import guardrail_policies
from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.levels import sent
from tollkeeper.commands.output import Json, fail, note, print_json, print_line, print_rows

app = typer.Typer(help="Say what may be said: policies, what they found, and texts tried.", no_args_is_help=True)
app.add_typer(guardrail_policies.app, name="policies")

_PATH = "/api/v1/guardrails"
_EVENTS = (
    "created_at",
    "policy",
    "rule",
    "label",
    "action",
    "is_monitored",
    "direction",
    "model",
    "api_key_id",
    "count",
)
_FINDINGS = ("policy", "rule", "label", "action", "score", "text", "because")


@app.command("rules")
def list_rules(
    *, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False
) -> None:
    """List every kind of rule; --json shows the schema of its settings."""
    found = Client(url, key, data_dir).request("GET", f"{_PATH}/rules")
    print_rows(found["data"], ("name", "title"), as_json=as_json)


@app.command("events")
def list_events(
    *,
    since: Annotated[str | None, typer.Option("--from", help="From this moment on; else the last week.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this moment.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Of this rule, by its name in the policy.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="block, redact, redact_reversibly or flag.")] = None,
    direction: Annotated[str | None, typer.Option("--direction", help="input or output.")] = None,
    api_key: Annotated[str | None, typer.Option("--of", help="Of the calls of this key: key_…")] = None,
    request: Annotated[str | None, typer.Option("--request", help="Of this call: req_…")] = None,
    most: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")] = 100,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """What guardrails found in calls, newest first."""
    client = Client(url, key, data_dir)
    wanted = {"from": since, "to": until, "rule": rule, "action": action, "direction": direction}
    wanted |= {"api_key_id": api_key, "request_id": request, "tenant_id": client.tenant_id(tenant)}
    print_rows(client.pages(f"{_PATH}/events", most=most, **wanted), _EVENTS, as_json=as_json)


@app.command("test")
def try_text(
    text: Annotated[str, typer.Argument(help="What to try; - reads standard input.")],
    *,
    output: Annotated[bool, typer.Option("--output", help="As an answer, not as a question.")] = False,
    role: Annotated[str, typer.Option("--role", help="Who says it: system, user, assistant, tool.")] = "user",
    kind: Annotated[
        str, typer.Option("--kind", help="text, tool_arguments, tool_result, document or transcript.")
    ] = "text",
    model: Annotated[str | None, typer.Option("--model", help="As if it were said to this model.")] = None,
    starter: Annotated[
        str | None,
        typer.Option("--starter", help="With these rules: baseline, strict-pii, finance, health, developer."),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", help="With the rules of this JSON file, a list, instead of those that hold."),
    ] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """What is found in a text, where, and what would become of it. Nobody is called and nothing is kept."""
    text = sys.stdin.read() if text == "-" else text
    question = sent(
        text=text,
        direction="output" if output else "input",
        role=role,
        kind=kind,
        model=model,
        starter=starter,
        rules=None if rules is None else _read(rules),
    )
    answer = Client(url, key, data_dir).request("POST", f"{_PATH}/test", question)
    if as_json:
        print_json(answer)
        return
    if not answer["policies"]:
        note(
            "no policy holds for this tenant and model: write one under guardrails: in tollkeeper.yaml, or try --starter"
        )
    found = [{**finding, "text": text[finding["start"] : finding["end"]]} for finding in answer["findings"]]
    if found:
        print_rows(found, _FINDINGS, as_json=False)
    print_line(f"{answer['action']}, {len(found)} found, {answer['milliseconds']} ms")
    if answer["text"] is not None and answer["text"] != text:
        print_line(answer["text"])


def _read(path: Path) -> list[Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")
    if not isinstance(value, list):
        fail(f'{path}: expected a list of rules, such as [{{"rule": "pii", "action": "redact"}}]')
    return value
