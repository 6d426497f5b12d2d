"""What each permission and each built-in role lets its holder do, in a sentence for the console."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tollkeeper.core.permissions import Permission, Role

PERMISSIONS: Final[Mapping[Permission, str]] = MappingProxyType(
    {
        Permission.GATEWAY_USE: "Call models with one's own keys.",
        Permission.ME_VIEW: "See one's own account, keys and usage.",
        Permission.ME_UPDATE: "Change one's own name, password, second factor and sessions.",
        Permission.API_KEYS_VIEW: "See keys; those of others only together with seeing users.",
        Permission.API_KEYS_CREATE: "Make keys; for others only together with changing users.",
        Permission.API_KEYS_UPDATE: "Change and rotate keys.",
        Permission.API_KEYS_DELETE: "Revoke keys.",
        Permission.API_KEYS_IMPORT: "Take over the digests of keys that another gateway made.",
        Permission.USERS_VIEW: "See users, service accounts and invitations.",
        Permission.USERS_CREATE: "Make users and service accounts, and invite people.",
        Permission.USERS_UPDATE: "Change, disable and re-enable users and service accounts, and give them roles.",
        Permission.USERS_DELETE: "Remove users and service accounts.",
        Permission.TENANTS_VIEW: "See the tenant, its limits and its spend.",
        Permission.TENANTS_CREATE: "Make tenants.",
        Permission.TENANTS_UPDATE: "Change the tenant's own settings.",
        Permission.TENANTS_DELETE: "Suspend, resume and delete tenants.",
        Permission.TEAMS_VIEW: "See teams and who is in them.",
        Permission.TEAMS_CREATE: "Make teams.",
        Permission.TEAMS_UPDATE: "Change every team: its people, limits and state.",
        Permission.TEAMS_DELETE: "Remove teams.",
        Permission.TEAMS_MAINTAIN: "Change the name and the people of the teams one maintains; with teams:update of every team.",
        Permission.PROJECTS_VIEW: "See projects.",
        Permission.PROJECTS_CREATE: "Make projects in the teams one maintains; with teams:update everywhere.",
        Permission.PROJECTS_UPDATE: "Change projects of the teams one maintains; with teams:update all of them.",
        Permission.PROJECTS_DELETE: "Remove projects of the teams one maintains; with teams:update any of them.",
        Permission.ROLES_VIEW: "See roles and what they grant.",
        Permission.ROLES_CREATE: "Make roles of what one may do oneself.",
        Permission.ROLES_UPDATE: "Change roles, within what one may do oneself.",
        Permission.ROLES_DELETE: "Remove roles that nobody has.",
        Permission.IDENTITY_PROVIDERS_VIEW: "See the identity providers that people sign in with.",
        Permission.IDENTITY_PROVIDERS_UPDATE: "Add, change and remove identity providers.",
        Permission.CATALOG_VIEW: "See providers, models and prices.",
        Permission.CATALOG_UPDATE: "Change providers, their credentials, models and prices.",
        Permission.ROUTER_VIEW: "See route policies, how targets are, and where a call would go.",
        Permission.ROUTER_UPDATE: "Change route policies, and forget what breakers and quarantines hold against targets.",
        Permission.GUARDRAILS_VIEW: "See guardrail policies, the kinds of rules there are, and what was found; of others only together with seeing the tenant.",
        Permission.GUARDRAILS_TEST: "Try texts against guardrails.",
        Permission.GUARDRAILS_UPDATE: "Write guardrail policies, attach them, and exempt keys from their rules.",
        Permission.CACHE_VIEW: "See what the cache holds and what it saves; texts only together with reading the audit trail.",
        Permission.CACHE_MANAGE: "Purge the cache, and mark answers that were given again as wrong.",
        Permission.USAGE_VIEW: "See usage and cost; of others only together with seeing the tenant.",
        Permission.REQUESTS_VIEW: "See the log of calls; of others only together with seeing the tenant.",
        Permission.LIMITS_VIEW: "See limits and what is left of them; of others only together with seeing the tenant.",
        Permission.LIMITS_CREATE: "Set limits.",
        Permission.LIMITS_UPDATE: "Change limits.",
        Permission.LIMITS_DELETE: "Remove limits.",
        Permission.BUDGETS_VIEW: "See budgets and what is left of them; of others only together with seeing the tenant.",
        Permission.BUDGETS_CREATE: "Give budgets.",
        Permission.BUDGETS_UPDATE: "Change budgets.",
        Permission.BUDGETS_DELETE: "Remove budgets.",
        Permission.AUDIT_VIEW: "Read the audit trail.",
        Permission.AUDIT_EXPORT: "Export the audit trail.",
        Permission.JOBS_VIEW: "See background jobs.",
        Permission.JOBS_UPDATE: "Start, repeat and cancel background jobs.",
        Permission.SYSTEM_UPDATE: "Reload the configuration and change the whole system.",
        Permission.PLATFORM: "Do all of the above in every tenant.",
    }
)

ROLES: Final[Mapping[Role, str]] = MappingProxyType(
    {
        Role.PLATFORM_ADMIN: "Runs the platform: may do everything in every tenant.",
        Role.TENANT_ADMIN: "Runs one tenant: its people, roles, teams, keys and sign-in.",
        Role.DEVELOPER: "Calls models, and manages their own keys and the teams they maintain.",
        Role.FINANCE: "Sees what is used and what it costs.",
        Role.AUDITOR: "Sees everything in the tenant and its audit trail, and changes nothing.",
        Role.VIEWER: "Sees everything in the tenant except the audit trail, and changes nothing.",
    }
)
