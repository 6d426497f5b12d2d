"""`tollkeeper users` and `tollkeeper roles` against a real gateway."""

from tests.commands.conftest import Tollkeeper


def test_a_person_is_invited_changed_and_removed(tollkeeper: Tollkeeper) -> None:
    said = tollkeeper("users", "invite", "eve@acme.example", "--role", "viewer", "--days", "2")
    assert "/console/invitation#token=" in said.out
    assert "works once" in said.error
    again = tollkeeper("users", "invite", "eve@acme.example")
    assert (again.code, "already_invited" in again.error) == (4, True)
    words = ("users", "create", "kim@acme.example", "--role", "viewer", "--password-stdin", "--json")
    made = tollkeeper(*words, stdin="correct horse battery\n").json
    changed = tollkeeper("users", "update", made["id"], "--role", "finance", "--disabled", "--json").json
    assert (changed["role"], changed["is_active"]) == ("finance", False)
    assert [row["id"] for row in tollkeeper("users", "list", "-q", "kim@", "--json").json] == [made["id"]]
    assert tollkeeper("users", "remove", made["id"], "--yes").error == f"{made['id']} is removed.\n"
    assert tollkeeper("users", "show", made["id"]).code == 4


def test_roles_are_listed(tollkeeper: Tollkeeper) -> None:
    names = {row["name"] for row in tollkeeper("roles", "list", "--json").json}
    assert {"platform_admin", "tenant_admin", "developer", "finance", "auditor", "viewer"} <= names
    assert "tenant_admin" in tollkeeper("roles", "list").out
