"""`/api/v1/keys` through the whole control plane."""

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.permissions import Role


async def test_a_key_is_made_with_its_secret_shown_once(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        made = await client.post("/api/v1/keys", json={"name": "app"})
        assert made.status_code == 201, made.text
        key = made.json()
        assert key["key"].startswith("tk-live_")
        assert key["environment"] == "live"
        assert key["scopes"] == ["inference"]
        shown = await client.get(f"/api/v1/keys/{key['id']}")
        assert shown.status_code == 200
        assert "key" not in shown.json()
        listed = await client.get("/api/v1/keys")
        assert key["key"] not in listed.text
    assert await plane.audited(key["id"]) == ["keys.create"]
