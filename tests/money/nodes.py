"""A Redis Cluster of three real nodes on this machine."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis

from tollkeeper.core.embedded import EmbeddedValkey
from tollkeeper.core.embedded.server import Site

SLOTS = 16_384
NODES = 3


class Node(EmbeddedValkey):
    """One of a cluster, whose nodes have one password."""

    def _password(self) -> str:
        return "of-the-cluster"

    def _command(self, site: Site, port: int) -> tuple[list[str], bytes]:
        command, config = super()._command(site, port)
        more = f"cluster-enabled yes\ncluster-require-full-coverage no\ncluster-config-file nodes.conf\ndir {site.home.storage}\n"
        return command, config + more.encode()


@contextmanager
def running_cluster(folder: Path) -> Iterator[str]:
    """Its URL, once every slot has a node that all others know."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Node(folder / str(number))) for number in range(NODES)]
        nodes = [stack.enter_context(redis.Redis.from_url(server.endpoint.url)) for server in servers]
        addresses = [urlsplit(server.endpoint.url) for server in servers]
        for number, node in enumerate(nodes):
            first, last = number * SLOTS // NODES, (number + 1) * SLOTS // NODES - 1
            node.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            node.execute_command("CLUSTER MEET", addresses[0].hostname, addresses[0].port)
        deadline = time.monotonic() + 60
        while not all(is_ready(node) for node in nodes):
            assert time.monotonic() < deadline, "the nodes do not find each other"
            time.sleep(0.05)
        hosts = ",".join(f"{address.hostname}:{address.port}" for address in addresses)
        credentials = addresses[0].netloc.rpartition("@")[0]
        yield f"redis+cluster://{credentials}@{hosts}"


def is_ready(node: redis.Redis) -> bool:
    told = node.execute_command("CLUSTER INFO")
    return told.get("cluster_state") == "ok" and int(told.get("cluster_known_nodes", 0)) == NODES
