"""Signing in by OpenID Connect with a real provider over sockets: what lets in, what stays out, what is bound to what."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import Response
from sqlalchemy import select, update

from tests.domains.control_plane import MASTER, ControlPlane
from tests.domains.identity_providers.setting import (
    CALLBACK,
    COOKIE,
    OIDC,
    SESSION,
    asked_of,
    browser,
    refused,
    trust,
)
from tests.money.records import HandClock
from tests.oidc_provider import Provider, new_key
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.ids import parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AuditLog, ExternalIdentity, Tenant, User
from tollkeeper.domains.identity.throttle import LoginThrottle
from tollkeeper.domains.identity_providers.state import set_out, write_journey


async def test_first_sign_in_makes_an_account_and_opens_a_session(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        answer = await window.sign_in(provider_id, redirect_to="/console/keys?tab=mine")
        me = await window.me()

    assert (answer.status_code, answer.headers["location"]) == (302, "/console/keys?tab=mine")
    assert (me["email"], me["name"], me["role"]) == (provider.people["ann"]["email"], "Ann", "developer")
    assert me["credential"] == "session"
    assert await plane.audited(me["id"]) == ["users.create", "auth.oidc_link", "auth.login"]


async def test_question_to_the_provider_is_bound_by_state_nonce_and_challenge(
    plane: ControlPlane, provider: Provider
) -> None:
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        first, second = [asked_of(await window.leave(provider_id)) for _ in range(2)]

    assert first["response_type"] == "code"
    assert first["code_challenge_method"] == "S256"
    assert first["redirect_uri"] == f"{plane.services.settings.origin}{CALLBACK}"
    assert first["scope"] == "openid email profile"
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 43
        assert first[name] != second[name]


async def test_journey_is_sealed_and_out_of_reach_of_scripts(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        answer = await window.jar.get(f"{OIDC}/{provider_id}/start")

    cookie = answer.headers["set-cookie"]
    asked = asked_of(answer.headers["location"])
    assert cookie.startswith(f"{COOKIE}=")
    assert {"httponly", "samesite=lax", "path=/", "max-age=600"} <= {part.strip().lower() for part in cookie.split(";")}
    assert asked["state"] not in cookie
    assert asked["nonce"] not in cookie


def test_journey_over_https_is_for_this_host_alone() -> None:
    settings = Settings(_env_file=None, public_url="https://gateway.example")
    response = Response()

    write_journey(response, settings, SecretBox(MASTER), set_out(uuid7(), "sign_in", "/console", 0.0))

    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"__Host-{COOKIE}=")
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert "domain" not in cookie.lower()


async def test_person_who_comes_again_is_the_same_account_whatever_the_address(
    plane: ControlPlane, provider: Provider
) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        await window.sign_in(provider_id)
        first = await window.me_id()

    provider.people["ann"] |= {"email": "ann.new@example.com", "email_verified": False}
    async with browser(plane) as window:
        await window.sign_in(provider_id)
        second = await window.me_id()

    assert first == second


async def test_answer_brought_back_by_another_browser_is_refused(plane: ControlPlane, provider: Provider) -> None:
    """Login CSRF: Eve's answer in Ann's browser would sign Ann in as Eve."""
    provider_id = await trust(plane, provider)
    async with browser(plane) as ann, browser(plane) as eve, browser(plane) as nobody:
        ann_back = await ann.prove(await ann.leave(provider_id))
        provider.who = "eve"
        eve_back = await eve.prove(await eve.leave(provider_id))

        refused(await ann.come_back(eve_back), 400, "oidc_state_invalid")
        refused(await eve.come_back(ann_back), 400, "oidc_state_invalid")
        refused(await nobody.come_back(ann_back), 400, "oidc_state_invalid")
        assert provider.asked["/token"] == 0

        # Nothing was used up by the attempt.
        assert (await ann.come_back(ann_back)).status_code == 302
        assert (await ann.me())["name"] == "Ann"


async def test_answer_is_taken_once(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        back = await window.prove(await window.leave(provider_id))
        journey = window.jar.cookies[COOKIE]
        assert (await window.come_back(back)).status_code == 302
        assert COOKIE not in window.jar.cookies

        async with browser(plane, cookie=f"{COOKIE}={journey}") as thief:
            refused(await thief.come_back(back), 400, "oidc_state_invalid")

    assert provider.asked["/token"] == 1


async def test_code_put_into_another_journey_is_refused_by_its_challenge(
    plane: ControlPlane, provider: Provider
) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as ann, browser(plane) as eve:
        stolen = asked_of(await ann.prove(await ann.leave(provider_id)))["code"]
        own = asked_of(await eve.prove(await eve.leave(provider_id)))

        answer = await eve.jar.get(CALLBACK, params={**own, "code": stolen})

    refused(answer, 401, "oidc_provider_refused")


async def test_code_put_into_another_journey_is_refused_by_its_nonce(plane: ControlPlane, provider: Provider) -> None:
    """Also where the provider does not look at the challenge."""
    provider.skips_code_checks = True
    provider_id = await trust(plane, provider)
    async with browser(plane) as ann, browser(plane) as eve:
        stolen = asked_of(await ann.prove(await ann.leave(provider_id)))["code"]
        own = asked_of(await eve.prove(await eve.leave(provider_id)))

        answer = await eve.jar.get(CALLBACK, params={**own, "code": stolen})

    refused(answer, 401, "oidc_token_invalid")


async def test_journey_ends_after_ten_minutes(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        back = await window.prove(await window.leave(provider_id))
        plane.clock.ahead = 601

        refused(await window.come_back(back), 400, "oidc_state_invalid")


@pytest.mark.parametrize("cookie", ["", "x", "A" * 300, "A" * 9000, "%00", "e30"])
async def test_cookie_that_we_did_not_seal_is_refused(plane: ControlPlane, cookie: str) -> None:
    async with browser(plane, cookie=f"{COOKIE}={cookie}") as window:
        refused(await window.jar.get(CALLBACK, params={"state": "x", "code": "y"}), 400, "oidc_state_invalid")


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": ["a"]},
        {"aud": "another-client"},
        {"aud": ["tollkeeper-client", "another"]},
        {"aud": []},
        {"azp": "another-client"},
        {"iss": "https://other.example"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "s" * 256},
        {"sub": 7},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"iat": 32_000_000_000},
        {"nbf": 32_000_000_000},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"at_hash": 5},
    ],
    ids=str,
)
async def test_id_token_that_does_not_answer_our_question_is_refused(
    plane: ControlPlane, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.id_claims = claims
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 401, "oidc_token_invalid")


async def test_id_token_for_several_is_taken_when_it_was_issued_to_us(plane: ControlPlane, provider: Provider) -> None:
    provider.id_claims = {"aud": [provider.client_id, "another"], "azp": provider.client_id}
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        assert (await window.sign_in(provider_id)).status_code == 302


@pytest.mark.parametrize(
    "header", [{"typ": "at+jwt"}, {"typ": "logout+jwt"}, {"jku": "https://evil.example/"}], ids=str
)
async def test_token_of_another_kind_is_no_id_token(
    plane: ControlPlane, provider: Provider, header: dict[str, Any]
) -> None:
    provider.id_header = header
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 401, "oidc_token_invalid")


async def test_id_token_signed_by_a_stranger_is_refused(plane: ControlPlane, provider: Provider) -> None:
    provider.sign_with = new_key()
    provider.sign_with.key_id = provider.keys[0].key_id
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 401, "oidc_token_invalid")


async def test_provider_that_rotates_its_keys_goes_on(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    for algorithm in ("ES256", "RS256", "ES256"):
        async with browser(plane) as window:
            provider.rotate(algorithm)
            plane.clock.ahead += 61
            assert (await window.sign_in(provider_id)).status_code == 302


@pytest.mark.parametrize("issuer", ["https://other.example", "", None])
async def test_answer_of_another_issuer_is_refused(plane: ControlPlane, provider: Provider, issuer: str | None) -> None:
    """RFC 9207: a mix-up between two providers ends before the code is sent to either."""
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        answer = asked_of(await window.prove(await window.leave(provider_id)))
        answer.pop("iss")
        back = await window.jar.get(CALLBACK, params=answer if issuer is None else {**answer, "iss": issuer})

    refused(back, 400, "oidc_state_invalid")
    assert provider.asked["/token"] == 0


async def test_provider_that_does_not_name_itself_is_taken(plane: ControlPlane, provider: Provider) -> None:
    provider.names_itself = False
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        assert (await window.sign_in(provider_id)).status_code == 302


async def test_person_who_declines_is_told_so(plane: ControlPlane, provider: Provider) -> None:
    provider.refuses = "access_denied"
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        answer = await window.sign_in(provider_id)

    refused(answer, 401, "oidc_provider_refused")
    assert "access_denied" in answer.json()["detail"]


async def test_error_text_of_the_provider_is_not_repeated(plane: ControlPlane, provider: Provider) -> None:
    provider.refuses = "<script>alert(1)</script>"
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        answer = await window.sign_in(provider_id)

    refused(answer, 401, "oidc_provider_refused")
    assert "script" not in answer.text


async def test_browser_is_sent_to_the_page_that_explains_an_error(plane: ControlPlane, provider: Provider) -> None:
    provider.refuses = "access_denied"
    provider_id = await trust(plane, provider)

    async with browser(plane, accept="text/html,application/xhtml+xml") as window:
        answer = await window.sign_in(provider_id)

    page = httpx.URL(answer.headers["location"])
    assert answer.status_code == 302
    assert (page.path, page.params["error"]) == ("/console/sign-in", "oidc_provider_refused")
    assert page.params["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/console\r\nset-cookie: a=b",
        "/console\\..\\",
        "javascript:alert(1)",
        "console",
        "",
        "/é",
        "/a b",
    ],
)
async def test_way_back_leads_nowhere_but_here(plane: ControlPlane, provider: Provider, path: str) -> None:
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        answer = await window.jar.get(f"{OIDC}/{provider_id}/start", params={"redirect_to": path})

    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "claims",
    [{"email_verified": False}, {"email_verified": "false"}, {"email_verified": None}, {"email": None}],
    ids=str,
)
async def test_address_nobody_vouches_for_makes_no_account(
    plane: ControlPlane, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.people["ann"] = {
        name: value for name, value in {**provider.people["ann"], **claims}.items() if value is not None
    }
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 403, "oidc_email_unverified")


async def test_entra_vouches_for_an_address_in_its_own_way(plane: ControlPlane, provider: Provider) -> None:
    del provider.people["ann"]["email_verified"]
    provider.people["ann"]["xms_edov"] = True
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        assert (await window.sign_in(provider_id)).status_code == 302


@pytest.mark.parametrize("is_other", [False, True], ids=["of this tenant", "of another tenant"])
async def test_account_is_never_taken_by_its_address(plane: ControlPlane, provider: Provider, is_other: bool) -> None:
    """Who controls a provider can put any address into a token."""
    provider_id = await trust(plane, provider)
    victim = await plane.new_user(Role.TENANT_ADMIN, plane.other_tenant_id if is_other else None)
    provider.add("eve", email=f"{victim.hex}@example.com")
    provider.who = "eve"

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 409, "oidc_account_exists")

    async with plane.database.platform() as session:
        query = select(ExternalIdentity.id).where(ExternalIdentity.user_id == victim)
        assert await session.scalar(query) is None


async def test_provider_that_makes_no_accounts_lets_nobody_new_in(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider, creates_users=False)

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 403, "oidc_not_admitted")


@pytest.mark.parametrize(
    ("email", "is_let_in"),
    [
        ("ann@corp.example", True),
        ("ANN2@Corp.Example", True),
        ("ann@corp.example.evil.example", False),
        ("a@x.org", False),
    ],
)
async def test_only_addresses_of_the_domains_come_in(
    plane: ControlPlane, provider: Provider, email: str, is_let_in: bool
) -> None:
    provider.people["ann"]["email"] = email
    provider_id = await trust(plane, provider, email_domains=["corp.example"])

    async with browser(plane) as window:
        answer = await window.sign_in(provider_id)

    assert answer.status_code == (302 if is_let_in else 403)


async def test_unverified_address_of_a_domain_that_may_come_in_is_told_so(
    plane: ControlPlane, provider: Provider
) -> None:
    provider.people["ann"] |= {"email": "ann@corp.example", "email_verified": False}
    provider_id = await trust(plane, provider, email_domains=["corp.example"])

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 403, "oidc_email_unverified")
        provider.people["ann"] |= {"email": "ann@evil.example", "email_verified": True}
        refused(await window.sign_in(provider_id), 403, "oidc_not_admitted")


@pytest.mark.parametrize("change", [{"is_active": False}, {"allows_sign_in": False}], ids=str)
async def test_provider_out_of_force_is_not_there(
    plane: ControlPlane, provider: Provider, change: dict[str, Any]
) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window, plane.as_role(Role.PLATFORM_ADMIN) as admin:
        back = await window.prove(await window.leave(provider_id))
        assert (await admin.patch(f"/api/v1/identity-providers/{provider_id}", json=change)).status_code == 200

        refused(await window.come_back(back), 404, "not_found")
        refused(await window.jar.get(f"{OIDC}/{provider_id}/start"), 404, "not_found")


async def test_suspended_tenant_lets_nobody_in(plane: ControlPlane, provider: Provider) -> None:
    tenant_id = await _new_tenant(plane)
    provider_id = await trust(plane, provider, tenant_id)
    async with browser(plane) as window:
        back = await window.prove(await window.leave(provider_id))
        async with plane.database.platform() as session:
            await session.execute(update(Tenant).where(Tenant.id == tenant_id).values(is_active=False))

        refused(await window.come_back(back), 404, "not_found")


async def test_disabled_account_stays_out_and_is_not_made_again(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        await window.sign_in(provider_id)
        user_id = await window.me_id()
    async with plane.database.platform() as session:
        await session.execute(update(User).where(User.id == user_id).values(is_active=False))

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 403, "oidc_not_admitted")


async def test_provider_that_is_down_is_no_wrong_password(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        back = await window.prove(await window.leave(provider_id))
        provider.is_down = True

        refused(await window.come_back(back), 503, "identity_provider_unavailable")


@pytest.mark.parametrize(
    ("methods", "has_secret"),
    [(["client_secret_post"], True), (["client_secret_basic", "client_secret_post"], True), (["none"], False)],
    ids=str,
)
async def test_client_proves_itself_as_the_provider_wants(
    plane: ControlPlane, provider: Provider, methods: list[str], has_secret: bool
) -> None:
    provider.auth_methods = methods
    if not has_secret:
        provider.client_secret = None
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        assert (await window.sign_in(provider_id)).status_code == 302


async def test_wrong_client_secret_is_said_without_telling_it(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider, client_secret="not-the-secret-at-all")

    async with browser(plane) as window:
        answer = await window.sign_in(provider_id)

    refused(answer, 401, "oidc_provider_refused")
    assert "not-the-secret" not in answer.text


async def test_thin_id_token_is_completed_by_userinfo(plane: ControlPlane, provider: Provider) -> None:
    provider.is_thin = True
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        await window.sign_in(provider_id)
        assert (await window.me())["email"] == provider.people["ann"]["email"]


async def test_userinfo_about_somebody_else_is_not_used(plane: ControlPlane, provider: Provider) -> None:
    provider.is_thin = True
    provider.people["ann"]["sub"] = "eve"
    provider_id = await trust(plane, provider)

    async with browser(plane) as window:
        refused(await window.sign_in(provider_id), 403, "oidc_email_unverified")


async def test_providers_are_listed_by_the_exact_slug_of_a_tenant(plane: ControlPlane, provider: Provider) -> None:
    tenant_id = await _new_tenant(plane)
    provider_id = await trust(plane, provider, tenant_id, name="Corporate login")
    async with browser(plane) as window:

        async def listed(**asked: str) -> Any:
            return (await window.jar.get(OIDC, params=asked)).json()["data"]

        assert await listed(tenant=f"third-{tenant_id.hex}") == [{"id": provider_id, "name": "Corporate login"}]
        assert await listed(tenant="third-") == []
        assert await listed(tenant="third-%") == []
        assert await listed() == []


async def test_domain_leads_to_its_provider_unless_several_tenants_claim_it(
    plane: ControlPlane, provider: Provider
) -> None:
    provider_id = await trust(plane, provider, name="One", email_domains=["hint.example"])
    async with browser(plane) as window:
        found = await window.jar.get(OIDC, params={"email": "whoever@HINT.example"})
        assert [item["id"] for item in found.json()["data"]] == [provider_id]

        await trust(plane, provider, plane.other_tenant_id, name="Two", email_domains=["hint.example"])
        found = await window.jar.get(OIDC, params={"email": "whoever@hint.example"})
        assert found.json()["data"] == []


async def test_nothing_of_the_journey_is_kept_in_the_audit_trail(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        asked = asked_of(await window.leave(provider_id))
        await window.sign_in(provider_id)
    async with plane.database.platform() as session:
        query = select(AuditLog.after).where(AuditLog.object_id.in_([provider_id]))
        kept = str((await session.scalars(query)).all())

    assert provider.client_secret is not None
    for secret in (asked["state"], asked["nonce"], provider.client_secret):
        assert secret not in kept


async def test_refused_sign_in_is_a_security_event(plane: ControlPlane, provider: Provider) -> None:
    provider.id_claims = {"nonce": "another"}
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        await window.sign_in(provider_id)
    await plane.services.security_events.settled()

    async with plane.database.platform() as session:
        query = select(AuditLog).where(AuditLog.object_id == provider_id, AuditLog.action == "auth.oidc_refused")
        row = (await session.scalars(query)).one()

    assert (row.outcome, row.after) == ("refused", {"reason": "oidc_token_invalid", "purpose": "sign_in"})


async def test_flood_of_answers_from_one_address_is_slowed(plane: ControlPlane, provider: Provider) -> None:
    """Each makes us ask the provider; without a state of ours it costs nothing and is not counted."""
    # In no time at all: on a slow machine the allowance would grow while they come.
    plane.services.login_throttle = LoginThrottle(HandClock())
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        statuses = []
        for _ in range(130):
            state = asked_of(await window.leave(provider_id))["state"]
            statuses.append((await window.jar.get(CALLBACK, params={"state": state, "iss": "x"})).status_code)

    assert statuses.count(429) == 10
    assert provider.asked["/token"] == 0


async def test_session_is_set_as_after_a_password(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        answer = await window.sign_in(provider_id)

    cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith(f"{SESSION}="))
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}


async def _new_tenant(plane: ControlPlane) -> UUID:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        made = await admin.post("/api/v1/tenants", json={"name": f"Third {plane.clock.unix()}"})
    assert made.status_code == 201, made.text
    tenant_id = parse_id("ten", made.json()["id"])
    async with plane.database.platform() as session:
        await session.execute(update(Tenant).where(Tenant.id == tenant_id).values(slug=f"third-{tenant_id.hex}"))
    return tenant_id
