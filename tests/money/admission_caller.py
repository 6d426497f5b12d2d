"""One client process of the barrier test: waits for the moment, calls 200 times at once, prints how many passed and
the seconds since the moment."""

import asyncio
import sys
import time
from uuid import UUID

from tests.money.admissions import admit
from tests.money.records import make_principal
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.money.admission import Admission

CALLS = 200


async def main() -> None:
    url, tenant, key, moment = sys.argv[1:]
    link = RedisLink(url, SystemClock(), connect_seconds=2.0, operation_seconds=2.0)
    await link.start()
    admission = Admission(link, SystemClock(), lambda: 1, worker_id=uuid7())
    await admission.start()
    principal = make_principal(tenant_id=UUID(tenant), key_id=UUID(key), key_limit=120)
    await asyncio.sleep(max(0.0, float(moment) - time.time()))
    answers = await asyncio.gather(*[admit(admission, principal) for _ in range(CALLS)], return_exceptions=True)
    admitted = sum(not isinstance(answer, BaseException) for answer in answers)
    sys.stdout.write(f"\n{admitted} {time.time() - float(moment)}")
    await admission.close()
    await link.close()


if __name__ == "__main__":
    asyncio.run(main())
