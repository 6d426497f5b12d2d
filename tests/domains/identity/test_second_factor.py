"""Codes: setting them up, signing in with them, and what happens to those that are wrong, old, used or lost."""

import asyncio
import base64
from uuid import UUID

import httpx
from sqlalchemy import select, update

from tests.domains.control_plane import ControlPlane
from tests.domains.identity.people import PASSWORD, browser, email_of, person, sign_in, status, take_over
from tests.domains.mailbox import mailbox
from tollkeeper.core import totp
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import RecoveryCode, SecondFactor, Tenant
from tollkeeper.domains.identity.second_factors import WrongCode
from tollkeeper.domains.identity.service import Client, SignIn
from tollkeeper.domains.identity.throttle import Place

PATH = "/api/v1/me/second-factor"


def code_of(plane: ControlPlane, secret: bytes, steps: int = 0) -> str:
    return totp.code_at(secret, int(plane.clock.unix()) // 30 + steps)


async def enrol(plane: ControlPlane, client: httpx.AsyncClient) -> tuple[bytes, list[str]]:
    """The secret and the recovery codes; the code used up is that of the step before."""
    begun = (await client.post(PATH)).json()
    secret = base64.b32decode(begun["secret"])
    answer = await client.post(f"{PATH}/confirm", json={"code": code_of(plane, secret, -1)})
    assert answer.status_code == 200, answer.text
    take_over(client, answer.json()["session"])
    return secret, answer.json()["recovery_codes"]


async def enrolled(plane: ControlPlane, role: Role = Role.DEVELOPER) -> tuple[UUID, bytes, list[str]]:
    user_id = await person(plane, role)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        return user_id, *await enrol(plane, client)


async def test_signing_in_asks_for_the_code_once_it_is_confirmed(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with browser(plane) as client, browser(plane) as other:
        await sign_in(client, user_id)
        begun = (await client.post(PATH)).json()
        secret = base64.b32decode(begun["secret"])
        assert begun["uri"].startswith("otpauth://totp/Tollkeeper:")
        # Not confirmed: it is not asked for yet.
        assert (await sign_in(other, user_id)).status_code == 200
        assert not (await client.get(PATH)).json()["is_set_up"]
        confirmed = (await client.post(f"{PATH}/confirm", json={"code": code_of(plane, secret, -1)})).json()
        assert len(set(confirmed["recovery_codes"])) == 10
        assert await status(client) == 200
        assert await status(other) == 401
        state = (await client.get(PATH)).json()
        assert (state["is_set_up"], state["recovery_codes_left"]) == (True, 10)
        asked = await sign_in(other, user_id)
        assert (asked.status_code, asked.json()["code"]) == (401, "second_factor_required")
        assert "set-cookie" not in asked.headers
        assert (await sign_in(other, user_id, code=code_of(plane, secret))).status_code == 200
    async with plane.database.platform() as session:
        sealed = await session.scalar(select(SecondFactor.secret).where(SecondFactor.user_id == user_id))
    assert sealed is not None
    assert secret not in sealed
    name = format_id("usr", user_id)
    assert {"auth.second_factor_begun", "auth.second_factor_enabled"} <= set(await plane.audited(name))


async def test_a_wrong_password_is_told_nothing_of_the_factor(plane: ControlPlane) -> None:
    user_id, secret, _ = await enrolled(plane)
    async with browser(plane) as client:
        for more in ({}, {"code": code_of(plane, secret)}):
            assert (await sign_in(client, user_id, "wrong password", **more)).json()["code"] == "invalid_credentials"


async def test_a_code_counts_once_even_for_two_at_the_same_moment(plane: ControlPlane) -> None:
    user_id, secret, _ = await enrolled(plane)
    code = code_of(plane, secret)
    async with browser(plane) as one, browser(plane) as two:
        answers = await asyncio.gather(sign_in(one, user_id, code=code), sign_in(two, user_id, code=code))
        assert sorted(answer.status_code for answer in answers) == [200, 401]
        again = await sign_in(one, user_id, code=code)
        assert (again.status_code, again.json()["code"]) == (401, "invalid_second_factor")
        # Neither do those before it.
        assert (await sign_in(one, user_id, code=code_of(plane, secret, -1))).status_code == 401
        plane.clock.ahead = 30
        assert (await sign_in(one, user_id, code=code_of(plane, secret))).status_code == 200


async def test_a_code_that_many_send_at_once_proves_one_of_them(plane: ControlPlane) -> None:
    user_id, secret, codes = await enrolled(plane)
    factors = SignIn(plane.services).factors
    identity = await plane.services.identities.find_user(user_id, plane.tenant_id)
    assert identity is not None
    for code in (code_of(plane, secret), codes[0]):

        async def prove(number: int, code: str = code) -> bool:
            client = Client(f"10.0.0.{number}", None, uuid7())
            try:
                await factors.prove(identity, code, client, Place(client.address, is_known_address=True))
            except WrongCode:
                return False
            return True

        assert sum(await asyncio.gather(*(prove(number) for number in range(8)))) == 1


async def test_five_wrong_codes_bring_a_delay_and_no_lock(plane: ControlPlane) -> None:
    user_id, secret, _ = await enrolled(plane)
    async with browser(plane, "198.51.100.7") as thief, browser(plane) as owner:
        answers = [(await sign_in(thief, user_id, code="000000")).status_code for _ in range(5)]
        assert answers == [401] * 5
        delayed = await sign_in(thief, user_id, code="000000")
        assert delayed.status_code == 429
        assert int(delayed.headers["retry-after"]) >= 1
        # The owner, where they have signed in before, is counted apart.
        assert (await sign_in(owner, user_id, code=code_of(plane, secret))).status_code == 200


async def test_a_recovery_code_signs_in_once_and_its_owner_is_told(plane: ControlPlane) -> None:
    user_id, _, codes = await enrolled(plane)
    async with browser(plane) as client, browser(plane) as other:
        with mailbox(plane) as box:
            used = codes[0].lower().replace("-", " ")
            answers = await asyncio.gather(sign_in(client, user_id, code=used), sign_in(other, user_id, code=used))
            assert sorted(answer.status_code for answer in answers) == [200, 401]
            assert [message.subject for message in await box.received(email_of(user_id))] == [
                "A recovery code was used"
            ]
        assert (await sign_in(client, user_id, code=codes[0])).status_code == 401
        assert (await sign_in(client, user_id, code=codes[1])).status_code == 200
        assert (await client.get(PATH)).json()["recovery_codes_left"] == 8
        renewed = (await client.post(f"{PATH}/recovery-codes")).json()["recovery_codes"]
        assert (await sign_in(other, user_id, code=codes[2])).status_code == 401
        assert (await sign_in(other, user_id, code=renewed[0])).status_code == 200
    async with plane.database.platform() as session:
        digests = await session.scalars(select(RecoveryCode.digest).where(RecoveryCode.user_id == user_id))
    assert all(code.encode() not in digest for code in renewed for digest in digests)


async def test_one_persons_recovery_code_is_nobody_elses(plane: ControlPlane) -> None:
    _, _, codes = await enrolled(plane)
    other_id, _, _ = await enrolled(plane)
    async with browser(plane) as client:
        assert (await sign_in(client, other_id, code=codes[0])).status_code == 401


async def test_removing_it_needs_a_code_and_a_fresh_session(plane: ControlPlane) -> None:
    user_id, secret, codes = await enrolled(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id, code=code_of(plane, secret))
        wrong = await client.request("DELETE", PATH, json={"code": "000000"})
        assert (wrong.status_code, wrong.json()["code"]) == (403, "invalid_second_factor")
        plane.clock.ahead = 301
        stale = await client.request("DELETE", PATH, json={"code": codes[0]})
        assert (stale.status_code, stale.json()["code"]) == (403, "step_up_required")
        assert (await client.post(f"{PATH}/recovery-codes")).json()["code"] == "step_up_required"
        plane.clock.ahead = 0
        removed = await client.request("DELETE", PATH, json={"code": codes[0]})
        assert removed.status_code == 200, removed.text
        take_over(client, removed.json())
        assert await status(client) == 200
        assert (await client.request("DELETE", PATH, json={"code": codes[1]})).json()["code"] == "no_second_factor"
    async with browser(plane) as client:
        assert (await sign_in(client, user_id)).status_code == 200


async def test_a_changed_password_is_no_second_proof(plane: ControlPlane) -> None:
    user_id, secret, _ = await enrolled(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id, code=code_of(plane, secret))
        plane.clock.ahead = 301
        body = {"current_password": PASSWORD, "new_password": "a wholly new phrase"}
        changed = await client.post("/api/v1/auth/password", json=body)
        assert changed.status_code == 200, changed.text
        take_over(client, changed.json())
        assert await status(client) == 200
        assert (await client.post(f"{PATH}/recovery-codes")).json()["code"] == "step_up_required"
        plane.clock.ahead = 0


async def test_there_is_one_at_a_time(plane: ControlPlane) -> None:
    user_id, secret, _ = await enrolled(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id, code=code_of(plane, secret))
        assert (await client.post(PATH)).json()["code"] == "second_factor_exists"
        again = await client.post(f"{PATH}/confirm", json={"code": code_of(plane, secret)})
        assert (again.status_code, again.json()["code"]) == (409, "second_factor_exists")
    nobody = await person(plane)
    async with browser(plane) as client:
        await sign_in(client, nobody)
        assert (await client.post(f"{PATH}/confirm", json={"code": "123456"})).json()["code"] == "no_second_factor"
        await client.post(PATH)
        wrong = await client.post(f"{PATH}/confirm", json={"code": "abcdef"})
        assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_second_factor")


async def test_a_tenant_may_ask_everybody_for_one(plane: ControlPlane) -> None:
    user_id = await person(plane, Role.TENANT_ADMIN, tenant_id=plane.other_tenant_id)
    async with plane.database.platform() as session:
        await session.execute(
            update(Tenant).where(Tenant.id == plane.other_tenant_id).values(require_second_factor=True)
        )
    async with browser(plane) as client:
        await sign_in(client, user_id)
        assert await status(client) == 200
        refused = await client.get("/api/v1/users")
        assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
        await enrol(plane, client)
        assert await status(client, "/api/v1/users") == 200
    async with plane.database.platform() as session:
        await session.execute(
            update(Tenant).where(Tenant.id == plane.other_tenant_id).values(require_second_factor=False)
        )


async def test_a_key_has_no_second_factor(plane: ControlPlane) -> None:
    _, secret = await plane.new_key(await plane.user(Role.PLATFORM_ADMIN), "admin")
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await client.post(PATH)).status_code == 403
        assert (await client.post("/api/v1/auth/step-up", json={"password": "x"})).status_code == 403
