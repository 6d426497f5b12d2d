"""The `tollkeeper` command: the table of contents of `commands/`."""

import sys
from typing import Annotated

import typer

from tollkeeper import __version__
from tollkeeper.commands import (
    audit,
    batches,
    budgets,
    catalog,
    chat,
    config,
    console,
    demo,
    docs,
    doctor,
    guardrails,
    identity_providers,
    keys,
    ledger,
    limits,
    prices,
    projects,
    requests,
    roles,
    routing,
    secrets,
    service_accounts,
    serving,
    teams,
    tenants,
    usage,
    users,
)
from tollkeeper.commands.output import Json, print_json, print_line

app = typer.Typer(
    name="tollkeeper",
    help="An OpenAI-compatible gateway between your applications and every model provider.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False
) -> None:
    """Run and administer a Tollkeeper gateway."""
    if version:
        print_line(__version__)
        raise typer.Exit


@app.command()
def version(*, as_json: Json = False) -> None:
    """Print the version."""
    if as_json:
        print_json({"version": __version__, "python": sys.version.split()[0]})
    else:
        print_line(__version__)


@app.command()
def openapi(
    *,
    control: Annotated[
        bool, typer.Option("--control", help="The control plane alone: what the console calls.")
    ] = False,
    as_json: Json = True,  # noqa: ARG001 - it is JSON in any case
) -> None:
    """Print the OpenAPI document; no server is started."""
    from tollkeeper.main import control_document, create_app

    app = create_app()
    print_json(control_document(app) if control else app.openapi())


app.command()(serving.serve)
app.command()(serving.worker)
app.command()(serving.migrate)
app.command()(serving.simulate)
app.command()(doctor.doctor)
app.command()(chat.chat)
app.command()(demo.demo)
app.add_typer(keys.app, name="keys")
app.add_typer(tenants.tenants, name="tenants")
app.add_typer(users.users, name="users")
app.add_typer(roles.app, name="roles")
app.add_typer(service_accounts.app, name="service-accounts")
app.add_typer(identity_providers.app, name="identity-providers")
app.add_typer(teams.app, name="teams")
app.add_typer(projects.app, name="projects")
app.add_typer(catalog.providers, name="providers")
app.add_typer(catalog.models, name="models")
app.add_typer(prices.app, name="prices")
app.add_typer(routing.app, name="routing")
app.add_typer(guardrails.app, name="guardrails")
app.add_typer(limits.app, name="limits")
app.add_typer(budgets.app, name="budgets")
app.add_typer(config.app, name="config")
app.add_typer(console.app, name="console")
app.add_typer(secrets.app, name="secrets")
app.add_typer(audit.app, name="audit")
app.add_typer(ledger.app, name="ledger")
app.add_typer(usage.app, name="usage")
app.add_typer(requests.app, name="requests")
app.add_typer(batches.app, name="batches")
app.add_typer(docs.app, name="docs")


def main() -> None:
    """The entry point of the command."""
    app(prog_name="tollkeeper")
