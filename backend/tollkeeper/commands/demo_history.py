"""Some days of calls that were never made, for `tollkeeper demo`: drawn from a seed, written as the gateway's shipper does.

The public API has no way to write the past, and shall have none: this needs the stores themselves.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from tollkeeper.commands.demo_world import MODELS, DemoModel, MadeApp, MadeTenant
from tollkeeper.core.ids import parse_id

if TYPE_CHECKING:
    from tollkeeper.contracts.chat import Usage
    from tollkeeper.contracts.request_log import CallRecord
    from tollkeeper.contracts.usage import Settlement
    from tollkeeper.db.session import Database

BATCH: Final = 500
_MODELS: Final = {model.name: model for model in MODELS}
_PROVIDER: Final = "simulated"
# An ordinary day in an office: hours of UTC by how much is asked in them.
_HOURS: Final = tuple(0.15 + math.exp(-(((hour - 13.5) / 4.0) ** 2)) for hour in range(24))
_WEEKEND: Final = 0.35
_MILLION: Final = 1_000_000
_NANO_A_USD: Final = 1_000_000_000

# More than any demo is long.
_KEPT_DAYS: Final = 90


def draw(
    worlds: Sequence[MadeTenant], days: int, now: datetime, seed: int
) -> "Iterator[tuple[Settlement, CallRecord]]":
    """The calls of so many whole days before today, in order within each day."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for back in range(days, 0, -1):
        day = midnight - timedelta(days=back)
        for world in worlds:
            # Of each day its own, so that a run tomorrow draws the same for today.
            rng = random.Random(f"{seed}/{day:%Y%m%d}/{world.tenant.name}")  # noqa: S311 - a drawing, no secret
            calls = world.tenant.calls_a_day * (_WEEKEND if day.weekday() >= 5 else 1.0) * rng.uniform(0.85, 1.15)
            for hour in rng.choices(range(24), weights=_HOURS, k=round(calls)):
                moment = day + timedelta(hours=hour, seconds=rng.uniform(0, 3600))
                app = rng.choices(world.apps, weights=[made.app.share for made in world.apps])[0]
                yield _call(rng, world, app, moment)


async def write(
    database: "Database", calls: "Iterator[tuple[Settlement, CallRecord]]", tell: Callable[[int], None]
) -> int:
    """Through the ledger's and the request log's own sinks. `tell` hears how many were written each time."""
    from tollkeeper.core.clock import SystemClock
    from tollkeeper.domains.request_logs.sink import RequestLogSink
    from tollkeeper.domains.usage.sink import LedgerSink

    clock = SystemClock()
    ledger = LedgerSink(database, clock, retention_days=_KEPT_DAYS)
    log = RequestLogSink(database, clock, retention_days=_KEPT_DAYS)
    written = 0
    while batch := [call for _, call in zip(range(BATCH), calls, strict=False)]:
        await ledger.ship([settlement for settlement, _ in batch])
        await log.write([record for _, record in batch])
        written += len(batch)
        tell(len(batch))
    return written


def _call(rng: random.Random, world: MadeTenant, made: MadeApp, moment: datetime) -> "tuple[Settlement, CallRecord]":
    from tollkeeper.contracts.chat import Usage
    from tollkeeper.contracts.principal import Environment, Principal
    from tollkeeper.contracts.request_log import CallRecord
    from tollkeeper.contracts.usage import CallStatus, Intent, Settlement

    app = made.app
    model = _MODELS[rng.choices(list(app.models), weights=list(app.models.values()))[0]]
    request_id = _id_at(rng, moment)
    is_well = model.length > 0 and rng.random() > 0.006
    is_left = is_well and app.is_streaming and rng.random() < 0.02
    usage = _usage(rng, app.prompt_tokens, model) if is_well else Usage()
    cost = _cost(usage, model)
    seconds = model.seconds * rng.lognormvariate(0, 0.25) + 0.002
    first = seconds * 0.3 if app.is_streaming and is_well else None
    status = CallStatus.OK if is_well else CallStatus.ERROR
    status = CallStatus.CANCELLED if is_left else status
    http_status = 200 if is_well else 503
    error_code = None if is_well else "upstream_error"
    tenant_id, key_id = parse_id("ten", world.id), parse_id("key", made.key_id)
    team_id, project_id = parse_id("team", made.team_id), parse_id("prj", made.project_id)
    user_id = None if made.user_id is None else parse_id("usr", made.user_id)
    end_user = f"user-{rng.randrange(1, 400)}"
    intent = Intent(
        request_id=request_id,
        attempt=1,
        tenant_id=tenant_id,
        key_id=key_id,
        user_id=user_id,
        operation="chat",
        model=model.name,
        provider=_PROVIDER,
        upstream_model=model.plays,
        estimated_input_tokens=usage.input,
        price_version=None,
        estimated_cost_nano=cost,
        is_stream=app.is_streaming,
        end_user=end_user,
        team_id=team_id,
        project_id=project_id,
    )
    settlement = Settlement(
        intent=intent,
        status=status,
        usage=usage,
        cost_nano=cost,
        charge_nano=cost,
        latency_ms=round(seconds * 1000),
        first_token_ms=None if first is None else round(first * 1000),
        http_status=http_status,
        error_code=error_code,
    )
    principal = Principal(
        tenant_id, key_id, user_id, Environment.LIVE, frozenset(), team_id=team_id, project_id=project_id
    )
    ending = "dropped" if is_left else "done" if is_well else "failed"
    figures: dict[str, Any] = {
        "http_status": http_status,
        "error_code": error_code,
        "seconds": seconds,
        "overhead_seconds": rng.uniform(0.0004, 0.002),
        "first_token_seconds": first,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "charge_nano": cost,
        "cache": None,
        "guardrail": None,
        "client_request_id": None,
    }
    record = CallRecord(
        request_id,
        principal,
        "chat",
        "openai_chat",
        model.name,
        app.is_streaming,
        end_user,
        _PROVIDER,
        model.plays,
        1,
        ending,
        **figures,
    )
    return settlement, record


def _usage(rng: random.Random, prompt_tokens: int, model: DemoModel) -> "Usage":
    from tollkeeper.contracts.chat import Usage

    prompt = max(8, round(prompt_tokens * rng.lognormvariate(0, 0.5)))
    cached = round(prompt * 0.6) if rng.random() < 0.3 else 0
    output = max(1, round(model.length * rng.lognormvariate(0, 0.4)))
    return Usage(input=prompt - cached, cache_read=cached, output=output)


def _cost(usage: "Usage", model: DemoModel) -> int:
    input_nano = round(float(model.input_usd) * _NANO_A_USD) * usage.prompt_tokens
    return (input_nano + round(float(model.output_usd) * _NANO_A_USD) * usage.output) // _MILLION


def _id_at(rng: random.Random, moment: datetime) -> UUID:
    """A UUIDv7 of that moment; of the same seed the same one, so that a repeated run writes nothing twice."""
    value = int(moment.timestamp() * 1000) << 80 | rng.getrandbits(80)
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62))
