"""`limits:` and `budgets:` of the configuration file: what they become, how mistakes are named, and that the file decides."""

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.domains.catalog.kinds import KINDS
from tests.domains.control_plane import ControlPlane
from tollkeeper.configuration import ConfigError, load_configuration
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Budget, Limit, Team, Tenant
from tollkeeper.domains.budgets.declared import FileRules
from tollkeeper.domains.limits.schemas import DeclaredRule

RULES = """\
limits:
  - name: Search a minute
    tenant: {slug}
    scope: {{kind: team, name: SEARCH}}
    amount: 600
    period: minute
  - name: Everybody at once
    tenant: {slug}
    scope: {{kind: user}}
    unit: parallel
    amount: 4
budgets:
  - name: Search a month
    tenant: {slug}
    scope: {{kind: team, name: search}}
    amount_usd: 250.50
    window: month
    time_zone: Europe/Berlin
    thresholds: [50]
  - name: Night
    tenant: {tenant_id}
    scope: {{kind: tag, value: job=night}}
    amount_usd: "3"
    window: custom
    window_seconds: 3600
    anchor: 2026-01-01T22:00:00Z
    mode: soft
    increase_usd: 2
    increase_until: 2099-01-01T00:00:00Z
"""


def read(folder: Path, text: str) -> tuple[DeclaredRule, ...]:
    path = folder / "tollkeeper.yaml"
    path.write_text(text, encoding="utf-8")
    return load_configuration(path, {}, kinds=KINDS).rules


async def slug_of(plane: ControlPlane) -> str:
    async with plane.database.platform() as session:
        return (await session.get_one(Tenant, plane.tenant_id)).slug


async def stored(plane: ControlPlane, table: type[Limit] | type[Budget]) -> dict[str, Limit | Budget]:
    async with plane.database.platform() as session:
        rows = await session.scalars(select(table).where(table.managed_by == "file"))
        return {row.name: row for row in rows}  # type: ignore[attr-defined, misc]


async def new_team(plane: ControlPlane, name: str) -> UUID:
    async with plane.database.platform() as session:
        team = Team(id=uuid7(), tenant_id=plane.tenant_id, name=name)
        session.add(team)
    return team.id


async def test_the_file_decides_and_is_followed(plane: ControlPlane, tmp_path: Path) -> None:
    slug, tenant = await slug_of(plane), format_id("ten", plane.tenant_id)
    text = RULES.format(slug=slug, tenant_id=tenant)
    rules = FileRules(plane.database, plane.clock)
    rules.replace(read(tmp_path, text))
    await rules.apply()
    # The team is not there yet: what is about it waits, the rest holds.
    assert (await stored(plane, Limit)).keys() == {"Everybody at once"}
    team_id = await new_team(plane, "Search")
    await rules.apply()
    limits, budgets = await stored(plane, Limit), await stored(plane, Budget)
    assert (limits["Search a minute"].team_id, limits["Everybody at once"].scope) == (team_id, "user")
    month, night = budgets["Search a month"], budgets["Night"]
    assert isinstance(month, Budget)
    assert isinstance(night, Budget)
    assert (month.amount_nano, month.time_zone, month.thresholds, month.is_hard) == (
        250_500_000_000, "Europe/Berlin", [50], True,
    )  # fmt: skip
    assert (night.seconds, night.is_hard, night.increase_nano, night.value) == (3600, False, 2_000_000_000, "job=night")
    versions = {row.id: row.version for row in (*limits.values(), *budgets.values())}
    await rules.apply()
    assert {row.id: row.version for row in (await stored(plane, Limit)).values()}.items() <= versions.items()

    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        path = f"/api/v1/budgets/{format_id('bud', month.id)}"
        shown = (await admin.get(path)).json()
        refused = [await admin.patch(path, json={"amount_usd": "1"}), await admin.delete(path)]
    assert (shown["managed_by"], shown["declared_at"]) == ("file", month.place)
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(409, "managed_elsewhere")] * 2
    assert str(month.place) in refused[0].json()["detail"]
    assert "tollkeeper.yaml:" in str(month.place)

    rules.replace(read(tmp_path, text.replace("250.50", "9").replace("thresholds: [50]", "")))
    await rules.apply()
    changed = (await stored(plane, Budget))["Search a month"]
    assert isinstance(changed, Budget)
    assert (changed.id, changed.amount_nano, changed.thresholds) == (month.id, 9_000_000_000, [80, 100])
    assert await plane.audited(format_id("bud", month.id)) == ["budgets.create", "budgets.update"]
    rules.replace(())
    await rules.apply()
    assert await stored(plane, Limit) == await stored(plane, Budget) == {}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("scope: {kind: galaxy}", "scope.kind"),
        ("scope: {kind: key, name: x}", "only team, project, user, tenant have names"),
        ("scope: {kind: key, id: usr_1}", "expected"),
        ("scope: {kind: tag, value: night}", "a tag is written name=value"),
        ("scope: {kind: team, name: x, id: y}", "use one of id, name and value"),
        ("scope: {kind: tenant}\n    amout: 3", "did you mean amount?"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, lines: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"limits:\n  - name: a\n    tenant: acme\n    amount: 5\n    period: minute\n    {lines}\n")
    said = "\n".join(str(problem) for problem in caught.value.problems)
    assert told in said
    assert "tollkeeper.yaml:" in said


def test_a_rule_without_a_tenant_is_the_platforms(tmp_path: Path) -> None:
    text = "limits:\n  - name: a\n    amount: 5\n    period: minute\n    scope: {kind: %s, value: x}\n"
    (rule,) = read(tmp_path, text % "provider")
    assert (rule.tenant, rule.value) == (None, "x")
    with pytest.raises(ConfigError, match="add tenant"):
        read(tmp_path, text % "end_user")
    with pytest.raises(ConfigError, match="the same name"):
        read(tmp_path, text % "provider" + (text % "provider").removeprefix("limits:\n"))
