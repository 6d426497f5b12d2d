"""Every table, so that one import fills the metadata."""

from tollkeeper.db.models.audit import AuditLog
from tollkeeper.db.models.catalog import Model, Price, Provider, ProviderCredential
from tollkeeper.db.models.identity import RefreshSession
from tollkeeper.db.models.jobs import Job
from tollkeeper.db.models.keys import ApiKey
from tollkeeper.db.models.system import AnnouncementRow, IdempotencyKey, OutboxEvent, SystemState, Worker
from tollkeeper.db.models.tenants import Tenant
from tollkeeper.db.models.usage import UsageLate, UsageLog, UsageRollup
from tollkeeper.db.models.users import User

__all__ = [
    "AnnouncementRow",
    "ApiKey",
    "AuditLog",
    "IdempotencyKey",
    "Job",
    "Model",
    "OutboxEvent",
    "Price",
    "Provider",
    "ProviderCredential",
    "RefreshSession",
    "SystemState",
    "Tenant",
    "UsageLate",
    "UsageLog",
    "UsageRollup",
    "User",
    "Worker",
]
