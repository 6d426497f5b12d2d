"""Every call that has a tenant is noted once it is over, and no call waits for that or fails by it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.gateway.serving import KEY, Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, good_stream, stream
from tollkeeper.contracts.request_log import CallRecord
from tollkeeper.core.errors import DependencyUnavailable, RateLimited
from tollkeeper.gateway import request_log
from tollkeeper.gateway.request_log import RequestLog


@dataclass
class Sink:
    records: list[CallRecord] = field(default_factory=list)
    problem: Exception | None = None

    async def write(self, records: Sequence[CallRecord]) -> None:
        if self.problem is not None:
            raise self.problem
        self.records += records


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def share() -> float:
    return 1.0


@pytest.fixture
def kept(sink: Sink, registry: CollectorRegistry, share: float) -> RequestLog:
    return RequestLog(sink, registry, share=share)


@pytest.fixture
async def gateway(tmp_path: Path, vendor: FakeUpstream, kept: RequestLog) -> AsyncIterator[Serving]:
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "gpt-4o-mini"))])
    async with serving(tmp_path, snap, request_log=kept) as running:
        yield running


async def noted(kept: RequestLog, sink: Sink, count: int = 1) -> list[CallRecord]:
    """A streamed call ends just after its last byte."""
    async with asyncio.timeout(10):
        while len(sink.records) < count:
            await kept.flush()
            await asyncio.sleep(0.005)
    return sink.records


async def test_a_call_is_noted_with_what_it_was_and_came_to(gateway: Serving, kept: RequestLog, sink: Sink) -> None:
    answer = await gateway.post(body=chat(user="ann"), headers={"x-request-id": "mine"})
    (record,) = await noted(kept, sink)
    assert "req_" + record.request_id.hex == answer.headers["x-request-id"]
    assert record.principal is gateway.keys.record(KEY).principal
    assert (record.operation, record.dialect, record.model) == ("chat", "openai_chat", "gpt-4o-mini")
    assert (record.ending, record.http_status, record.error_code, record.attempts) == ("done", 200, None, 1)
    assert (record.client_request_id, record.end_user, record.is_stream) == ("mine", "ann", False)
    (row,) = await gateway.settled()
    assert (record.prompt_tokens, record.charge_nano) == (row.usage.prompt_tokens, row.charge_nano)
    assert 0 < record.overhead_seconds < record.seconds


async def test_a_stream_is_noted_with_its_first_token(
    gateway: Serving, kept: RequestLog, sink: Sink, vendor: FakeUpstream
) -> None:
    vendor.script = stream(*good_stream("a", "b"))
    await gateway.post(body=chat(stream=True))
    (record,) = await noted(kept, sink)
    assert record.is_stream
    assert 0 < (record.first_token_seconds or 0) <= record.seconds


async def test_a_refused_call_is_noted_once_it_is_known_whose_it_is(
    gateway: Serving, kept: RequestLog, sink: Sink
) -> None:
    await gateway.post(headers={"authorization": "Bearer tk-nobody"})
    gateway.admission.refusal = RateLimited("slower")
    await gateway.post()
    gateway.admission.refusal = None
    await gateway.post(body=b"{")
    first, second = await noted(kept, sink, 2)
    assert (first.ending, first.http_status, first.error_code, first.attempts) == (
        "failed",
        429,
        "rate_limit_exceeded",
        0,
    )
    assert (second.http_status, second.model) == (400, None)


async def test_a_tenant_that_wants_nothing_kept_has_nothing_kept(
    gateway: Serving, kept: RequestLog, sink: Sink
) -> None:
    gateway.keys.add(KEY, logging_policy="none")
    await gateway.post()
    await kept.flush()
    assert sink.records == []


@pytest.mark.parametrize("share", [0.0])
async def test_of_a_share_of_the_good_calls_all_bad_ones_are_noted(
    gateway: Serving, kept: RequestLog, sink: Sink
) -> None:
    await gateway.post()
    await gateway.post(body=chat(model="nothing-like-it"))
    (record,) = await noted(kept, sink)
    assert record.http_status == 404


async def test_what_cannot_be_written_waits_and_then_is_dropped_and_counted(
    gateway: Serving, kept: RequestLog, sink: Sink, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "MAX_WAITING", 3)
    sink.problem = DependencyUnavailable("away")
    for _ in range(5):
        assert (await gateway.post()).status_code == 200
        with pytest.raises(DependencyUnavailable):
            await kept.flush()
    assert registry.get_sample_value("tollkeeper_request_logs_dropped_total") == 2
    sink.problem = None
    assert len(await noted(kept, sink, 3)) == 3


async def test_what_can_never_be_written_holds_nothing_up(
    gateway: Serving, kept: RequestLog, sink: Sink, registry: CollectorRegistry
) -> None:
    sink.problem = ValueError("does not fit")
    await gateway.post()
    with pytest.raises(ValueError, match="does not fit"):
        await kept.flush()
    sink.problem = None
    await gateway.post()
    assert len(await noted(kept, sink)) == 1
    assert registry.get_sample_value("tollkeeper_request_logs_dropped_total") == 1


async def test_what_is_left_is_written_at_the_end_or_given_up(gateway: Serving, kept: RequestLog, sink: Sink) -> None:
    await gateway.post()
    await kept.finish(5.0)
    assert len(sink.records) == 1
    sink.problem = DependencyUnavailable("away")
    await gateway.post()
    await kept.finish(0.1)


async def test_a_caller_that_left_is_noted_as_gone(
    gateway: Serving, kept: RequestLog, sink: Sink, vendor: FakeUpstream
) -> None:
    vendor.script = stream(*good_stream(*["a"] * 50), pause=0.05)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(gateway.post(body=chat(stream=True)), 0.5)
    (record,) = await noted(kept, sink)
    assert record.ending == "dropped"
