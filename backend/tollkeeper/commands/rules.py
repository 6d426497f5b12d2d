"""What the commands for limits and budgets share: whom a rule is about, and how it is said on a line."""

from typing import Annotated, Any, Final

import typer

from tollkeeper.commands.output import fail

_KINDS: Final = {"ten": "tenant", "team": "team", "prj": "project", "usr": "user", "key": "key"}

On = Annotated[
    str,
    typer.Option(
        "--on",
        help="Whom it is about: an id (key_…, usr_…, team_…, prj_…), a kind with its value (tag:team=search, model:gpt-*, "
        "end_user:42, provider:openai, endpoint:embeddings), or a kind alone, which counts each one apart.",
    ),
]
Shown = Annotated[str | None, typer.Option("--on", help="Only of these, as in create.")]
Named = Annotated[str | None, typer.Option("--name", help="A name for people.")]
About = Annotated[str | None, typer.Option("--description", help="What it is for.")]
OnlyModels = Annotated[list[str] | None, typer.Option("--model", help="Only for calls of this model; may repeat.")]
PerModel = Annotated[bool, typer.Option("--per-model", help="Count each model apart.")]
Platform = Annotated[bool, typer.Option("--platform", help="The platform's own: over all tenants, or the one named.")]
Subject = Annotated[
    str | None,
    typer.Option("--subject", help="Of a rule that counts each value apart: which one (key_…, or the value)."),
]
OfModel = Annotated[str | None, typer.Option("--model", help="Of a rule that counts each model apart: which one.")]


def read_scope(on: str) -> dict[str, str]:
    kind, separator, value = on.partition(":")
    if separator:
        return {"kind": kind, "id": value}
    prefix, is_id, _ = on.partition("_")
    if is_id and prefix in _KINDS:
        return {"kind": _KINDS[prefix], "id": on}
    if not on:
        fail("--on is empty; write --on key_… or --on tag:team=search.", code=2)
    return {"kind": on}


def scope_query(on: str | None) -> dict[str, Any]:
    scope = {} if on is None else read_scope(on)
    return {"scope_kind": scope.get("kind"), "scope_id": scope.get("id")}


def on_a_line(row: Any) -> dict[str, Any]:
    """A rule with its scope in one word, for a table."""
    scope = row["scope"]
    named = scope["id"] or scope["value"]
    whom = scope["kind"] if named is None else (named if scope["id"] else f"{scope['kind']}:{named}")
    if row["is_platform"]:
        whom = f"platform, {whom}"
    return {**row, "on": whom, "managed_by": row["origin"] or row["managed_by"]}
