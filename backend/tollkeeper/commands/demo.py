"""`tollkeeper demo`: an organisation to look at, some days of its past, and traffic until it is stopped."""

import asyncio
import json
import random
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.demo_world import MadeApp, MadeTenant, make_world
from tollkeeper.commands.output import Json, logs_aside, note, print_json, print_line
from tollkeeper.commands.serving import Config

if TYPE_CHECKING:
    import httpx
    from rich.progress import Progress

DAYS: Final = 7
_MOST_PARALLEL: Final = 16
_QUESTIONS: Final = (
    "Summarise the last visit in two sentences.",
    "Which of these orders has not been delivered?",
    "Write a friendly answer to a customer whose parcel is late.",
    "Explain this stack trace and suggest a fix.",
    "Translate the product description into plain English.",
    "Is this claim complete? Name what is missing.",
)

Days = Annotated[int, typer.Option("--days", min=0, max=60, help="Days of calls before today; 0: no past.")]
Rate = Annotated[float, typer.Option("--calls-per-minute", min=1, max=6000, help="Live traffic.")]
Calls = Annotated[
    int | None, typer.Option("--calls", min=0, help="Stop after so many live calls; left out: on Ctrl-C.")
]
Seed = Annotated[int, typer.Option("--seed", help="Another one draws another past.")]


def demo(
    *,
    days: Days = DAYS,
    calls_per_minute: Rate = 90.0,
    calls: Calls = None,
    seed: Seed = 7,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Fill a running gateway with three companies, a week of calls and live traffic of the simulator.

    The organisation and its traffic go through the gateway's own API. The past is written into the stores, for which
    they must be at hand: those of --data-dir, or TOLLKEEPER_DATABASE_URL.
    """
    client = Client(url, key, data_dir)
    with _progress() as progress:
        task = progress.add_task("organisation", total=None)
        world = make_world(client, lambda step: progress.update(task, description=f"organisation: {step}"))
        progress.update(task, description="organisation", total=1, completed=1)
        written = _write_past(progress, world, days, seed, config, data_dir) if days else 0
    apps = [app for tenant in world for app in tenant.apps]
    if not as_json:
        print_line(f"{len(world)} tenants, {len(apps)} applications, {written} past calls.")
        note(f"Look at {client.origin}/console")
    ends: dict[str, int] = {}
    if calls != 0:
        with suppress(KeyboardInterrupt):
            asyncio.run(_drive(client.origin, world, calls_per_minute, calls, seed, ends))
    if as_json:
        print_json({"tenants": len(world), "applications": len(apps), "past_calls": written, "live_calls": ends})
    else:
        print_line(", ".join(f"{count} {name}" for name, count in sorted(ends.items())) or "No live calls.")


def _progress() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True))


def _write_past(progress: "Progress", world: list[MadeTenant], days: int, seed: int, config: Any, data_dir: Any) -> int:
    from tollkeeper.commands.demo_history import draw, write
    from tollkeeper.commands.stores import open_database, open_stores
    from tollkeeper.core.errors import TollkeeperError

    past = list(draw(world, days, datetime.now(UTC), seed))
    task = progress.add_task(f"{days} days of calls", total=len(past))

    async def work(settings: Any) -> int:
        async with open_database(settings) as database:
            return await write(database, iter(past), lambda count: progress.advance(task, count))

    try:
        with open_stores(config, data_dir) as settings, logs_aside():
            return asyncio.run(work(settings))
    except typer.Exit:
        note("The past was left out: the gateway's stores are not at hand. Its traffic goes on without.")
    except TollkeeperError as error:
        note(f"The past was left out: {error.message}")
    return 0


async def _drive(
    origin: str, world: list[MadeTenant], per_minute: float, most: int | None, seed: int, ends: dict[str, int]
) -> None:
    """Calls at random moments, so many a minute on average; what is refused is part of the picture.

    How they ended is counted in `ends`.
    """
    import httpx

    rng = random.Random(seed)  # noqa: S311 - a drawing, no secret
    apps = [(tenant, app) for tenant in world for app in tenant.apps]
    weights = [app.app.share * tenant.tenant.calls_a_day for tenant, app in apps]
    running: set[asyncio.Task[str]] = set()
    sent = 0

    def over(task: "asyncio.Task[str]") -> None:
        running.discard(task)
        if not task.cancelled():
            ends[task.result()] = ends.get(task.result(), 0) + 1

    limits = httpx.Limits(max_connections=_MOST_PARALLEL)
    with _progress() as progress:
        line = progress.add_task("live calls", total=most)
        async with httpx.AsyncClient(base_url=origin, timeout=60, limits=limits, trust_env=False) as http:
            while most is None or sent < most:
                await asyncio.sleep(rng.expovariate(per_minute / 60))
                if len(running) >= _MOST_PARALLEL:
                    continue
                _, app = rng.choices(apps, weights=weights)[0]
                task = asyncio.create_task(_call(http, app, rng))
                running.add(task)
                task.add_done_callback(over)
                sent += 1
                said = ", ".join(f"{count} {name}" for name, count in sorted(ends.items()))
                progress.update(line, completed=sent, description=f"live calls ({said})" if said else "live calls")
            await asyncio.gather(*running, return_exceptions=True)


async def _call(http: "httpx.AsyncClient", made: MadeApp, rng: random.Random) -> str:
    """How it ended, in a word."""
    import httpx

    app = made.app
    model = rng.choices(list(app.models), weights=list(app.models.values()))[0]
    question = rng.choice(_QUESTIONS) + " Context. " * max(1, round(app.prompt_tokens * rng.uniform(0.05, 0.2)))
    body = {
        "model": model,
        "messages": [{"role": "system", "content": f"You are {app.name}."}, {"role": "user", "content": question}],
        "stream": app.is_streaming,
        "user": f"user-{rng.randrange(1, 400)}",
    }
    headers = {"authorization": f"Bearer {made.secret}"}
    is_leaving = app.is_streaming and rng.random() < 0.03
    try:
        async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            if answer.is_error:
                return _code(await answer.aread())
            async for _ in answer.aiter_raw():
                if is_leaving:
                    return "left"
    except httpx.HTTPError as error:
        return type(error).__name__
    return "answered"


def _code(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "failed"
