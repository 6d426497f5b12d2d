"""Settings of a tenant: strict to write, lenient to read."""

import pytest
from pydantic import ValidationError

from tollkeeper.core.tenant_settings import TenantSettings


def test_what_another_version_stored_does_not_stop_a_call() -> None:
    stored = {"default_key_days": 30, "longest_key_days": "soon", "retired": True}
    assert TenantSettings.read(stored) == TenantSettings(default_key_days=30)


@pytest.mark.parametrize(
    "sent",
    [{"default_key_days": 0}, {"longest_key_days": 1.5}, {"allowed_email_domains": ["a b"]}, {"unknown": 1}],
)
def test_what_nothing_reads_is_refused(sent: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TenantSettings.model_validate(sent)


def test_addresses_are_admitted_by_their_domain_whatever_its_case() -> None:
    settings = TenantSettings(allowed_email_domains=["Example.com"])
    assert settings.admits("ann@EXAMPLE.COM")
    assert not settings.admits("ann@sub.example.com")
    assert not settings.admits("ann@example.com.evil.net")
    assert TenantSettings().admits("ann@anywhere.net")
