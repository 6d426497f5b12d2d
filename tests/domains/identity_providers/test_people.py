"""Who somebody becomes here: roles and teams follow the claims, accounts are linked by their holders alone."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from tests.domains.control_plane import ControlPlane
from tests.domains.identity_providers.setting import (
    OIDC,
    PROVIDERS,
    Browser,
    browser,
    browser_of,
    refused,
    trust,
)
from tests.oidc_provider import Provider
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.core.permissions import Role as BuiltIn
from tollkeeper.db.models import Member, Role, Team, TeamMember

LINKED = "/api/v1/me/identities"


async def new_role(plane: ControlPlane, *permissions: Permission) -> str:
    name = f"role-{uuid4().hex}"
    async with plane.database.platform() as session:
        session.add(Role(tenant_id=plane.tenant_id, name=name, permissions=[item.value for item in permissions]))
    return name


async def new_team(plane: ControlPlane, tenant_id: UUID | None = None) -> UUID:
    team_id = uuid7()
    async with plane.database.platform() as session:
        session.add(Team(id=team_id, tenant_id=tenant_id or plane.tenant_id, name=f"team-{team_id.hex}"))
    return team_id


async def teams_of(plane: ControlPlane, user_id: UUID) -> set[tuple[UUID, str]]:
    async with plane.database.platform() as session:
        query = select(TeamMember.team_id, TeamMember.source).where(TeamMember.user_id == user_id)
        return {(row.team_id, row.source) for row in await session.execute(query)}


async def role_after_sign_in(plane: ControlPlane, provider_id: str) -> str:
    async with browser(plane) as window:
        answer = await window.sign_in(provider_id)
        assert answer.status_code == 302, answer.text
        return str((await window.me())["role"])


@pytest.mark.parametrize(
    ("said", "role"),
    [
        ("staff", "viewer"),
        (["staff"], "viewer"),
        (["staff", "admins", "unknown"], "tenant_admin"),
        (["admins", "staff"], "tenant_admin"),
        ("unknown", "developer"),
        (["ADMINS"], "developer"),
        ([], "developer"),
        (None, "developer"),
        ({"admins": True}, "developer"),
        ([["admins"]], "developer"),
    ],
    ids=str,
)
async def test_widest_role_that_the_claims_name_is_given(
    plane: ControlPlane, provider: Provider, said: Any, role: str
) -> None:
    provider.people["ann"]["roles"] = said
    provider_id = await trust(
        plane, provider, role_claim="roles", role_map={"staff": "viewer", "admins": "tenant_admin"}
    )

    assert await role_after_sign_in(plane, provider_id) == role


async def test_claim_inside_another_is_found_and_a_whole_name_goes_before(
    plane: ControlPlane, provider: Provider
) -> None:
    provider.people["ann"] |= {"realm_access": {"roles": ["staff"]}, "https://example.com/roles": ["admins"]}
    keycloak = await trust(plane, provider, role_claim="realm_access.roles", role_map={"staff": "viewer"})
    assert await role_after_sign_in(plane, keycloak) == "viewer"

    provider.who = "bob"
    provider.people["bob"] |= {"https://example.com/roles": ["admins"]}
    auth0 = await trust(plane, provider, role_claim="https://example.com/roles", role_map={"admins": "auditor"})
    assert await role_after_sign_in(plane, auth0) == "auditor"


async def test_role_of_the_tenants_own_is_given(plane: ControlPlane, provider: Provider) -> None:
    name = await new_role(plane, Permission.USAGE_VIEW, Permission.ME_VIEW)
    provider.people["ann"]["roles"] = "x"
    provider_id = await trust(plane, provider, role_claim="roles", role_map={"x": name})

    assert await role_after_sign_in(plane, provider_id) == name


async def test_changed_claims_change_the_role_and_end_what_was_open(plane: ControlPlane, provider: Provider) -> None:
    provider.people["ann"]["roles"] = "admins"
    provider_id = await trust(plane, provider, role_claim="roles", role_map={"admins": "tenant_admin"})
    await _somebody_else_administers(plane)
    async with browser(plane) as old, browser(plane) as new:
        await old.sign_in(provider_id)
        assert (await old.me())["role"] == "tenant_admin"

        provider.people["ann"]["roles"] = "nothing"
        await new.sign_in(provider_id)

        assert (await new.me())["role"] == "developer"
        assert (await old.jar.get("/api/v1/me")).status_code == 401


async def test_role_that_did_not_change_ends_nothing(plane: ControlPlane, provider: Provider) -> None:
    provider.people["ann"]["roles"] = "staff"
    provider_id = await trust(plane, provider, role_claim="roles", role_map={"staff": "viewer"})
    async with browser(plane) as old, browser(plane) as new:
        await old.sign_in(provider_id)
        await new.sign_in(provider_id)

        assert (await old.jar.get("/api/v1/me")).status_code == 200


async def test_who_has_no_role_any_more_stays_out(plane: ControlPlane, provider: Provider) -> None:
    provider.people["ann"]["roles"] = "staff"
    provider_id = await trust(plane, provider, role_claim="roles", role_map={"staff": "viewer"}, default_role=None)
    assert await role_after_sign_in(plane, provider_id) == "viewer"

    provider.people["ann"]["roles"] = []
    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 403, "oidc_not_admitted")


async def test_role_given_by_hand_stays_where_no_claim_decides(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        await window.sign_in(provider_id)
        user_id = await window.me_id()
    await plane.set_role(user_id, BuiltIn.AUDITOR)

    assert await role_after_sign_in(plane, provider_id) == "auditor"


async def test_last_administrator_keeps_the_role_when_the_claim_is_missing(
    plane: ControlPlane, provider: Provider
) -> None:
    tenant_id = plane.other_tenant_id
    provider.people["ann"]["roles"] = "admins"
    provider_id = await trust(plane, provider, tenant_id, role_claim="roles", role_map={"admins": "tenant_admin"})
    async with plane.database.platform() as session:
        everyone = update(Member).where(Member.tenant_id == tenant_id, Member.role == "tenant_admin")
        await session.execute(everyone.values(role="viewer"))
    assert await role_after_sign_in(plane, provider_id) == "tenant_admin"

    provider.people["ann"]["roles"] = []

    assert await role_after_sign_in(plane, provider_id) == "tenant_admin"


async def test_removed_role_in_the_map_gives_nothing(plane: ControlPlane, provider: Provider) -> None:
    name = await new_role(plane, Permission.USAGE_VIEW)
    provider.people["ann"]["roles"] = "x"
    provider_id = await trust(plane, provider, role_claim="roles", role_map={"x": name}, default_role=None)
    async with plane.database.platform() as session:
        await session.execute(update(Role).where(Role.name == name).values(name=f"{name}-renamed"))

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 403, "oidc_not_admitted")


async def test_groups_add_to_teams_and_take_away_only_what_they_gave(plane: ControlPlane, provider: Provider) -> None:
    first, second, by_hand = [await new_team(plane) for _ in range(3)]
    provider.people["ann"]["groups"] = ["one", "two", "unknown"]
    provider_id = await trust(
        plane,
        provider,
        group_claim="groups",
        group_map={
            "one": format_id("team", first),
            "two": format_id("team", second),
            "by hand": format_id("team", by_hand),
        },
    )
    async with browser(plane) as window:
        await window.sign_in(provider_id)
        user_id = await window.me_id()
    assert await teams_of(plane, user_id) == {(first, "identity_provider"), (second, "identity_provider")}

    async with plane.database.platform() as session:
        session.add(TeamMember(tenant_id=plane.tenant_id, team_id=by_hand, user_id=user_id))
    provider.people["ann"]["groups"] = ["two"]
    async with browser(plane) as window:
        await window.sign_in(provider_id)

    assert await teams_of(plane, user_id) == {(second, "identity_provider"), (by_hand, "manual")}


async def test_team_of_another_tenant_cannot_be_mapped(plane: ControlPlane, provider: Provider) -> None:
    foreign = await new_team(plane, plane.other_tenant_id)

    async with plane.as_role(BuiltIn.PLATFORM_ADMIN) as client:
        answer = await client.post(
            PROVIDERS,
            json={
                "name": "x",
                "issuer": "https://issuer.example",
                "client_id": "c",
                "group_claim": "groups",
                "group_map": {"x": format_id("team", foreign)},
            },
        )

    assert answer.status_code == 422


async def link(window: Browser, provider_id: str) -> Any:
    return await window.sign_in(provider_id, purpose="link", redirect_to="/console/profile")


async def test_account_linked_by_its_holder_signs_in_afterwards(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    user_id = await plane.new_user(BuiltIn.VIEWER)
    # The same address: by itself it would be refused.
    provider.people["ann"]["email"] = f"{user_id.hex}@example.com"

    async with browser_of(plane, user_id) as window:
        answer = await link(window, provider_id)
    assert (answer.status_code, answer.headers["location"]) == (302, "/console/profile")
    assert "tollkeeper_session" not in answer.cookies

    async with browser(plane) as window:
        await window.sign_in(provider_id)
        assert await window.me_id() == user_id
        assert (await window.me())["role"] == "viewer"


async def test_linking_asks_for_a_session(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    _, secret = await plane.new_key(await plane.user(BuiltIn.TENANT_ADMIN), "admin")

    async with browser(plane) as nobody, browser(plane, authorization=f"Bearer {secret}") as program:
        for window, status in ((nobody, 401), (program, 403)):
            answer = await window.jar.get(f"{OIDC}/{provider_id}/start", params={"purpose": "link"})
            assert answer.status_code == status
            assert "location" not in answer.headers


async def test_linking_asks_for_a_fresh_proof(plane: ControlPlane, provider: Provider) -> None:
    """A session left open in a browser would give its finder a way in for good."""
    provider_id = await trust(plane, provider)
    async with browser_of(plane, await plane.new_user(BuiltIn.VIEWER)) as window:
        plane.clock.ahead = 400

        answer = await window.jar.get(f"{OIDC}/{provider_id}/start", params={"purpose": "link"})

    refused(answer, 403, "step_up_required")


@pytest.mark.parametrize("header", [{"sec-fetch-site": "same-site"}, {"sec-fetch-site": "cross-site"}], ids=str)
async def test_linking_is_begun_on_our_own_pages(
    plane: ControlPlane, provider: Provider, header: dict[str, str]
) -> None:
    """A neighbour's page, having signed the browser in at the provider as Eve, would link her account to Ann's."""
    provider_id = await trust(plane, provider)
    async with browser_of(plane, await plane.new_user(BuiltIn.VIEWER)) as window:
        answer = await window.jar.get(f"{OIDC}/{provider_id}/start", params={"purpose": "link"}, headers=header)

    refused(answer, 403, "cross_site_request")


async def test_link_begun_in_one_browser_is_not_finished_in_another(plane: ControlPlane, provider: Provider) -> None:
    """Otherwise Eve, sending Ann her own answer, would link her account at the provider to Ann's here."""
    provider_id = await trust(plane, provider)
    victim, attacker = [await plane.new_user(BuiltIn.VIEWER) for _ in range(2)]
    async with browser_of(plane, victim) as ann, browser_of(plane, attacker) as eve:
        provider.who = "eve"
        back = await eve.prove(await eve.leave(provider_id, purpose="link"))
        await ann.leave(provider_id, purpose="link")

        refused(await ann.come_back(back), 400, "oidc_state_invalid")


async def test_link_whose_session_has_ended_is_refused(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser_of(plane, await plane.new_user(BuiltIn.VIEWER)) as window:
        back = await window.prove(await window.leave(provider_id, purpose="link"))
        assert (await window.jar.post("/api/v1/auth/logout")).status_code == 204

        refused(await window.come_back(back), 400, "oidc_state_invalid")


async def test_account_at_the_provider_belongs_to_one_account_here(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    first, second = [await plane.new_user(BuiltIn.VIEWER) for _ in range(2)]
    async with browser_of(plane, first) as window:
        assert (await link(window, provider_id)).status_code == 302
    async with browser_of(plane, first) as window:
        assert (await link(window, provider_id)).status_code == 302

    async with browser_of(plane, second) as window:
        refused(await link(window, provider_id), 409, "oidc_already_linked")


async def test_provider_of_another_tenant_links_nobody(plane: ControlPlane, provider: Provider) -> None:
    """Its administrators could otherwise sign in as the guests whose accounts are managed elsewhere."""
    provider_id = await trust(plane, provider, plane.other_tenant_id)
    async with browser_of(plane, await plane.new_user(BuiltIn.VIEWER)) as window:
        answer = await window.jar.get(f"{OIDC}/{provider_id}/start", params={"purpose": "link"})

    refused(answer, 404, "not_found")


async def test_linked_account_is_shown_and_taken_away_by_its_holder(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider, creates_users=False)
    user_id = await plane.new_user(BuiltIn.VIEWER, password="a long enough password")
    async with browser_of(plane, user_id) as window, browser_of(plane, await plane.new_user(BuiltIn.VIEWER)) as other:
        await link(window, provider_id)
        (shown,) = (await window.jar.get(LINKED)).json()["data"]
        assert (shown["provider_id"], shown["email"]) == (provider_id, provider.people["ann"]["email"])
        assert (await other.jar.get(LINKED)).json()["data"] == []
        assert (await other.jar.delete(f"{LINKED}/{shown['id']}")).status_code == 404

        assert (await window.jar.delete(f"{LINKED}/{shown['id']}")).status_code == 204

        assert (await window.jar.get(LINKED)).json()["data"] == []
    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 403, "oidc_not_admitted")


async def test_last_way_into_an_account_stays(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        await window.sign_in(provider_id)
        csrf = {"x-tollkeeper-csrf": (await window.me())["csrf_token"]}
        (shown,) = (await window.jar.get(LINKED)).json()["data"]

        answer = await window.jar.delete(f"{LINKED}/{shown['id']}", headers=csrf)

    refused(answer, 409, "last_way_in")


async def test_claims_do_not_touch_who_rules_the_platform(plane: ControlPlane, provider: Provider) -> None:
    provider.people["ann"]["roles"] = "staff"
    provider_id = await trust(plane, provider, role_claim="roles", role_map={"staff": "viewer"})
    user_id = await plane.new_user(BuiltIn.PLATFORM_ADMIN)
    async with browser_of(plane, user_id) as window:
        assert (await link(window, provider_id)).status_code == 302

    assert await role_after_sign_in(plane, provider_id) == "platform_admin"


async def test_who_signs_in_by_a_provider_proves_it_again_there(plane: ControlPlane, provider: Provider) -> None:
    """Step-up without a password: the provider is told to ask anew, and must say that it did."""
    provider.people["ann"]["roles"] = "admins"
    provider_id = await trust(plane, provider, role_claim="roles", role_map={"admins": "tenant_admin"})
    async with browser(plane) as window:
        await window.sign_in(provider_id)
        csrf = {"x-tollkeeper-csrf": (await window.me())["csrf_token"]}
        body = {"name": f"role-{uuid4().hex}", "permissions": ["usage:view"]}
        plane.clock.ahead = 400
        refused(await window.jar.post("/api/v1/roles", json=body, headers=csrf), 403, "step_up_required")

        answer = await window.sign_in(provider_id, purpose="step_up", redirect_to="/console/roles")

        assert (answer.status_code, answer.headers["location"]) == (302, "/console/roles")
        assert (await window.jar.post("/api/v1/roles", json=body, headers=csrf)).status_code == 201


async def test_step_up_by_somebody_else_is_refused(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as other:
        provider.who = "bob"
        await other.sign_in(provider_id)
    async with browser(plane) as window:
        provider.who = "ann"
        await window.sign_in(provider_id)
        provider.who = "bob"

        refused(await window.sign_in(provider_id, purpose="step_up"), 401, "oidc_other_user")


@pytest.mark.parametrize("claims", [{"auth_time": 5}, {"auth_time": None}, {"auth_time": "now"}], ids=str)
async def test_step_up_without_a_new_proof_is_refused(
    plane: ControlPlane, provider: Provider, claims: dict[str, Any]
) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        await window.sign_in(provider_id)
        provider.id_claims = claims

        refused(await window.sign_in(provider_id, purpose="step_up"), 401, "oidc_token_invalid")


async def test_session_of_this_morning_at_the_provider_is_no_fresh_proof(
    plane: ControlPlane, provider: Provider
) -> None:
    provider.people["ann"]["roles"] = "admins"
    provider.auth_time = int(plane.clock.unix()) - 3 * 3600
    provider_id = await trust(plane, provider, role_claim="roles", role_map={"admins": "tenant_admin"})
    async with browser(plane) as window:
        await window.sign_in(provider_id)
        csrf = {"x-tollkeeper-csrf": (await window.me())["csrf_token"]}

        answer = await window.jar.post("/api/v1/roles", json={"name": "x", "permissions": []}, headers=csrf)

    refused(answer, 403, "step_up_required")


async def test_address_outside_the_tenants_domains_is_not_made(plane: ControlPlane, provider: Provider) -> None:
    async with plane.as_role(BuiltIn.PLATFORM_ADMIN) as admin:
        made = await admin.post("/api/v1/tenants", json={"name": f"Closed {uuid4().hex}"})
        tenant = made.json()
        answer = await admin.patch(
            f"/api/v1/tenants/{tenant['id']}", json={"settings": {"allowed_email_domains": ["corp.example"]}}
        )
        assert answer.status_code == 200, answer.text
    provider_id = await trust(plane, provider, UUID(hex=tenant["id"].removeprefix("ten_")))

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 403, "email_domain_not_allowed")


async def _somebody_else_administers(plane: ControlPlane) -> None:
    await plane.user(BuiltIn.TENANT_ADMIN)
