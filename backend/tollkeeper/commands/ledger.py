"""`tollkeeper ledger`: hold sums and budgets against the ledger's rows, and make them right again. Works beside a gateway."""

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
    from tollkeeper.domains.usage.spend_verification import Drift, VerifiedSpend
    from tollkeeper.domains.usage.verification import Verified
    from tollkeeper.gateway.money.live_drift import LiveDrift, LiveVerified

app = typer.Typer(help="The ledger: verify and rebuild its sums.", no_args_is_help=True)

# No call waits here.
_PATIENCE = 5.0
Live = Annotated[
    bool, typer.Option("--live", help="The counters in Redis, against the ledger and the calls that are open.")
]
Day = Annotated[str | None, typer.Option("--day", help="One day, UTC, such as 2026-01-31.")]


@app.command("verify")
def verify(
    *, day: Day = None, live: Live = False, data_dir: StoresDir = None, config: Config = None, as_json: Json = False
) -> None:
    """Add every row up again and report where sums, or without --day what budgets have spent, differ: then code 1."""
    chosen = _read_day(day)
    if live:
        if chosen is not None:
            fail("live counters have no --day.", code=2)
        _verify_live(config, data_dir, as_json=as_json)
        return

    async def work(database: "Database") -> "tuple[list[Verified], VerifiedSpend | None]":
        from tollkeeper.domains.usage.spend_verification import verify_spend
        from tollkeeper.domains.usage.verification import list_verifiable, verify_day

        found: list[Verified] = []
        for each in [chosen] if chosen else await list_verifiable(database):
            found += await verify_day(database, each)
        return found, None if chosen else await verify_spend(database)

    found, spend = _run(work, config, data_dir)
    _tell_verified(found, spend, as_json=as_json)


@app.command("rebuild")
def rebuild(
    *,
    day: Day = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every day whose calls are still kept, and what budgets have spent.")
    ] = False,
    live: Live = False,
    data_dir: StoresDir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make the sums of a day what its rows add up to; each day in one transaction, beside running gateways."""
    chosen = _read_day(day)
    if (chosen is not None) + every + live != 1:
        fail("name one --day, or --all, or --live.", code=2)
    if live:
        _rebuild_live(config, data_dir, as_json=as_json)
        return

    async def work(database: "Database") -> dict[str, Any]:
        from tollkeeper.domains.usage.spend_verification import rebuild_spend
        from tollkeeper.domains.usage.verification import list_verifiable, rebuild_day

        repaired: dict[str, int] = {}
        for each in [chosen] if chosen else await list_verifiable(database):
            repaired[str(each)] = await rebuild_day(database, each)
            if repaired[str(each)]:
                note(f"{each}: {repaired[str(each)]} sums were wrong and are right now.")
        return {"days": repaired, "budgets": None if chosen else await rebuild_spend(database)}

    repaired = _run(work, config, data_dir)
    if as_json:
        print_json(repaired)
        return
    days, counters = repaired["days"], repaired["budgets"]
    print_line(f"{len(days)} days rebuilt, {sum(days.values())} sums were wrong.")
    if counters is not None:
        print_line(f"{counters} counters of budgets were wrong.")


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


def _tell_verified(found: "list[Verified]", spend: "VerifiedSpend | None", *, as_json: bool) -> None:
    wrong = [entry for entry in found if not entry.is_right]
    drifts = [] if spend is None else [_counter(drift) for drift in spend.wrong]
    if as_json:
        budgets = None
        if spend is not None:
            budgets = {"counters": spend.counters, "not_verifiable": spend.not_verifiable, "wrong": drifts}
        print_json({"days": [_document(entry) for entry in found], "budgets": budgets})
    else:
        if wrong:
            columns = (
                "day",
                "tenant_id",
                "requests",
                "requests_drift",
                "charge_usd",
                "charge_drift_usd",
                "wrong_rollups",
            )
            print_rows([_document(entry) for entry in wrong], columns, as_json=False)
        else:
            days, calls = len({entry.day for entry in found}), sum(entry.requests for entry in found)
            print_line(f"{calls} calls on {days} days add up to the sums: drift 0.")
        if drifts:
            print_rows(drifts, ("budget_id", "tenant_id", "ref", "spent_usd", "drift_usd"), as_json=False)
        elif spend is not None:
            gone = (
                f" ({spend.not_verifiable} more cannot be told, their calls are gone)" if spend.not_verifiable else ""
            )
            print_line(f"{spend.counters} counters of budgets agree with the calls: drift 0{gone}.")
    if wrong:
        named = ", ".join(sorted({str(entry.day) for entry in wrong}))
        fail(
            f"the sums of {named} differ from the calls. Run: tollkeeper ledger rebuild --day DAY",
            code=FAILED,
        )
    if drifts:
        fail("what budgets have spent differs from the calls. Run: tollkeeper ledger rebuild --all", code=FAILED)


def _verify_live(config: Any, data_dir: Any, *, as_json: bool) -> None:
    found = _run_live(config, data_dir, is_repair=False)
    drifts = [_live_counter(drift) for drift in found.wrong]
    if as_json:
        print_json(
            {
                "counters": found.counters,
                "uncounted": found.uncounted,
                "open_calls": found.open_calls,
                "unshipped_calls": found.unshipped_calls,
                "wrong": drifts,
            }
        )
    elif drifts:
        columns = ("budget_id", "tenant_id", "ref", "base_usd", "base_drift_usd", "held_usd", "held_drift_usd")
        print_rows(drifts, columns, as_json=False)
    else:
        later = f" ({found.uncounted} more are read when they are asked for)" if found.uncounted else ""
        print_line(
            f"{found.counters} live counters agree with the ledger, and with {found.open_calls} open calls and "
            f"{found.unshipped_calls} on their way to it: drift 0{later}."
        )
    if drifts:
        fail("live counters differ from the ledger. Run: tollkeeper ledger rebuild --live", code=FAILED)


def _rebuild_live(config: Any, data_dir: Any, *, as_json: bool) -> None:
    found = _run_live(config, data_dir, is_repair=True)
    if as_json:
        print_json({"live": len(found.wrong)})
    else:
        print_line(f"{len(found.wrong)} live counters were wrong; the gateway builds them anew with the next call.")


def _run_live(config: Any, data_dir: Any, *, is_repair: bool) -> "LiveVerified":
    from tollkeeper.commands.stores import open_redis

    async def work(database: "Database", redis_url: str) -> "LiveVerified":
        from tollkeeper.core.clock import SystemClock
        from tollkeeper.core.redis_cluster import make_link
        from tollkeeper.domains.usage.spend import SqlSpend
        from tollkeeper.gateway.money.live_drift import count_anew, verify_live

        link = make_link(redis_url, SystemClock(), connect_seconds=_PATIENCE, operation_seconds=_PATIENCE)
        await link.start()
        try:
            found = await verify_live(link, SqlSpend(database, deadline_seconds=_PATIENCE))
            if is_repair:
                await count_anew(link, {drift.tenant_id for drift in found.wrong})
            return found
        finally:
            await link.close()

    from tollkeeper.core.errors import TollkeeperError

    with open_stores(config, data_dir) as settings, open_redis(settings) as redis_url:

        async def opened() -> "LiveVerified":
            async with open_database(settings) as database:
                return await work(database, redis_url)

        try:
            with logs_aside():
                return asyncio.run(opened())
        except TollkeeperError as error:
            fail(error.message)


def _live_counter(drift: "LiveDrift") -> dict[str, Any]:
    from tollkeeper.contracts.money import PLATFORM, read_counter_ref
    from tollkeeper.core.ids import format_id
    from tollkeeper.core.money import format_usd

    budget_id, _, _ = read_counter_ref(drift.ref)
    return {
        "tenant_id": None if drift.tenant_id == PLATFORM else format_id("ten", drift.tenant_id),
        "budget_id": format_id("bud", budget_id),
        "ref": drift.ref,
        "base_usd": format_usd(drift.base_nano),
        "base_drift_usd": format_usd(drift.base_drift_nano),
        "held_usd": format_usd(drift.held_nano),
        "held_drift_usd": format_usd(drift.held_drift_nano),
    }


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


def _counter(drift: "Drift") -> dict[str, Any]:
    from tollkeeper.contracts.money import PLATFORM, read_counter_ref
    from tollkeeper.core.ids import format_id
    from tollkeeper.core.money import format_usd

    budget_id, _, _ = read_counter_ref(drift.ref)
    return {
        "tenant_id": None if drift.tenant_id == PLATFORM else format_id("ten", drift.tenant_id),
        "budget_id": format_id("bud", budget_id),
        "ref": drift.ref,
        "window_start": drift.window_start.isoformat(),
        "spent_usd": format_usd(drift.nano),
        "drift_usd": format_usd(drift.drift_nano),
    }
