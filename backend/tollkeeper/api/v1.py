"""Table of contents of the control plane: one line per domain."""

from typing import Final

from fastapi import APIRouter

from tollkeeper.domains.audit.routes import router as audit
from tollkeeper.domains.budgets.routes import router as budgets
from tollkeeper.domains.cache.routes import router as cache
from tollkeeper.domains.catalog.routes import router as catalog
from tollkeeper.domains.events.routes import router as events
from tollkeeper.domains.guardrail_policies.policy_routes import router as guardrail_policies
from tollkeeper.domains.guardrail_policies.routes import router as guardrails
from tollkeeper.domains.identity.bootstrap_routes import router as bootstrap
from tollkeeper.domains.identity.others_routes import router as user_help
from tollkeeper.domains.identity.own_routes import router as me
from tollkeeper.domains.identity.routes import auth
from tollkeeper.domains.identity_providers.routes import callback as oidc_callback
from tollkeeper.domains.identity_providers.routes import linked_accounts
from tollkeeper.domains.identity_providers.routes import router as identity_providers
from tollkeeper.domains.identity_providers.routes import sign_in as oidc
from tollkeeper.domains.invitations.routes import router as invitations
from tollkeeper.domains.jobs.routes import router as jobs
from tollkeeper.domains.keys.routes import router as keys
from tollkeeper.domains.limits.routes import router as limits
from tollkeeper.domains.projects.routes import router as projects
from tollkeeper.domains.request_logs.routes import router as requests
from tollkeeper.domains.roles.routes import router as roles
from tollkeeper.domains.route_policies.explain_routes import router as explanations
from tollkeeper.domains.route_policies.routes import router as route_policies
from tollkeeper.domains.router.routes import router as targets
from tollkeeper.domains.service_accounts.routes import router as service_accounts
from tollkeeper.domains.teams.routes import router as teams
from tollkeeper.domains.tenants.routes import router as tenants
from tollkeeper.domains.usage.routes import router as usage
from tollkeeper.domains.users.routes import router as users

# Given where it is included: FastAPI makes every route of a router twice that is included without one.
PREFIX: Final = "/api/v1"

router = APIRouter()
router.include_router(auth)
router.include_router(oidc)
router.include_router(oidc_callback)
router.include_router(linked_accounts)
router.include_router(me)
router.include_router(bootstrap)
router.include_router(tenants)
router.include_router(users)
router.include_router(user_help)
router.include_router(roles)
router.include_router(invitations)
router.include_router(service_accounts)
router.include_router(teams)
router.include_router(projects)
router.include_router(keys)
router.include_router(identity_providers)
router.include_router(audit)
router.include_router(catalog)
router.include_router(route_policies)
router.include_router(explanations)
router.include_router(targets)
router.include_router(guardrails)
router.include_router(guardrail_policies)
router.include_router(cache)
router.include_router(usage)
router.include_router(requests)
router.include_router(events)
router.include_router(limits)
router.include_router(budgets)
router.include_router(jobs)
