"""What may be done, who may do it: permissions, the built-in roles and the scopes of keys as bundles of permissions.

Every control-plane route declares exactly one permission; a route without one fails the build. A key's scopes never
grant more than its owner's role does: the two sets are intersected at each use. A tenant's own roles are bundles too, of
what its administrator may do at most.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Permission(StrEnum):
    GATEWAY_USE = "gateway:use"
    ME_VIEW = "me:view"
    ME_UPDATE = "me:update"
    API_KEYS_VIEW = "api_keys:view"
    API_KEYS_CREATE = "api_keys:create"
    API_KEYS_UPDATE = "api_keys:update"
    API_KEYS_DELETE = "api_keys:delete"
    API_KEYS_IMPORT = "api_keys:import"
    USERS_VIEW = "users:view"
    USERS_CREATE = "users:create"
    USERS_UPDATE = "users:update"
    USERS_DELETE = "users:delete"
    TENANTS_VIEW = "tenants:view"
    TENANTS_CREATE = "tenants:create"
    TENANTS_UPDATE = "tenants:update"
    TENANTS_DELETE = "tenants:delete"
    TEAMS_VIEW = "teams:view"
    TEAMS_CREATE = "teams:create"
    TEAMS_UPDATE = "teams:update"
    TEAMS_DELETE = "teams:delete"
    # The name and the people of the teams one maintains; of every team, and its limits, with teams:update.
    TEAMS_MAINTAIN = "teams:maintain"
    PROJECTS_VIEW = "projects:view"
    # In the teams one maintains; everywhere with teams:update.
    PROJECTS_CREATE = "projects:create"
    PROJECTS_UPDATE = "projects:update"
    PROJECTS_DELETE = "projects:delete"
    ROLES_VIEW = "roles:view"
    ROLES_CREATE = "roles:create"
    ROLES_UPDATE = "roles:update"
    ROLES_DELETE = "roles:delete"
    IDENTITY_PROVIDERS_VIEW = "identity_providers:view"
    IDENTITY_PROVIDERS_UPDATE = "identity_providers:update"
    CATALOG_VIEW = "catalog:view"
    CATALOG_UPDATE = "catalog:update"
    # How targets are, and where a call would go.
    ROUTER_VIEW = "router:view"
    ROUTER_UPDATE = "router:update"
    GUARDRAILS_VIEW = "guardrails:view"
    GUARDRAILS_TEST = "guardrails:test"
    # The tenant's own; the platform's take platform:all_tenants as well.
    GUARDRAILS_UPDATE = "guardrails:update"
    CACHE_VIEW = "cache:view"
    # Purging, and marking an answer as wrong.
    CACHE_MANAGE = "cache:manage"
    USAGE_VIEW = "usage:view"
    REQUESTS_VIEW = "requests:view"
    # Of the whole tenant for who sees the tenant; for others the rules that their own calls meet.
    LIMITS_VIEW = "limits:view"
    LIMITS_CREATE = "limits:create"
    LIMITS_UPDATE = "limits:update"
    LIMITS_DELETE = "limits:delete"
    BUDGETS_VIEW = "budgets:view"
    BUDGETS_CREATE = "budgets:create"
    BUDGETS_UPDATE = "budgets:update"
    BUDGETS_DELETE = "budgets:delete"
    AUDIT_VIEW = "audit:view"
    AUDIT_EXPORT = "audit:export"
    JOBS_VIEW = "jobs:view"
    JOBS_UPDATE = "jobs:update"
    SYSTEM_UPDATE = "system:update"
    # Acts on every tenant; without it each of the others stops at the caller's own tenant.
    PLATFORM = "platform:all_tenants"


class Role(StrEnum):
    PLATFORM_ADMIN = "platform_admin"
    TENANT_ADMIN = "tenant_admin"
    DEVELOPER = "developer"
    FINANCE = "finance"
    AUDITOR = "auditor"
    VIEWER = "viewer"


class Scope(StrEnum):
    """What a key may be used for; the first key has both."""

    INFERENCE = "inference"
    ADMIN = "admin"


# The name in `members.role` of a role the tenant made itself.
CUSTOM: Final = "custom"

_ALL: Final = frozenset(Permission)
_OWN: Final = frozenset({Permission.ME_VIEW, Permission.ME_UPDATE})
_VIEW: Final = _OWN | frozenset(
    {
        Permission.TEAMS_VIEW,
        Permission.PROJECTS_VIEW,
        Permission.ROLES_VIEW,
        Permission.API_KEYS_VIEW,
        Permission.USERS_VIEW,
        Permission.TENANTS_VIEW,
        Permission.CATALOG_VIEW,
        Permission.ROUTER_VIEW,
        Permission.GUARDRAILS_VIEW,
        Permission.CACHE_VIEW,
        Permission.USAGE_VIEW,
        Permission.REQUESTS_VIEW,
        Permission.LIMITS_VIEW,
        Permission.BUDGETS_VIEW,
    }
)

ROLE_PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {
        Role.PLATFORM_ADMIN: _ALL,
        Role.TENANT_ADMIN: _ALL
        - {
            Permission.PLATFORM,
            Permission.TENANTS_CREATE,
            Permission.TENANTS_DELETE,
            Permission.CATALOG_UPDATE,
            Permission.ROUTER_UPDATE,
            Permission.JOBS_VIEW,
            Permission.JOBS_UPDATE,
            Permission.SYSTEM_UPDATE,
        },
        Role.DEVELOPER: _OWN
        | frozenset(
            {
                Permission.GATEWAY_USE,
                Permission.TEAMS_VIEW,
                Permission.TEAMS_MAINTAIN,
                Permission.PROJECTS_VIEW,
                Permission.PROJECTS_CREATE,
                Permission.PROJECTS_UPDATE,
                Permission.PROJECTS_DELETE,
                Permission.API_KEYS_VIEW,
                Permission.API_KEYS_CREATE,
                Permission.API_KEYS_UPDATE,
                Permission.API_KEYS_DELETE,
                Permission.CATALOG_VIEW,
                Permission.ROUTER_VIEW,
                Permission.GUARDRAILS_VIEW,
                Permission.GUARDRAILS_TEST,
                Permission.USAGE_VIEW,
                Permission.REQUESTS_VIEW,
                Permission.LIMITS_VIEW,
                Permission.BUDGETS_VIEW,
            }
        ),
        Role.FINANCE: _OWN
        | frozenset(
            {
                Permission.TENANTS_VIEW,
                Permission.TEAMS_VIEW,
                Permission.PROJECTS_VIEW,
                Permission.CATALOG_VIEW,
                Permission.USAGE_VIEW,
                Permission.LIMITS_VIEW,
                Permission.BUDGETS_VIEW,
                Permission.BUDGETS_CREATE,
                Permission.BUDGETS_UPDATE,
                Permission.BUDGETS_DELETE,
            }
        ),
        Role.AUDITOR: _VIEW | {Permission.AUDIT_VIEW, Permission.AUDIT_EXPORT, Permission.IDENTITY_PROVIDERS_VIEW},
        Role.VIEWER: _VIEW,
    }
)

SCOPE_PERMISSIONS: Final[Mapping[Scope, frozenset[Permission]]] = MappingProxyType(
    {
        # A program may ask what is left for it.
        Scope.INFERENCE: frozenset(
            {Permission.GATEWAY_USE, Permission.ME_VIEW, Permission.LIMITS_VIEW, Permission.BUDGETS_VIEW}
        ),
        # A key is nobody's hand: passwords, second factors and sessions stay with the person.
        Scope.ADMIN: _ALL - {Permission.GATEWAY_USE, Permission.ME_UPDATE},
    }
)


# What a tenant's own role may hold.
GRANTABLE: Final = ROLE_PERMISSIONS[Role.TENANT_ADMIN]


def permissions_of(role: str, custom: Collection[str] | None = None) -> frozenset[Permission]:
    """What a member's role grants; `custom` is what the tenant wrote into its own role, names we do not know included."""
    if role != CUSTOM:
        return ROLE_PERMISSIONS[Role(role)]
    named = frozenset(custom or ())
    return frozenset(permission for permission in GRANTABLE if permission.value in named)


def permissions_of_key(role_permissions: frozenset[Permission], scopes: Iterable[Scope]) -> frozenset[Permission]:
    """The owner's role bounds what the key's scopes may grant: demoting the owner demotes the key."""
    granted: frozenset[Permission] = frozenset()
    for scope in scopes:
        granted |= SCOPE_PERMISSIONS[scope]
    return granted & role_permissions
