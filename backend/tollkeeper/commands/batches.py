"""`tollkeeper batches`: files of calls, made in their own time, through OpenAI's Files and Batch APIs of the gateway."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.output import Json, fail, note, print_json, print_object, print_rows

app = typer.Typer(help="Have files of calls made in their own time.", no_args_is_help=True)

_COLUMNS = ("id", "status", "endpoint", "model", "total", "completed", "failed", "created_at")
_PAGE = 100
_Id = Annotated[str, typer.Argument(help="The batch's id: batch_…")]


@app.command("create")
def create_batch(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="One request a line, as OpenAI has it.")
    ],
    *,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="As /v1/chat/completions; the first line's url without it.")
    ] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Upload a file and have its calls made, as the key that is given."""
    asked = endpoint or _endpoint_of(path)
    client = Client(url, key, data_dir)
    kept = client.upload("/v1/files", path, purpose="batch")
    body = {"input_file_id": kept["id"], "endpoint": asked, "completion_window": "24h"}
    made = client.request("POST", "/v1/batches", body)
    print_object(made, as_json=as_json)


@app.command("list")
def list_batches(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 20,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the batches that the key may see, newest first."""
    rows = (
        {**batch, **(batch["request_counts"] or {})} if not as_json else batch
        for batch in _pages(Client(url, key, data_dir), limit)
    )
    print_rows(rows, _COLUMNS, as_json=as_json)


@app.command("show")
def show_batch(
    batch_id: _Id,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show how far a batch is, and its files once it is over."""
    print_object(Client(url, key, data_dir).request("GET", f"/v1/batches/{batch_id}"), as_json=as_json)


@app.command("cancel")
def cancel_batch(
    batch_id: _Id,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Stop a batch; what has been answered stays."""
    print_object(Client(url, key, data_dir).request("POST", f"/v1/batches/{batch_id}/cancel"), as_json=as_json)


@app.command("output")
def write_output(
    batch_id: _Id,
    *,
    errors: Annotated[bool, typer.Option("--errors", help="The lines that failed, instead of the answers.")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Write the answers of a batch that is over to standard output, one a line; with --json as one list."""
    client = Client(url, key, data_dir)
    batch = client.request("GET", f"/v1/batches/{batch_id}")
    file_id = batch["error_file_id" if errors else "output_file_id"]
    if file_id is None:
        is_over = batch["status"] in {"completed", "failed", "expired", "cancelled"}
        what = "failed lines" if errors else "answers"
        if not is_over:
            fail(f"the batch is {batch['status']}: its files are written at its end.")
        note(f"The batch is {batch['status']} and has no {what}.")
    parts = () if file_id is None else client.download(f"/v1/files/{file_id}/content")
    if as_json:
        print_json([json.loads(line) for line in b"".join(parts).splitlines()])
        return
    for part in parts:
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def _pages(client: Client, most: int) -> Iterator[Mapping[str, Any]]:
    after, left = None, most
    while left > 0:
        page = client.request("GET", "/v1/batches", limit=min(_PAGE, left), after=after)
        yield from page["data"]
        left -= len(page["data"])
        after = page["last_id"]
        if not page["has_more"]:
            return


def _endpoint_of(path: Path) -> str:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                break
        else:
            fail(f"{path} has no lines.", code=2)
    try:
        found = json.loads(line)["url"]
    except (ValueError, LookupError, TypeError):
        found = None
    if not isinstance(found, str):
        fail(f"the first line of {path} names no url: write it there, or pass --endpoint.", code=2)
    return found
