"""The script on a cluster of three nodes: one slot a command, or the server refuses it (one node would let it pass)."""

import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster

from tests.money.admissions import ASKED, make_budget
from tests.money.records import make_principal
from tollkeeper.contracts.money import PLATFORM
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis_cluster import seeds_of
from tollkeeper.gateway.money.admission_batch import ADMIT_REPLIES, Group, Operation
from tollkeeper.gateway.money.pump import SCRIPT
from tollkeeper.gateway.money.terms import Place, Terms, gen_key, terms_of

NODES = 3


@pytest.fixture(scope="module")
def cluster(cluster_url: str) -> Iterator[RedisCluster]:
    seeds = [urlsplit(seed) for seed in seeds_of(cluster_url)]
    nodes = [ClusterNode(seed.hostname, seed.port) for seed in seeds]
    with RedisCluster(startup_nodes=nodes, password=seeds[0].password) as client:
        yield client


def admitted(client: RedisCluster, terms: Terms) -> int:
    """The code of one call that costs 60."""
    entry = Group(terms.space)
    pairs: list[tuple[Place, int]] = [(place, 1) for place in (*terms.rates, *terms.budgets)]
    head = f"a {uuid7().hex} 60 60 {','.join(terms.refs)}".encode()
    entry.add(Operation(terms.space, head, pairs, b"{}", ADMIT_REPLIES))
    _, script, count, *arguments = entry.command(b"EVAL", SCRIPT, b"run", b"0", 0)
    assert isinstance(count, int)
    return int(client.eval(script, count, *arguments)[0])


def test_every_tenant_is_decided_on_the_node_that_has_it(cluster: RedisCluster) -> None:
    nodes = set()
    for _ in range(30):
        principal = make_principal(key_limit=600, tenant_limit=6_000)
        principal = replace(principal, budgets=(make_budget(100), make_budget(200)))
        (terms,) = terms_of(principal, ASKED, time.time())
        cluster.hset(gen_key(terms.space), mapping={"r": "run", "e": "1", "s": "r", "t": "0"})
        nodes.add(cluster.get_node_from_key(gen_key(terms.space)).name)
        assert [admitted(cluster, terms) for _ in range(2)] == [0, 2]
    assert len(nodes) == NODES


def test_the_platforms_pools_have_a_slot_of_their_own(cluster: RedisCluster) -> None:
    principal = replace(make_principal(), budgets=(make_budget(100), make_budget(1_000, is_platform=True)))
    spaces = {terms.space: terms for terms in terms_of(principal, ASKED, time.time())}
    assert set(spaces) == {principal.tenant_id, PLATFORM}
    for space, terms in spaces.items():
        cluster.hset(gen_key(space), mapping={"r": "run", "e": "1", "s": "r", "t": "0"})
        assert admitted(cluster, terms) == 0


def test_one_command_for_two_tenants_would_be_refused(cluster: RedisCluster) -> None:
    """That the check can fail."""
    keys = [gen_key(UUID(int=number)) for number in (1, 2)]
    with pytest.raises((redis.RedisError, redis.exceptions.RedisClusterException)):
        cluster.eval("return 1", 2, *keys)
