"""`tollkeeper audit`: read the trail, take it out, and prove that nobody has changed it."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.output import FAILED, Json, fail, logs_aside, note, print_json, print_rows
from tollkeeper.commands.serving import Config
from tollkeeper.commands.stores import StoresDir, master_keys, open_database, open_stores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from tollkeeper.core.config import Settings
    from tollkeeper.core.master_keys import MasterKeys
    from tollkeeper.domains.audit.schemas import ChainReport

app = typer.Typer(help="The audit trail: list, export, verify.", no_args_is_help=True)

TenantId = Annotated[str | None, typer.Option("--tenant", help="A tenant's id: ten_…")]
Action = Annotated[str | None, typer.Option("--action", help="keys.create, or 'keys.*' for all that begin so.")]
Actor = Annotated[str | None, typer.Option("--actor", "--actor-id", help="Who: usr_… or key_…")]
Object = Annotated[str | None, typer.Option("--object", "--object-id", help="What was changed, by its id.")]
Since = Annotated[str | None, typer.Option("--from", help="Not before this time, such as 2026-01-31T00:00:00Z.")]
Until = Annotated[str | None, typer.Option("--to", help="Before this time.")]


@app.command("list")
def list_records(
    *,
    tenant: Tenant = None,
    action: Action = None,
    actor: Actor = None,
    changed: Object = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most this many.")] = 50,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the newest records of the trail."""
    client = Client(url, key, data_dir)
    query = _query(client.tenant_id(tenant), action, actor, changed, since, until)
    rows = client.pages("/api/v1/audit", most=limit, **query)
    shown = [row if as_json else {**row, "actor": row["actor"]["name"]} for row in rows]
    print_rows(shown, ("sequence", "created_at", "actor", "action", "object_id", "outcome"), as_json=as_json)


@app.command("export")
def export(
    output: Annotated[Path | None, typer.Argument(help="The file to write; standard output without it.")] = None,
    *,
    tenant: Tenant = None,
    action: Action = None,
    actor: Actor = None,
    changed: Object = None,
    since: Since = None,
    until: Until = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = True,  # noqa: ARG001 - it is JSON in any case
) -> None:
    """Write the trail as JSON lines, oldest first. The export itself is recorded."""
    client = Client(url, key, data_dir)
    query = _query(client.tenant_id(tenant), action, actor, changed, since, until)
    chunks = client.download("/api/v1/audit/export", **query)
    if output is None:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    count = 0
    # Whole or not at all: half a trail must not be taken for one.
    unfinished = output.with_name(f"{output.name}.part")
    try:
        with unfinished.open("wb") as file:
            for chunk in chunks:
                count += chunk.count(b"\n")
                file.write(chunk)
        unfinished.replace(output)
    except OSError as error:
        fail(f"cannot write {output} ({error.strerror}).")
    finally:
        unfinished.unlink(missing_ok=True)
    note(f"{count} records written to {output}.")


@app.command("verify")
def verify(
    *,
    tenant: TenantId = None,
    head: Annotated[str | None, typer.Option("--head", help="A hash that you noted earlier, with --tenant.")] = None,
    data_dir: StoresDir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Walk each tenant's chain in the database itself, and hold it against the heads signed outside it."""
    from tollkeeper.core.errors import TollkeeperError
    from tollkeeper.core.ids import parse_id

    if head is not None and (tenant is None or len(head) != 64):
        fail("--head takes the 64 hexadecimal digits of one tenant's record: name the tenant as well.", code=2)
    try:
        tenant_id = None if tenant is None else parse_id("ten", tenant)
        noted = None if head is None else bytes.fromhex(head)
    except ValueError as error:
        fail(str(error), code=2)
    with open_stores(config, data_dir) as settings:
        keys = master_keys(settings)
        try:
            with logs_aside():
                reports = asyncio.run(_verify(settings, keys, tenant_id, noted))
        except TollkeeperError as error:
            fail(error.message)
    documents = [report.model_dump(mode="json") for report in reports]
    if as_json:
        print_json(documents)
    else:
        columns = ("tenant_id", "records", "signed_sequence", "is_intact", "broken_at", "problem")
        print_rows([row for row in documents if row["records"] or not row["is_intact"]], columns, as_json=False)
    broken = [row["tenant_id"] for row in documents if not row["is_intact"]]
    if broken:
        fail(f"the trail of {', '.join(broken)} is not as it was written.", code=FAILED)


async def _verify(
    settings: "Settings", keys: "MasterKeys", tenant_id: "UUID | None", head: bytes | None
) -> "list[ChainReport]":
    from tollkeeper.core.clock import SystemClock
    from tollkeeper.core.objects import Objects
    from tollkeeper.domains.audit import verification
    from tollkeeper.domains.audit.heads import Heads

    heads = Heads(Objects.open(settings.objects_url, settings.data_dir), keys, SystemClock())
    async with open_database(settings) as database:
        if tenant_id is None:
            return [report async for report in _told(verification.verify_all(database, heads))]
        async with database.platform() as session:
            return [await verification.verify(session, heads, tenant_id, head=head)]


async def _told(reports: "AsyncIterator[ChainReport]") -> "AsyncIterator[ChainReport]":
    """With a word now and then, because a large trail takes a while."""
    records = tenants = 0
    async for report in reports:
        tenants += 1
        if (records + report.records) // 100_000 > records // 100_000:
            note(f"{records + report.records} records of {tenants} tenants verified ...")
        records += report.records
        yield report


def _query(
    tenant: str | None,
    action: str | None,
    actor: str | None,
    changed: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, str | None]:
    return {
        "tenant_id": tenant,
        "action": action,
        "actor_id": actor,
        "object_id": changed,
        "from": since,
        "to": until,
    }
