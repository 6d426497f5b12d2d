"""The script on a cluster of three nodes: one slot a command, or the server refuses it (one node would let it pass)."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from uuid import UUID

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster

from tests.money.admissions import ASKED, make_budget
from tests.money.records import make_principal
from tollkeeper.contracts.money import PLATFORM
from tollkeeper.core.embedded import EmbeddedValkey
from tollkeeper.core.embedded.server import Site
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.admission import SCRIPT
from tollkeeper.gateway.money.admission_batch import ADMIT_REPLIES, Group, Operation
from tollkeeper.gateway.money.terms import Place, Terms, gen_key, terms_of

SLOTS = 16_384
NODES = 3


class Node(EmbeddedValkey):
    """One of a cluster, whose nodes have one password."""

    def _password(self) -> str:
        return "of-the-cluster"

    def _command(self, site: Site, port: int) -> tuple[list[str], bytes]:
        command, config = super()._command(site, port)
        return (
            command,
            config + f"cluster-enabled yes\ncluster-config-file nodes.conf\ndir {site.home.storage}\n".encode(),
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with ExitStack() as stack:
        nodes = []
        for number in range(NODES):
            folder = tmp_path_factory.mktemp("cluster") / str(number)
            server = stack.enter_context(Node(folder))
            nodes.append(stack.enter_context(redis.Redis.from_url(server.endpoint.url)))
        addresses = [node.get_connection_kwargs() for node in nodes]
        for number, node in enumerate(nodes):
            first, last = number * SLOTS // NODES, (number + 1) * SLOTS // NODES - 1
            node.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            node.execute_command("CLUSTER MEET", addresses[0]["host"], addresses[0]["port"])
        deadline = time.monotonic() + 30
        while not all(node.execute_command("CLUSTER INFO").get("cluster_state") == "ok" for node in nodes):
            assert time.monotonic() < deadline, "the nodes do not find each other"
            time.sleep(0.05)
        seeds = [ClusterNode(address["host"], address["port"]) for address in addresses]
        client = stack.enter_context(RedisCluster(startup_nodes=seeds, password=addresses[0]["password"]))
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
