"""Changing a password, losing it, and registering: what a stranger learns, and what the owner gets back."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.domains.control_plane import ControlPlane
from tests.domains.identity.people import PASSWORD, browser, email_of, person, sign_in, status, take_over
from tests.domains.mailbox import link_token, mailbox
from tollkeeper.core.config import Settings
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Job, OneTimeLink, Tenant, User
from tollkeeper.domains.identity.throttle import LoginThrottle

NEW = "a wholly new phrase"
RESET = "/api/v1/auth/password-reset"


async def change(client: Any, current: str = PASSWORD, new: str = NEW) -> Any:
    return await client.post("/api/v1/auth/password", json={"current_password": current, "new_password": new})


async def test_a_changed_password_ends_every_other_session_and_keeps_this_one(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with browser(plane) as client, browser(plane) as other:
        token = (await sign_in(other, user_id)).json()["access_token"]
        await sign_in(client, user_id)
        with mailbox(plane) as box:
            changed = await change(client)
            assert changed.status_code == 200, changed.text
            assert [mail.subject for mail in await box.received(email_of(user_id))] == ["Your password was changed"]
        take_over(client, changed.json())
        assert (await status(client), await status(other)) == (200, 401)
        for bearer, expected in ((token, 401), (changed.json()["access_token"], 200)):
            async with plane.client(authorization=f"Bearer {bearer}") as program:
                assert await status(program) == expected
        assert (await sign_in(other, user_id)).status_code == 401
        assert (await sign_in(other, user_id, NEW)).status_code == 200
    assert "auth.password_changed" in await plane.audited(format_id("usr", user_id))


async def test_the_current_password_is_the_proof(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        wrong = await change(client, "not the password")
        assert (wrong.status_code, wrong.json()["code"]) == (403, "invalid_credentials")
        assert (await change(client, PASSWORD, PASSWORD)).json()["code"] == "same_password"
        for _ in range(20):
            last = await change(client, "guess after guess")
        assert last.status_code == 429
        assert await status(client) == 200


@pytest.mark.parametrize(
    "password", ["password123", "PASSWORD1", "aaaaaaaaaaa", "12345678", "abcdefghij", "qwertyuiop", "ababababab"]
)
async def test_what_is_guessed_first_is_refused(plane: ControlPlane, password: str) -> None:
    user_id = await person(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        refused = await change(client, new=password)
        assert (refused.status_code, refused.json()["code"]) == (422, "weak_password")
        assert refused.json()["param"] == "new_password"
        assert password not in refused.text


async def test_ones_own_names_are_guessed_first_too(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with plane.database.platform() as session:
        named = {"email": "ann.miller@acme-tools.example", "name": "Ann Miller"}
        await session.execute(update(User).where(User.id == user_id).values(named))
    async with browser(plane) as client:
        await client.post("/api/v1/auth/login", json={"email": named["email"], "password": PASSWORD})
        client.headers["x-tollkeeper-csrf"] = (await client.get("/api/v1/me")).json()["csrf_token"]
        for password in ("AnnMiller1", "miller2026!", "tollkeeper1", "ann.miller@acme-tools.example"):
            assert (await change(client, new=password)).json()["code"] == "weak_password", password
        assert (await change(client, new="miller likes long walks")).status_code == 200


async def test_a_forgotten_password_is_reset_by_mail_once(plane: ControlPlane) -> None:
    user_id = await person(plane)
    email = email_of(user_id)
    async with browser(plane) as client, browser(plane) as stranger:
        await sign_in(client, user_id)
        with mailbox(plane) as box:
            answer = await stranger.post(RESET, json={"email": email.upper()})
            assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
            async with plane.database.platform() as session:
                payloads = (await session.scalars(select(Job.payload))).all()
            assert all(set(payload) <= {"sealed"} for payload in payloads)
            assert email not in str(payloads)
            first = await box.token(email)
            await stranger.post(RESET, json={"email": email})
            token = await box.token(email)
            body = {"token": token, "new_password": NEW}
            for refused in ({**body, "token": first}, {**body, "token": "x" * 43}):
                assert (await stranger.post(f"{RESET}/complete", json=refused)).json()["code"] == "link_invalid"
            weak = await stranger.post(f"{RESET}/complete", json={**body, "new_password": "password123"})
            assert (weak.status_code, weak.json()["code"]) == (422, "weak_password")
            done = await asyncio.gather(*(stranger.post(f"{RESET}/complete", json=body) for _ in range(3)))
            assert sorted(answer.status_code for answer in done) == [204, 404, 404]
            assert (await box.received(email))[-1].subject == "Your password was changed"
        assert await status(client) == 401
        assert (await sign_in(client, user_id)).status_code == 401
        assert (await sign_in(client, user_id, NEW)).status_code == 200
    assert "auth.password_reset" in await plane.audited(format_id("usr", user_id))


async def test_a_link_ends_after_an_hour(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with browser(plane) as client:
        with mailbox(plane) as box:
            await client.post(RESET, json={"email": email_of(user_id)})
            token = await box.token(email_of(user_id))
        plane.clock.ahead = 3601
        late = await client.post(f"{RESET}/complete", json={"token": token, "new_password": NEW})
        assert (late.status_code, late.json()["code"]) == (404, "link_invalid")


@pytest.mark.parametrize("change", [{"email": "moved"}, {"password": "set by an administrator"}])
async def test_a_link_of_before_a_change_of_the_account_opens_nothing(
    plane: ControlPlane, change: dict[str, str]
) -> None:
    user_id = await person(plane)
    if "email" in change:
        change = {"email": f"{uuid7().hex}@example.com"}
    async with browser(plane) as client, plane.as_role(Role.TENANT_ADMIN) as admin:
        with mailbox(plane) as box:
            await client.post(RESET, json={"email": email_of(user_id)})
            token = await box.token(email_of(user_id))
        assert (await admin.patch(f"/api/v1/users/{format_id('usr', user_id)}", json=change)).status_code == 200
        refused = await client.post(f"{RESET}/complete", json={"token": token, "new_password": NEW})
        assert (refused.status_code, refused.json()["code"]) == (404, "link_invalid")


async def test_every_address_gets_the_same_answer_and_only_accounts_get_mail(plane: ControlPlane) -> None:
    known, disabled = await person(plane), await person(plane)
    without = await plane.new_user(Role.DEVELOPER)
    async with plane.database.platform() as session:
        await session.execute(update(User).where(User.id == disabled).values(is_active=False))
    async with browser(plane) as client:
        with mailbox(plane) as box:
            for email in (email_of(known), email_of(disabled), email_of(without), "nobody@example.com"):
                answer = await client.post(RESET, json={"email": email})
                assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
            assert await box.received("nobody@example.com") == []
            assert await box.received(email_of(disabled)) == []
            assert [mail.subject for mail in await box.received(email_of(without))] == ["Your account has no password"]
            assert len(await box.received(email_of(known))) == 1


async def test_one_recipient_is_not_flooded(plane: ControlPlane) -> None:
    user_id = await person(plane)
    with mailbox(plane) as box:
        for number in range(6):
            async with browser(plane, f"198.51.100.{number}") as client:
                last = await client.post(RESET, json={"email": email_of(user_id)})
        assert last.status_code == 429
        assert len(await box.received(email_of(user_id))) == 3


async def test_a_link_of_an_account_that_was_disabled_meanwhile_opens_nothing(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with browser(plane) as client:
        with mailbox(plane) as box:
            await client.post(RESET, json={"email": email_of(user_id)})
            token = await box.token(email_of(user_id))
        async with plane.database.platform() as session:
            await session.execute(update(User).where(User.id == user_id).values(is_active=False))
        refused = await client.post(f"{RESET}/complete", json={"token": token, "new_password": NEW})
        assert (refused.status_code, refused.json()["code"]) == (404, "link_invalid")


REGISTER = "/api/v1/auth/register"


def registration(email: str, organisation: str | None = None) -> dict[str, str]:
    name = organisation or f"Org {uuid7().hex}"
    return {"email": email, "password": PASSWORD, "name": "New Person", "organisation": name}


def allow_registration(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = plane.services.settings
    monkeypatch.setattr(
        plane.services, "settings", Settings(_env_file=None, data_dir=settings.data_dir, self_registration=True)
    )
    plane.services.login_throttle = LoginThrottle(plane.clock)


async def test_registration_is_off_unless_it_is_turned_on(plane: ControlPlane) -> None:
    async with browser(plane) as client:
        off = await client.post(REGISTER, json=registration("new@example.com"))
        unknown = await client.post("/api/v1/auth/nothing")
        assert off.status_code == unknown.status_code == 404
        assert off.json()["detail"] == unknown.json()["detail"]
        assert off.json()["code"] == unknown.json()["code"]


async def test_without_mail_an_account_works_at_once(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_registration(plane, monkeypatch)
    email = f"{uuid7().hex}@example.com"
    async with browser(plane) as client:
        answer = await client.post(REGISTER, json=registration(email))
        assert (answer.status_code, answer.json()) == (202, {"status": "accepted", "needs_verification": False})
        signed_in = await client.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
        assert signed_in.status_code == 200
        me = (await client.get("/api/v1/me")).json()
        assert me["role"] == "tenant_admin"
        # The same answer for an address that has an account; its password stays.
        again = await client.post(REGISTER, json={**registration(email), "password": "another long phrase"})
        assert again.json() == answer.json()
        stolen = await client.post("/api/v1/auth/login", json={"email": email, "password": "another long phrase"})
        assert stolen.status_code == 401


async def test_with_mail_the_link_opens_the_account(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_registration(plane, monkeypatch)
    email = f"{uuid7().hex}@example.com"
    login = {"email": email, "password": PASSWORD}
    async with browser(plane) as client:
        with mailbox(plane) as box:
            answer = await client.post(REGISTER, json=registration(email))
            assert answer.json() == {"status": "accepted", "needs_verification": True}
            token = await box.token(email)
            assert (await client.post("/api/v1/auth/login", json=login)).status_code == 401
            # No other link opens it.
            await client.post(RESET, json={"email": email})
            assert link_token((await box.received(email))[-1].text) == token
            verified = await client.post("/api/v1/auth/verify-email", json={"token": token})
            assert verified.status_code == 204
            again = await client.post("/api/v1/auth/verify-email", json={"token": token})
            assert (again.status_code, again.json()["code"]) == (404, "link_invalid")
            assert (await client.post("/api/v1/auth/login", json=login)).status_code == 200
            known = await client.post(REGISTER, json=registration(email))
            assert known.json() == answer.json()
            assert (await box.received(email))[-1].subject == "You have an account already"


async def test_whoever_confirms_the_address_has_chosen_the_password(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_registration(plane, monkeypatch)
    email = f"{uuid7().hex}@example.com"
    async with browser(plane) as client:
        with mailbox(plane) as box:
            await client.post(REGISTER, json={**registration(email), "password": "the stranger's phrase"})
            early = await box.token(email)
            await client.post(REGISTER, json=registration(email))
            token = await box.token(email)
            assert (await client.post("/api/v1/auth/verify-email", json={"token": early})).status_code == 404
            assert (await client.post("/api/v1/auth/verify-email", json={"token": token})).status_code == 204
        for password, expected in (("the stranger's phrase", 401), (PASSWORD, 200)):
            answer = await client.post("/api/v1/auth/login", json={"email": email, "password": password})
            assert answer.status_code == expected


async def test_a_suspended_tenant_is_not_opened_by_a_link(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_registration(plane, monkeypatch)
    email = f"{uuid7().hex}@example.com"
    async with browser(plane) as client:
        with mailbox(plane) as box:
            await client.post(REGISTER, json=registration(email))
            token = await box.token(email)
        async with plane.database.platform() as session:
            tenant_id = await session.scalar(select(User.tenant_id).where(User.email == email))
            suspended = {"is_active": False, "suspension_reason": "abuse"}
            await session.execute(update(Tenant).where(Tenant.id == tenant_id).values(suspended))
        await client.post("/api/v1/auth/verify-email", json={"token": token})
        assert (await client.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})).status_code == 401


async def test_taken_names_of_organisations_are_not_told(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_registration(plane, monkeypatch)
    name = f"Same {uuid7().hex}"
    async with browser(plane) as client:
        for _ in range(2):
            email = f"{uuid7().hex}@example.com"
            assert (await client.post(REGISTER, json=registration(email, name))).status_code == 202
            assert (
                await client.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
            ).status_code == 200


async def test_only_digests_of_links_are_kept(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with browser(plane) as client:
        with mailbox(plane) as box:
            await client.post(RESET, json={"email": email_of(user_id)})
            token = await box.token(email_of(user_id))
    async with plane.database.platform() as session:
        link = (await session.scalars(select(OneTimeLink).where(OneTimeLink.user_id == user_id))).one()
        jobs = (await session.scalars(select(Job.payload))).all()
    assert token.encode() not in link.digest
    assert token not in str(jobs)
