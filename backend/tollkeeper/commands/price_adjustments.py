"""`tollkeeper prices adjust`: margins and discounts, which make what a tenant is charged out of what a vendor takes."""

from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.levels import sent
from tollkeeper.commands.output import Json, Yes, confirm, print_object, print_removed, print_rows

app = typer.Typer(help="Charge a tenant more or less than the vendor takes.", no_args_is_help=True)

AdjustmentId = Annotated[str, typer.Argument(help="The adjustment's id: adj_…")]
Factor = Annotated[
    str | None, typer.Option("--factor", help="What the cost is multiplied by: 1.20 is a margin, 0.85 a discount.")
]
PerRequest = Annotated[
    str | None, typer.Option("--per-request", help="US dollars beside it, for each attempt that a vendor may charge.")
]
Ends = Annotated[str | None, typer.Option("--ends", help="When it ends: 2027-01-01T00:00:00Z.")]
Note = Annotated[str | None, typer.Option("--note", help="Why: a contract, an e-mail.")]
_COLUMNS = (
    "id",
    "tenant_id",
    "provider",
    "model",
    "factor",
    "per_request_usd",
    "effective_at",
    "ends_at",
    "managed_by",
    "note",
)


@app.command("list")
def list_adjustments(
    *,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List margins and discounts."""
    client = Client(url, key, data_dir)
    rows = client.pages("/api/v1/catalog/price-adjustments", tenant_id=client.tenant_id(tenant))
    print_rows(rows, _COLUMNS, as_json=as_json)


@app.command("add")
def add_adjustment(
    *,
    factor: Factor = None,
    per_request: PerRequest = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Only calls that this provider answers.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model; gpt-* for all that begin so.")] = None,
    begins: Annotated[str | None, typer.Option("--begins", help="When it begins; left out: now.")] = None,
    ends: Ends = None,
    note: Note = None,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Charge a tenant more or less from now on, on every worker within a second."""
    client = Client(url, key, data_dir)
    body = sent(
        tenant_id=client.tenant_id(tenant),
        provider=provider,
        model=model,
        factor=factor,
        per_request_usd=per_request,
        effective_at=begins,
        ends_at=ends,
        note=note,
    )
    print_object(client.request("POST", "/api/v1/catalog/price-adjustments", body), as_json=as_json)


@app.command("change")
def change_adjustment(
    adjustment_id: AdjustmentId,
    *,
    factor: Factor = None,
    per_request: PerRequest = None,
    ends: Ends = None,
    note: Note = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Change how much; what was charged stays as it was charged."""
    body = sent(factor=factor, per_request_usd=per_request, ends_at=ends, note=note)
    client = Client(url, key, data_dir)
    print_object(client.request("PATCH", f"/api/v1/catalog/price-adjustments/{adjustment_id}", body), as_json=as_json)


@app.command("remove")
def remove_adjustment(
    adjustment_id: AdjustmentId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Charge what the next wider adjustment says, or what the vendor takes."""
    client = Client(url, key, data_dir)
    confirm(f"Remove {adjustment_id}? The tenant's next calls are charged without it", is_sure=yes)
    client.request("DELETE", f"/api/v1/catalog/price-adjustments/{adjustment_id}")
    print_removed(adjustment_id, as_json=as_json)
