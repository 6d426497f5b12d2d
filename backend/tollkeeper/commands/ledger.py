"""`tollkeeper ledger`: hold the rollups against the ledger's rows, and make them right again. Works beside a gateway."""

import asyncio
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tollkeeper.commands.output import FAILED, Json, fail, logs_aside, note, print_json, print_line, print_rows
from tollkeeper.commands.serving import Config
from tollkeeper.commands.stores import StoresDir, open_database, open_stores

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tollkeeper.db.session import Database
    from tollkeeper.domains.usage.verification import Verified

app = typer.Typer(help="The ledger: verify and rebuild its sums.", no_args_is_help=True)

Day = Annotated[str | None, typer.Option("--day", help="One day, UTC, such as 2026-01-31.")]


@app.command("verify")
def verify(*, day: Day = None, data_dir: StoresDir = None, config: Config = None, as_json: Json = False) -> None:
    """Add every row up again and report where the sums differ. Code 1 when any do."""
    chosen = _read_day(day)

    async def work(database: "Database") -> "list[Verified]":
        from tollkeeper.domains.usage.verification import list_verifiable, verify_day

        found: list[Verified] = []
        for each in [chosen] if chosen else await list_verifiable(database):
            found += await verify_day(database, each)
        return found

    found = _run(work, config, data_dir)
    wrong = [entry for entry in found if not entry.is_right]
    if as_json:
        print_json([_document(entry) for entry in found])
    elif wrong:
        columns = ("day", "tenant_id", "requests", "requests_drift", "charge_usd", "charge_drift_usd", "wrong_rollups")
        print_rows([_document(entry) for entry in wrong], columns, as_json=False)
    else:
        days, calls = len({entry.day for entry in found}), sum(entry.requests for entry in found)
        print_line(f"{calls} calls on {days} days add up to the sums: drift 0.")
    if wrong:
        named = ", ".join(sorted({str(entry.day) for entry in wrong}))
        fail(
            f"the sums of {named} differ from the calls. Run: tollkeeper ledger rebuild --day DAY",
            code=FAILED,
        )


@app.command("rebuild")
def rebuild(
    *,
    day: Day = None,
    every: Annotated[bool, typer.Option("--all", help="Every day whose calls are still kept.")] = False,
    data_dir: StoresDir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make the sums of a day what its rows add up to; each day in one transaction, beside running gateways."""
    chosen = _read_day(day)
    if (chosen is None) != every:
        fail("name one --day, or --all.", code=2)

    async def work(database: "Database") -> dict[str, int]:
        from tollkeeper.domains.usage.verification import list_verifiable, rebuild_day

        repaired: dict[str, int] = {}
        for each in [chosen] if chosen else await list_verifiable(database):
            repaired[str(each)] = await rebuild_day(database, each)
            if repaired[str(each)]:
                note(f"{each}: {repaired[str(each)]} sums were wrong and are right now.")
        return repaired

    repaired = _run(work, config, data_dir)
    if as_json:
        print_json(repaired)
    else:
        print_line(f"{len(repaired)} days rebuilt, {sum(repaired.values())} sums were wrong.")


def _run(work: "Callable[[Database], Coroutine[Any, Any, Any]]", config: Any, data_dir: Any) -> Any:
    from tollkeeper.core.errors import TollkeeperError

    with open_stores(config, data_dir) as settings:

        async def opened() -> Any:
            async with open_database(settings) as database:
                return await work(database)

        try:
            with logs_aside():
                return asyncio.run(opened())
        except TollkeeperError as error:
            fail(error.message)


def _read_day(day: str | None) -> date | None:
    try:
        return None if day is None else date.fromisoformat(day)
    except ValueError:
        fail(f"'{day}' is no day such as 2026-01-31.", code=2)


def _document(entry: "Verified") -> dict[str, Any]:
    from tollkeeper.core.ids import format_id
    from tollkeeper.core.money import format_usd

    document = asdict(entry)
    for name in ("charge", "cost"):
        document[f"{name}_usd"] = format_usd(document.pop(f"{name}_nano"))
        document[f"{name}_drift_usd"] = format_usd(document.pop(f"{name}_nano_drift"))
    return {**document, "day": str(entry.day), "tenant_id": format_id("ten", entry.tenant_id)}
