"""`tollkeeper users reset-password`: the way back in for the operator of the machine, without a key or a session."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tollkeeper.commands.output import Json, fail, logs_aside, note, print_json
from tollkeeper.commands.serving import Config
from tollkeeper.commands.stores import StoresDir, open_database, open_stores

if TYPE_CHECKING:
    from tollkeeper.core.config import Settings


def reset_password(
    email: Annotated[str, typer.Argument(help="The person's e-mail address.")],
    *,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from a pipe.")] = False,
    remove_second_factor: Annotated[
        bool, typer.Option("--remove-second-factor", help="Remove a lost second factor as well.")
    ] = False,
    data_dir: StoresDir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Set a person's password in the database itself, and end their sessions. For who is locked out."""
    from tollkeeper.core.errors import TollkeeperError

    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    with open_stores(config, data_dir) as settings:
        try:
            with logs_aside():
                problem = asyncio.run(_rescue(settings, email.strip(), password, removes=remove_second_factor))
        except TollkeeperError as error:
            fail(error.message)
    if as_json:
        print_json({"email": email, "note": problem})
    else:
        note(f"The password of {email} is set. Every session of the account has ended.")
        if problem is not None:
            note(problem)


async def _rescue(settings: "Settings", email: str, password: str, *, removes: bool) -> str | None:
    from tollkeeper.core.clock import SystemClock
    from tollkeeper.core.errors import BadRequest
    from tollkeeper.core.passwords import Passwords
    from tollkeeper.domains.identity.rescue import rescue
    from tollkeeper.domains.users.schemas import LONGEST_PASSWORD, SHORTEST_PASSWORD

    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise BadRequest(f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")
    async with open_database(settings) as database:
        return await rescue(database, Passwords(), SystemClock(), email, password, removes_second_factor=removes)
