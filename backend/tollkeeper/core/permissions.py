"""What may be done, who may do it: permissions, the built-in roles and the scopes of keys as bundles of permissions.

Every control-plane route declares exactly one permission; a route without one fails the build. A key's scopes never
grant more than its owner's role does: the two sets are intersected at each use.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Permission(StrEnum):
    GATEWAY_USE = "gateway:use"
    ME_VIEW = "me:view"
    API_KEYS_VIEW = "api_keys:view"
    API_KEYS_CREATE = "api_keys:create"
    API_KEYS_UPDATE = "api_keys:update"
    API_KEYS_DELETE = "api_keys:delete"
    USERS_VIEW = "users:view"
    USERS_CREATE = "users:create"
    USERS_UPDATE = "users:update"
    USERS_DELETE = "users:delete"
    TENANTS_VIEW = "tenants:view"
    TENANTS_CREATE = "tenants:create"
    TENANTS_UPDATE = "tenants:update"
    CATALOG_VIEW = "catalog:view"
    CATALOG_UPDATE = "catalog:update"
    USAGE_VIEW = "usage:view"
    AUDIT_VIEW = "audit:view"
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


_ALL: Final = frozenset(Permission)
_VIEW: Final = frozenset(
    {
        Permission.ME_VIEW,
        Permission.API_KEYS_VIEW,
        Permission.USERS_VIEW,
        Permission.TENANTS_VIEW,
        Permission.CATALOG_VIEW,
        Permission.USAGE_VIEW,
    }
)

ROLE_PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {
        Role.PLATFORM_ADMIN: _ALL,
        Role.TENANT_ADMIN: _ALL
        - {
            Permission.PLATFORM,
            Permission.TENANTS_CREATE,
            Permission.CATALOG_UPDATE,
            Permission.JOBS_VIEW,
            Permission.JOBS_UPDATE,
            Permission.SYSTEM_UPDATE,
        },
        Role.DEVELOPER: frozenset(
            {
                Permission.GATEWAY_USE,
                Permission.ME_VIEW,
                Permission.API_KEYS_VIEW,
                Permission.API_KEYS_CREATE,
                Permission.API_KEYS_UPDATE,
                Permission.API_KEYS_DELETE,
                Permission.CATALOG_VIEW,
                Permission.USAGE_VIEW,
            }
        ),
        Role.FINANCE: frozenset(
            {
                Permission.ME_VIEW,
                Permission.TENANTS_VIEW,
                Permission.CATALOG_VIEW,
                Permission.USAGE_VIEW,
            }
        ),
        Role.AUDITOR: _VIEW | {Permission.AUDIT_VIEW},
        Role.VIEWER: _VIEW,
    }
)

SCOPE_PERMISSIONS: Final[Mapping[Scope, frozenset[Permission]]] = MappingProxyType(
    {
        Scope.INFERENCE: frozenset({Permission.GATEWAY_USE, Permission.ME_VIEW}),
        Scope.ADMIN: _ALL - {Permission.GATEWAY_USE},
    }
)


def permissions_of_role(role: Role) -> frozenset[Permission]:
    return ROLE_PERMISSIONS[role]


def permissions_of_key(role: Role, scopes: Iterable[Scope]) -> frozenset[Permission]:
    """The owner's role bounds what the key's scopes may grant: demoting the owner demotes the key."""
    granted: frozenset[Permission] = frozenset()
    for scope in scopes:
        granted |= SCOPE_PERMISSIONS[scope]
    return granted & ROLE_PERMISSIONS[role]
