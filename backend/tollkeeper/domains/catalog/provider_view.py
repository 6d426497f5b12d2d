"""How a provider looks to a caller. Where it is and how it is reached is shown only to who may change it."""

from collections.abc import Sequence

from tollkeeper.db.models.catalog import Provider, ProviderCredential
from tollkeeper.domains.catalog.beyond import (
    FineTuningFields,
    PassthroughFields,
    show_fine_tuning,
    show_passthrough,
)
from tollkeeper.domains.catalog.declared import DeclaredProvider
from tollkeeper.domains.catalog.fields import Timeouts
from tollkeeper.domains.catalog.schemas import CredentialOut, ManagedBy, ProviderOut
from tollkeeper.domains.catalog.sealing import ProviderSecrets


def show_provider(
    row: Provider,
    credentials: Sequence[ProviderCredential],
    secrets: ProviderSecrets,
    *,
    usual_url: str | None,
    shows_everything: bool,
) -> ProviderOut:
    """`usual_url`: where this kind answers when the row names no address."""
    shown = ProviderOut(
        id=row.id,
        name=row.name,
        kind=row.kind,
        is_active=row.is_active,
        managed_by=ManagedBy.API,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )
    if shows_everything:
        shown.has_credential = bool(credentials)
        shown.base_url = row.base_url or usual_url
        shown.header_names = secrets.header_names(row)
        shown.allow_private_address = row.allow_private_address
        shown.has_proxy = row.proxy_url is not None
        shown.ca_bundle = row.ca_bundle
        shown.timeouts = Timeouts.model_validate(row.timeouts)
        shown.options = row.options
        if row.passthrough is not None:
            shown.passthrough = PassthroughFields.model_validate(row.passthrough)
        if row.fine_tuning is not None:
            shown.fine_tuning = FineTuningFields.model_validate(row.fine_tuning)
        shown.credentials = [
            CredentialOut(
                id=credential.id,
                name=credential.name,
                fingerprint=secrets.fingerprint(credential),
                origins=credential.origins,
                is_active=credential.is_active,
                created_at=credential.created_at,
            )
            for credential in credentials
        ]
    return shown


def show_declared_provider(one: DeclaredProvider, *, shows_everything: bool) -> ProviderOut:
    config = one.config
    shown = ProviderOut(
        id=config.id,
        name=config.name,
        kind=config.kind,
        is_active=True,
        managed_by=one.managed_by,
    )
    if shows_everything:
        shown.has_credential = bool(config.credentials)
        shown.declared_at = one.place
        shown.base_url = config.base_url
        shown.header_names = sorted(config.headers)
        shown.allow_private_address = config.allow_private_address
        shown.has_proxy = config.proxy_url is not None
        shown.ca_bundle = config.ca_bundle
        shown.timeouts = Timeouts(
            connect=config.connect_seconds,
            first_byte=config.first_byte_seconds,
            idle=config.idle_seconds,
            total=config.total_seconds,
        )
        shown.options = dict(config.options)
        shown.passthrough = show_passthrough(config.passthrough)
        shown.fine_tuning = show_fine_tuning(config.fine_tuning_nano)
    return shown
