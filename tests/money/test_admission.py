import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.money.admissions import ASKED, admit, make_budget
from tests.money.records import HandClock, make_principal
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.embedded import EmbeddedValkey
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.core.redis_cluster import make_link
from tollkeeper.gateway.money.admission import Admission
from tollkeeper.gateway.money.admission_batch import MAX_OPERATIONS, Operation, group
from tollkeeper.gateway.money.refusals import format_duration
from tollkeeper.gateway.money.terms import terms_of

ROOT = Path(__file__).parents[2]
BUDGET = make_budget()
Open = Callable[..., Awaitable[Admission]]


@pytest.fixture
async def open_admission() -> AsyncIterator[Open]:
    opened: list[tuple[Admission, RedisLink]] = []

    async def build(url: str, *, clock: Any = None, workers: int = 1) -> Admission:
        # The machine may be busy with other tests: the deadline has a test of its own.
        link = make_link(url, SystemClock(), connect_seconds=2.0, operation_seconds=2.0)
        await link.start()
        admission = Admission(link, clock or SystemClock(), lambda: workers, worker_id=uuid7())
        await admission.start()
        opened.append((admission, link))
        return admission

    yield build
    for admission, link in opened:
        await admission.close()
        await link.close()


@pytest.fixture(params=["valkey_url", "redis62_url", "cluster_url"])
async def admission(request: pytest.FixtureRequest, open_admission: Open) -> Admission:
    opened = await open_admission(request.getfixturevalue(request.param))
    opened.pump.script_now_us = 1_790_000_000_000_000
    return opened


async def try_many(admission: Admission, principal: Principal, count: int) -> Counter[str]:
    answers = await asyncio.gather(*[admit(admission, principal) for _ in range(count)], return_exceptions=True)
    return Counter(type(answer).__name__ for answer in answers)


async def test_parallel_calls_are_admitted_up_to_the_burst_exactly(admission: Admission) -> None:
    answers = await try_many(admission, make_principal(key_limit=600), 500)

    assert answers == {"dict": 100, "RateLimited": 400}


async def test_keys_of_a_tenant_share_its_limit(admission: Admission) -> None:
    tenant = uuid4()
    principals = [make_principal(tenant_id=tenant, key_limit=6_000, tenant_limit=60) for _ in range(5)]

    answers = [await try_many(admission, principal, 4) for principal in principals]

    assert sum(answer["dict"] for answer in answers) == 10


async def test_a_refused_call_uses_up_nothing_of_any_scope(admission: Admission) -> None:
    tenant = uuid4()
    tight = make_principal(tenant_id=tenant, key_limit=6, tenant_limit=60)
    wide = make_principal(tenant_id=tenant, key_limit=600, tenant_limit=60)

    await try_many(admission, tight, 50)
    answers = await try_many(admission, wide, 50)

    assert answers["dict"] == 9


async def test_a_refusal_names_the_scope_and_the_true_wait(admission: Admission) -> None:
    principal = make_principal(key_limit=600, tenant_limit=6)
    await admit(admission, principal)

    with pytest.raises(RateLimited) as caught:
        await admit(admission, principal)

    error = caught.value
    assert error.message == ("Rate limit reached for this tenant: 6 requests per minute. Please try again in 10s.")
    assert (error.status, error.code, error.retry_after_seconds) == (429, "rate_limit_exceeded", 10.0)
    assert dict(error.headers) == {
        "x-ratelimit-limit-requests": "6",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "10s",
    }
    admission.pump.script_now_us += 10_000_000
    assert (await admit(admission, principal))["x-ratelimit-remaining-requests"] == "0"


async def test_an_answer_tells_the_scope_with_the_least_room(admission: Admission) -> None:
    headers = await admit(admission, make_principal(key_limit=60, tenant_limit=6_000))

    assert headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1s",
    }


async def test_calls_without_a_limit_do_not_ask_redis(open_admission: Open, valkey_url: str) -> None:
    admission = await open_admission(valkey_url)
    sent: list[object] = []
    admission.pump.redis.ask = sent.append  # type: ignore[assignment, method-assign]

    assert await admit(admission, make_principal()) == {}
    assert sent == []


async def test_waiting_calls_travel_in_one_round_trip(open_admission: Open, valkey_url: str) -> None:
    admission = await open_admission(valkey_url)
    trips: list[int] = []
    ask = admission.pump.redis.ask

    def count(packed: bytes, commands: int, tell: Any) -> Any:
        trips.append(commands)
        return ask(packed, commands, tell)

    admission.pump.redis.ask = count  # type: ignore[method-assign]
    await admit(admission, make_principal(key_limit=60))
    trips.clear()
    await try_many(admission, make_principal(key_limit=60_000), 40)

    assert trips == [1]


async def test_a_flushed_server_is_given_the_script_again(open_admission: Open, valkey_url: str) -> None:
    admission = await open_admission(valkey_url)
    one, other = make_principal(key_limit=600), make_principal(key_limit=600, tenant_limit=6_000)
    await admit(admission, one)
    await admission.pump.redis.call("SCRIPT", "FLUSH")

    answers = await asyncio.gather(*(admit(admission, principal) for principal in (one, other, one, other)))

    remaining = [answer["x-ratelimit-remaining-requests"] for answer in answers]
    assert remaining == ["98", "99", "97", "98"]
    assert admission.pump.redis.state().trips == 0


async def test_callers_who_left_use_up_nothing(open_admission: Open, valkey_url: str) -> None:
    """Some leave before their batch is sent, some while it is under way, some when it is decided."""
    admission = await open_admission(valkey_url)
    admission.pump.script_now_us = 1_790_000_000_000_000
    principal = make_principal(key_limit=600)
    await admit(admission, principal)
    made = 0
    for turns in (0, 1, 2, 3, 5, 8, 20):
        tasks = [asyncio.create_task(admit(admission, principal)) for _ in range(10)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        # Who was answered before it could leave has made a call like any other.
        made += sum(isinstance(answer, dict) for answer in answers)
    await admit(admission, make_principal(key_limit=60))
    await admit(admission, make_principal(key_limit=60))

    answers = await try_many(admission, principal, 200)

    assert answers["dict"] == 99 - made


async def test_a_flushed_server_gets_the_script_again(open_admission: Open, valkey_url: str) -> None:
    admission = await open_admission(valkey_url)
    principal = make_principal(key_limit=600)
    await admit(admission, principal)

    await admission.pump.redis.call("SCRIPT", "FLUSH")

    assert (await admit(admission, principal))["x-ratelimit-limit-requests"] == "600"
    assert admission.pump.redis.state().trips == 0


async def test_without_redis_each_worker_admits_its_share(open_admission: Open, server_dir: Path) -> None:
    clock = HandClock()
    with EmbeddedValkey(server_dir) as server:
        admission = await open_admission(server.endpoint.url, clock=clock, workers=4)
        principal = make_principal(key_limit=240)
    answers = await try_many(admission, principal, 100)
    assert answers == {"dict": 10, "RateLimited": 90}

    clock.seconds += 6
    answers = await try_many(admission, principal, 100)

    assert answers["dict"] == 6


async def test_a_server_that_cannot_write_leaves_the_decision_to_the_share(
    open_admission: Open, server_dir: Path
) -> None:
    with EmbeddedValkey(server_dir) as server:
        admission = await open_admission(server.endpoint.url)
        await admission.pump.redis.call("REPLICAOF", "127.0.0.1", "1")

        answers = await try_many(admission, make_principal(key_limit=60), 30)

        assert answers["dict"] == 10
        assert "READONLY" in (admission.pump.redis.state().problem or "")


@pytest.mark.fault
async def test_a_redis_that_dies_under_load_is_no_outage(open_admission: Open, server_dir: Path) -> None:
    with EmbeddedValkey(server_dir) as server:
        admission = await open_admission(server.endpoint.url)
        principal = make_principal(key_limit=6_000_000)
        slowest, answered = 0.0, 0
        is_running = True

        async def call() -> None:
            nonlocal slowest, answered
            while is_running:
                started = time.perf_counter()
                await admit(admission, principal)
                slowest = max(slowest, time.perf_counter() - started)
                answered += 1
                await asyncio.sleep(0.001)

        callers = [asyncio.create_task(call()) for _ in range(10)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.stop)
        before = answered
        await asyncio.sleep(0.2)
        is_running = False
        await asyncio.gather(*callers)

    assert answered > before + 100
    assert slowest < 1.0


@pytest.mark.parametrize("processes", [1, 2])
async def test_processes_at_a_barrier_admit_no_more_than_the_burst(valkey_url: str, processes: int) -> None:
    principal = make_principal(key_limit=120)
    moment = str(time.time() + 1.5)
    command = [
        sys.executable,
        "-m",
        "tests.money.admission_caller",
        valkey_url,
        principal.tenant_id.hex,
        principal.key_id.hex,
        moment,
    ]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(processes)]

    outputs = [await asyncio.to_thread(process.communicate, None, 30) for process in started]

    reports = [out.split()[-2:] for out, _ in outputs]
    admitted = sum(int(count) for count, _ in reports)
    # A burst of 20; two a second come back while the calls are made.
    back = 2 * max(float(seconds) for _, seconds in reports)
    assert 20 <= admitted <= 20 + back + 1


def key_slot(key: bytes) -> int:
    """CRC16 (XMODEM) of the hash tag modulo 16384, as Redis Cluster has it."""
    tag = key[key.index(b"{") + 1 : key.index(b"}")]
    crc = 0
    for byte in tag:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc % 16_384


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from("avf")), min_size=1, max_size=300))
def test_a_command_stays_in_one_slot_and_below_its_size(calls: list[tuple[int, int, str]]) -> None:
    tenants, keys = [uuid4() for _ in range(4)], [uuid4() for _ in range(6)]
    operations = []
    for tenant, key, verb in calls:
        principal = make_principal(tenant_id=tenants[tenant], key_id=keys[key], key_limit=60, tenant_limit=600)
        (terms,) = terms_of(replace(principal, budgets=(BUDGET,)), ASKED, 1_790_000_000)
        pairs = [(place, 1) for place in (*terms.rates, *terms.budgets)]
        weight = 16 if verb == "f" else 1
        operations.append(Operation(terms.space, f"{verb} {uuid4().hex}".encode(), pairs, weight=weight))

    groups = group(operations)

    for entry in groups:
        command = entry.command(b"EVALSHA", b"", b"run", b"owner", 0)
        count = command[2]
        assert isinstance(count, int)
        named = [key for key in command[3 : 3 + count] if isinstance(key, bytes)]
        assert len(named) == count
        assert len({key_slot(key) for key in named}) == 1
        assert len(set(named)) == len(named)
        assert entry.weight <= MAX_OPERATIONS
    assert sum(len(entry.operations) for entry in groups) == len(calls)


@pytest.mark.parametrize(
    ("us", "text"),
    [(0, "0ms"), (1, "1ms"), (12_000, "12ms"), (999_001, "1s"), (1_500_000, "1.5s"), (360_000_000, "6m0s"),
     (3_661_000_000, "1h1m1s"), (60_020_000, "1m0.02s")],
)  # fmt: skip
def test_durations_are_written_as_go_does(us: int, text: str) -> None:
    assert format_duration(us) == text
