"""The organisation that `tollkeeper demo` makes, as data, and made through the gateway's own API.

What is there already under its name is left as it is, so a second run adds nothing twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tollkeeper.commands.client import Client

_TAG: Final = "demo"


@dataclass(frozen=True)
class DemoModel:
    """A model that the simulator plays: its pace, its answers' length, and what it is charged at per million tokens."""

    name: str
    plays: str
    input_usd: str
    output_usd: str
    length: int
    seconds: float


@dataclass(frozen=True)
class DemoApp:
    """One application with a key of its own. `share` of its tenant's calls; `models` by how often it asks for them."""

    name: str
    team: str
    project: str
    share: int
    models: Mapping[str, int]
    prompt_tokens: int
    is_streaming: bool = True
    budget_usd: str | None = None
    requests_a_minute: int | None = None


@dataclass(frozen=True)
class DemoTenant:
    name: str
    monthly_budget_usd: str
    calls_a_day: int
    apps: tuple[DemoApp, ...]


@dataclass
class MadeApp:
    app: DemoApp
    key_id: str
    secret: str
    user_id: str | None
    team_id: str
    project_id: str


@dataclass
class MadeTenant:
    tenant: DemoTenant
    id: str
    apps: list[MadeApp]


MODELS: Final = (
    DemoModel("demo-large", "simulated-slow-600ms-pace-15ms-length-220", "2.50", "10.00", 220, 3.9),
    DemoModel("demo-small", "simulated-slow-150ms-pace-5ms-length-120", "0.15", "0.60", 120, 0.8),
    DemoModel("demo-reasoning", "simulated-reasoning-slow-900ms-pace-10ms-length-180", "1.10", "4.40", 212, 3.0),
    DemoModel("demo-flaky", "simulated-status-503", "0.30", "1.20", 0, 0.1),
)
TENANTS: Final = (
    DemoTenant(
        "Northwind Health",
        "900.00",
        1_400,
        (
            DemoApp(
                "patient-assistant",
                "Patient Services",
                "Assistant",
                6,
                {"demo-large": 5, "demo-small": 4},
                700,
                budget_usd="40.00",
            ),
            DemoApp(
                "claims-triage", "Claims", "Triage", 3, {"demo-small": 9, "demo-flaky": 1}, 1_500, is_streaming=False
            ),
            DemoApp("research-notebook", "Research", "Notebooks", 1, {"demo-reasoning": 1}, 2_600, budget_usd="15.00"),
        ),
    ),
    DemoTenant(
        "Contoso Retail",
        "400.00",
        2_600,
        (
            DemoApp("shop-search", "Storefront", "Search", 6, {"demo-small": 1}, 180, is_streaming=False),
            DemoApp("support-chat", "Customer Care", "Chat", 4, {"demo-large": 1, "demo-small": 3}, 900),
            DemoApp(
                "nightly-descriptions", "Catalogue", "Descriptions", 2, {"demo-small": 1}, 400, requests_a_minute=30
            ),
        ),
    ),
    DemoTenant(
        "Fabrikam Labs",
        "150.00",
        300,
        (
            DemoApp("code-review", "Platform", "Review", 3, {"demo-large": 1, "demo-reasoning": 2}, 3_200),
            DemoApp(
                "experiments", "Platform", "Sandbox", 1, {"demo-small": 1, "demo-flaky": 1}, 250, budget_usd="0.50"
            ),
        ),
    ),
)


def make_world(client: Client, tell: Callable[[str], None]) -> list[MadeTenant]:
    """Tenants with teams, projects, models, budgets and fresh keys. `tell` hears of each step."""
    there = {row["name"]: row for row in client.pages("/api/v1/tenants")}
    made = []
    for tenant in TENANTS:
        tell(tenant.name)
        row = there.get(tenant.name) or client.request(
            "POST", "/api/v1/tenants", {"name": tenant.name, "monthly_budget_usd": tenant.monthly_budget_usd}
        )
        made.append(MadeTenant(tenant, row["id"], _make_apps(client, tenant, row["id"], tell)))
    return made


def _make_apps(client: Client, tenant: DemoTenant, tenant_id: str, tell: Callable[[str], None]) -> list[MadeApp]:
    _make_models(client, tenant_id)
    teams = _Named(client, "/api/v1/teams", tenant_id)
    projects = _Named(client, "/api/v1/projects", tenant_id)
    budgets = _Named(client, "/api/v1/budgets", tenant_id)
    limits = _Named(client, "/api/v1/limits", tenant_id)
    keys = {row["name"]: row["id"] for row in client.pages("/api/v1/keys", tenant_id=tenant_id) if _is_usable(row)}
    apps = []
    for app in tenant.apps:
        tell(f"{tenant.name}: {app.name}")
        team_id = teams.id_of(app.team)
        project_id = projects.id_of(app.project, team_id=team_id)
        key = _make_key(client, tenant_id, project_id, app.name, keys.get(app.name))
        scope = {"kind": "project", "id": project_id}
        if app.budget_usd is not None:
            terms = {"scope": scope, "amount_usd": app.budget_usd, "window": "week", "mode": "hard"}
            budgets.id_of(f"{app.name}, a week", **terms)
        if app.requests_a_minute is not None:
            rate = {"scope": scope, "unit": "requests", "period": "minute", "amount": app.requests_a_minute}
            limits.id_of(f"{app.name}, a minute", **rate)
        apps.append(MadeApp(app, key["id"], key["key"], key.get("user_id"), team_id, project_id))
    return apps


def _is_usable(key: Mapping[str, Any]) -> bool:
    return key.get("revoked_at") is None and (key.get("tags") or {}).get("origin") == _TAG


def _make_key(client: Client, tenant_id: str, project_id: str, name: str, known: str | None) -> Any:
    """A secret is shown once, so the key of an earlier run gets another one."""
    if known is not None:
        return client.request("POST", f"/api/v1/keys/{known}/rotate", {})
    body = {"name": name, "tenant_id": tenant_id, "project_id": project_id, "tags": {"origin": _TAG}}
    return client.request("POST", "/api/v1/keys", body)


def _make_models(client: Client, tenant_id: str) -> None:
    there = {row["name"] for row in client.pages("/api/v1/catalog/models") if row["tenant_id"] == tenant_id}
    for model in MODELS:
        if model.name in there:
            continue
        price = {"input_per_million": model.input_usd, "output_per_million": model.output_usd}
        targets = [{"provider": "simulated", "model": model.plays}]
        client.request(
            "POST",
            "/api/v1/catalog/models",
            {"name": model.name, "tenant_id": tenant_id, "targets": targets, "price": price, "owned_by": _TAG},
        )


class _Named:
    """Objects of one kind in one tenant, found by their names or made."""

    def __init__(self, client: Client, path: str, tenant_id: str) -> None:
        self._client = client
        self._path = path
        self._tenant_id = tenant_id
        self._ids = {str(row["name"]): str(row["id"]) for row in client.pages(path, tenant_id=tenant_id)}

    def id_of(self, name: str, **fields: Any) -> str:
        if name not in self._ids:
            body = {"name": name, "tenant_id": self._tenant_id, **fields}
            self._ids[name] = str(self._client.request("POST", self._path, body)["id"])
        return self._ids[name]
