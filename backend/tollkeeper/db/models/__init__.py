"""Every table, so that one import fills the metadata."""

from tollkeeper.db.models.audit import AuditLog
from tollkeeper.db.models.batches import Batch, BatchItem
from tollkeeper.db.models.catalog import Model, Price, PriceAdjustment, Provider, ProviderCredential
from tollkeeper.db.models.files import File
from tollkeeper.db.models.fine_tuning import FineTuningJob
from tollkeeper.db.models.guardrail_policies import (
    GuardrailAttachment,
    GuardrailEvent,
    GuardrailExemption,
    GuardrailPolicy,
    GuardrailPolicyVersion,
)
from tollkeeper.db.models.identity import ConsumedToken, OneTimeLink, RecoveryCode, RefreshSession, SecondFactor
from tollkeeper.db.models.identity_providers import ExternalIdentity, IdentityProvider, WorkloadBinding
from tollkeeper.db.models.jobs import Job
from tollkeeper.db.models.keys import ApiKey
from tollkeeper.db.models.limits import Budget, Limit
from tollkeeper.db.models.members import Invitation, Member, Role
from tollkeeper.db.models.request_logs import RequestLog
from tollkeeper.db.models.responses import StoredResponse
from tollkeeper.db.models.route_policies import RoutePolicy, RoutePolicyVersion
from tollkeeper.db.models.runs import EndedRun
from tollkeeper.db.models.system import AnnouncementRow, IdempotencyKey, OutboxEvent, SystemState, Worker
from tollkeeper.db.models.teams import Project, Team, TeamMember
from tollkeeper.db.models.tenants import Tenant
from tollkeeper.db.models.usage import BudgetSpend, UsageDay, UsageLate, UsageLog, UsageRollup
from tollkeeper.db.models.users import User

__all__ = [
    "AnnouncementRow",
    "ApiKey",
    "AuditLog",
    "Batch",
    "BatchItem",
    "Budget",
    "BudgetSpend",
    "ConsumedToken",
    "EndedRun",
    "ExternalIdentity",
    "File",
    "FineTuningJob",
    "GuardrailAttachment",
    "GuardrailEvent",
    "GuardrailExemption",
    "GuardrailPolicy",
    "GuardrailPolicyVersion",
    "IdempotencyKey",
    "IdentityProvider",
    "Invitation",
    "Job",
    "Limit",
    "Member",
    "Model",
    "OneTimeLink",
    "OutboxEvent",
    "Price",
    "PriceAdjustment",
    "Project",
    "Provider",
    "ProviderCredential",
    "RecoveryCode",
    "RefreshSession",
    "RequestLog",
    "Role",
    "RoutePolicy",
    "RoutePolicyVersion",
    "SecondFactor",
    "StoredResponse",
    "SystemState",
    "Team",
    "TeamMember",
    "Tenant",
    "UsageDay",
    "UsageLate",
    "UsageLog",
    "UsageRollup",
    "User",
    "Worker",
    "WorkloadBinding",
]
