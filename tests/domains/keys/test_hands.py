"""Whose hands a key's secret may be in, and when a key ends with a membership."""

from types import SimpleNamespace
from uuid import UUID

from tests.domains.control_plane import ControlPlane
from tests.domains.members import new_holder
from tollkeeper.core.ids import format_id, parse_id
from tollkeeper.core.permissions import Permission, Role, permissions_of
from tollkeeper.db.models import ApiKey, Project, Team, TeamMember
from tollkeeper.domains.keys.subscribers import RevokeKeysOfTeam

# May manage people and keys, as a help desk does, and covers a developer.
HELPER = permissions_of(Role.DEVELOPER) | {Permission.USERS_VIEW, Permission.USERS_UPDATE}


async def test_nobody_else_holds_the_secret_of_a_persons_admin_key(plane: ControlPlane) -> None:
    """It would grow with the person's next role."""
    developer = await plane.new_user(Role.DEVELOPER)
    user_id = format_id("usr", developer)
    own_key, _ = await plane.new_key(developer, "admin", created_by=developer)
    lent_key, _ = await plane.new_key(developer, "inference", created_by=await plane.user(Role.TENANT_ADMIN))
    async with plane.as_user(await new_holder(plane, HELPER)) as helper:
        both = {"name": "k", "user_id": user_id, "scopes": ["admin", "inference"]}
        refusals = [
            await helper.post("/api/v1/keys", json=both),
            await helper.post(f"/api/v1/keys/{own_key}/rotate", json={}),
            await helper.patch(f"/api/v1/keys/{lent_key}", json={"scopes": ["admin"]}),
        ]
        made = await helper.post("/api/v1/keys", json=both | {"scopes": ["inference"]})
        rotated = await helper.post(f"/api/v1/keys/{lent_key}/rotate", json={})
    assert [(answer.status_code, answer.json()["code"]) for answer in refusals] == [(403, "beyond_authority")] * 3
    assert (made.status_code, rotated.status_code) == (201, 200), (made.text, rotated.text)
    async with plane.as_user(developer) as owner:
        widened = await owner.patch(f"/api/v1/keys/{made.json()['id']}", json={"scopes": ["admin"]})
        of_own = await owner.post("/api/v1/keys", json={"name": "mine", "scopes": ["admin"]})
        again = await owner.post(f"/api/v1/keys/{own_key}/rotate", json={})
    assert widened.status_code == 403, "the helper was shown this secret"
    assert (of_own.status_code, again.status_code) == (201, 200)


async def test_a_service_accounts_admin_key_is_made_by_others(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        account = await admin.post("/api/v1/service-accounts", json={"name": "deploy", "role": "developer"})
        assert account.status_code == 201, account.text
        made = await admin.post(
            "/api/v1/keys", json={"name": "k", "user_id": account.json()["id"], "scopes": ["admin"]}
        )
    assert made.status_code == 201, made.text


async def test_who_leaves_a_team_leaves_its_keys(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    team, project = Team(tenant_id=plane.tenant_id, name="left"), Project(tenant_id=plane.tenant_id, name="below")
    async with plane.database.platform() as session:
        session.add(team)
        await session.flush()
        project.team_id = team.id
        session.add(project)
        session.add(TeamMember(tenant_id=plane.tenant_id, team_id=team.id, user_id=user_id))
        await session.flush()
        team_id, project_id = team.id, project.id
    inside, _ = await plane.new_key(user_id, team_id=team_id)
    below, _ = await plane.new_key(user_id, project_id=project_id)
    outside, _ = await plane.new_key(user_id)
    delivery = SimpleNamespace(tenant_id=plane.tenant_id, payload={"team_id": str(team_id), "user_id": str(user_id)})
    leave = RevokeKeysOfTeam(plane.database, plane.clock)

    await leave(delivery)
    assert await statuses(plane, inside, below, outside) == ["active"] * 3, "they are a member still, or again"

    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        path = f"/api/v1/teams/{format_id('team', team_id)}/members/{format_id('usr', user_id)}"
        assert (await admin.delete(path)).status_code == 204
    for _ in range(2):
        await leave(delivery)
    assert await statuses(plane, inside, below, outside) == ["revoked", "revoked", "active"]
    assert await plane.audited(inside) == ["keys.revoke"]


async def statuses(plane: ControlPlane, *key_ids: str) -> list[str]:
    ids: list[UUID] = [parse_id("key", key_id) for key_id in key_ids]
    async with plane.database.platform() as session:
        rows = [await session.get(ApiKey, key_id) for key_id in ids]
    return [row.status for row in rows if row is not None]
