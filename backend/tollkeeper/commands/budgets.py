"""`tollkeeper budgets`: for how much, for whom, and what of it is left."""

from typing import Annotated, Any

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Tenant, Url
from tollkeeper.commands.levels import sent
from tollkeeper.commands.output import Json, Yes, confirm, print_object, print_removed, print_rows
from tollkeeper.commands.rules import (
    About,
    Named,
    OfModel,
    On,
    OnlyModels,
    PerModel,
    Platform,
    Shown,
    Subject,
    on_a_line,
    read_scope,
    scope_query,
)

app = typer.Typer(help="List, give, change and remove budgets, and see what is left of them.", no_args_is_help=True)

BudgetId = Annotated[str, typer.Argument(help="The budget's id: bud_…")]
Mode = Annotated[str | None, typer.Option("--mode", help="hard: never passed (the default). soft: counted and told.")]
Thresholds = Annotated[
    list[int] | None, typer.Option("--threshold", help="Percent at which an event tells; may repeat. 80 and 100.")
]
Increase = Annotated[str | None, typer.Option("--increase", help="Dollars more for a while; with --until.")]
Until = Annotated[str | None, typer.Option("--until", help="When the increase ends, such as 2026-12-01T00:00:00Z.")]
Status = Annotated[int | None, typer.Option("--refusal-status", help="429 (the default) or 402.")]
_COLUMNS = ("id", "name", "on", "amount_usd", "window", "mode", "models", "thresholds", "managed_by")


@app.command("list")
def list_budgets(
    *,
    on: Shown = None,
    platform: Platform = False,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the budgets of the tenant, the one behind its `monthly_budget` among them."""
    client = Client(url, key, data_dir)
    rows = client.pages(
        "/api/v1/budgets", tenant_id=client.tenant_id(tenant), is_platform=platform or None, **scope_query(on)
    )
    print_rows(rows if as_json else map(on_a_line, rows), _COLUMNS, as_json=as_json)


@app.command("show")
def show_budget(
    budget_id: BudgetId,
    *,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show one budget."""
    print_object(Client(url, key, data_dir).request("GET", f"/api/v1/budgets/{budget_id}"), as_json=as_json)


@app.command("status")
def show_status(
    budget_id: BudgetId,
    *,
    subject: Subject = None,
    model: OfModel = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Show what is spent, held and left, how fast it goes, and which calls hold money."""
    client = Client(url, key, data_dir)
    status = client.request("GET", f"/api/v1/budgets/{budget_id}/status", subject=subject, model=model)
    print_object(status if as_json else _short(status), as_json=as_json)


@app.command("holds")
def list_holds(
    budget_id: BudgetId,
    *,
    subject: Subject = None,
    model: OfModel = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the calls for which money is held."""
    rows = Client(url, key, data_dir).pages(f"/api/v1/budgets/{budget_id}/holds", subject=subject, model=model)
    columns = ("request_id", "amount_usd", "age_seconds", "key_id", "model", "is_settled", "owner")
    print_rows(rows, columns, as_json=as_json)


@app.command("create")
def create_budget(
    amount: Annotated[str, typer.Argument(help="Dollars a window, such as 25.00.")],
    *,
    on: On = "tenant",
    window: Annotated[
        str, typer.Option("--window", help="hour, day, week, month, quarter, year, total or custom.")
    ] = "month",
    seconds: Annotated[int | None, typer.Option("--window-seconds", help="The length of a custom window.")] = None,
    time_zone: Annotated[str | None, typer.Option("--time-zone", help="IANA zone of days and months; UTC.")] = None,
    anchor: Annotated[str | None, typer.Option("--anchor", help="When one window begins.")] = None,
    mode: Mode = None,
    models: OnlyModels = None,
    per_model: PerModel = False,
    increase: Increase = None,
    until: Until = None,
    rolls_over: Annotated[bool, typer.Option("--roll-over", help="What is left is added to the next window.")] = False,
    refusal_status: Status = None,
    threshold: Thresholds = None,
    backfill: Annotated[bool, typer.Option("--backfill", help="Count what the window has cost so far.")] = False,
    name: Named = None,
    description: About = None,
    platform: Platform = False,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Give a budget: tollkeeper budgets create 25.00 --on key_… --window month"""
    client = Client(url, key, data_dir)
    body = sent(
        scope=read_scope(on),
        amount_usd=amount,
        window=window,
        window_seconds=seconds,
        time_zone=time_zone,
        anchor=anchor,
        mode=mode,
        models=models,
        is_per_model=per_model or None,
        increase_usd=increase,
        increase_until=until,
        rolls_over=rolls_over or None,
        refusal_status=refusal_status,
        thresholds=threshold,
        backfill=backfill or None,
        name=name,
        description=description,
        is_platform=platform or None,
        tenant_id=client.tenant_id(tenant),
    )
    print_object(client.request("POST", "/api/v1/budgets", body), as_json=as_json)


@app.command("update")
def update_budget(
    budget_id: BudgetId,
    *,
    amount: Annotated[str | None, typer.Option("--amount", help="Dollars a window.")] = None,
    mode: Mode = None,
    increase: Increase = None,
    until: Until = None,
    rolls_over: Annotated[bool | None, typer.Option("--roll-over/--no-roll-over", help="Add what is left.")] = None,
    refusal_status: Status = None,
    threshold: Thresholds = None,
    name: Named = None,
    description: About = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Change what is named. Below what is spent it admits nothing until the next window."""
    body = sent(
        amount_usd=amount,
        mode=mode,
        increase_usd=increase,
        increase_until=until,
        rolls_over=rolls_over,
        refusal_status=refusal_status,
        thresholds=threshold,
        name=name,
        description=description,
    )
    client = Client(url, key, data_dir)
    print_object(client.request("PATCH", f"/api/v1/budgets/{budget_id}", body), as_json=as_json)


@app.command("delete")
def delete_budget(
    budget_id: BudgetId,
    *,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Take a budget away; what is held for calls under way is settled all the same."""
    client = Client(url, key, data_dir)
    confirm(f"Take {budget_id} away?", is_sure=yes)
    client.request("DELETE", f"/api/v1/budgets/{budget_id}")
    print_removed(budget_id, as_json=as_json)


def _short(status: dict[str, Any]) -> dict[str, Any]:
    """For people: the holds are counted, the forecast stands beside the rest."""
    forecast = status.pop("forecast")
    holds, subjects = status.pop("holds"), status.pop("subjects")
    dearest = [f"{entry['subject']} {entry['spent_usd']}" for entry in subjects]
    return {**status, **forecast, "calls_holding": len(holds), **({"dearest": dearest} if dearest else {})}
