"""A flood of sign-ins: memory stays bounded, and the owner still gets in."""

import asyncio
import resource
import time

from sqlalchemy import select

from tests.domains.control_plane import ControlPlane
from tests.domains.identity.people import browser, email_of, person, sign_in
from tollkeeper.db.models import AuditLog

GUESSERS = 300


async def test_a_flood_neither_locks_the_owner_out_nor_grows_memory(plane: ControlPlane) -> None:
    owner_id = await person(plane)
    async with browser(plane) as owner:
        assert (await sign_in(owner, owner_id)).status_code == 200
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        async def guess(number: int) -> list[int]:
            email = email_of(owner_id) if number % 2 else f"nobody{number}@example.com"
            async with browser(plane, f"10.{number // 200}.{number % 200}.1") as client:
                body = {"email": email, "password": "x" * 1024}
                return [(await client.post("/api/v1/auth/login", json=body)).status_code for _ in range(2)]

        flood = asyncio.gather(*(guess(number) for number in range(GUESSERS)))
        # In the midst of it, from the browser that is known.
        await asyncio.sleep(0.2)
        assert not flood.done()
        began = time.monotonic()
        by_device = await sign_in(owner, owner_id)
        seconds = time.monotonic() - began
        answers = [status for statuses in await flood for status in statuses]
        # And right after it, from an address that is known, by what carries no cookie.
        async with browser(plane) as same_address:
            by_address = await sign_in(same_address, owner_id)
    assert (by_device.status_code, by_address.status_code) == (200, 200)
    assert seconds < 10
    assert set(answers) <= {401, 429}
    assert answers.count(429) > 0
    # An allowance for one account, whoever tries it; each other guess is at an account that is not there.
    assert plane.services.login_throttle.throttle.size <= 3 * GUESSERS
    services = plane.services
    lanes = (services.passwords._strangers, services.passwords._known, services.login_throttle.strangers)
    assert all(lane.waiting == 0 and not lane.is_busy for lane in lanes)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 150


async def test_what_is_refused_leaves_few_records(plane: ControlPlane) -> None:
    owner_id = await person(plane)
    for number in range(30):
        async with browser(plane, f"10.9.{number}.1") as client:
            await sign_in(client, owner_id, "guess")
    await plane.services.security_events.settled()
    async with plane.database.platform() as session:
        query = select(AuditLog.action).where(AuditLog.object_id == f"usr_{owner_id.hex}")
        actions = list(await session.scalars(query))
    assert 0 < actions.count("auth.login_refused") <= 6
