"""Matrices of questions hold what was put in, find what is nearest, and keep to their bounds, whatever comes and goes."""

from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.gateway.cache.embedding_local import normalised
from tollkeeper.gateway.cache.similarity import LEAST, Point, choose, threshold, wilson
from tollkeeper.gateway.cache.vectors import Known, Partition, Vectors

TENANTS = [UUID(int=1), UUID(int=2)]
PARTITIONS = [b"a" * 16, b"b" * 16]


def known(number: int, partition: bytes = PARTITIONS[0], *, model: str = "m", created_at: float = 0.0) -> Known:
    vector = normalised(np.random.default_rng(number).standard_normal((1, 8), dtype=np.float32))[0]
    sign = bytes([number % 3])
    return Known(partition, number.to_bytes(32, "big"), f"question {number}", vector, sign, created_at, model)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "drop", "use"]), st.sampled_from([0, 1]), st.integers(0, 12), st.sampled_from([0, 1])
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_a_partition_holds_just_what_was_put_in_and_not_taken_away(steps: list[tuple[str, int, int, int]]) -> None:
    vectors = Vectors(tenant_bytes=10**6, worker_bytes=10**7)
    held: dict[tuple[int, int], bytes] = {}
    for what, tenant, number, place in steps:
        fingerprint = number.to_bytes(32, "big")
        if what == "add":
            vectors.add(TENANTS[tenant], known(number, PARTITIONS[place]))
            held[tenant, number] = PARTITIONS[place]
        elif what == "drop":
            assert vectors.drop(TENANTS[tenant], fingerprint) is (held.pop((tenant, number), None) is not None)
        else:
            vectors.use(TENANTS[tenant], fingerprint)
    for tenant, name in enumerate(TENANTS):
        here = {number: place for (of, number), place in held.items() if of == tenant}
        assert {int.from_bytes(each.fingerprint, "big"): each.partition for each in vectors.of(name)} == here
        for place in PARTITIONS:
            numbers = {number for number, of in here.items() if of == place}
            partition = vectors.find(name, place)
            assert (partition is None) is (not numbers)
            if partition is not None:
                found = {
                    int.from_bytes(each.fingerprint, "big"): score
                    for each, score in partition.nearest(known(3).vector, 50)
                }
                assert set(found) == numbers
                assert all(
                    found[each] == pytest.approx(known(each).vector @ known(3).vector, abs=1e-5) for each in numbers
                )
                for sign in range(3):
                    alike = {int.from_bytes(each.fingerprint, "big") for each in partition.alike(bytes([sign]))}
                    assert alike == {number for number in numbers if number % 3 == sign}
    assert vectors.size == sum(vectors.size_of(name) for name in TENANTS)


@settings(deadline=None)
@given(st.lists(st.integers(0, 200), max_size=120))
def test_a_flood_of_questions_stays_within_its_bytes_and_the_last_ones_stay(numbers: list[int]) -> None:
    size = known(1000).size
    vectors = Vectors(tenant_bytes=5 * size + 40, worker_bytes=8 * size)
    for number in numbers:
        vectors.add(TENANTS[number % 2], known(number))
        assert vectors.size_of(TENANTS[number % 2]) <= 5 * size + 40
        assert vectors.size <= 8 * size
        assert vectors.drop(TENANTS[number % 2], number.to_bytes(32, "big"))
        vectors.add(TENANTS[number % 2], known(number))


def test_what_was_given_last_outlives_what_nobody_wants() -> None:
    size = known(1).size
    vectors = Vectors(tenant_bytes=3 * size + 20, worker_bytes=10**6)
    for number in (1, 2, 3):
        vectors.add(TENANTS[0], known(number))
    vectors.use(TENANTS[0], (1).to_bytes(32, "big"))
    vectors.add(TENANTS[0], known(4))
    assert [int.from_bytes(each.fingerprint, "big") for each in vectors.of(TENANTS[0])] == [3, 1, 4]


def test_purges_take_what_they_name_and_nobody_elses() -> None:
    vectors = Vectors(tenant_bytes=10**6, worker_bytes=10**7)
    for tenant in TENANTS:
        vectors.add(tenant, known(1, model="old", created_at=10.0))
        vectors.add(tenant, known(2, model="new", created_at=20.0))
    assert vectors.drop_where(TENANTS[0], "old", None) == 1
    assert vectors.drop_where(TENANTS[0], None, 15.0) == 0
    assert vectors.drop_where(TENANTS[0], None, None) == 1
    assert len(list(vectors.of(TENANTS[1]))) == 2


def test_a_vector_of_another_dimension_is_not_taken_in() -> None:
    vectors = Vectors(tenant_bytes=10**6, worker_bytes=10**7)
    vectors.add(TENANTS[0], known(1))
    odd = Known(PARTITIONS[0], b"o" * 32, "odd", np.ones(4, dtype=np.float32), b"\0", 0.0)
    vectors.add(TENANTS[0], odd)
    assert [each.turn for each in vectors.of(TENANTS[0])] == ["question 1"]


def test_rows_that_grow_keep_their_vectors() -> None:
    partition = Partition(8)
    for number in range(100):
        partition.add(known(number))
    [(nearest, score)] = partition.nearest(known(57).vector, 1)
    assert nearest.turn == "question 57"
    assert score == pytest.approx(1.0, abs=1e-5)


def test_bounds_are_wilsons() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 189)[1] < 0.02 < wilson(0, 188)[1]
    # Newcombe 1998, table I: 15 of 148.
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-4)


def test_the_lowest_similarity_that_keeps_the_bound_there_and_above_is_chosen() -> None:
    curve = (Point(0.7, 1_000, 90), Point(0.8, 900, 3), Point(0.9, 600, 1), Point(0.95, 10, 0))
    chosen = choose(curve, 0.02)
    # Ten served say nothing, and what lies above them does not spoil what is known below.
    assert chosen is not None
    assert chosen.similarity == 0.8
    assert chosen.p_wrong <= 0.02
    assert choose(curve, 0.0001) is None
    assert choose((Point(LEAST - 0.1, 5_000, 0),), 0.02) is None


def test_an_embedder_that_nobody_measured_must_be_very_sure() -> None:
    limit = threshold("text-embedding-unknown", None, 20_000)
    assert limit is not None
    assert limit.similarity == 0.95
    measured = threshold("all-minilm-l6-v2", "support", 20_000)
    assert measured is not None
    assert measured.p_wrong <= 0.02
    assert threshold("all-minilm-l6-v2", "nobody measured this", 20_000) is not None
