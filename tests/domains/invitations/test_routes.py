"""`/api/v1/invitations` through the whole control plane."""

import asyncio
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from tests.domains.control_plane import MASTER, ControlPlane
from tests.domains.members import address, as_member, new_guest, new_holder
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.mail import Message
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Invitation, Job, Member, Team, TeamMember, Tenant, User
from tollkeeper.domains.jobs import service as jobs
from tollkeeper.domains.mail.service import SEND, Mail

PASSWORD = "correct horse battery"
INVALID = {
    "status": 404,
    "code": "invitation_invalid",
    "detail": "This invitation does not work, or does not any more. Ask for a new one.",
}


async def invite(client: httpx.AsyncClient, **body: object) -> dict[str, str]:
    answer = await client.post("/api/v1/invitations", json={"email": address(), **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def token_of(invitation: dict[str, str]) -> str:
    return invitation["link"].partition("#token=")[2]


async def accept(plane: ControlPlane, token: str, **body: object) -> httpx.Response:
    async with plane.client() as nobody:
        return await nobody.post("/api/v1/invitations/accept", json={"token": token, "password": PASSWORD, **body})


def shape(answer: httpx.Response) -> dict[str, object]:
    return {name: answer.json().get(name) for name in INVALID}


async def email_of(plane: ControlPlane, user_id: UUID) -> str:
    async with plane.database.platform() as session:
        return str(await session.scalar(select(User.email).where(User.id == user_id)))


@pytest.fixture(autouse=True)
def _fresh_throttle(plane: ControlPlane) -> None:
    """Everybody here comes from one address."""
    plane.services.__post_init__()


async def test_a_new_person_joins_with_an_account_of_the_tenant(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        invitation = await invite(admin, role="viewer")
        assert invitation["link"].startswith("http://localhost:8000/console/invitation#token=")
        assert (invitation["status"], invitation["is_mailed"]) == ("open", False)
        accepted = await accept(plane, token_of(invitation), name="Ann")
        assert accepted.status_code == 200
        assert (accepted.json()["is_new"], accepted.json()["role"]) == (True, "viewer")
        user = (await admin.get(f"/api/v1/users/{accepted.json()['user_id']}")).json()
        assert (user["email"], user["name"], user["role"]) == (invitation["email"], "Ann", "viewer")
        assert (user["is_guest"], user["has_password"]) == (False, True)
        shown = (await admin.get(f"/api/v1/invitations/{invitation['id']}")).json()
        assert (shown["status"], shown["accepted_by"]) == ("accepted", user["id"])
    async with plane.client() as ann:
        signed_in = await ann.post("/api/v1/auth/login", json={"email": user["email"], "password": PASSWORD})
        assert signed_in.status_code == 200
    assert await plane.audited(invitation["id"]) == ["invitations.create", "invitations.accept"]


async def test_the_token_is_in_no_other_answer_and_no_record(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        invitation = await invite(admin)
        token = token_of(invitation)
        for path in ("/api/v1/invitations", f"/api/v1/invitations/{invitation['id']}", "/api/v1/audit"):
            assert token not in (await admin.get(path)).text
        headers = {"idempotency-key": uuid7().hex}
        body = {"email": address()}
        first = await admin.post("/api/v1/invitations", json=body, headers=headers)
        again = await admin.post("/api/v1/invitations", json=body, headers=headers)
        assert (first.status_code, again.status_code) == (201, 409)
        assert "#token=" not in again.text


async def test_who_has_an_account_joins_as_a_guest_when_signed_in(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.VIEWER, plane.other_tenant_id)
    stranger_id = await plane.new_user(Role.VIEWER, plane.other_tenant_id)
    email = await email_of(plane, user_id)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        invitation = await invite(admin, email=email.upper(), role="developer")
        body = {"token": token_of(invitation)}
        unsigned = await accept(plane, token_of(invitation))
        assert (unsigned.status_code, unsigned.json()["code"]) == (401, "sign_in_required")
        _, secret = await plane.new_key(user_id, "admin")
        async with plane.client(authorization=f"Bearer {secret}") as program:
            answer = await program.post("/api/v1/invitations/accept", json=body)
            assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required")
        async with plane.as_user(stranger_id) as stranger:
            answer = await stranger.post("/api/v1/invitations/accept", json=body)
            assert (answer.status_code, answer.json()["code"]) == (403, "other_account")
        async with plane.as_user(user_id) as person:
            answer = await person.post("/api/v1/invitations/accept", json=body)
            assert (answer.status_code, answer.json()["is_new"]) == (200, False)
        member = (await admin.get(f"/api/v1/users/{format_id('usr', user_id)}")).json()
        assert (member["is_guest"], member["role"], member["has_password"]) == (True, "developer", None)
        again = await admin.post("/api/v1/invitations", json={"email": email})
        assert (again.status_code, again.json()["code"]) == (409, "already_member")
    async with as_member(plane, user_id, plane.tenant_id) as guest:
        assert (await guest.get("/api/v1/keys")).status_code == 200


async def test_a_link_that_does_not_work_has_one_answer(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        used, revoked, expired, resent, suspended = [await invite(admin) for _ in range(5)]
        assert (await accept(plane, token_of(used))).status_code == 200
        assert (await admin.delete(f"/api/v1/invitations/{revoked['id']}")).status_code == 204
        assert (await admin.post(f"/api/v1/invitations/{resent['id']}/resend")).status_code == 200
    async with plane.database.platform() as session:
        row = update(Invitation).where(Invitation.id == parse_id("inv", expired["id"]))
        await session.execute(row.values(expires_at=plane.clock.now()))
    answers = [
        await accept(plane, token)
        for token in (*map(token_of, (used, revoked, expired, resent)), "x", uuid7().hex, "\u00e9" * 40)
    ]
    async with plane.database.platform() as session:
        own = update(Tenant).where(Tenant.id == plane.tenant_id)
        await session.execute(own.values(is_active=False))
    try:
        answers.append(await accept(plane, token_of(suspended)))
    finally:
        async with plane.database.platform() as session:
            await session.execute(own.values(is_active=True))
    for answer in answers:
        assert shape(answer) == INVALID


async def test_one_link_works_once_however_many_use_it(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        invitation = await invite(admin)
        answers = await asyncio.gather(*(accept(plane, token_of(invitation)) for _ in range(6)))
        assert [answer.status_code for answer in answers].count(200) == 1
        assert all(answer.status_code in {200, 401, 404} for answer in answers)
        found = await admin.get("/api/v1/users", params={"q": invitation["email"]})
        assert len(found.json()["data"]) == 1


@pytest.mark.parametrize("change", ["demoted", "disabled", "removed"])
async def test_the_inviters_authority_is_looked_at_again(plane: ControlPlane, change: str) -> None:
    inviter = await plane.new_user(Role.TENANT_ADMIN)
    async with plane.as_user(inviter) as admin:
        invitation = await invite(admin, role="tenant_admin")
    path = f"/api/v1/users/{format_id('usr', inviter)}"
    async with plane.as_role(Role.TENANT_ADMIN) as other:
        if change == "removed":
            assert (await other.delete(path)).status_code == 204
        else:
            body = {"role": "developer"} if change == "demoted" else {"is_active": False}
            assert (await other.patch(path, json=body)).status_code == 200
    assert shape(await accept(plane, token_of(invitation))) == INVALID


async def test_an_invitation_of_the_platform_works_in_every_tenant(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        invitation = await invite(platform, role="tenant_admin", tenant_id=format_id("ten", plane.other_tenant_id))
    accepted = await accept(plane, token_of(invitation))
    assert (accepted.status_code, accepted.json()["tenant_id"]) == (200, format_id("ten", plane.other_tenant_id))


async def test_a_guest_never_rules_the_platform(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.VIEWER, plane.other_tenant_id)
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        invitation = await invite(platform, email=await email_of(plane, user_id), role="platform_admin")
    async with plane.as_user(user_id) as person:
        answer = await person.post("/api/v1/invitations/accept", json={"token": token_of(invitation)})
    assert (answer.status_code, answer.json()["code"]) == (403, "guest_role")
    guest = f"/api/v1/users/{format_id('usr', await new_guest(plane))}"
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        answer = await platform.patch(guest, json={"role": "platform_admin"})
    assert (answer.status_code, answer.json()["code"]) == (403, "guest_role")


async def test_nobody_invites_to_more_than_they_hold(plane: ControlPlane) -> None:
    holder = await new_holder(plane, ["me:view", "users:view", "users:create"])
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        above = await invite(admin, role="tenant_admin")
    async with plane.as_user(holder) as client:
        for answer in (
            await client.post("/api/v1/invitations", json={"email": address(), "role": "viewer"}),
            await client.post(f"/api/v1/invitations/{above['id']}/resend"),
            await client.delete(f"/api/v1/invitations/{above['id']}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")


async def test_who_left_and_is_invited_again_begins_anew(plane: ControlPlane) -> None:
    user_id = await new_guest(plane, Role.VIEWER)
    path = f"/api/v1/users/{format_id('usr', user_id)}"
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await admin.delete(path)).status_code == 204
        assert (await admin.get(path)).status_code == 404
        invitation = await invite(admin, email=await email_of(plane, user_id), role="developer")
        async with plane.as_user(user_id) as person:
            body = {"token": token_of(invitation)}
            assert (await person.post("/api/v1/invitations/accept", json=body)).status_code == 200
        assert (await admin.get(path)).json()["role"] == "developer"
    async with plane.database.platform() as session:
        rows = (await session.scalars(select(Member).where(Member.user_id == user_id))).all()
    assert len(rows) == 2


async def test_the_invited_join_a_team_that_the_inviter_manages(plane: ControlPlane) -> None:
    team_id, foreign_id = uuid7(), uuid7()
    async with plane.database.platform() as session:
        session.add(Team(id=team_id, tenant_id=plane.tenant_id, name=team_id.hex))
        session.add(Team(id=foreign_id, tenant_id=plane.other_tenant_id, name=foreign_id.hex))
    holder = await new_holder(plane, ["me:view", "me:update", "users:create"])
    team = format_id("team", team_id)
    async with plane.as_user(holder) as client:
        refused = await client.post("/api/v1/invitations", json={"email": address(), "team_id": team})
        assert refused.status_code == 403
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for unknown in (foreign_id, uuid7()):
            body = {"email": address(), "team_id": format_id("team", unknown)}
            answer = await admin.post("/api/v1/invitations", json=body)
            assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such team.")
        invitation = await invite(admin, team_id=team)
        accepted = await accept(plane, token_of(invitation))
        user = (await admin.get(f"/api/v1/users/{accepted.json()['user_id']}")).json()
    assert [(place["id"], place["role"]) for place in user["teams"]] == [(team, "member")]
    async with plane.database.platform() as session:
        assert len((await session.scalars(select(TeamMember).where(TeamMember.team_id == team_id))).all()) == 1


async def test_an_address_is_invited_once_at_a_time(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        first = await invite(admin)
        again = await admin.post("/api/v1/invitations", json={"email": first["email"].upper()})
        assert (again.status_code, again.json()["invitation_id"]) == (409, first["id"])
        assert (await admin.delete(f"/api/v1/invitations/{first['id']}")).status_code == 204
        assert (await admin.delete(f"/api/v1/invitations/{first['id']}")).status_code == 204
        assert (await admin.post(f"/api/v1/invitations/{first['id']}/resend")).status_code == 409
        await invite(admin, email=first["email"])
        for status in ("open", "revoked"):
            listed = (await admin.get("/api/v1/invitations", params={"status": status, "limit": 100})).json()["data"]
            assert first["email"] in {item["email"] for item in listed}
            assert {item["status"] for item in listed} == {status}


async def test_a_new_account_needs_a_password_worth_the_name(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        invitation = await invite(admin)
    token = token_of(invitation)
    missing = await accept(plane, token, password=None)
    weak = await accept(plane, token, password="password1")
    assert (missing.status_code, missing.json()["code"]) == (422, "password_required")
    assert (weak.status_code, weak.json()["code"]) == (422, "weak_password")
    assert (await accept(plane, token)).status_code == 200


async def test_the_link_is_mailed_when_mail_is_set_up(plane: ControlPlane) -> None:
    box = SecretBox(MASTER)

    class Silent:
        async def send(self, message: Message) -> None:
            raise AssertionError(message.to)

    plane.services.mail = Mail(box, Silent())
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        invitation = await invite(admin, role="viewer")
        assert (invitation["link"], invitation["is_mailed"]) == (None, True)
        async with plane.database.platform() as session:
            payloads = (await session.scalars(select(Job.payload).where(Job.kind == SEND))).all()
        messages = [jobs.open_sealed(box, SEND, payload) for payload in payloads]
        mail = next(message for message in messages if message["to"] == invitation["email"])
        token = mail["text"].partition("#token=")[2].split()[0]
        assert token not in str(payloads)
    assert (await accept(plane, token)).status_code == 200


async def test_another_tenants_invitations_do_not_exist(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as owner:
        foreign = await invite(owner)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        listed = (await admin.get("/api/v1/invitations", params={"limit": 100})).text
        assert foreign["id"] not in listed
        for invitation_id in (foreign["id"], format_id("inv", uuid7())):
            path = f"/api/v1/invitations/{invitation_id}"
            for answer in (await admin.get(path), await admin.post(f"{path}/resend"), await admin.delete(path)):
                assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such invitation.")
        elsewhere = {"email": address(), "tenant_id": format_id("ten", plane.other_tenant_id)}
        assert (await admin.post("/api/v1/invitations", json=elsewhere)).status_code == 404
        # An account of another tenant is no news to anybody: it may be invited.
        await invite(admin, email=foreign["email"])


@pytest.mark.parametrize(
    "body",
    [
        {"email": "no address"},
        {"email": "a@x.invalid"},
        {"email": "a@example.com", "expires_in_days": 31},
        {"email": "a@example.com", "expires_in_days": 0},
        {"email": "a@example.com", "role": "king"},
        {"email": "a@example.com", "role": None},
        {"email": "a@example.com", "digest": "x"},
        {"email": "a@example.com", "invited_by": "usr_1"},
        {},
    ],
)
async def test_bad_bodies_are_422(plane: ControlPlane, body: dict[str, object]) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await admin.post("/api/v1/invitations", json=body)).status_code == 422


async def test_only_people_of_the_tenants_domains_are_invited_and_join(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as admin:
        before = await invite(admin)
        own = update(Tenant).where(Tenant.id == plane.other_tenant_id)
        async with plane.database.platform() as session:
            await session.execute(own.values(settings={"allowed_email_domains": ["acme.test"]}))
        try:
            refused = await admin.post("/api/v1/invitations", json={"email": address()})
            assert (refused.status_code, refused.json()["code"]) == (403, "email_domain_not_allowed")
            late = await accept(plane, token_of(before))
            assert (late.status_code, late.json()["code"]) == (403, "email_domain_not_allowed")
            await invite(admin, email=f"{uuid7().hex}@Acme.test")
        finally:
            async with plane.database.platform() as session:
                await session.execute(own.values(settings={}))


async def test_links_are_not_guessed(plane: ControlPlane) -> None:
    answers = [(await accept(plane, uuid7().hex)).status_code for _ in range(60)]
    assert answers[0] == 404
    assert answers[-1] == 429
