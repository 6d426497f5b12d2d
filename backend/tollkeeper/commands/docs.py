"""`tollkeeper docs`: pages that are found out from the program itself."""

import typer

from tollkeeper.commands.output import Json, print_json, print_line

app = typer.Typer(help="Print pages of the documentation that follow from the program.", no_args_is_help=True)


@app.command("providers")
def providers(*, as_json: Json = False) -> None:
    """Print docs/providers.md: what each provider supports, what is translated, dropped and refused."""
    from tollkeeper.provider_page import write_page

    if as_json:
        print_json({"markdown": write_page()})
    else:
        print_line(write_page().rstrip("\n"))


@app.callback()
def docs() -> None:
    """Print pages of the documentation that follow from the program."""
