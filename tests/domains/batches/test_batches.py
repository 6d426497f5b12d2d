"""OpenAI's Batch API by its own SDK: what goes in, what comes out, what it costs, and what ends it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from openai import ConflictError, NotFoundError, RateLimitError
from openai.types import Batch
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.domains.batches.running import CHAT, MODEL, PRICE, Running, jsonl, line, running
from tests.domains.files.keeping import BOX
from tests.gateway.upstream import Seen, answer, answer_json, completion
from tollkeeper.contracts.batches import WINDOW_SECONDS, Answered
from tollkeeper.contracts.principal import KeyRecord
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import DependencyUnavailable, InsufficientQuota, RateLimited
from tollkeeper.core.ids import parse_id, uuid7
from tollkeeper.core.money import nano_from_pico
from tollkeeper.db.session import Database
from tollkeeper.domains.batches.run import BatchRun
from tollkeeper.domains.batches.service import MOST_OPEN
from tollkeeper.domains.files.service import Files, Owner, Upload


def counts(batch: Batch) -> tuple[int, int, int]:
    assert batch.request_counts is not None
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed


def asked(seen: Seen) -> str:
    """The custom id of the line that a request came from."""
    return str(seen.json()["messages"][0]["content"])


def choosing(choose: Callable[[str, int], Any]) -> Any:
    """A script that is chosen by the line and by how often it has been asked."""
    tries: dict[str, int] = {}

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        name = asked(seen)
        tries[name] = tries.get(name, 0) + 1
        found = choose(name, tries[name])
        result: bool | None = await found(seen, writer)
        return result

    return script


ERROR = {"error": {"message": "no", "type": "server_error", "param": None, "code": None}}


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
async def test_a_batch_answers_every_line_once(batches: Running, prefix: str) -> None:
    async with batches.kept.client(prefix=prefix) as client:
        made = await batches.create(client, [line(f"r{n}") for n in range(10)], metadata={"team": "blue"})
        assert (made.status, made.endpoint, made.metadata) == ("validating", "/v1/chat/completions", {"team": "blue"})
        assert made.expires_at == made.created_at + WINDOW_SECONDS
        over = await batches.run(client, made)
        assert (over.status, counts(over), over.model) == ("completed", (10, 10, 0), MODEL)
        assert None not in (over.in_progress_at, over.finalizing_at, over.completed_at)
        lines = await batches.lines(client, over.output_file_id)
        assert [one["custom_id"] for one in lines] == [f"r{n}" for n in range(10)]
        assert len({one["id"] for one in lines}) == 10
        for one in lines:
            assert (one["error"], one["response"]["status_code"]) == (None, 200)
            assert one["response"]["body"]["choices"][0]["message"]["content"] == "hello"
            assert "interrupted_request_ids" not in one
        assert over.error_file_id is None
        output = await client.files.retrieve(over.output_file_id or "")
        assert output.purpose == "batch_output"
    assert len(batches.vendor.seen) == 10
    settled = await batches.kept.serving.settled(10)
    assert {f"req_{one.intent.request_id.hex}" for one in settled} == {one["response"]["request_id"] for one in lines}


async def test_an_answer_that_begins_with_blank_lines_is_no_text(batches: Running) -> None:
    batches.vendor.script = answer(200, b"\n\n \r\n" + json.dumps(completion(), indent=1).encode() + b"\n")
    async with batches.kept.client() as client:
        over = await batches.run(client, await batches.create(client, [line("one")]))
        [told] = await batches.lines(client, over.output_file_id)
    assert told["response"]["body"]["choices"][0]["message"]["content"] == "hello"


async def test_what_waits_in_the_database_is_sealed_and_goes_at_the_end(batches: Running) -> None:
    secret = "a secret of the model"
    batches.vendor.script = choosing(
        lambda name, tries: answer_json(completion(secret)) if name == "a" else answer_json(ERROR, 503)
    )
    async with batches.kept.client() as client:
        made = await batches.create(client, [line("a"), line("b")])
        query = text("SELECT outcome FROM batch_items WHERE batch_id = :id AND outcome IS NOT NULL")
        found: list[bytes] = []
        async with batches.at_work():
            async with asyncio.timeout(20):
                while not found:
                    async with batches.database.platform() as session:
                        found = list(await session.scalars(query, {"id": parse_id("batch", made.id)}))
                    await asyncio.sleep(0.02)
            assert not any(secret.encode() in outcome for outcome in found)
            batches.vendor.script = answer_json(completion(secret))
            over = await batches.over(client, made)
        async with batches.database.platform() as session:
            assert list(await session.scalars(query, {"id": parse_id("batch", made.id)})) == []
    assert over.status == "completed"


async def test_lines_that_are_refused_stand_in_the_error_file(batches: Running) -> None:
    def choose(name: str, tries: int) -> Any:
        status = {"bad": 400, "down": 500}.get(name, 200)
        return answer_json(completion() if status == 200 else ERROR, status)

    batches.vendor.script = choosing(choose)
    lines = [line("good"), line("bad"), line("streamed", stream=True), line("odd", temperature="hot", messages=7)]
    async with batches.kept.client() as client:
        over = await batches.run(client, await batches.create(client, lines))
        assert over.status == "completed"
        good = await batches.lines(client, over.output_file_id)
        errors = await batches.lines(client, over.error_file_id)
    assert [one["custom_id"] for one in good] == ["good"]
    assert [one["custom_id"] for one in errors] == ["bad", "streamed", "odd"]
    assert counts(over) == (4, 1, 3)
    for one in errors:
        assert one["response"]["status_code"] == 400
        assert one["response"]["body"]["error"]["message"]
    assert "odd" not in [str(seen.json()["messages"]) for seen in batches.vendor.seen]


async def test_a_provider_that_fails_is_asked_again(batches: Running) -> None:
    batches.vendor.script = choosing(
        lambda name, tries: answer_json(ERROR, 503) if tries < 3 else answer_json(completion())
    )
    async with batches.kept.client() as client:
        over = await batches.run(client, await batches.create(client, [line("a"), line("b")]))
        assert (over.status, counts(over)) == ("completed", (2, 2, 0))


async def test_a_limit_makes_a_batch_wait_and_not_fail(batches: Running) -> None:
    admission = batches.kept.serving.admission
    admission.refusal = RateLimited("Too many requests.", retry_after_seconds=0.2)
    async with batches.kept.client() as client:
        made = await batches.create(client, [line(f"r{n}") for n in range(6)])
        async with batches.at_work():
            async with asyncio.timeout(20):
                while [told["status"] for told in batches.kept.serving.log].count(429) < 3:
                    await asyncio.sleep(0.02)
            assert counts(await client.batches.retrieve(made.id)) == (6, 0, 0)
            assert batches.vendor.seen == []
            admission.refusal = None
            over = await batches.over(client, made)
    assert (over.status, counts(over)) == ("completed", (6, 6, 0))


async def test_a_used_up_budget_fails_what_is_left(batches: Running) -> None:
    """Decided one line at a time, so that none is refused for money that another one only held."""
    admission = batches.kept.serving.admission

    def choose(name: str, tries: int) -> Any:
        if len(batches.vendor.seen) >= 5:
            admission.refusal = InsufficientQuota("The budget is used up.")
        return answer_json(completion())

    batches.vendor.script = choosing(choose)
    async with batches.kept.client() as client:
        over = await batches.run(client, await batches.create(client, [line(f"r{n}") for n in range(20)]))
        errors = await batches.lines(client, over.error_file_id)
        good = await batches.lines(client, over.output_file_id)
    total, completed, failed = counts(over)
    assert (over.status, total, completed + failed) == ("completed", 20, 20)
    assert completed == len(good) == len(batches.vendor.seen)
    assert failed == len(errors) > 0
    assert {one["response"]["body"]["error"]["code"] for one in errors} == {"insufficient_quota"}
    assert sorted(one["custom_id"] for one in good + errors) == sorted(f"r{n}" for n in range(20))


async def test_a_batch_is_charged_at_its_rate_and_the_vendor_takes_its_own(batches: Running) -> None:
    batches.vendor.script = answer_json(completion(usage={"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}))  # fmt: skip
    async with batches.kept.client() as client:
        await batches.run(client, await batches.create(client, [line("standard")]))
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "now"}])
    in_batch, at_once = await batches.kept.serving.settled(2)
    whole = nano_from_pico(100 * PRICE.input + 10 * PRICE.output)
    assert (in_batch.cost_nano, in_batch.charge_nano) == (whole, whole // 2)
    assert (at_once.cost_nano, at_once.charge_nano) == (whole, whole)


async def test_who_asks_for_the_fast_lane_pays_for_it(batches: Running) -> None:
    async with batches.kept.client() as client:
        await batches.run(client, await batches.create(client, [line("dear", service_tier="priority")]))
    [settled] = await batches.kept.serving.settled(1)
    assert settled.charge_nano == settled.cost_nano


async def _slow(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
    await asyncio.sleep(30)
    return False


async def test_cancelling_ends_a_batch_and_keeps_what_is_there(batches: Running) -> None:
    batches.vendor.script = choosing(lambda name, tries: answer_json(completion()) if name < "r3" else _slow)
    async with batches.kept.client() as client:
        made = await batches.create(client, [line(f"r{n}") for n in range(8)])
        async with batches.at_work():
            async with asyncio.timeout(20):
                while counts(await client.batches.retrieve(made.id))[1] < 3:
                    await asyncio.sleep(0.05)
            cancelling = await client.batches.cancel(made.id)
            assert cancelling.status == "cancelling"
            assert (await client.batches.cancel(made.id)).status in {"cancelling", "cancelled"}
            over = await batches.over(client, made)
        assert (over.status, over.request_counts is not None) == ("cancelled", True)
        assert None not in (over.cancelling_at, over.cancelled_at)
        good = await batches.lines(client, over.output_file_id)
        errors = await batches.lines(client, over.error_file_id)
        assert [one["custom_id"] for one in good] == ["r0", "r1", "r2"]
        assert [one["custom_id"] for one in errors] == ["r3", "r4", "r5", "r6", "r7"]
        assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}
        with pytest.raises(ConflictError) as refused:
            await client.batches.cancel(made.id)
        assert refused.value.code == "batch_is_over"
    statuses = {one.status for one in await batches.kept.serving.settled(len(batches.vendor.seen))}
    assert statuses == {CallStatus.OK, CallStatus.CANCELLED}


async def test_a_batch_that_nobody_has_begun_is_cancelled(batches: Running) -> None:
    async with batches.kept.client() as client:
        made = await batches.create(client, [line("a")])
        await client.batches.cancel(made.id)
        over = await batches.run(client, made)
    assert (over.status, over.output_file_id, over.error_file_id) == ("cancelled", None, None)
    assert batches.vendor.seen == []


async def test_the_window_ends_a_batch(batches: Running) -> None:
    batches.vendor.script = choosing(lambda name, tries: answer_json(completion()) if name == "r0" else _slow)
    async with batches.kept.client() as client:
        made = await batches.create(client, [line("r0"), line("r1")])
        async with batches.at_work():
            async with asyncio.timeout(20):
                while counts(await client.batches.retrieve(made.id))[1] < 1:
                    await asyncio.sleep(0.05)
            async with batches.database.platform() as session:
                await session.execute(
                    text("UPDATE batches SET expires_at = now() - interval '1 second' WHERE id = :id"),
                    {"id": parse_id("batch", made.id)},
                )
            over = await batches.over(client, made)
        assert over.status == "expired"
        assert over.expired_at is not None
        good, errors = [await batches.lines(client, one) for one in (over.output_file_id, over.error_file_id)]
    assert [one["custom_id"] for one in good] == ["r0"]
    assert [(one["custom_id"], one["response"], one["error"]["code"]) for one in errors] == [("r1", None, "batch_expired")]  # fmt: skip


async def test_a_key_that_is_revoked_ends_its_batches(batches: Running) -> None:
    keys, kept = batches.kept.serving.keys, batches.kept

    revoked: list[str] = []

    def revoke(name: str, tries: int) -> Any:
        if len(batches.vendor.seen) >= 3 and not revoked:
            revoked.append(name)
            found = keys.record(kept.token)
            keys.records[next(name for name, record in keys.records.items() if record is found)] = KeyRecord(
                found.principal, found.digests, refusal="This API key has been revoked."
            )
            kept.serving.cache.forget_key(found.principal.key_id)
        return answer_json(completion())

    batches.vendor.script = choosing(revoke)
    colleague = kept.key()
    async with kept.client() as client, kept.client(colleague) as other:
        made = await batches.create(client, [line(f"r{n}") for n in range(30)])
        over = await batches.run(other, made)
        assert over.status == "failed"
        assert over.errors is not None
        assert over.errors.data is not None
        assert "revoked" in str(over.errors.data[0].message)
        good = await batches.lines(other, over.output_file_id)
        errors = await batches.lines(other, over.error_file_id)
    assert 3 <= len(good) == len(batches.vendor.seen) < 30
    assert len(good) + len(errors) == 30
    assert {one["error"]["code"] for one in errors} == {"batch_failed"}


async def test_every_operation_that_has_json_can_be_batched(batches: Running) -> None:
    documents = {
        "/v1/embeddings": {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "embed", "usage": {"prompt_tokens": 1, "total_tokens": 1}},
        "/v1/completions": {"id": "c", "object": "text_completion", "created": 1, "model": MODEL, "choices": [{"index": 0, "text": "hi", "finish_reason": "stop", "logprobs": None}], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
        "/v1/responses": completion("hello"),
        "/v1/moderations": {"id": "modr", "model": MODEL, "results": [{"flagged": False, "categories": {}, "category_scores": {}}]},
    }  # fmt: skip
    bodies: dict[str, dict[str, Any]] = {
        "/v1/embeddings": {"model": "embed", "input": "x"},
        "/v1/completions": {"model": MODEL, "prompt": "x", "max_tokens": 5},
        "/v1/responses": {"model": MODEL, "input": "x", "store": False},
        "/v1/moderations": {"model": MODEL, "input": "x"},
    }
    async with batches.kept.client() as client:
        for endpoint, body in bodies.items():
            batches.vendor.script = answer_json(documents[endpoint])
            one = {"custom_id": "a", "method": "POST", "url": endpoint, "body": body}
            over = await batches.run(client, await batches.create(client, [one], endpoint))
            errors = await batches.lines(client, over.error_file_id)
            assert (over.status, counts(over)) == ("completed", (1, 1, 0)), (endpoint, errors)
            [answered] = await batches.lines(client, over.output_file_id)
            assert answered["response"]["body"], endpoint


async def test_turns_end_and_the_next_batch_has_its_own(batches: Running) -> None:
    """With a turn of no length each run makes nothing but its look; short ones take many jobs and lose nothing."""
    async with batches.kept.client() as client:
        made = [await batches.create(client, [line(f"r{n}") for n in range(12)]) for _ in range(2)]
        async with batches.at_work(turn_seconds=0.05):
            over = [await batches.over(client, one) for one in made]
        for one in over:
            assert counts(one) == (12, 12, 0)
            assert len(await batches.lines(client, one.output_file_id)) == 12
    assert len(batches.vendor.seen) == 24


async def test_only_so_many_calls_are_under_way(database: Database, tmp_path: Path) -> None:
    most = now = 0

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.05)
        now -= 1
        return await answer_json(completion())(seen, writer)

    async with running(database, tmp_path, most_calls=3) as batches, batches.kept.client() as client:
        batches.vendor.script = script
        over = await batches.run(client, await batches.create(client, [line(f"r{n}") for n in range(15)]))
    assert counts(over) == (15, 15, 0)
    assert 2 <= most <= 3


async def test_a_run_that_ends_with_its_process_is_taken_up(batches: Running) -> None:
    """What was done stays done; what was under way is called again, and its record tells so."""
    hold = asyncio.Event()

    def choose(name: str, tries: int) -> Any:
        async def wait(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
            await hold.wait()
            return await answer_json(completion())(seen, writer)

        return wait if name >= "r5" and tries == 1 else answer_json(completion())

    batches.vendor.script = choosing(choose)
    async with batches.kept.client() as client:
        made = await batches.create(client, [line(f"r{n}") for n in range(9)])
        runner = batches.runner()
        claim = await runner.claim()
        assert claim is not None
        work = asyncio.create_task(runner.execute(claim))
        async with asyncio.timeout(20):
            while len(batches.vendor.seen) < 9:
                await asyncio.sleep(0.02)
        # As if killed: nothing of what it holds is written any more.
        async with batches.database.platform() as session:
            await session.execute(
                text("UPDATE jobs SET leased_until = now() - interval '1 second', leased_by = 'gone'")
            )
        over = await batches.run(client, made)
        hold.set()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        lines = await batches.lines(client, over.output_file_id)
    assert (over.status, counts(over)) == ("completed", (9, 9, 0))
    assert [one["custom_id"] for one in lines] == [f"r{n}" for n in range(9)]
    again = {one["custom_id"] for one in lines if one.get("interrupted_request_ids")}
    assert again == {asked(seen) for seen in batches.vendor.seen[9:]}
    assert again <= {"r5", "r6", "r7", "r8"}


async def test_a_batch_whose_job_was_lost_is_found(batches: Running) -> None:
    async with batches.kept.client() as client:
        made = await batches.create(client, [line("a")])
        async with batches.database.platform() as session:
            await session.execute(text("DELETE FROM jobs WHERE kind = 'batches.run'"))
            await session.execute(text("UPDATE jobs SET run_at = now() WHERE kind = 'batches.sweep'"))
        over = await batches.run(client, made)
    assert over.status == "completed"


class FailingFiles(Files):
    """The object store is away for the first output."""

    failures = 1

    async def begin_output(self, owner: Owner) -> Upload:
        if self.failures:
            self.failures -= 1
            raise DependencyUnavailable("The object store does not answer.")
        return await super().begin_output(owner)


async def test_an_end_that_fails_begins_anew(batches: Running) -> None:
    parts = batches.parts
    files = FailingFiles(batches.database, batches.kept.objects, BOX, parts.clock, batches.kept.gateway._settings)
    batches.parts = replace(parts, files=files)
    async with batches.kept.client() as client:
        over = await batches.run(client, await batches.create(client, [line("a"), line("b", n="many")]))
        assert (over.status, counts(over)) == ("completed", (2, 1, 1))
        assert len(await batches.lines(client, over.output_file_id)) == 1
        assert len([one async for one in client.files.list(purpose="batch_output")]) == 2
    assert files.failures == 0
    assert len(batches.vendor.seen) == 1


async def test_what_ends_its_process_each_time_is_given_up(batches: Running) -> None:
    async with batches.kept.client() as client:
        made = await batches.create(client, [line("poison"), line("good")])
        for _ in range(6):
            found = await BatchRun.of(batches.parts, batches.kept.ours.tenant_id, parse_id("batch", made.id), 0.0)
            assert found is not None
            assert not await found.go()
            async with batches.database.platform() as session:
                await session.execute(
                    text("UPDATE batch_items SET status = 'running', request_id = gen_random_uuid() WHERE line = 1 AND batch_id = :id"),
                    {"id": parse_id("batch", made.id)},
                )  # fmt: skip
        over = await batches.run(client, made)
        assert (over.status, counts(over)) == ("completed", (2, 1, 1))
        [given_up] = await batches.lines(client, over.error_file_id)
    assert (given_up["custom_id"], given_up["error"]["code"]) == ("poison", "request_interrupted")
    assert len(given_up["interrupted_request_ids"]) == 6
    assert [asked(seen) for seen in batches.vendor.seen] == ["good"]


async def test_postgresql_that_is_away_for_a_moment_costs_no_answer(batches: Running) -> None:
    """The answer waits for the database: it was paid for."""
    failing = 3
    tenant = batches.database.tenant

    @asynccontextmanager
    async def unsteady(tenant_id: UUID) -> AsyncIterator[AsyncSession]:
        nonlocal failing
        if batches.vendor.seen and failing:
            failing -= 1
            raise DependencyUnavailable("PostgreSQL does not answer.")
        async with tenant(tenant_id) as session:
            yield session

    async with batches.kept.client() as client:
        made = await batches.create(client, [line(f"r{n}") for n in range(4)])
        batches.database.tenant = unsteady  # type: ignore[method-assign]
        try:
            async with batches.at_work(), asyncio.timeout(30):
                while failing:
                    await asyncio.sleep(0.05)
                batches.database.tenant = tenant  # type: ignore[method-assign]
                over = await batches.over(client, made)
        finally:
            batches.database.tenant = tenant  # type: ignore[method-assign]
        lines = await batches.lines(client, over.output_file_id)
    assert counts(over) == (4, 4, 0)
    assert len(lines) == 4
    assert len(batches.vendor.seen) == 4


async def test_what_a_stop_finds_marked_and_not_yet_called_counts_as_waiting(batches: Running) -> None:
    """The mark is in the database, and the stop comes before whoever made it has heard so."""
    tenant = batches.database.tenant
    committed, go = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def late(tenant_id: UUID) -> AsyncIterator[AsyncSession]:
        async with tenant(tenant_id) as session:
            yield session
            marked = await session.scalar(text("SELECT count(*) FROM batch_items WHERE status = 'running'"))
        if marked and not committed.is_set():
            committed.set()
            await go.wait()

    async with batches.kept.client() as client:
        made = await batches.create(client, [line(f"r{n}") for n in range(6)])
        batches.database.tenant = late  # type: ignore[method-assign]
        try:
            runner = batches.runner()
            claim = await runner.claim()
            assert claim is not None
            work = asyncio.create_task(runner.execute(claim))
            await asyncio.wait_for(committed.wait(), 20)
            work.cancel()
            await asyncio.sleep(0.05)
            go.set()
            await asyncio.wait({work}, timeout=20)
        finally:
            batches.database.tenant = tenant  # type: ignore[method-assign]
        over = await batches.run(client, made)
        lines = await batches.lines(client, over.output_file_id)
    assert (over.status, counts(over)) == ("completed", (6, 6, 0))
    assert not [one for one in lines if "interrupted_request_ids" in one]
    assert len(batches.vendor.seen) == 6


async def test_an_answer_is_kept_before_its_call_is_settled(batches: Running) -> None:
    """So that a process that ends between the two repeats nothing that was settled."""
    settled_then: list[int] = []
    kept: list[Answered] = []

    async def keep(answered: Answered) -> None:
        settled_then.append(len(batches.kept.serving.settlements))
        kept.append(answered)

    body = json.dumps(line("a")["body"]).encode()
    who = await batches.parts.calls.principal(batches.kept.ours.key_id, CHAT)
    request_id = uuid7()
    await batches.parts.calls.call(who, CHAT, body, request_id, keep)
    [settlement] = batches.kept.serving.settlements
    assert settled_then == [0]
    assert [one.status for one in kept] == [200]
    assert (settlement.intent.request_id, settlement.intent.key_id) == (request_id, batches.kept.ours.key_id)
    assert batches.kept.serving.log[-1]["request_id"] == f"req_{request_id.hex}"


async def test_a_tenant_with_many_batches_keeps_nobody_waiting(batches: Running) -> None:
    kept = batches.kept
    async with kept.client() as client, kept.client(kept.key(tenant_id=await kept.tenant())) as other:
        batches.vendor.script = choosing(lambda name, tries: _slow if name == "long" else answer_json(completion()))
        many = [await batches.create(client, [line("long")]) for _ in range(8)]
        one = await batches.create(other, [line("short")])
        async with batches.at_work(turn_seconds=0.2):
            assert (await batches.over(other, one)).status == "completed"
            begun = [batch for batch in many if (await client.batches.retrieve(batch.id)).status != "validating"]
            assert len(begun) <= 4
            # One that waits for its turn ends at once when it is told to.
            await client.batches.cancel(many[-1].id)
            assert (await batches.over(client, many[-1])).status == "cancelled"


async def test_so_many_batches_are_open_and_no_more(batches: Running) -> None:
    async with batches.kept.client() as client:
        made = await batches.create(client, [line("a")])
        async with batches.database.platform() as session:
            await session.execute(
                text("""
                    INSERT INTO batches (id, tenant_id, environment, key_id, endpoint, completion_window, status,
                        input_file_id, envelope, expires_at)
                    SELECT gen_random_uuid(), tenant_id, environment, key_id, endpoint, completion_window, status,
                        input_file_id, envelope, expires_at FROM batches, generate_series(1, :more) WHERE id = :id
                """),
                {"id": parse_id("batch", made.id), "more": MOST_OPEN - 1},
            )
        with pytest.raises(RateLimitError) as refused:
            await batches.create(client, [line("b")])
        assert refused.value.code == "too_many_batches"
        async with batches.database.platform() as session:
            await session.execute(
                text("UPDATE batches SET status = 'cancelled' WHERE id = :id"), {"id": parse_id("batch", made.id)}
            )
        # One is left, and ten want it.
        at_once = await asyncio.gather(
            *(batches.create(client, [line("c")]) for _ in range(10)), return_exceptions=True
        )
        assert sum(not isinstance(one, BaseException) for one in at_once) == 1
        assert {type(one) for one in at_once if isinstance(one, BaseException)} == {RateLimitError}
        async with batches.database.platform() as session:
            await session.execute(text("DELETE FROM batches"))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b'{"model":"gpt-4o-mini","max_tokens":1,"max_tokens":9,"messages":[]}', "duplicate_key", id="key twice"),
        pytest.param(b'{"model":"gpt-4o-mini","seed":123456789012345678901234567890,"messages":[]}', "number_out_of_range", id="large"),
        pytest.param(b'{"model":"gpt-4o-mini","messages":' + b"[" * 140 + b"]" * 140 + b"}", "json_too_deep", id="deep"),
    ],
)  # fmt: skip
async def test_a_line_that_others_could_read_otherwise_is_refused_alone(
    batches: Running, body: bytes, code: str
) -> None:
    odd = b'{"custom_id":"odd","method":"POST","url":"/v1/chat/completions","body":' + body + b"}\n"
    async with batches.kept.client() as client:
        batch = await batches.run(client, await batches.create(client, jsonl([line("good")]) + odd))

        counts = batch.request_counts
        assert counts is not None
        assert (batch.status, counts.completed, counts.failed) == ("completed", 1, 1)
        assert batch.error_file_id is not None
        (told,) = [json.loads(one) for one in (await client.files.content(batch.error_file_id)).content.splitlines()]
    assert (told["custom_id"], told["response"]["status_code"]) == ("odd", 400)
    assert told["response"]["body"]["error"]["code"] == code
    assert len(batches.vendor.seen) == 1


async def test_who_made_and_who_cancelled_a_batch_is_on_record(batches: Running) -> None:
    async with batches.kept.client() as client:
        made = await batches.create(client, [line("a secret question")])
        await client.batches.cancel(made.id)
        with pytest.raises(NotFoundError):
            await client.batches.cancel("batch_" + "0" * 32)

    async with batches.database.platform() as session:
        rows = (
            await session.execute(
                text(
                    "SELECT action, actor_type, actor_id, after::text FROM audit_logs WHERE object_id = :id ORDER BY sequence"
                ),
                {"id": made.id},
            )
        ).all()
    assert [(row.action, row.actor_type) for row in rows] == [("batches.create", "key"), ("batches.cancel", "key")]
    assert all(row.actor_id.startswith("key_") and "secret" not in row.after for row in rows)
