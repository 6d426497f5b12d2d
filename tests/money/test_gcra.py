"""The rate arithmetic: what it promises, and that the Lua script keeps to it number by number."""

import secrets
from collections.abc import Iterator
from math import ceil
from uuid import uuid4

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.contracts.money import Limit, Period, RuleScope, ScopeKind, Unit
from tollkeeper.gateway.money import gcra
from tollkeeper.gateway.money.admission_batch import ADMIT_REPLIES, Group, Operation, Verdict
from tollkeeper.gateway.money.gcra import Rate
from tollkeeper.gateway.money.pump import SCRIPT
from tollkeeper.gateway.money.terms import Place, PlaceKind, default_burst, limit_place

START_US = 1_790_000_000_000_000
MINUTE_US = 60_000_000
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module", params=["valkey_url", "redis62_url"])
def server(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(request.getfixturevalue(request.param)) as client:
        yield client


def per_minute(amount: int, burst: int | None = None) -> Rate:
    return Rate(MINUTE_US, amount, default_burst(amount, Period.MINUTE) if burst is None else burst)


def admit_at(stored: int, rate: Rate, now_us: int, units: int = 1) -> tuple[bool, int]:
    tat = gcra.load(stored, rate, now_us)
    if gcra.wait(tat, rate, units, now_us) > 0:
        return False, tat
    return True, tat + gcra.cost(rate, units)


@given(
    st.integers(1, 10_000),
    st.none() | st.integers(1, 500),
    st.lists(st.integers(0, 3_000_000), min_size=1, max_size=300),
    st.integers(1, 4 * MINUTE_US),
)
def test_no_interval_of_any_alignment_admits_more_than_its_share_and_the_burst(
    amount: int, burst: int | None, gaps: list[int], span: int
) -> None:
    rate = per_minute(amount, burst)
    now, stored, admitted = START_US, 0, []
    for gap in gaps:
        now += gap
        is_admitted, stored = admit_at(stored, rate, now)
        if is_admitted:
            admitted.append(now)

    for first in admitted:
        inside = sum(first <= moment <= first + span for moment in admitted)
        assert inside <= span * amount / MINUTE_US + rate.burst


@given(
    st.integers(1, 200_000_000),
    st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 5_000)), min_size=1, max_size=200),
    st.integers(1, 4 * MINUTE_US),
)
def test_no_interval_admits_more_tokens_than_its_share_and_the_burst(
    amount: int, calls: list[tuple[int, int]], span: int
) -> None:
    """A call that is dearer than the burst goes on a full bucket, and is paid off before the next."""
    rate = Rate(MINUTE_US, amount, default_burst(amount, Period.MINUTE), is_whole=False)
    now, stored, admitted = START_US, 0, []
    for gap, tokens in calls:
        now += gap
        is_admitted, stored = admit_at(stored, rate, now, tokens)
        if is_admitted:
            admitted.append((now, tokens))

    dearest = max([tokens for _, tokens in admitted], default=0)
    for first, _ in admitted:
        inside = sum(tokens for moment, tokens in admitted if first <= moment <= first + span)
        assert inside <= span * amount / MINUTE_US + rate.burst + dearest + 1


@given(st.integers(1, 100_000), st.integers(1, 50))
def test_a_refused_call_is_admitted_after_exactly_the_time_it_was_told(amount: int, burst: int) -> None:
    rate = per_minute(amount, burst)
    stored = 0
    for _ in range(burst):
        is_admitted, stored = admit_at(stored, rate, START_US)
        assert is_admitted
    wait_us = gcra.wait(gcra.load(stored, rate, START_US), rate, 1, START_US)

    assert wait_us > 0
    assert not admit_at(stored, rate, START_US + wait_us - 1)[0]
    assert admit_at(stored, rate, START_US + wait_us)[0]


def test_the_burst_counts_the_first_call_and_is_a_sixth_of_the_limit() -> None:
    assert [default_burst(amount, Period.MINUTE) for amount in (1, 5, 6, 60, 600)] == [1, 1, 1, 10, 100]
    assert [default_burst(60, period) for period in Period] == [10, 10, 60, 60]


def test_a_clock_that_steps_back_empties_the_bucket_and_no_more() -> None:
    rate = per_minute(60)
    _, stored = admit_at(0, rate, START_US)

    earlier = START_US - HOUR_US

    assert not admit_at(stored, rate, earlier)[0]
    assert admit_at(stored, rate, earlier + ceil(rate.interval))[0] is False
    assert gcra.load(stored, rate, earlier) - earlier == rate.room


def test_a_clock_that_jumps_forward_admits_one_burst() -> None:
    rate = per_minute(60)
    stored, admitted = 0, 0
    for _ in range(100):
        is_admitted, stored = admit_at(stored, rate, START_US + HOUR_US)
        admitted += is_admitted

    assert admitted == rate.burst


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_shares_add_up_to_the_limit(amount: int, workers: int) -> None:
    whole = per_minute(amount)
    share = whole.share(workers)

    assert MINUTE_US * workers <= amount * share.interval
    assert share.burst * workers <= max(whole.burst, workers)


def place(key: bytes, unit: Unit, amount: int, burst: int | None = None, *, is_shadow: bool = False) -> Place:
    scope = RuleScope(ScopeKind.TENANT)
    limit = Limit(uuid4(), scope, unit, amount, Period.MINUTE, burst=burst, is_shadow=is_shadow)
    made = limit_place(uuid4(), limit, "", 0.0)
    made.key = key
    return made


def rate_of(made: Place) -> Rate:
    return Rate(made.one, made.two, made.three, is_whole=made.kind == PlaceKind.REQUESTS)


places = st.lists(
    st.tuples(st.booleans(), st.sampled_from([1, 2, 7, 60, 1_000, 6_000_000, 90_000_000]), st.integers(1, 12)),
    min_size=1,
    max_size=4,
)
operations = st.tuples(
    st.sampled_from(["a", "a", "a", "v"]), st.dictionaries(st.integers(0, 3), st.integers(0, 40), min_size=1)
)
batches = st.lists(
    st.tuples(st.integers(-2_000_000, 30_000_000), st.lists(operations, min_size=1, max_size=12)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(places, batches)
def test_the_script_and_its_twin_agree(
    server: redis.Redis,
    places: list[tuple[bool, int, int]],
    batches: list[tuple[int, list[tuple[str, dict[int, int]]]]],
) -> None:
    prefix = f"tk:{{{secrets.token_hex(8)}}}".encode()
    defined = [
        place(prefix + b":%d" % number, Unit.INPUT_TOKENS if is_tokens else Unit.REQUESTS, amount, burst)
        for number, (is_tokens, amount, burst) in enumerate(places)
    ]
    stored: dict[bytes, int] = {}
    now = START_US
    for gap, calls in batches:
        now += gap
        entry, expected = Group(uuid4()), []
        tats = {made.key: gcra.load(stored.get(made.key, 0), rate_of(made), now) for made in defined}
        for verb, chosen in calls:
            own = [
                (defined[index], units if defined[index].kind == PlaceKind.TOKENS else 1)
                for index, units in sorted(chosen.items())
                if index < len(defined)
            ] or [(defined[0], 1)]
            if verb == "v":
                entry.add(Operation(entry.space, b"v 1d 1", own))
                for made, units in own:
                    tats[made.key] = gcra.give_back(tats[made.key], rate_of(made), units, now)
                    stored[made.key] = tats[made.key]
                continue
            entry.add(Operation(entry.space, b"a 1d 0 0 -", own, b"", ADMIT_REPLIES))
            waits = [(gcra.wait(tats[made.key], rate_of(made), units, now), made) for made, units in own]
            longest, refused = max(waits, key=lambda pair: pair[0])
            if longest <= 0:
                for made, units in own:
                    tats[made.key] += gcra.cost(rate_of(made), units)
                    stored[made.key] = tats[made.key]
            left = {made.key: gcra.remaining(tats[made.key], rate_of(made), now) for made, _ in own}
            expected.append((longest, refused.key, left))

        _, *arguments = entry.command(b"EVAL", SCRIPT, b"", b"0", now)
        reply = server.eval(*arguments)
        verdicts = [Verdict(*reply[at : at + ADMIT_REPLIES]) for at in range(0, len(reply), ADMIT_REPLIES)]
        for verdict, (longest, refused_key, left) in zip(verdicts, expected, strict=True):
            assert verdict.code == (longest > 0)
            assert verdict.wait_us == max(0, longest)
            if longest > 0:
                assert entry.places[verdict.place - 1].key == refused_key
            for number, remaining in ((verdict[4], verdict[5]), (verdict[7], verdict[8])):
                assert not number or left[entry.places[number - 1].key] == remaining
        written = {key: int(value) for key in stored if (value := server.get(key)) is not None}
        assert written == stored


def run(server: redis.Redis, *operations: tuple[bytes, list[tuple[Place, int]]]) -> list[Verdict]:
    entry = Group(uuid4())
    for verb, pairs in operations:
        head = f"a {secrets.token_hex(16)} 0 0 -".encode() if verb == b"a" else b"%b %b 1" % (verb, b"0" * 32)
        entry.add(Operation(entry.space, head, pairs, b"", ADMIT_REPLIES if verb == b"a" else 0))
    _, *arguments = entry.command(b"EVAL", SCRIPT, b"", b"0", START_US)
    reply = server.eval(*arguments)
    return [Verdict(*reply[at : at + ADMIT_REPLIES]) for at in range(0, len(reply), ADMIT_REPLIES)]


def new_key() -> bytes:
    return f"tk:{{{secrets.token_hex(8)}}}:x".encode()


def test_a_key_lives_as_long_as_its_bucket_is_not_full(server: redis.Redis) -> None:
    key = new_key()
    run(server, (b"a", [(place(key, Unit.REQUESTS, 1), 1)]))

    assert 59_000 <= server.pttl(key) <= 61_000


def test_values_of_another_type_are_a_full_bucket(server: redis.Redis) -> None:
    keys = [new_key() for _ in range(2)]
    server.rpush(keys[0], "x")
    server.set(keys[1], "x")

    verdicts = run(server, *((b"a", [(place(key, Unit.REQUESTS, 60), 1)]) for key in keys))

    assert [verdict.code for verdict in verdicts] == [0, 0]


def test_a_shadow_counts_what_it_would_refuse_and_refuses_nothing(server: redis.Redis) -> None:
    shadow = place(new_key(), Unit.REQUESTS, 60, 3, is_shadow=True)

    verdicts = run(server, *[(b"a", [(shadow, 1)])] * 10)

    assert [verdict.code for verdict in verdicts] == [0] * 10
    assert [verdict.shadow_refusals for verdict in verdicts] == [0] * 3 + [1] * 7
    # It is empty and no emptier: a second later there is room for one again.
    assert int(server.get(shadow.key)) == START_US + 3_000_000


def test_parallel_calls_are_leases_that_end_by_themselves(server: redis.Redis) -> None:
    slots = Place(new_key(), PlaceKind.PARALLEL, 2, 30_000)

    verdicts = run(server, *[(b"a", [(slots, 1)])] * 3)

    assert [verdict.code for verdict in verdicts] == [0, 0, 1]
    assert {score for _, score in server.zrange(slots.key, 0, -1, withscores=True)} == {START_US / 1000 + 30_000}
    taken = server.zrange(slots.key, 0, 0)
    entry = Group(uuid4())
    entry.add(Operation(entry.space, b"v %b 1" % taken[0], [(slots, 0)]))
    entry.add(Operation(entry.space, f"a {secrets.token_hex(16)} 0 0 -".encode(), [(slots, 1)], b"", ADMIT_REPLIES))
    _, *arguments = entry.command(b"EVAL", SCRIPT, b"", b"0", START_US)
    assert server.eval(*arguments)[0] == 0
    _, *arguments = entry.command(b"EVAL", SCRIPT, b"", b"0", START_US + 30_000_000)
    assert server.eval(*arguments)[0] == 0
