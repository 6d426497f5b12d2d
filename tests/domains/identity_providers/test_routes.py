"""The API of identity providers: who may set what up, and what never comes out again."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from tests.canaries import canary
from tests.domains.control_plane import ControlPlane
from tests.domains.identity_providers.setting import PROVIDERS, browser, browser_of, trust
from tests.domains.members import new_holder
from tests.oidc_provider import Provider
from tollkeeper.core.crypto import EnvelopeDamaged
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Permission, Role
from tollkeeper.db.models import AnnouncementRow, IdentityProvider
from tollkeeper.domains.identity_providers.sealing import open_client_secret

VIEW, UPDATE = Permission.IDENTITY_PROVIDERS_VIEW, Permission.IDENTITY_PROVIDERS_UPDATE


def body(**fields: Any) -> dict[str, Any]:
    return {"name": f"Login {uuid7().hex}", "issuer": "https://issuer.example", "client_id": "us", **fields}


async def make(plane: ControlPlane, role: Role = Role.TENANT_ADMIN, **fields: Any) -> dict[str, Any]:
    async with plane.as_role(role) as client:
        answer = await client.post(PROVIDERS, json=body(**fields))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_provider_is_made_shown_listed_changed_and_removed(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        made = await client.post(PROVIDERS, json=body(default_role="viewer", email_domains=["Corp.Example"]))
        path = f"{PROVIDERS}/{made.json()['id']}"
        shown = await client.get(path)
        listed = await client.get(PROVIDERS, params={"limit": 1})
        changed = await client.patch(
            path, json={"name": "Renamed login", "default_role": None}, headers={"if-match": made.headers["etag"]}
        )
        stale = await client.patch(path, json={"name": "Again"}, headers={"if-match": made.headers["etag"]})
        removed = await client.delete(path)
        gone = await client.get(path)

    assert made.json()["redirect_uri"] == f"{plane.services.settings.origin}/api/v1/auth/oidc/callback"
    assert made.json()["email_domains"] == ["corp.example"]
    assert shown.json() == made.json() == listed.json()["data"][0]
    assert (changed.json()["name"], changed.json()["default_role"]) == ("Renamed login", None)
    assert [answer.status_code for answer in (stale, removed, gone)] == [412, 204, 404]
    assert await plane.audited(made.json()["id"]) == [
        "identity_providers.create",
        "identity_providers.update",
        "identity_providers.delete",
    ]


async def test_client_secret_goes_in_and_never_out(plane: ControlPlane) -> None:
    secret = canary("credential")
    made = await make(plane, client_secret=secret)

    async with plane.as_role(Role.TENANT_ADMIN) as client:
        shown = await client.get(f"{PROVIDERS}/{made['id']}")
        listed = await client.get(PROVIDERS)
    row = await _row(plane, made["id"])

    assert made["has_client_secret"] is True
    assert secret not in shown.text + listed.text + str(made)
    assert secret.encode() not in (row.client_secret or b"")
    assert open_client_secret(plane.services.secret_box, row) == secret


async def test_client_secret_opens_for_its_issuer_alone(plane: ControlPlane) -> None:
    """Exchanging the issuer underneath would send the secret to another."""
    made = await make(plane, client_secret=canary("credential"))
    row = await _row(plane, made["id"])
    row.issuer = "https://evil.example"

    with pytest.raises(EnvelopeDamaged):
        open_client_secret(plane.services.secret_box, row)


async def test_new_issuer_needs_the_client_secret_again(plane: ControlPlane) -> None:
    made = await make(plane, client_secret=canary("credential"))
    path, other = f"{PROVIDERS}/{made['id']}", {"issuer": "https://evil.example"}
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        kept = await client.patch(path, json=other)
        entered = await client.patch(path, json={**other, "client_secret": canary("credential")})
        removed = await client.patch(path, json={"issuer": "https://third.example", "client_secret": None})

    assert (kept.status_code, kept.json()["code"]) == (409, "credential_bound")
    assert entered.status_code == 200
    assert removed.json()["has_client_secret"] is False


async def test_issuer_that_people_sign_in_through_is_not_exchanged(plane: ControlPlane, provider: Provider) -> None:
    """Its successor could call anybody by the subjects that are known here."""
    provider_id = await trust(plane, provider)
    async with browser(plane) as window:
        await window.sign_in(provider_id)

    async with plane.as_role(Role.PLATFORM_ADMIN) as client:
        answer = await client.patch(
            f"{PROVIDERS}/{provider_id}", json={"issuer": "https://other.example", "client_secret": None}
        )

    assert (answer.status_code, answer.json()["code"]) == (409, "identity_provider_in_use")


@pytest.mark.parametrize(
    "fields",
    [{"allow_private_address": True}, {"allow_private_address": True, "issuer": "http://127.0.0.1:9000"}],
    ids=str,
)
async def test_only_the_platform_lets_an_issuer_be_inside(plane: ControlPlane, fields: dict[str, Any]) -> None:
    made = await make(plane)
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answers = [
            await client.post(PROVIDERS, json=body(**fields)),
            await client.patch(f"{PROVIDERS}/{made['id']}", json=fields),
        ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "beyond_authority")] * 2


async def test_issuer_inside_is_moved_by_the_platform_alone(plane: ControlPlane) -> None:
    """The word was for that address, not for every one that its administrator may write into the row later."""
    made = await make(plane, Role.PLATFORM_ADMIN, allow_private_address=True, issuer="http://127.0.0.1:9000")
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await client.patch(f"{PROVIDERS}/{made['id']}", json={"issuer": "http://127.0.0.1:6379"})
        renamed = await client.patch(f"{PROVIDERS}/{made['id']}", json={"name": f"New {uuid4().hex}"})

    assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")
    assert renamed.status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"issuer": "http://issuer.example"},
        {"issuer": "https://user@issuer.example"},
        {"issuer": "https://issuer.example/?a=b"},
        {"issuer": "https://issuer.example/#a"},
        {"issuer": "https://issuer.example\\@evil.example"},
        {"issuer": "javascript:alert(1)"},
        {"issuer": "x" * 600},
        {"client_id": None},
        {"client_id": "a\r\nb"},
        {"client_secret": "a\nb"},
        {"client_secret": ""},
        {"scopes": ["email"]},
        {"scopes": ["openid", 'a"b']},
        {"scopes": ["openid"] * 30},
        {"email_domains": ["not a domain"]},
        {"email_domains": []},
        {"role_map": {"a": "viewer"}},
        {"group_map": {"a": "team_" + "0" * 32}},
        {"group_claim": "g", "group_map": {"a": "team_" + "0" * 32}},
        {"group_claim": "g", "group_map": {"a": "viewer"}},
        {"default_role": "no-such-role"},
        {"role_claim": "r", "role_map": {"a": "no-such-role"}},
        {"is_active": "yes"},
        {"id": "idp_" + "0" * 32},
        {"tenant": "x"},
        {"version": 7},
        {"name": ""},
        {"name": "a\u202eb"},
    ],
    ids=str,
)
async def test_provider_that_makes_no_sense_is_refused(plane: ControlPlane, fields: dict[str, Any]) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await client.post(PROVIDERS, json=body(**fields))

    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "fields",
    [{"default_role": "platform_admin"}, {"role_claim": "r", "role_map": {"boss": "platform_admin"}}],
    ids=str,
)
@pytest.mark.parametrize("role", [Role.TENANT_ADMIN, Role.PLATFORM_ADMIN])
async def test_nobody_maps_to_who_rules_the_platform(plane: ControlPlane, role: Role, fields: dict[str, Any]) -> None:
    made = await make(plane)
    async with plane.as_role(role) as client:
        answers = [
            await client.post(PROVIDERS, json=body(**fields)),
            await client.patch(f"{PROVIDERS}/{made['id']}", json=fields),
        ]

    assert [answer.status_code for answer in answers] == [403, 403]


async def test_nobody_maps_to_more_than_they_hold(plane: ControlPlane) -> None:
    holder = await new_holder(plane, [UPDATE, VIEW, Permission.ME_VIEW, Permission.USAGE_VIEW])
    async with plane.as_user(holder) as client:
        answer = await client.post(PROVIDERS, json=body(default_role="developer"))
        own = await client.post(PROVIDERS, json=body())

    assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")
    assert own.status_code == 201


async def test_who_may_do_less_does_not_touch_a_provider_of_those_who_may_do_more(
    plane: ControlPlane, provider: Provider
) -> None:
    """Who changes a provider can sign in as everybody who comes through it."""
    holder = await new_holder(plane, [UPDATE, VIEW, Permission.ME_VIEW])
    gives_more = await make(plane, default_role="tenant_admin")
    has_linked = await trust(plane, provider, default_role=None)
    async with browser_of(plane, await plane.new_user(Role.TENANT_ADMIN)) as window:
        assert (await window.sign_in(has_linked, purpose="link")).status_code == 302

    async with plane.as_user(holder) as client:
        for provider_id in (gives_more["id"], has_linked):
            path = f"{PROVIDERS}/{provider_id}"
            answers = [await client.patch(path, json={"client_id": "mine"}), await client.delete(path)]
            assert [answer.json()["code"] for answer in answers] == ["beyond_authority"] * 2


async def test_tenants_administrator_does_not_touch_what_signs_in_the_platforms(
    plane: ControlPlane, provider: Provider
) -> None:
    provider_id = await trust(plane, provider)
    async with browser_of(plane, await plane.new_user(Role.PLATFORM_ADMIN)) as window:
        assert (await window.sign_in(provider_id, purpose="link")).status_code == 302

    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await client.patch(f"{PROVIDERS}/{provider_id}", json={"client_id": "mine"})

    assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")


async def test_foreign_provider_is_not_there(plane: ControlPlane) -> None:
    made = await make(plane)
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as client:
        bodies = set()
        for provider_id in (made["id"], format_id("idp", uuid7())):
            path = f"{PROVIDERS}/{provider_id}"
            answers = [
                await client.get(path),
                await client.patch(path, json={"name": "Mine"}),
                await client.delete(path),
                await client.post(f"{path}/test"),
                await client.get(f"{path}/bindings"),
            ]
            assert {answer.status_code for answer in answers} == {404}
            bodies |= {answer.json()["detail"] for answer in answers}
        listed = await client.get(PROVIDERS)

    assert len(bodies) == 1
    assert made["id"] not in listed.text


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER, Role.FINANCE])
async def test_who_administers_nothing_sees_no_providers(plane: ControlPlane, role: Role) -> None:
    async with plane.as_role(role) as client:
        assert (await client.get(PROVIDERS)).status_code == 403
        assert (await client.post(PROVIDERS, json=body())).status_code == 403


async def test_change_asks_for_a_fresh_proof(plane: ControlPlane) -> None:
    made = await make(plane)
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        plane.clock.ahead = 400
        answers = [
            await client.post(PROVIDERS, json=body()),
            await client.patch(f"{PROVIDERS}/{made['id']}", json={"name": "x"}),
            await client.delete(f"{PROVIDERS}/{made['id']}"),
        ]

    assert {answer.json()["code"] for answer in answers} == {"step_up_required"}


async def test_provider_whose_map_names_what_is_gone_can_still_be_changed(plane: ControlPlane) -> None:
    made = await make(plane)
    async with plane.database.platform() as session:
        gone = {"default_role": "a role that was removed", "group_claim": "g", "group_map": {"x": "team_" + "0" * 32}}
        await session.execute(
            update(IdentityProvider).where(IdentityProvider.id == parse_id("idp", made["id"])).values(gone)
        )
    path = f"{PROVIDERS}/{made['id']}"
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        renamed = await client.patch(path, json={"is_active": False})
        mended = await client.patch(path, json={"default_role": "viewer", "group_map": {}})

    assert (renamed.status_code, mended.status_code) == (200, 200)


async def test_name_is_taken_once_in_a_tenant(plane: ControlPlane) -> None:
    made = await make(plane)
    async with plane.as_role(Role.TENANT_ADMIN) as client, plane.as_role(Role.TENANT_ADMIN, other=True) as other:
        again = await client.post(PROVIDERS, json=body(name=made["name"].upper()))
        elsewhere = await other.post(PROVIDERS, json=body(name=made["name"]))

    assert (again.status_code, elsewhere.status_code) == (409, 201)


async def test_trying_a_provider_says_what_is_wrong(plane: ControlPlane, provider: Provider) -> None:
    provider_id = await trust(plane, provider)

    async def tried() -> dict[str, Any]:
        async with plane.as_role(Role.PLATFORM_ADMIN) as client:
            answer = await client.post(f"{PROVIDERS}/{provider_id}/test")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    assert await tried() == {
        "ok": True,
        "problem": None,
        "authorization_endpoint": f"{provider.issuer}/authorize",
        "keys": 1,
    }
    provider.discovery = {"issuer": f"{provider.issuer}/"}
    assert "another name" in (await tried())["problem"]
    provider.discovery = {"authorization_endpoint": None}
    assert "authorization_endpoint" in (await tried())["problem"]
    provider.discovery = {}
    provider.keys = []
    assert "no key" in (await tried())["problem"]
    provider.is_down = True
    assert (await tried())["ok"] is False


@pytest.mark.parametrize(
    "issuer",
    [
        "https://127.0.0.1",
        "https://localhost",
        "https://10.0.0.1:8443/realms/x",
        "https://169.254.169.254",
        "https://[::1]",
        "https://[::ffff:10.0.0.1]",
        "https://2130706433",
    ],
)
async def test_trying_leads_nowhere_inside_and_tells_nothing(plane: ControlPlane, issuer: str) -> None:
    made = await make(plane, issuer=issuer)
    nowhere = await make(plane, issuer="https://no-such-host.invalid")
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        inside = await client.post(f"{PROVIDERS}/{made['id']}/test")
        outside = await client.post(f"{PROVIDERS}/{nowhere['id']}/test")

    assert inside.json() == outside.json()
    assert inside.json()["ok"] is False


async def test_change_is_announced_for_the_keys_that_are_bound(plane: ControlPlane) -> None:
    made = await make(plane, allows_workloads=True)
    key_id, _ = await plane.new_key(await plane.user(Role.DEVELOPER))
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        bound = await client.post(
            f"{PROVIDERS}/{made['id']}/bindings",
            json={"name": f"job {uuid4().hex}", "key_id": key_id, "claims": {"sub": "job"}},
        )
        assert bound.status_code == 201, bound.text
        before = await _announced(plane, parse_id("key", key_id))
        await client.patch(f"{PROVIDERS}/{made['id']}", json={"is_active": False})

    assert await _announced(plane, parse_id("key", key_id)) == before + 1


async def test_row_exchanged_underneath_is_caught_by_its_version(plane: ControlPlane) -> None:
    made = await make(plane)
    async with plane.database.platform() as session:
        await session.execute(
            update(IdentityProvider)
            .where(IdentityProvider.id == parse_id("idp", made["id"]))
            .values(version=IdentityProvider.version + 1)
        )
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await client.patch(
            f"{PROVIDERS}/{made['id']}", json={"name": "x"}, headers={"if-match": f'"{made["version"]}"'}
        )

    assert answer.status_code == 412


async def _row(plane: ControlPlane, provider_id: str) -> IdentityProvider:
    async with plane.database.platform() as session:
        row = await session.get(IdentityProvider, parse_id("idp", provider_id))
        assert row is not None
        session.expunge(row)
        return row


async def _announced(plane: ControlPlane, key_id: UUID) -> int:
    async with plane.database.platform() as session:
        return len((await session.scalars(select(AnnouncementRow.id).where(AnnouncementRow.subject == key_id))).all())
