"""The cache of a whole installation: two workers answer once for both, each row is in the ledger, and Redis may go."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.gateway import Gateway, UpstreamProcess, eventually
from tests.faults.lines import lines_to_all
from tests.faults.test_postgres_gone import stopped

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-cache")]


async def test_workers_answer_once_for_both_and_go_on_without_redis(
    new_gateway: Callable[..., Gateway], upstream: UpstreamProcess
) -> None:
    gateway = new_gateway(workers=2, is_started=False)
    policy = {"name": "house", "exact": {}, "coalesce": {}}
    gateway.write_config({**gateway.read_config(), "cache": [policy]})
    gateway.start()
    gateway.ask("GET", "/v1/models")

    def asked() -> int:
        return len(upstream.find("cached-first")) + len(upstream.find("cached-second"))

    async with lines_to_all(gateway) as lines:
        first, second = lines.values()
        assert (await first.chat(gateway.key, "up-ok", "cached-first"))[0] == 200

        async def is_there() -> bool:
            # A crowded machine may be late for Redis, which is a miss; what was asked for then is kept again.
            before = asked()
            assert (await second.chat(gateway.key, "up-ok", "cached-second"))[0] == 200
            return asked() == before

        await eventually(is_there, seconds=10, what="the other worker gives the first one's answer")

        async def rows() -> list[dict[str, Any]]:
            found = await gateway.ledger("cached-")
            return found if {row["status"] for row in found} == {"ok", "cached"} else []

        ledger = await eventually(rows, seconds=15, what="the rows are in the ledger")
        assert len([row for row in ledger if row["status"] == "ok"]) == asked()
        given = [row for row in ledger if row["status"] == "cached"]
        assert all(row["cost_nano"] == 0 and row["input_tokens"] for row in given)
        assert all(row["provider"] == "up" for row in given)
        with stopped([gateway.valkey_pid()]):
            for line in (first, second):
                assert (await line.chat(gateway.key, "up-ok", "cached-first"))[0] == 200
