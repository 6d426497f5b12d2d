"""`tollkeeper usage reconcile`: the ledger against a provider's own export, by day and model."""

import asyncio
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tollkeeper.commands.output import FAILED, Json, fail, logs_aside, note, print_json, print_line, print_rows
from tollkeeper.commands.serving import Config
from tollkeeper.commands.stores import StoresDir, open_database, open_stores

if TYPE_CHECKING:
    from tollkeeper.core.config import Settings
    from tollkeeper.domains.usage.provider_export import Export
    from tollkeeper.domains.usage.reconciliation import Compared, Hours, Reconciliation

app = typer.Typer(help="Usage: reconcile it with a provider's bill.", no_args_is_help=True)
_COLUMNS = (
    "day",
    "model",
    "requests",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "their_cost_usd",
    "over",
    "reasons",
)


@app.callback()
def group() -> None:
    """Usage: reconcile it with a provider's bill."""


@app.command("reconcile")
def reconcile(
    export: Annotated[Path, typer.Argument(help="OpenAI's usage or costs pages as JSON, or a CSV.")],
    *,
    provider: Annotated[str, typer.Option("--provider", help="The provider's name in the catalogue.")],
    tolerance: Annotated[str, typer.Option("--tolerance", help="Percent that a day and model may differ by.")] = "0.5",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="Where a CSV names its columns otherwise: day=Date, model=SKU, cost=Amount …"),
    ] = None,
    offset: Annotated[
        int | None, typer.Option("--utc-offset", min=-12, max=14, help="Where its days begin; found out without it.")
    ] = None,
    data_dir: StoresDir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Compare the ledger with the provider's export and explain differences. Code 1 beyond the tolerance."""
    from tollkeeper.core.errors import TollkeeperError
    from tollkeeper.domains.usage import reconciliation
    from tollkeeper.domains.usage.provider_export import read_export

    try:
        share = Decimal(tolerance) / 100
    except InvalidOperation:
        fail(f"'{tolerance}' is no percentage.", code=2)
    try:
        theirs = read_export(export.read_text(encoding="utf-8"), dict(_pair(entry) for entry in column or ()))
        with open_stores(config, data_dir) as settings, logs_aside():
            hours = asyncio.run(_read(settings, provider, theirs))
        result = reconciliation.reconcile(hours, theirs, tolerance=share, offset_hours=offset)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {export} ({error}).")
    except TollkeeperError as error:
        fail(error.message)
    _tell(result, as_json=as_json)
    if result.is_over:
        over = sum(entry.is_over for entry in result.entries)
        fail(f"{over} of {len(result.entries)} days and models differ by more than {tolerance} %.", code=FAILED)


async def _read(settings: "Settings", provider: str, export: "Export") -> "Hours":
    from tollkeeper.domains.usage import reconciliation

    async with open_database(settings) as database, database.platform() as session:
        return await reconciliation.read_ledger(session, provider, export)


def _tell(result: "Reconciliation", *, as_json: bool) -> None:
    rows = [_row(entry) for entry in result.entries]
    if as_json:
        print_json({"utc_offset": result.offset_hours, "notes": list(result.notes), "data": rows})
        return
    for text in result.notes:
        note(text)
    differing = [row for row in rows if row["reasons"] or row["over"]]
    if differing:
        print_rows(differing, _COLUMNS, as_json=False)
    print_line(f"{len(rows) - len(differing)} of {len(rows)} days and models agree.")


def _row(entry: "Compared") -> dict[str, Any]:
    from tollkeeper.core.money import format_usd

    return {
        "day": str(entry.day),
        "model": entry.model,
        "requests": entry.ours.requests,
        "input_tokens": entry.ours.input_tokens,
        "output_tokens": entry.ours.output_tokens,
        "cost_usd": format_usd(entry.ours.cost_nano),
        "their_cost_usd": None if entry.theirs.cost is None else f"{entry.theirs.cost:f}",
        "differences": {name: f"{value:f}" for name, value in entry.differences.items()},
        "over": entry.is_over,
        "reasons": list(entry.reasons),
    }


def _pair(entry: str) -> tuple[str, str]:
    name, separator, column = entry.partition("=")
    if not separator:
        fail(f"--column takes NAME=COLUMN, not '{entry}'.", code=2)
    return name, column
