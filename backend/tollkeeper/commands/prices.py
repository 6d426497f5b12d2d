"""`tollkeeper prices`: what calls cost, and a newer public price list put in force after a look at what it changes."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tollkeeper.commands import price_adjustments
from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.output import Json, fail, note, print_json, print_object, print_rows

app = typer.Typer(
    help="Show prices, put a newer price list in force, adjust what tenants are charged.", no_args_is_help=True
)
app.add_typer(price_adjustments.app, name="adjust")

# As much as the control plane takes of a body unless it is told otherwise.
_LARGEST: Final = 1024 * 1024
_UNPRICED: Final[Mapping[str, str]] = {
    "allow": "unpriced: calls are served and counted as unpriced",
    "block": "unpriced: calls are refused",
}
_COLUMNS: Final = (
    "model",
    "provider",
    "vendor",
    "input_per_million",
    "output_per_million",
    "effective_at",
    "source",
    "is_in_force",
    "reference",
    "checked",
)
_PUBLIC_COLUMNS: Final = (
    "vendor",
    "model",
    "input_per_million",
    "cached_input_per_million",
    "output_per_million",
    "checked",
    "reference",
)


@app.command("list")
def list_prices(
    *,
    most: Annotated[int, typer.Option("--most", min=1, help="How many, newest first.")] = 1000,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the history of prices, newest first."""
    print_rows(Client(url, key, data_dir).pages("/api/v1/catalog/prices", most=most), _COLUMNS, as_json=as_json)


@app.command("public")
def list_public(
    *,
    vendor: Annotated[str | None, typer.Option("--vendor", help="Of this kind of provider alone: openai, …")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List what vendors charge in public, as it ships or was put in since."""
    rows = Client(url, key, data_dir).pages("/api/v1/catalog/price-list", vendor=vendor)
    print_rows(rows, _PUBLIC_COLUMNS, as_json=as_json)


@app.command("show")
def show_price(
    model: Annotated[str, typer.Argument(help="The model's name, as callers write it.")],
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show what calls of a model cost now; a model without a price says so."""
    rows = Client(url, key, data_dir).pages("/api/v1/catalog/models", most=100_000)
    found = max((row for row in rows if _covers(row["name"], model)), key=_precision, default=None)
    if found is None:
        fail(f"there is no model named {model}. See: tollkeeper models list")
    price = found["price"]
    state = "priced" if price is not None else _UNPRICED[found["unpriced"]]
    shown = {name: value for name, value in (price or {}).items() if value not in (None, [])}
    route = {} if found["name"] == model else {"route": found["name"]}
    print_object({"model": model, **route, "state": state, **shown}, as_json=as_json)


def _covers(name: str, model: str) -> bool:
    return name == model or (name.endswith("*") and model.startswith(name[:-1]))


def _precision(row: Mapping[str, Any]) -> tuple[bool, int]:
    """As calls are routed: the very name first, then the longest `prefix*`."""
    return not row["name"].endswith("*"), len(row["name"])


@app.command("update")
def update_prices(
    source: Annotated[str, typer.Argument(help="A price list: a file, or an https address.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    signature: Annotated[
        Path | None, typer.Option("--signature", help="File with the list's ed25519 signature, raw or base64.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="File with the key it must be signed by: PEM, raw or base64.")
    ] = None,
    allow_private_address: Annotated[
        bool, typer.Option("--allow-private-address", help="The address is in a network of our own.")
    ] = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show what a price list changes, ask, and put it in force from now on. History stays; nothing is removed."""
    content = _read(source, allow_private_address=allow_private_address)
    if signature is not None or public_key is not None:
        _check_signature(content, signature, public_key)
    price_list = _checked(source, content)
    client = Client(url, key, data_dir)

    def send(*, apply: bool) -> Any:
        return client.request("POST", "/api/v1/catalog/prices/update", {"price_list": price_list, "apply": apply})

    changes = send(apply=False)
    count = len(changes["added"]) + len(changes["changed"])
    if not as_json and count:
        print_rows(_lines(changes), ("change", "vendor", "model", "price", "old", "new"), as_json=False)
    note(
        f"{len(changes['added'])} added, {len(changes['changed'])} changed, {changes['unchanged']} unchanged, "
        f"{changes['older']} older than what is known, {changes['kept']} not in the list and kept."
    )
    if count:
        if not yes:
            typer.confirm(f"Put {count} prices in force for every call from now on?", abort=True, err=True)
        changes = send(apply=True)
        note("In force on every worker within a second.")
    if as_json:
        print_json(changes)


def _read(source: str, *, allow_private_address: bool) -> bytes:
    if "://" not in source:
        return _read_file(Path(source))
    from tollkeeper.core.outbound import Outbound, OutboundFailed

    outbound = Outbound(total_seconds=30, largest=_LARGEST)
    try:
        answer = asyncio.run(outbound.send("GET", source, allow_private_address=allow_private_address))
    except OutboundFailed as error:
        fail(f"cannot read {source}. {error.message}")
    if answer.status != 200:
        fail(f"cannot read {source} (status {answer.status}).")
    return answer.body


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"cannot read {path} ({error.strerror}).", code=2)


def _check_signature(content: bytes, signature: Path | None, public_key: Path | None) -> None:
    from tollkeeper.core.signatures import is_signed

    if signature is None or public_key is None:
        fail("--signature and --public-key go together: a signature proves nothing without the key.", code=2)
    try:
        is_good = is_signed(content, signature=_read_file(signature), public_key=_read_file(public_key))
    except ValueError as error:
        fail(f"the signature cannot be checked: {error}.", code=2)
    if not is_good:
        fail("the signature does not fit: the list is not what the owner of the key signed. Nothing was changed.")


def _checked(source: str, content: bytes) -> Any:
    """The list as JSON. Ends the command with every mistake in it."""
    from pydantic import ValidationError

    from tollkeeper.domains.catalog.prices import PriceFile

    try:
        PriceFile.model_validate_json(content)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or 'the list'}: {item['msg']}" for item in error.errors()[:20]]
        fail("\n  ".join([f"{source} is no price list.", *problems]), code=2)
    return json.loads(content)


def _lines(changes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for one in changes["added"]:
        for name in ("input_per_million", "output_per_million"):
            yield {**_names("added", one), "price": name, "new": one["price"][name]}
    for one in changes["changed"]:
        for change in one["changes"]:
            yield {**_names("changed", one), "price": change["field"], "old": change["old"], "new": change["new"]}


def _names(verb: str, one: Mapping[str, Any]) -> dict[str, Any]:
    return {"change": verb, "vendor": one["vendor"], "model": one["model"]}
