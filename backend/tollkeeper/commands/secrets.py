"""`tollkeeper secrets`: which master key holds what in the database, and moving everything to the one in use."""

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from tollkeeper.commands.output import FAILED, Json, console, fail, logs_aside, note, print_json, print_rows
from tollkeeper.commands.serving import Config
from tollkeeper.commands.stores import StoresDir, master_keys, open_database, open_stores

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollkeeper.core.config import Settings
    from tollkeeper.core.master_keys import MasterKeys
    from tollkeeper.domains.secrets.schemas import Rotated, Status

app = typer.Typer(help="Stored secrets and the master key they are under.", no_args_is_help=True)


@app.command("status")
def status(*, data_dir: StoresDir = None, config: Config = None, as_json: Json = False) -> None:
    """Count the stored secrets and API keys under each master key; names no secret and opens none."""
    from tollkeeper.core.errors import TollkeeperError

    with open_stores(config, data_dir) as settings:
        keys = master_keys(settings)
        try:
            with logs_aside():
                found = asyncio.run(_status(settings))
        except TollkeeperError as error:
            fail(error.message)
    document = describe(found, keys)
    if as_json:
        print_json(document)
    else:
        print_rows(document["rows"], ("place", "key", "state", "count"), as_json=False)
        for line in document["advice"]:
            note(line)
    if any(row["state"] == "unknown" for row in document["rows"]):
        raise typer.Exit(FAILED)


@app.command("rotate")
def rotate(*, data_dir: StoresDir = None, config: Config = None, as_json: Json = False) -> None:
    """Move every stored secret to the current master key, while gateways run that know both."""
    from tollkeeper.core.errors import TollkeeperError

    screen = console()
    with open_stores(config, data_dir) as settings:
        keys = master_keys(settings)
        counts: dict[str, int] = {}

        def progress(place: str, count: int) -> None:
            counts[place] = counts.get(place, 0) + count
            if screen.is_terminal and not as_json:
                screen.print(f"  {place:<32} {counts[place]:>8}", end="\r", highlight=False)

        try:
            with logs_aside():
                done = asyncio.run(_rotate(settings, keys, progress))
        except TollkeeperError as error:
            fail(error.message)
    if as_json:
        print_json(done.document())
    else:
        _tell(done)
    if not done.is_complete:
        raise typer.Exit(FAILED)


def describe(found: "Status", keys: "MasterKeys") -> dict[str, Any]:
    """Rows for the table, and what to do next."""
    previous = {key.kek_id for key in keys.previous} | {key.pepper_id for key in keys.previous}
    current = {keys.current.kek_id, keys.current.pepper_id}

    def row(place: str, key_id: str, count: int) -> dict[str, Any]:
        state = "current" if key_id in current else "previous" if key_id in previous else "unknown"
        return {"place": place, "key": key_id, "state": state, "count": count}

    rows = [row(wrapped.place, wrapped.kek_id, wrapped.count) for wrapped in found.envelopes]
    rows += [row("api_keys", peppered.pepper_id, peppered.count) for peppered in found.keys]
    is_ours = found.fingerprint in {None, keys.current.fingerprint()}
    advice = []
    if not is_ours or any(item["state"] == "previous" and item["place"] != "api_keys" for item in rows):
        advice.append("Stored secrets are under a former master key. Run: tollkeeper secrets rotate")
    waiting = sum(item["count"] for item in rows if item["place"] == "api_keys" and item["state"] == "previous")
    if waiting:
        advice.append(
            f"{waiting} API keys still need the former key; each moves when it is next used. Until then keep the former "
            "key in TOLLKEEPER_MASTER_KEYS_PREVIOUS, or rotate those keys."
        )
    if any(item["state"] == "unknown" for item in rows):
        advice.append("Some are under a key that is not given: add it to TOLLKEEPER_MASTER_KEYS_PREVIOUS.")
    if not advice and keys.previous:
        advice.append("Nothing needs a former master key any more: TOLLKEEPER_MASTER_KEYS_PREVIOUS can go.")
    return {"fingerprint": found.fingerprint, "is_current": is_ours, "rows": rows, "advice": advice}


async def _status(settings: "Settings") -> "Status":
    from tollkeeper.domains.secrets import service

    async with open_database(settings) as database:
        return await service.status(database)


async def _rotate(settings: "Settings", keys: "MasterKeys", progress: "Callable[[str, int], None]") -> "Rotated":
    from tollkeeper.core.clock import SystemClock
    from tollkeeper.core.ids import format_id
    from tollkeeper.core.objects import Objects
    from tollkeeper.domains.audit import verification
    from tollkeeper.domains.audit.heads import Heads
    from tollkeeper.domains.secrets.service import Rotation

    heads = Heads(Objects.open(settings.objects_url, settings.data_dir), keys, SystemClock())
    async with open_database(settings) as database:
        done = await Rotation(database, keys, progress=progress).run()
        done.heads_renewed, forged = await verification.renew_heads(database, heads)
    for tenant_id in forged:
        note(
            f"The audit trail of {format_id('ten', tenant_id)} has a signed head that is not ours: tollkeeper audit verify"
        )
    return done


def _tell(done: "Rotated") -> None:
    for place, count in done.rewrapped.items():
        note(f"{place}: {count} rewrapped")
    for row in done.unreadable:
        note(f"{row.place} {row.id}: {row.problem}")
    if not done.is_complete:
        note("Not everything could be moved. Set or delete what is named above, then run this again.")
        return
    note("Every stored secret is under the current master key." if done.count else "Nothing was left to move.")
    if done.heads_renewed:
        note(f"{done.heads_renewed} heads of audit trails are signed again.")
    if done.keys_to_upgrade:
        note(
            f"{done.keys_to_upgrade} API keys are still digested under a former key and move when they are next used: keep "
            "TOLLKEEPER_MASTER_KEYS_PREVIOUS until `tollkeeper secrets status` shows none."
        )
