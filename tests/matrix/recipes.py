"""How to make one valid call of every route. A route without an entry here fails the build.

Path ids are made by the world, one fresh object for each call. Who may do it, and to what, does not stand here: that
follows from the permission which the route declares.
"""

import base64
import inspect
import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from tests.matrix.world import PASSWORD, Person, Side, World, shown
from tollkeeper.core import totp
from tollkeeper.core.permissions import GRANTABLE, Permission

_count = itertools.count()
_BRANCH: Final = {"provider": "simulated", "model": "simulated"}


@dataclass(frozen=True)
class Scene:
    """One call about to be made: who makes it, and which objects stand in its path."""

    world: World
    caller: Person
    side: Side
    ids: Mapping[str, UUID]

    def word(self) -> str:
        return f"made{next(_count)}-{self.side.canary}"


@dataclass(frozen=True)
class Recipe:
    # The body of a valid call; a callable where it must be new each time.
    body: Callable[[Scene], Any | Awaitable[Any]] | None = None
    query: Mapping[str, str] | None = None
    # Objects of a colleague are only for who holds this as well; what everybody else gets.
    colleagues: Permission | None = None
    colleagues_refusal: tuple[int, str] = (404, "not_found")
    # What is to be there before the call.
    before: Callable[[Scene], Awaitable[Any]] | None = None
    # Nobody reaches another person's, whatever they may.
    is_personal: bool = False
    # Acts on the caller's own session or account, so each call takes a new caller.
    is_own: bool = False
    # Members that a reference in the body needs beside it, by its first name.
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # What a key gets, where only a session makes sense.
    by_key: tuple[int, str] | None = None
    # For routes without a permission: why they have none.
    public: str | None = None
    # The tenant in the path is used up by the call.
    is_tenant_spent: bool = False
    # What a reference to an unknown object gets where many are taken at once, and the answer tells each one's fault.
    unknown_reference: int = 404
    # Ids in the path that stand for no row: every one of them is as good as any.
    rowless: frozenset[str] = frozenset()
    # Columns of the objects in the path, by prefix, where a fresh one will not do.
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _held(scene: Scene) -> str:
    """A permission the caller may give away."""
    return min(scene.caller.permissions & GRANTABLE, default=Permission.ME_VIEW).value


def _user(scene: Scene) -> Any:
    # The role that grants nothing: everybody may give it.
    return {"email": f"{scene.word()}@example.com", "role": scene.side.nobody}


async def _project(scene: Scene) -> Any:
    """In a team that the caller maintains."""
    team_id = await scene.world.make("team", scene.caller.side, scene.caller, {})
    return {"name": scene.word(), "team_id": shown("team", team_id)}


async def _limit(scene: Scene) -> Any:
    """Of a team of its own: there is an end to the rules of one holder."""
    team_id = await scene.world.make("team", scene.caller.side, scene.caller, {})
    scope = {"kind": "team", "id": shown("team", team_id)}
    return {"name": scene.word(), "scope": scope, "unit": "requests", "amount": 1000, "period": "minute"}


async def _budget(scene: Scene) -> Any:
    team_id = await scene.world.make("team", scene.caller.side, scene.caller, {})
    scope = {"kind": "team", "id": shown("team", team_id)}
    return {"name": scene.word(), "scope": scope, "amount_usd": "1000", "window": "month"}


async def _binding(scene: Scene) -> Any:
    key_id = await scene.world.make("key", scene.side, scene.caller if scene.caller.side == scene.side else None, {})
    return {"name": scene.word(), "key_id": shown("key", key_id), "claims": {"sub": "x"}}


async def _exemption(scene: Scene) -> Any:
    owner = scene.caller if scene.caller.side == scene.side else None
    key_id = await scene.world.make("key", scene.side, owner, {})
    until = datetime.now(UTC) + timedelta(days=1)
    return {"rule": "pii", "key": shown("key", key_id), "reason": scene.word(), "expires_at": until.isoformat()}


async def _room_for_policies(scene: Scene) -> None:
    """There is an end to those of a tenant."""
    await scene.world.remove_guardrail_policies(scene.side)


def _import(scene: Scene) -> Any:
    return {"keys": [{"name": scene.word(), "sha256": secrets.token_hex(32), "scopes": ["admin"]}]}


# ── Oneself: the same calls as a person makes them; who may not make them gets nothing to work with. ──


async def _password(scene: Scene) -> Any:
    return {"password": await scene.world.set_password(scene.caller.user_id)}


async def _new_password(scene: Scene) -> Any:
    current = await scene.world.set_password(scene.caller.user_id)
    return {"current_password": current, "new_password": f"{scene.word()} and more"}


async def _other_tenant(scene: Scene) -> Any:
    side = await scene.world.new_side()
    await scene.world.join(scene.caller.user_id, side)
    return {"tenant_id": shown("ten", side.tenant_id)}


async def _first_code(scene: Scene) -> Any:
    begun = await scene.world.ask("POST", "/api/v1/me/second-factor", scene.caller.token)
    if begun.status_code != 201:
        return {"code": "000000"}
    secret = begun.json()["secret"]
    raw = base64.b32decode(secret + "=" * (-len(secret) % 8))
    return {"code": totp.code_at(raw, int(scene.world.services.clock.unix()) // totp.STEP_SECONDS)}


async def _set_up_factor(scene: Scene) -> list[str]:
    """The recovery codes; the session goes on under another token."""
    sent = orjson.dumps(await _first_code(scene))
    headers = {"content-type": "application/json"}
    path = "/api/v1/me/second-factor/confirm"
    done = await scene.world.ask("POST", path, scene.caller.token, content=sent, headers=headers)
    if done.status_code != 200:
        return ["0000-0000-0000-0000"]
    scene.caller.token = done.json()["session"]["access_token"]
    codes: list[str] = done.json()["recovery_codes"]
    return codes


async def _recovery_code(scene: Scene) -> Any:
    return {"code": (await _set_up_factor(scene))[0]}


_GROUPS: Final = {"group_map": {"group_claim": "groups"}}
_SERVICE: Final = {"usr": {"kind": "service"}}
_PRICE = {"input_per_million": "1", "output_per_million": "2"}
_TARGETS = [{"provider": "simulated", "model": "simulated"}]

_MAINTAINED: Final[dict[str, Any]] = {
    "colleagues": Permission.TEAMS_UPDATE,
    "colleagues_refusal": (403, "not_maintainer"),
}

RECIPES: Final[dict[str, Recipe]] = {
    # Open to everybody
    "GET /health/live": Recipe(public="probes"),
    "GET /health/ready": Recipe(public="probes"),
    "GET /metrics": Recipe(public="scrapers"),
    "GET /openapi.json": Recipe(public="documentation"),
    "GET /": Recipe(public="what this is"),
    "GET /console": Recipe(public="a page that knows nothing by itself"),
    "GET /console/{path:path}": Recipe(public="pages that know nothing by themselves"),
    "POST /api/v1/auth/login": Recipe(
        public="the password is the credential", body=lambda scene: {"email": "a@b.c", "password": "x"}
    ),
    "POST /api/v1/auth/refresh": Recipe(public="the cookie is the credential"),
    "POST /api/v1/auth/password-reset": Recipe(public="who forgot it", body=lambda scene: {"email": "a@b.c"}),
    "POST /api/v1/auth/password-reset/complete": Recipe(
        public="the link's token is the credential", body=lambda scene: {"token": "x", "new_password": PASSWORD}
    ),
    "POST /api/v1/auth/register": Recipe(
        public="newcomers, where the operator lets them",
        body=lambda scene: {"email": "a@b.c", "password": PASSWORD, "name": "A", "organisation": "B"},
    ),
    "POST /api/v1/auth/verify-email": Recipe(
        public="the link's token is the credential", body=lambda scene: {"token": "x"}
    ),
    # Oneself
    "POST /api/v1/auth/logout": Recipe(is_own=True, by_key=(400, "no_session")),
    "POST /api/v1/auth/logout-everywhere": Recipe(is_own=True),
    "POST /api/v1/auth/password": Recipe(is_own=True, body=_new_password),
    "POST /api/v1/auth/step-up": Recipe(is_own=True, body=_password),
    "POST /api/v1/auth/switch": Recipe(is_own=True, body=_other_tenant, by_key=(400, "no_session")),
    "GET /api/v1/bootstrap": Recipe(),
    "GET /api/v1/events": Recipe(),
    "GET /api/v1/me": Recipe(),
    "GET /api/v1/me/sessions": Recipe(),
    "DELETE /api/v1/me/sessions/{session_id}": Recipe(is_personal=True),
    "GET /api/v1/me/identities": Recipe(),
    "DELETE /api/v1/me/identities/{identity_id}": Recipe(is_personal=True),
    "GET /api/v1/me/second-factor": Recipe(),
    "POST /api/v1/me/second-factor": Recipe(is_own=True),
    "POST /api/v1/me/second-factor/confirm": Recipe(is_own=True, body=_first_code),
    "POST /api/v1/me/second-factor/recovery-codes": Recipe(is_own=True, before=_set_up_factor),
    "DELETE /api/v1/me/second-factor": Recipe(is_own=True, body=_recovery_code),
    # Tenants
    "GET /api/v1/tenants": Recipe(),
    "POST /api/v1/tenants": Recipe(body=lambda scene: {"name": scene.word()}),
    "GET /api/v1/tenants/{tenant_id}": Recipe(),
    "PATCH /api/v1/tenants/{tenant_id}": Recipe(body=lambda scene: {"email": f"{scene.word()}@example.com"}),
    "DELETE /api/v1/tenants/{tenant_id}": Recipe(is_tenant_spent=True),
    "GET /api/v1/tenants/flags": Recipe(),
    "POST /api/v1/tenants/{tenant_id}/suspend": Recipe(
        body=lambda scene: {"reason": scene.word()}, is_tenant_spent=True
    ),
    "POST /api/v1/tenants/{tenant_id}/resume": Recipe(is_tenant_spent=True),
    # Users
    "GET /api/v1/users": Recipe(),
    "POST /api/v1/users": Recipe(body=_user),
    "GET /api/v1/users/{user_id}": Recipe(),
    "PATCH /api/v1/users/{user_id}": Recipe(body=lambda scene: {"name": scene.word()}),
    "DELETE /api/v1/users/{user_id}": Recipe(),
    "POST /api/v1/users/{user_id}/password-reset": Recipe(),
    "DELETE /api/v1/users/{user_id}/second-factor": Recipe(columns={"usr": {"has_factor": True}}),
    "DELETE /api/v1/users/{user_id}/sessions": Recipe(),
    # Invitations and service accounts
    "GET /api/v1/invitations": Recipe(),
    "POST /api/v1/invitations": Recipe(body=_user),
    "POST /api/v1/invitations/accept": Recipe(
        public="the link's token is the credential", body=lambda scene: {"token": "x"}
    ),
    "GET /api/v1/invitations/{invitation_id}": Recipe(),
    "DELETE /api/v1/invitations/{invitation_id}": Recipe(),
    "POST /api/v1/invitations/{invitation_id}/resend": Recipe(),
    "GET /api/v1/service-accounts": Recipe(),
    "POST /api/v1/service-accounts": Recipe(body=lambda scene: {"name": scene.word(), "role": scene.side.nobody}),
    "GET /api/v1/service-accounts/{user_id}": Recipe(columns=_SERVICE),
    "PATCH /api/v1/service-accounts/{user_id}": Recipe(body=lambda scene: {"name": scene.word()}, columns=_SERVICE),
    "DELETE /api/v1/service-accounts/{user_id}": Recipe(columns=_SERVICE),
    # Identity providers
    "GET /api/v1/auth/oidc": Recipe(public="the sign-in page"),
    "GET /api/v1/auth/oidc/callback": Recipe(public="the issuer's code is the credential"),
    "GET /api/v1/auth/oidc/{provider_id}/start": Recipe(public="the way to the issuer"),
    "GET /api/v1/identity-providers": Recipe(),
    "POST /api/v1/identity-providers": Recipe(
        body=lambda scene: {"name": scene.word(), "issuer": "https://127.0.0.1:9", "client_id": "x"},
        beside=_GROUPS,
        unknown_reference=422,
    ),
    "GET /api/v1/identity-providers/{provider_id}": Recipe(),
    "PATCH /api/v1/identity-providers/{provider_id}": Recipe(
        body=lambda scene: {"name": scene.word()}, beside=_GROUPS, unknown_reference=422
    ),
    "DELETE /api/v1/identity-providers/{provider_id}": Recipe(),
    "POST /api/v1/identity-providers/{provider_id}/test": Recipe(),
    "GET /api/v1/identity-providers/{provider_id}/bindings": Recipe(),
    "POST /api/v1/identity-providers/{provider_id}/bindings": Recipe(body=_binding),
    "GET /api/v1/identity-providers/{provider_id}/bindings/{binding_id}": Recipe(),
    "PATCH /api/v1/identity-providers/{provider_id}/bindings/{binding_id}": Recipe(
        body=lambda scene: {"name": scene.word()}
    ),
    "DELETE /api/v1/identity-providers/{provider_id}/bindings/{binding_id}": Recipe(),
    # Roles
    "GET /api/v1/roles": Recipe(),
    "POST /api/v1/roles": Recipe(body=lambda scene: {"name": scene.word(), "permissions": [_held(scene)]}),
    "GET /api/v1/roles/permissions": Recipe(),
    "GET /api/v1/roles/{role_id}": Recipe(),
    "PATCH /api/v1/roles/{role_id}": Recipe(body=lambda scene: {"description": scene.word()}),
    "DELETE /api/v1/roles/{role_id}": Recipe(),
    # Teams and projects
    "GET /api/v1/teams": Recipe(),
    "POST /api/v1/teams": Recipe(body=lambda scene: {"name": scene.word()}),
    "GET /api/v1/teams/{team_id}": Recipe(),
    "PATCH /api/v1/teams/{team_id}": Recipe(body=lambda scene: {"name": scene.word()}, **_MAINTAINED),
    "DELETE /api/v1/teams/{team_id}": Recipe(),
    "GET /api/v1/teams/{team_id}/members": Recipe(),
    "PUT /api/v1/teams/{team_id}/members/{user_id}": Recipe(body=lambda scene: {"role": "member"}, **_MAINTAINED),
    "DELETE /api/v1/teams/{team_id}/members/{user_id}": Recipe(**_MAINTAINED),
    "GET /api/v1/projects": Recipe(),
    "POST /api/v1/projects": Recipe(body=_project),
    "GET /api/v1/projects/{project_id}": Recipe(),
    "PATCH /api/v1/projects/{project_id}": Recipe(body=lambda scene: {"name": scene.word()}, **_MAINTAINED),
    "DELETE /api/v1/projects/{project_id}": Recipe(**_MAINTAINED),
    # Keys
    "GET /api/v1/keys": Recipe(),
    "POST /api/v1/keys": Recipe(body=lambda scene: {"name": scene.word(), "scopes": ["admin"]}),
    "POST /api/v1/keys/import": Recipe(body=_import, unknown_reference=409),
    "GET /api/v1/keys/{key_id}/effective": Recipe(colleagues=Permission.USERS_VIEW),
    "GET /api/v1/keys/{key_id}": Recipe(colleagues=Permission.USERS_VIEW),
    "PATCH /api/v1/keys/{key_id}": Recipe(
        body=lambda scene: {"name": scene.word()}, colleagues=Permission.USERS_UPDATE
    ),
    "DELETE /api/v1/keys/{key_id}": Recipe(colleagues=Permission.USERS_UPDATE),
    "POST /api/v1/keys/{key_id}/revoke": Recipe(colleagues=Permission.USERS_UPDATE),
    # An admin key of another person is nobody's to rotate, so these have the other scope.
    "POST /api/v1/keys/{key_id}/rotate": Recipe(
        colleagues=Permission.USERS_UPDATE, columns={"key": {"scopes": ["inference"]}}
    ),
    "POST /api/v1/keys/{key_id}/runs": Recipe(
        body=lambda scene: {"name": scene.word(), "expires_in_seconds": 60},
        colleagues=Permission.USERS_UPDATE,
        columns={"key": {"scopes": ["inference"]}},
    ),
    "DELETE /api/v1/keys/{key_id}/runs/{run_id}": Recipe(
        colleagues=Permission.USERS_UPDATE, rowless=frozenset({"run_id"})
    ),
    # Catalogue
    "GET /api/v1/catalog/providers/kinds": Recipe(),
    "GET /api/v1/catalog/providers": Recipe(),
    "POST /api/v1/catalog/providers": Recipe(
        body=lambda scene: {"name": scene.word(), "kind": "openai", "api_key": "sk-x"}
    ),
    "GET /api/v1/catalog/providers/{provider_id}": Recipe(),
    "PATCH /api/v1/catalog/providers/{provider_id}": Recipe(body=lambda scene: {"is_active": False}),
    "DELETE /api/v1/catalog/providers/{provider_id}": Recipe(),
    "POST /api/v1/catalog/providers/{provider_id}/test": Recipe(),
    "POST /api/v1/catalog/providers/{provider_id}/credentials": Recipe(
        body=lambda scene: {"name": scene.word(), "secret": "sk-y"}
    ),
    "DELETE /api/v1/catalog/providers/{provider_id}/credentials/{credential_id}": Recipe(),
    "GET /api/v1/catalog/models": Recipe(),
    "POST /api/v1/catalog/models": Recipe(body=lambda scene: {"name": scene.word(), "targets": _TARGETS}),
    "GET /api/v1/catalog/models/{model_id}": Recipe(),
    "PATCH /api/v1/catalog/models/{model_id}": Recipe(body=lambda scene: {"owned_by": "somebody"}),
    "DELETE /api/v1/catalog/models/{model_id}": Recipe(),
    "GET /api/v1/catalog/prices": Recipe(),
    "POST /api/v1/catalog/prices": Recipe(body=lambda scene: {"model": scene.word(), **_PRICE}),
    "POST /api/v1/catalog/prices/update": Recipe(
        body=lambda scene: {
            "apply": True,
            "price_list": {
                "vendors": [
                    {
                        "kind": "openai",
                        "source": "https://prices.example",
                        "checked": "2026-11-01",
                        "models": [{"model": scene.word(), **_PRICE}],
                    }
                ]
            },
        }
    ),
    "GET /api/v1/catalog/prices/{price_id}": Recipe(),
    "GET /api/v1/catalog/price-list": Recipe(),
    "GET /api/v1/catalog/price-adjustments": Recipe(),
    "POST /api/v1/catalog/price-adjustments": Recipe(body=lambda scene: {"model": scene.word(), "factor": "1.2"}),
    "GET /api/v1/catalog/price-adjustments/{adjustment_id}": Recipe(),
    "PATCH /api/v1/catalog/price-adjustments/{adjustment_id}": Recipe(body=lambda scene: {"factor": "0.85"}),
    "DELETE /api/v1/catalog/price-adjustments/{adjustment_id}": Recipe(),
    "POST /api/v1/catalog/reload": Recipe(),
    # Where calls go
    "GET /api/v1/route-policies": Recipe(),
    "POST /api/v1/route-policies": Recipe(body=lambda scene: {"name": scene.word(), "branches": [_BRANCH]}),
    "GET /api/v1/route-policies/{policy_id}": Recipe(),
    "PATCH /api/v1/route-policies/{policy_id}": Recipe(body=lambda scene: {"description": scene.word()}),
    "DELETE /api/v1/route-policies/{policy_id}": Recipe(),
    "POST /api/v1/route-policies/{policy_id}/publish": Recipe(),
    "POST /api/v1/route-policies/{policy_id}/rollback": Recipe(body=lambda scene: {}),
    "GET /api/v1/route-policies/{policy_id}/versions": Recipe(),
    "POST /api/v1/router/explain": Recipe(body=lambda scene: {"model": "simulated"}),
    "GET /api/v1/router/health": Recipe(),
    "POST /api/v1/router/breakers/reset": Recipe(body=lambda scene: {"provider": "simulated"}),
    # What may be said
    "GET /api/v1/guardrails/rules": Recipe(),
    "POST /api/v1/guardrails/test": Recipe(body=lambda scene: {"text": scene.word(), "starter": "baseline"}),
    "GET /api/v1/guardrails/events": Recipe(),
    "GET /api/v1/guardrail-policies": Recipe(),
    "POST /api/v1/guardrail-policies": Recipe(
        body=lambda scene: {"name": scene.word()[:63], "rules": [{"rule": "pii"}]}, before=_room_for_policies
    ),
    "GET /api/v1/guardrail-policies/{policy_id}": Recipe(),
    "PATCH /api/v1/guardrail-policies/{policy_id}": Recipe(body=lambda scene: {"description": scene.word()}),
    "DELETE /api/v1/guardrail-policies/{policy_id}": Recipe(),
    "POST /api/v1/guardrail-policies/{policy_id}/publish": Recipe(),
    "POST /api/v1/guardrail-policies/{policy_id}/rollback": Recipe(body=lambda scene: {}),
    "GET /api/v1/guardrail-policies/{policy_id}/versions": Recipe(),
    "POST /api/v1/guardrail-policies/{policy_id}/dry-run": Recipe(
        body=lambda scene: {"texts": [{"text": scene.word()}]}
    ),
    "GET /api/v1/guardrail-policies/{policy_id}/attachments": Recipe(),
    "POST /api/v1/guardrail-policies/{policy_id}/attachments": Recipe(
        body=lambda scene: {"model": scene.word()},
        beside={level: {"model": None} for level in ("tenant", "team", "project", "key")},
    ),
    "DELETE /api/v1/guardrail-policies/{policy_id}/attachments/{attachment_id}": Recipe(),
    "GET /api/v1/guardrail-policies/{policy_id}/exemptions": Recipe(),
    "POST /api/v1/guardrail-policies/{policy_id}/exemptions": Recipe(body=_exemption),
    "DELETE /api/v1/guardrail-policies/{policy_id}/exemptions/{exemption_id}": Recipe(),
    # What is given again
    "GET /api/v1/cache/stats": Recipe(),
    "GET /api/v1/cache/entries": Recipe(),
    "GET /api/v1/cache/neighbours": Recipe(query={"entry": "ab" * 32}),
    "POST /api/v1/cache/purge": Recipe(body=lambda scene: {"model": scene.word()}),
    "POST /api/v1/cache/wrong": Recipe(body=lambda scene: {"entry": "ab" * 32}),
    # What happened
    "GET /api/v1/audit": Recipe(),
    "GET /api/v1/audit/export": Recipe(),
    "GET /api/v1/audit/verify": Recipe(),
    "GET /api/v1/usage": Recipe(),
    "GET /api/v1/usage/records": Recipe(),
    "GET /api/v1/usage/export": Recipe(),
    "GET /api/v1/requests": Recipe(),
    "GET /api/v1/requests/{request_id}": Recipe(),
    # Limits and budgets
    "GET /api/v1/limits": Recipe(),
    "POST /api/v1/limits": Recipe(body=_limit),
    "GET /api/v1/limits/{limit_id}": Recipe(),
    "GET /api/v1/limits/{limit_id}/status": Recipe(),
    "PATCH /api/v1/limits/{limit_id}": Recipe(body=lambda scene: {"name": scene.word()}),
    "DELETE /api/v1/limits/{limit_id}": Recipe(),
    "GET /api/v1/budgets": Recipe(),
    "POST /api/v1/budgets": Recipe(body=_budget),
    "GET /api/v1/budgets/{budget_id}": Recipe(),
    "GET /api/v1/budgets/{budget_id}/status": Recipe(),
    "GET /api/v1/budgets/{budget_id}/holds": Recipe(),
    "PATCH /api/v1/budgets/{budget_id}": Recipe(body=lambda scene: {"name": scene.word()}),
    "DELETE /api/v1/budgets/{budget_id}": Recipe(),
    "GET /api/v1/jobs": Recipe(),
    "GET /api/v1/jobs/{job_id}": Recipe(),
    "POST /api/v1/jobs/{job_id}/cancel": Recipe(),
    "POST /api/v1/jobs/{job_id}/retry": Recipe(columns={"job": {"status": "dead"}}),
}


async def body_of(recipe: Recipe, scene: Scene) -> Any:
    if recipe.before is not None:
        await recipe.before(scene)
    body = None if recipe.body is None else recipe.body(scene)
    return await body if inspect.isawaitable(body) else body


def path_of(template: str, prefixes: Mapping[str, str | None], ids: Mapping[str, UUID]) -> str:
    path = template
    for name, prefix in prefixes.items():
        value = ids[name]
        path = path.replace(f"{{{name}}}", shown(prefix, value) if prefix else str(value))
    return path
