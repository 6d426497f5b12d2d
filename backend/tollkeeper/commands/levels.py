"""What commands for teams and projects share: the options of a level, and the body made of those that were given."""

from typing import Annotated, Any

import typer

Description = Annotated[str | None, typer.Option("--description", help="What it is for.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Allowed model; may repeat.")]
Providers = Annotated[list[str] | None, typer.Option("--provider", help="Allowed provider; may repeat.")]


def sent(**fields: Any) -> dict[str, Any]:
    """What was not named is left to the levels above."""
    return {field: value for field, value in fields.items() if value is not None}
