"""Batches that run: the gateway, a vendor behind it, and the runner of their jobs, driven by hand or by itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from openai.types import Batch

from tests.domains.files.keeping import BOX, Keeping, keeping
from tests.gateway.serving import provider, route, snapshot
from tests.gateway.upstream import FakeUpstream, running_upstream
from tollkeeper.contracts.catalog import Price, PriceTier, ServiceTier
from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database
from tollkeeper.domains.batches.run import Parts
from tollkeeper.domains.batches.shares import Shares
from tollkeeper.domains.batches.tasks import batch_jobs
from tollkeeper.domains.jobs.runner import Runner
from tollkeeper.gateway.internal import InternalCalls

CHAT = "/v1/chat/completions"
MODEL = "gpt-4o-mini"
OVER = {"completed", "failed", "expired", "cancelled"}
# Half of everything in a batch.
PRICE = Price(
    version=uuid7(),
    input=1_000_000,
    output=2_000_000,
    tiers=(PriceTier(Price(version=uuid7(), input=500_000, output=1_000_000), ServiceTier.BATCH),),
)


def line(custom_id: str, endpoint: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": custom_id}], "max_completion_tokens": 20, **body}
    return {"custom_id": custom_id, "method": "POST", "url": endpoint, "body": asked}


def jsonl(lines: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


@dataclass
class Running:
    kept: Keeping
    vendor: FakeUpstream
    parts: Parts

    @property
    def database(self) -> Database:
        return self.kept.database

    def runner(self, *, turn_seconds: float = 30.0, lease_seconds: float = 15.0) -> Runner:
        kinds = batch_jobs(self.parts, turn_seconds=turn_seconds)
        return Runner(self.database, kinds, name="test", concurrency=6, lease_seconds=lease_seconds, poll_seconds=0.05)

    @asynccontextmanager
    async def at_work(self, **options: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(self.runner(**options).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def create(
        self, client: AsyncOpenAI, lines: Sequence[dict[str, Any]] | bytes, endpoint: Any = CHAT, **fields: Any
    ) -> Batch:
        content = lines if isinstance(lines, bytes) else jsonl(lines)
        made = await client.files.create(file=("in.jsonl", content), purpose="batch")
        return await client.batches.create(input_file_id=made.id, endpoint=endpoint, completion_window="24h", **fields)

    async def run(self, client: AsyncOpenAI, batch: Batch, *, seconds: float = 30.0) -> Batch:
        async with self.at_work():
            return await self.over(client, batch, seconds=seconds)

    async def over(self, client: AsyncOpenAI, batch: Batch, *, seconds: float = 30.0) -> Batch:
        async with asyncio.timeout(seconds):
            while True:
                now = await client.batches.retrieve(batch.id)
                if now.status in OVER:
                    return now
                await asyncio.sleep(0.05)

    async def lines(self, client: AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
        if file_id is None:
            return []
        text = (await client.files.content(file_id)).text
        assert text.endswith("\n")
        return [json.loads(one) for one in text.splitlines()]


@asynccontextmanager
async def running(
    database: Database, folder: Path, *, price: Price = PRICE, most_calls: int = 4, **settings: Any
) -> AsyncIterator[Running]:
    async with running_upstream() as vendor:
        snap = snapshot(
            [provider("one", vendor.base_url, options={"cancel_stops_billing": True})],
            [route(MODEL, ("one", MODEL), price=price), route("embed", ("one", "embed"), price=price)],
        )
        async with keeping(database, folder, snap, **settings) as kept:
            parts = Parts(
                database=database,
                files=kept.files,
                box=BOX,
                clock=kept.clock,
                calls=InternalCalls(kept.gateway._services),
                shares=Shares(16),
                most_calls=most_calls,
                max_body_bytes=1_000_000,
            )
            yield Running(kept, vendor, parts)
