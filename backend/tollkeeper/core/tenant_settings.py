"""What a tenant decides for itself beyond its limits: the typed form of `tenants.settings`.

Read leniently, written strictly: a name or a value that an older or newer version stored does not stop a call.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

_DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")


def _domain(text: str) -> str:
    lowered = text.lower()
    if not _DOMAIN.fullmatch(lowered):
        raise ValueError("expected a domain like example.com")
    return lowered


Domain = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=253), AfterValidator(_domain)]
Days = Annotated[int, Field(strict=True, ge=1, le=3650)]


class TenantSettings(BaseModel):
    """None leaves it open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default_key_days: Days | None = Field(None, description="How long a key lives that names no expiry.")
    longest_key_days: Days | None = Field(None, description="How long a key may live at most.")
    allowed_email_domains: Annotated[list[Domain], Field(max_length=100)] | None = Field(
        None, description="People whose address is in none of these are not added or invited."
    )

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "TenantSettings":
        """What is stored, field by field; a field that cannot be read is left open."""
        try:
            return cls.model_validate(dict(stored))
        except ValidationError:
            readable: dict[str, Any] = {}
            for name in cls.model_fields.keys() & stored.keys():
                try:
                    readable |= cls.model_validate({name: stored[name]}).model_dump(exclude_unset=True)
                except ValidationError:
                    continue
            return cls.model_validate(readable)

    def admits(self, email: str) -> bool:
        """Whether a person of this address may be added or invited."""
        domains = self.allowed_email_domains
        return domains is None or email.rpartition("@")[2].lower() in domains
