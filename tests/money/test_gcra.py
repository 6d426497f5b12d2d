"""The rate arithmetic: what it promises, and that the Lua script keeps to it number by number."""

import secrets
from collections.abc import Iterator

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.money.records import TENANT
from tollkeeper.gateway.money import gcra
from tollkeeper.gateway.money.admission import SCRIPT
from tollkeeper.gateway.money.admission_batch import Group, Limits, Scope
from tollkeeper.gateway.money.gcra import MINUTE_US, Rate, per_minute

START_US = 1_790_000_000_000_000


@pytest.fixture(scope="module", params=["valkey_url", "redis62_url"])
def server(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(request.getfixturevalue(request.param)) as client:
        yield client


def admit_at(stored: int, rate: Rate, now_us: int) -> tuple[bool, int]:
    tats = [gcra.load(stored, rate, now_us)]
    verdict = gcra.admit(tats, [rate], [0], now_us)
    return not verdict.refused_by, tats[0]


@given(
    st.integers(1, 10_000),
    st.none() | st.integers(1, 500),
    st.lists(st.integers(0, 3_000_000), min_size=1, max_size=300),
    st.integers(1, 4 * MINUTE_US),
)
def test_no_interval_of_any_alignment_admits_more_than_its_share_and_the_burst(
    limit: int, burst: int | None, gaps: list[int], span: int
) -> None:
    rate = per_minute(limit, burst)
    now, stored, admitted = START_US, 0, []
    for gap in gaps:
        now += gap
        is_admitted, stored = admit_at(stored, rate, now)
        if is_admitted:
            admitted.append(now)

    for first in admitted:
        inside = sum(first <= moment <= first + span for moment in admitted)
        assert inside <= span * limit / MINUTE_US + rate.burst


@given(st.integers(1, 100_000), st.integers(1, 50))
def test_a_refused_call_is_admitted_after_exactly_the_time_it_was_told(limit: int, burst: int) -> None:
    rate = per_minute(limit, burst)
    stored = 0
    for _ in range(burst):
        _, stored = admit_at(stored, rate, START_US)
    verdict = gcra.admit([gcra.load(stored, rate, START_US)], [rate], [0], START_US)

    assert verdict.refused_by == 1
    assert not admit_at(stored, rate, START_US + verdict.wait_us - 1)[0]
    assert admit_at(stored, rate, START_US + verdict.wait_us)[0]


def test_the_burst_counts_the_first_call_and_is_a_sixth_of_the_limit() -> None:
    assert [per_minute(limit).burst for limit in (1, 5, 6, 60, 600)] == [1, 1, 1, 10, 100]


def test_a_clock_that_steps_back_empties_the_bucket_and_no_more() -> None:
    rate = per_minute(60)
    _, stored = admit_at(0, rate, START_US)

    earlier = START_US - 3_600_000_000

    assert not admit_at(stored, rate, earlier)[0]
    assert admit_at(stored, rate, earlier + rate.interval_us)[0] is False
    assert gcra.load(stored, rate, earlier) - earlier == rate.interval_us * rate.burst


def test_a_clock_that_jumps_forward_admits_one_burst() -> None:
    rate = per_minute(60)
    stored, admitted = 0, 0
    for _ in range(100):
        is_admitted, stored = admit_at(stored, rate, START_US + 3_600_000_000)
        admitted += is_admitted

    assert admitted == rate.burst


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_shares_add_up_to_the_limit(limit: int, workers: int) -> None:
    whole = per_minute(limit)
    share = whole.share(workers)

    assert MINUTE_US * workers <= limit * share.interval_us
    assert share.burst * workers <= max(whole.burst, workers)


scopes = st.lists(
    st.tuples(st.sampled_from([1, 2, 7, 60, 1_000, 6_000_000]), st.integers(1, 12)), min_size=1, max_size=4
)
operations = st.tuples(st.sampled_from(["a", "a", "a", "v"]), st.sets(st.integers(0, 3), min_size=1))
batches = st.lists(
    st.tuples(st.integers(-2_000_000, 30_000_000), st.lists(operations, min_size=1, max_size=12)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(scopes, batches)
def test_the_script_and_its_twin_agree(
    server: redis.Redis,
    scopes: list[tuple[int, int]],
    batches: list[tuple[int, list[tuple[str, set[int]]]]],
) -> None:
    prefix = f"tk:{{{secrets.token_hex(8)}}}".encode()
    defined = [Scope(prefix + b":%d" % n, per_minute(limit, burst), "key") for n, (limit, burst) in enumerate(scopes)]
    stored: dict[bytes, int] = {}
    now = START_US
    for gap, calls in batches:
        now += gap
        group, expected = Group(), []
        tats: dict[bytes, int] = {}
        for operation, chosen in calls:
            own = [defined[index] for index in sorted(chosen) if index < len(defined)] or defined[:1]
            group.add(operation.encode(), Limits(TENANT, tuple(own)))
            for scope in own:
                tats.setdefault(scope.key, gcra.load(stored.get(scope.key, 0), scope.rate, now))
            values = [tats[scope.key] for scope in own]
            rates = [scope.rate for scope in own]
            if operation == "v":
                gcra.void(values, rates, range(len(own)), now)
            else:
                verdict = gcra.admit(values, rates, range(len(own)), now)
                names = [group.keys[scope.key] for scope in own]
                refused_by = names[verdict.refused_by - 1] if verdict.refused_by else 0
                expected += [refused_by, verdict.wait_us, names[verdict.scope - 1], *verdict[3:]]
            if operation == "v" or not verdict.refused_by:
                stored |= {scope.key: tat for scope, tat in zip(own, values, strict=True)}
            tats |= dict(zip([scope.key for scope in own], values, strict=True))

        _, *arguments = group.command(b"EVAL", SCRIPT, now)
        assert server.eval(*arguments) == expected
        written = {key: int(value) for key in stored if (value := server.get(key)) is not None}
        assert written == stored


def test_a_key_lives_as_long_as_its_bucket_is_not_full(server: redis.Redis) -> None:
    group = Group()
    key = f"tk:{{{secrets.token_hex(8)}}}:x".encode()
    group.add(b"a", Limits(TENANT, (Scope(key, per_minute(1), "key"),)))

    _, *arguments = group.command(b"EVAL", SCRIPT, 0)
    server.eval(*arguments)

    assert 59_000 <= server.pttl(key) <= 61_000


def test_values_of_another_type_are_a_full_bucket(server: redis.Redis) -> None:
    group = Group()
    tag = secrets.token_hex(8)
    keys = [f"tk:{{{tag}}}:{name}".encode() for name in ("list", "text")]
    server.rpush(keys[0], "x")
    server.set(keys[1], "x")
    for key in keys:
        group.add(b"a", Limits(TENANT, (Scope(key, per_minute(60), "key"),)))

    _, *arguments = group.command(b"EVAL", SCRIPT, START_US)
    reply = server.eval(*arguments)

    assert reply[0::5] == [0, 0]
