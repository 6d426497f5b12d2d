"""Identifiers: UUIDv7 inside and in the database, `prefix_<32 hex>` wherever a person or a program sees one."""

import os
import re
import time
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_HEX32: Final = re.compile(r"[0-9a-f]{32}")


def uuid7() -> UUID:
    """A new UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62))


def uuid7_unix_ms(value: UUID) -> int:
    """The milliseconds since 1970 a UUIDv7 was made at; the day of a ledger row comes from here."""
    return value.int >> 80


def format_id(prefix: str, value: UUID) -> str:
    return f"{prefix}_{value.hex}"


def parse_id(prefix: str, text: str) -> UUID:
    """The inverse of `format_id`. Raises ValueError with a sentence for the caller."""
    head, _, tail = text.partition("_")
    if head != prefix or not _HEX32.fullmatch(tail):
        raise ValueError(f"expected an id of the form {prefix}_ followed by 32 hexadecimal digits")
    return UUID(hex=tail)


@dataclass(frozen=True, slots=True)
class PublicId:
    """Annotation that makes a UUID read and write itself as `prefix_…`: `KeyId = Annotated[UUID, PublicId("key")]`."""

    prefix: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object) -> UUID:
            if isinstance(value, UUID):
                return value
            if isinstance(value, str):
                return parse_id(self.prefix, value)
            raise ValueError("expected an id")

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: format_id(self.prefix, value), return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{self.prefix}_[0-9a-f]{{32}}$", "examples": [f"{self.prefix}_{0:032x}"]}


TenantId = Annotated[UUID, PublicId("ten")]
UserId = Annotated[UUID, PublicId("usr")]
KeyId = Annotated[UUID, PublicId("key")]
ProviderId = Annotated[UUID, PublicId("prv")]
ModelId = Annotated[UUID, PublicId("mdl")]
PriceId = Annotated[UUID, PublicId("prc")]
PriceAdjustmentId = Annotated[UUID, PublicId("adj")]
RoutePolicyId = Annotated[UUID, PublicId("rtp")]
GuardrailPolicyId = Annotated[UUID, PublicId("grp")]
GuardrailAttachmentId = Annotated[UUID, PublicId("gra")]
GuardrailExemptionId = Annotated[UUID, PublicId("gre")]
GuardrailEventId = Annotated[UUID, PublicId("grv")]
RequestId = Annotated[UUID, PublicId("req")]
JobId = Annotated[UUID, PublicId("job")]
AuditId = Annotated[UUID, PublicId("aud")]
TeamId = Annotated[UUID, PublicId("team")]
ProjectId = Annotated[UUID, PublicId("prj")]
RoleId = Annotated[UUID, PublicId("rol")]
InvitationId = Annotated[UUID, PublicId("inv")]
IdentityProviderId = Annotated[UUID, PublicId("idp")]
SessionId = Annotated[UUID, PublicId("ses")]
WorkloadBindingId = Annotated[UUID, PublicId("wlb")]
LimitId = Annotated[UUID, PublicId("lim")]
BudgetId = Annotated[UUID, PublicId("bud")]
ExternalIdentityId = Annotated[UUID, PublicId("ext")]
