"""What proving a known key costs a call: the stage alone, in this process, with the key in memory.

`python -m bench.authenticate` prints microseconds of CPU per call as JSON: the best of some rounds, with a plain key and with
one that is held to networks, endpoints and origins.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, cast

from tollkeeper.contracts.catalog import EMPTY_SNAPSHOT
from tollkeeper.contracts.chat import Operation, Reply
from tollkeeper.contracts.ports import KeyLookup
from tollkeeper.contracts.principal import Environment, KeyRecord, Principal, SecretDigest
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.core.secrets import KeyHasher, new_key
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.key_cache import KeyCache
from tollkeeper.gateway.stage import Exchange
from tollkeeper.gateway.stages.authenticate import Authenticate

_PATH = "/v1/chat/completions"
_CALLS = 20_000
_ROUNDS = 7


class OneKey:
    """A `KeyLookup` that knows a single key."""

    def __init__(self, record: KeyRecord) -> None:
        self._record = record

    async def find_by_public_id(self, public_id: str) -> KeyRecord | None:  # noqa: ARG002 - the interface
        return self._record


async def measure(**bounds: Any) -> float:
    """CPU microseconds of the stage, from the headers to the principal."""
    hasher = KeyHasher(MasterKey(MasterKey.generate()))
    token = new_key().token
    principal = replace(
        Principal(
            tenant_id=uuid7(),
            key_id=uuid7(),
            user_id=None,
            environment=Environment.LIVE,
            permissions=frozenset({Permission.GATEWAY_USE}),
        ),
        **bounds,
    )
    digests = tuple(SecretDigest(pepper_id, digest) for pepper_id, digest in hasher.digests(token).items())
    lookup = cast("KeyLookup", OneKey(KeyRecord(principal, digests)))
    authenticate = Authenticate(KeyCache(1000), lookup, hasher, SystemClock(), Settings())
    exchange = Exchange(
        request_id=uuid7(),
        operation=Operation.CHAT,
        dialect=OpenAIChat(),
        headers=_headers(token),
        read_body=_nothing,
        started=0.0,
        deadline=0.0,
        snapshot=EMPTY_SNAPSHOT,
        path=_PATH,
        client=("192.0.2.7", 40_000),
    )
    # The first call looks the key up.
    await authenticate(exchange, _stop)
    costs = [_time(lambda: authenticate(exchange, _stop)) for _ in range(_ROUNDS)]
    return round(min(costs) - min(_time(lambda: _stop(exchange)) for _ in range(_ROUNDS)), 2)


def _time(call: Callable[[], Awaitable[Reply]]) -> float:
    begun = time.process_time()
    for _ in range(_CALLS):
        # By hand, because nothing in here waits: a loop's turns would be measured with it.
        steps = cast("Generator[None, None, Reply]", call().__await__())
        try:
            next(steps)
        except StopIteration:
            continue
        raise AssertionError("a known key was looked up again")
    return (time.process_time() - begun) / _CALLS * 1e6


def _headers(token: str) -> Mapping[bytes, bytes]:
    return {
        b"host": b"gateway.example",
        b"content-type": b"application/json",
        b"authorization": f"Bearer {token}".encode(),
        b"origin": b"https://app.example",
        b"content-length": b"200",
    }


async def _nothing() -> bytes:
    return b""


async def _stop(_exchange: Exchange) -> Reply:
    return Reply(is_stream=False, primed=())


async def _main() -> None:
    plain = await measure()
    bounded = await measure(
        allowed_endpoints=frozenset({"chat/completions"}),
        allowed_networks=(ip_network("192.0.2.0/24"),),
        allowed_origins=frozenset({"https://app.example"}),
    )
    print(json.dumps({"plain_us": plain, "bounded_us": bounded}))


if __name__ == "__main__":
    asyncio.run(_main())
