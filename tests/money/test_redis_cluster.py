"""Three nodes as one Redis: budgets exact on each, a slot that moves, and a node that is gone, alone with its tenants."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import redis
from redis.crc import key_slot

from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import DOLLAR, Hall, Ledger, counted, spender, until
from tests.money.nodes import running_cluster
from tests.money.test_reaper import die
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import DependencyUnavailable, InsufficientQuota
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.redis_cluster import ClusterLink, key_of, make_link, seeds_of
from tollkeeper.gateway.claims import Claimed, Claims, Known
from tollkeeper.gateway.money.live_drift import verify_live
from tollkeeper.gateway.money.terms import gen_key


@pytest.fixture
async def link(cluster_url: str) -> AsyncIterator[ClusterLink]:
    link = ClusterLink(cluster_url, SystemClock(), connect_seconds=2.0, operation_seconds=2.0)
    await link.start()
    yield link
    await link.close()


def tenant_on(link: ClusterLink, node: RedisLink) -> UUID:
    while True:
        tenant = uuid4()
        if link.node(gen_key(tenant)) is node:
            return tenant


def tenants_apart(link: ClusterLink) -> list[UUID]:
    """One on each node."""
    return [tenant_on(link, node) for node in link._nodes.values()]


async def empty(url: str) -> None:
    for seed in seeds_of(url):
        with redis.Redis.from_url(seed) as client:
            client.flushall()


async def test_commands_go_to_the_nodes_that_have_their_keys(link: ClusterLink) -> None:
    keys = [f"test:{uuid4().hex}" for _ in range(30)]
    replies = await link.call_many([("SET", key, number) for number, key in enumerate(keys)])
    assert replies == [b"OK"] * 30
    assert await link.call_many([("GET", key) for key in keys]) == [b"%d" % number for number in range(30)]
    assert len({link.node(key.encode()) for key in keys}) == 3
    found = [key async for some in link.scan("test:*") for key in some]
    assert {key.encode() for key in keys} <= set(found)
    assert await link.call("EVAL", "return redis.call('GET', KEYS[1])", 1, keys[7]) == b"7"
    assert await link.call("PING") == b"PONG"


async def test_hard_budgets_are_exact_on_every_node(open_worker: OpenWorker, cluster_url: str, ledger: Ledger) -> None:
    await empty(cluster_url)
    workers = [await open_worker(f"w{number}", url=cluster_url) for number in range(2)]
    link = workers[0].link
    assert isinstance(link, ClusterLink)
    principals = [spender(10 * DOLLAR, tenant_id=tenant) for tenant in tenants_apart(link)]

    async def one_call(number: int, principal: Principal) -> bool:
        worker = workers[number % 2]
        try:
            request_id = await worker.call(principal, DOLLAR)
        except InsufficientQuota:
            return False
        worker.finish(request_id, DOLLAR)
        return True

    made = await asyncio.gather(*(one_call(number, one) for number in range(20) for one in principals))
    assert sum(made) == 30
    for worker in workers:
        await worker.ship()
        await worker.flushed()
    for principal in principals:
        assert await counted(workers[0], principal) == [(10 * DOLLAR, 0)]
    found = await verify_live(link, ledger, pause_seconds=0.01)
    assert found.wrong == []
    assert found.counters >= 3


async def test_counters_that_a_node_lost_are_rebuilt_and_the_others_stay(
    open_worker: OpenWorker, cluster_url: str, ledger: Ledger
) -> None:
    await empty(cluster_url)
    worker = await open_worker(url=cluster_url)
    assert isinstance(worker.link, ClusterLink)
    principals = [spender(10 * DOLLAR, tenant_id=tenant) for tenant in tenants_apart(worker.link)]
    for principal in principals:
        worker.finish(await worker.call(principal, 3 * DOLLAR), 2 * DOLLAR)
        await worker.call(principal, 3 * DOLLAR)
    await worker.ship()
    lost = worker.link.node(gen_key(principals[0].tenant_id))
    await lost.call("FLUSHALL")

    with pytest.raises(InsufficientQuota):
        await worker.call(principals[0], 6 * DOLLAR)
    await worker.call(principals[0], DOLLAR)

    await worker.flushed()
    assert await counted(worker, principals[0]) == [(2 * DOLLAR, 4 * DOLLAR)]
    assert await counted(worker, principals[1]) == [(2 * DOLLAR, 3 * DOLLAR)]


async def test_what_a_dead_worker_held_is_settled_on_every_node(
    open_worker: OpenWorker, cluster_url: str, hall: Hall, ledger: Ledger
) -> None:
    await empty(cluster_url)
    one, lost = await open_worker(url=cluster_url), await open_worker("lost", url=cluster_url)
    assert isinstance(lost.link, ClusterLink)
    principals = [spender(10 * DOLLAR, tenant_id=tenant) for tenant in tenants_apart(lost.link)]
    for principal in principals:
        await lost.call(principal, 3 * DOLLAR)
    await die(lost, hall, one)
    await one.reaper.turn()
    await one.ship()

    async def is_settled() -> bool:
        await one.reaper.turn()
        return [await counted(one, principal) for principal in principals] == [[(3 * DOLLAR, 0)]] * 3

    await until(is_settled, 20)
    assert sorted(ledger.charges.values()) == [3 * DOLLAR] * 3


async def test_a_claim_is_one_whatever_node_has_it(link: ClusterLink) -> None:
    claims = Claims(link, SystemClock())
    for tenant in tenants_apart(link):
        first = await claims.take(tenant, b"name", b"\x01" * 32, uuid7(), 60)
        assert isinstance(first, Claimed)
        assert isinstance(await claims.take(tenant, b"name", b"\x01" * 32, uuid7(), 60), Known)
        claims.give_back(first)
        assert isinstance(await claims.take(tenant, b"name", b"\x01" * 32, uuid7(), 60), Claimed)


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[str]:
    """One to break."""
    with running_cluster(tmp_path / "own") as url:
        yield url


async def test_a_slot_that_moves_is_followed_and_its_counters_are_counted_anew(
    open_worker: OpenWorker, own_cluster: str, ledger: Ledger
) -> None:
    worker = await open_worker(url=own_cluster)
    link = worker.link
    assert isinstance(link, ClusterLink)
    source, target = list(link._nodes.values())[:2]
    principal = spender(10 * DOLLAR, tenant_id=tenant_on(link, source))
    worker.finish(await worker.call(principal, 4 * DOLLAR), 4 * DOLLAR)
    await worker.call(principal, 3 * DOLLAR)
    await worker.ship()
    slot = key_slot(gen_key(principal.tenant_id))
    name = (await target.call("CLUSTER", "MYID")).decode()
    for key in await source.call("CLUSTER", "GETKEYSINSLOT", slot, 1000):
        await source.call("DEL", key)
    for node in link._nodes.values():
        await node.call("CLUSTER", "SETSLOT", slot, "NODE", name)
    assert link.node(gen_key(principal.tenant_id)) is source

    with pytest.raises(InsufficientQuota):
        await worker.call(principal, 4 * DOLLAR)
    await worker.call(principal, 3 * DOLLAR)

    assert link.node(gen_key(principal.tenant_id)) is target
    await worker.flushed()
    assert await counted(worker, principal) == [(4 * DOLLAR, 6 * DOLLAR)]


async def test_a_node_that_is_gone_takes_only_its_own_tenants_along(
    tmp_path: Path, open_worker: OpenWorker, ledger: Ledger
) -> None:
    with running_cluster(tmp_path / "own") as url:
        worker = await open_worker(url=url)
        link = worker.link
        assert isinstance(link, ClusterLink)
        gone, *_ = link._nodes.values()
        principals = [spender(10 * DOLLAR, tenant_id=tenant) for tenant in tenants_apart(link)]
        for principal in principals:
            await worker.call(principal, DOLLAR)
        place = next(place for place, node in link._nodes.items() if node is gone)
        seed = next(seed for seed in seeds_of(url) if urlsplit(seed).port == place[1])
        with redis.Redis.from_url(seed) as client:
            client.shutdown(nosave=True)
        await until(lambda: not gone.is_available, 20)

        with pytest.raises(DependencyUnavailable):
            await worker.call(principals[0], DOLLAR)
        for principal in principals[1:]:
            await worker.call(principal, DOLLAR)
        assert link.is_available
        assert link.state().problem
        assert await counted(worker, principals[1]) == [(0, 2 * DOLLAR)]


def test_a_clusters_address_names_several_nodes() -> None:
    url = "rediss+cluster://ann:s%40cret@one:7000,two,[::1]:7002?ssl_ca_certs=ca.pem"
    assert seeds_of(url) == [
        f"rediss://ann:s%40cret@{host}?ssl_ca_certs=ca.pem" for host in ("one:7000", "two", "[::1]:7002")
    ]
    assert isinstance(make_link(url.replace("rediss", "redis"), SystemClock()), ClusterLink)
    assert not make_link("redis://one:7000/0", SystemClock()).is_cluster


def test_the_key_of_a_command_is_where_the_protocol_has_it() -> None:
    assert key_of(("GET", "a")) == b"a"
    assert key_of((b"EVALSHA", b"sha", 2, b"a", b"b")) == b"a"
    assert key_of(("EVAL", "return 1", 0)) is None
    assert key_of(("SCAN", b"0", "MATCH", "x")) is None


async def test_a_cluster_of_which_nothing_answers_is_away_and_looked_for(cluster_url: str) -> None:
    host = urlsplit(seeds_of(cluster_url)[0])
    nobody = ClusterLink(f"redis+cluster://{host.netloc.rpartition('@')[0]}@127.0.0.1:1", SystemClock())
    await nobody.start()
    assert not nobody.is_available
    assert nobody.state().problem
    with pytest.raises(RedisUnavailable):
        await nobody.call("GET", "a")
    nobody._seeds = seeds_of(cluster_url)
    await until(lambda: nobody.is_available, 20)
    await nobody.close()
