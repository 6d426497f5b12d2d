"""Providers and their keys: listed with the declared ones, changed only where the API owns them."""

from collections.abc import Mapping, Sequence
from heapq import merge
from typing import Any, Final
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import ProviderConfig, ProviderKind
from tollkeeper.core.errors import BadRequest, Conflict
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.db.models.catalog import Provider, ProviderCredential
from tollkeeper.domains.catalog import repository
from tollkeeper.domains.catalog.beyond import write_fields
from tollkeeper.domains.catalog.changes import record_change
from tollkeeper.domains.catalog.declared import DeclaredProvider, declared_providers, refuse_declared
from tollkeeper.domains.catalog.fields import check_document, is_private_host, origin_of
from tollkeeper.domains.catalog.kept_policies import refuse_broken
from tollkeeper.domains.catalog.provider_view import show_declared_provider, show_provider
from tollkeeper.domains.catalog.schemas import (
    CredentialCreate,
    KindOut,
    ManagedBy,
    ProviderCreate,
    ProviderOut,
    ProviderUpdate,
)
from tollkeeper.domains.catalog.service import (
    Catalog,
    Expected,
    add_unique,
    not_found,
    sees_everything,
)
from tollkeeper.web.caller import Caller, allow
from tollkeeper.web.etag import check_match

_BEYOND: Final = frozenset({"passthrough", "fine_tuning"})


class UnknownKind(BadRequest):
    """No provider of this kind can be talked to."""

    code = "unknown_provider_kind"


class CredentialBound(Conflict):
    """A key may only be sent to the origin it was entered for."""

    code = "credential_bound"


class CredentialUnusable(BadRequest):
    """A cloud's document that no token or signature can be made of."""

    code = "credential_unusable"


class ProviderInUse(Conflict):
    code = "provider_in_use"


class Providers:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list_kinds(self) -> list[KindOut]:
        return [
            KindOut(
                kind=kind.kind,
                title=kind.title,
                base_url=kind.base_url,
                needs_base_url=kind.needs_base_url,
                needs_credential=kind.needs_credential,
                env_var=kind.env_var,
                document=kind.document,
            )
            for kind in self._catalog.kinds.values()
        ]

    async def list_page(self, session: AsyncSession, caller: Caller, after: str, limit: int) -> list[ProviderOut]:
        """By name, declared and stored ones together; at most `limit`."""
        rows = await repository.list_providers(session, after, limit)
        credentials = await self._credentials(session, rows)
        declared = sorted(
            (one for one in declared_providers(self._catalog.sources) if one.config.name > after),
            key=lambda one: one.config.name,
        )
        # A stored provider whose name the file has taken is not in force; the file's stands for both.
        taken = {one.config.name for one in declared}
        stored = [self._show(row, credentials[row.id], caller) for row in rows if row.name not in taken]
        shown = [show_declared_provider(one, shows_everything=sees_everything(caller)) for one in declared]
        return list(merge(stored, shown, key=lambda provider: provider.name))[:limit]

    async def get(self, session: AsyncSession, caller: Caller, provider_id: UUID) -> ProviderOut:
        declared = self._find_declared(provider_id)
        if declared is not None:
            return show_declared_provider(declared, shows_everything=sees_everything(caller))
        row = await repository.find_provider(session, provider_id)
        if row is None:
            raise not_found("provider")
        return await self._reload(session, row, caller)

    async def find_in_force(self, caller: Caller, provider_id: UUID) -> ProviderConfig:
        """As calls reach it now, secrets included: for our own probe, never for an answer. Raises NotFound."""
        allow(caller, Permission.PLATFORM)
        for _ in range(2):
            for config in self._catalog.snapshot.providers.values():
                if config.id == provider_id:
                    return config
            # Made a moment ago, by another worker perhaps.
            await self._catalog.refresh()
        raise not_found("provider")

    async def create(self, session: AsyncSession, caller: Caller, body: ProviderCreate) -> ProviderOut:
        self._refuse_declared_name(body.name)
        kind = self._kind(body.kind)
        if body.base_url is None and kind.needs_base_url:
            raise BadRequest(f"A provider of kind {kind.kind} needs a base_url.", param="base_url")
        _check_address(body.base_url, allow_private=body.allow_private_address)
        row = Provider(
            id=uuid7(),
            name=body.name,
            kind=body.kind,
            base_url=body.base_url,
            allow_private_address=body.allow_private_address,
            ca_bundle=body.ca_bundle,
            timeouts=body.timeouts.model_dump(exclude_none=True),
            options=body.options,
            passthrough=write_fields(body.passthrough),
            fine_tuning=write_fields(body.fine_tuning),
            is_active=body.is_active,
            version=1,
        )
        self._catalog.secrets.seal_provider(row, headers=_write_headers(body.headers), proxy=_reveal(body.proxy))
        await add_unique(session, row, "provider")
        if body.api_key is not None:
            await self._add_credential(session, row, "default", body.api_key, param="api_key")
        return await self._changed(session, caller, row, "create", before=None)

    async def update(
        self, session: AsyncSession, caller: Caller, provider_id: UUID, body: ProviderUpdate, expected: Expected
    ) -> ProviderOut:
        row = await self._own(session, provider_id, expected)
        before = await self._reload(session, row, caller)
        changes = body.changes()
        secrets = self._catalog.secrets
        headers, proxy = secrets.open_headers(row), secrets.open_proxy(row)
        api_key = changes.pop("api_key", None)
        if "headers" in changes:
            headers = _write_headers(changes.pop("headers"))
        if "proxy" in changes:
            proxy = _reveal(changes.pop("proxy"))
        if "timeouts" in changes:
            changes["timeouts"] = body.timeouts.model_dump(exclude_none=True)
        for name in _BEYOND & changes.keys():
            changes[name] = write_fields(changes[name])
        if "base_url" in changes:
            await self._check_binding(session, row, changes["base_url"], has_new_key=api_key is not None)
        for name, value in changes.items():
            setattr(row, name, value)
        if row.base_url is None and self._kind(row.kind).needs_base_url:
            raise BadRequest(f"A provider of kind {row.kind} needs a base_url.", param="base_url")
        _check_address(row.base_url, allow_private=row.allow_private_address)
        row.version += 1
        secrets.seal_provider(row, headers=headers, proxy=proxy)
        if api_key is not None:
            for credential in await repository.list_credentials(session, [row.id]):
                await session.delete(credential)
            await session.flush()
            await self._add_credential(session, row, "default", api_key, param="api_key")
        await session.flush()
        return await self._changed(session, caller, row, "update", before=before)

    async def delete(self, session: AsyncSession, caller: Caller, provider_id: UUID, expected: Expected) -> None:
        row = await self._own(session, provider_id, expected)
        users = await repository.list_models_of_provider(session, row.name)
        if users:
            raise ProviderInUse(f"Models lead to this provider: {', '.join(users)}. Change or delete them first.")
        before = await self._reload(session, row, caller)
        await session.delete(row)
        await session.flush()
        await refuse_broken(session, self._catalog, "provider_id")
        await self._record(session, caller, row.id, "delete", before, None)

    async def add_credential(
        self, session: AsyncSession, caller: Caller, provider_id: UUID, body: CredentialCreate
    ) -> ProviderOut:
        """A further key, bound to the origin the provider has now."""
        row = await self._own(session, provider_id, None)
        before = await self._reload(session, row, caller)
        await self._add_credential(session, row, body.name, body.secret, param="secret")
        return await self._changed(session, caller, row, "update", before=before)

    async def delete_credential(
        self, session: AsyncSession, caller: Caller, provider_id: UUID, credential_id: UUID
    ) -> None:
        row = await self._own(session, provider_id, None)
        before = await self._reload(session, row, caller)
        for credential in await repository.list_credentials(session, [row.id]):
            if credential.id == credential_id:
                await session.delete(credential)
                await session.flush()
                await self._changed(session, caller, row, "update", before=before)
                return
        raise not_found("credential")

    def _kind(self, name: str) -> ProviderKind:
        kind = self._catalog.kinds.get(name)
        if kind is None:
            known = ", ".join(sorted(self._catalog.kinds))
            raise UnknownKind(f"There is no provider kind {name}. Known are {known}.", param="kind")
        return kind

    def _find_declared(self, provider_id: UUID) -> DeclaredProvider | None:
        return next((one for one in declared_providers(self._catalog.sources) if one.config.id == provider_id), None)

    async def _own(self, session: AsyncSession, provider_id: UUID, expected: Expected) -> Provider:
        """The stored provider, locked for a change."""
        declared = self._find_declared(provider_id)
        if declared is not None:
            raise refuse_declared("provider", declared.config.name, declared.managed_by, declared.place)
        row = await repository.find_provider(session, provider_id, for_update=True)
        if row is None:
            raise not_found("provider")
        check_match(expected, row)
        return row

    def _refuse_declared_name(self, name: str) -> None:
        for declared in declared_providers(self._catalog.sources):
            # What the environment declares gives way to what is stored.
            if declared.config.name.lower() == name.lower() and declared.managed_by is not ManagedBy.ENVIRONMENT:
                raise refuse_declared("provider", declared.config.name, declared.managed_by, declared.place)

    async def _check_binding(
        self, session: AsyncSession, row: Provider, base_url: str | None, *, has_new_key: bool
    ) -> None:
        origins = self._origins(row.kind, base_url)
        if has_new_key or origins == self._origins(row.kind, row.base_url):
            return
        if await repository.list_credentials(session, [row.id]):
            raise CredentialBound(
                "The stored keys are bound to the old address. Send api_key along with the new base_url.",
                param="base_url",
            )

    def _origins(self, kind: str, base_url: str | None) -> list[str]:
        address = base_url or self._kind(kind).base_url
        return [origin_of(address)] if address else []

    async def _add_credential(
        self, session: AsyncSession, row: Provider, name: str, secret: SecretStr, *, param: str
    ) -> None:
        try:
            check_document(
                self._kind(row.kind),
                secret.get_secret_value(),
                is_file_managed=False,
                allows_any_host=row.allow_private_address,
            )
        except ValueError as error:
            raise CredentialUnusable(f"This credential cannot work: {error}.", param=param) from None
        credential = ProviderCredential(
            id=uuid7(), provider_id=row.id, name=name, origins=self._origins(row.kind, row.base_url), version=1
        )
        self._catalog.secrets.seal_credential(credential, secret.get_secret_value())
        await add_unique(session, credential, "key of this provider")

    async def _credentials(
        self, session: AsyncSession, rows: Sequence[Provider]
    ) -> Mapping[UUID, list[ProviderCredential]]:
        found: dict[UUID, list[ProviderCredential]] = {row.id: [] for row in rows}
        for credential in await repository.list_credentials(session, list(found)):
            found[credential.provider_id].append(credential)
        return found

    async def _reload(self, session: AsyncSession, row: Provider, caller: Caller) -> ProviderOut:
        return self._show(row, await repository.list_credentials(session, [row.id]), caller)

    async def _changed(
        self, session: AsyncSession, caller: Caller, row: Provider, verb: str, *, before: ProviderOut | None
    ) -> ProviderOut:
        await session.refresh(row)
        after = await self._reload(session, row, caller)
        await self._record(session, caller, row.id, verb, before, after)
        return after

    async def _record(
        self,
        session: AsyncSession,
        caller: Caller,
        provider_id: UUID,
        verb: str,
        before: ProviderOut | None,
        after: ProviderOut | None,
    ) -> None:
        await record_change(
            session,
            caller,
            f"providers.{verb}",
            object_type="provider",
            object_id=provider_id,
            before=_audited(before),
            after=_audited(after),
        )

    def _show(self, row: Provider, credentials: Sequence[ProviderCredential], caller: Caller) -> ProviderOut:
        kind = self._catalog.kinds.get(row.kind)
        usual_url = kind.base_url if kind is not None else None
        return show_provider(
            row, credentials, self._catalog.secrets, usual_url=usual_url, shows_everything=sees_everything(caller)
        )


def _check_address(base_url: str | None, *, allow_private: bool) -> None:
    if base_url is not None and not allow_private and is_private_host(base_url):
        raise BadRequest(
            "The address is loopback or private. Set allow_private_address if calls may go there.", param="base_url"
        )


def _write_headers(headers: Mapping[str, SecretStr]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in headers.items()}


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _audited(shown: ProviderOut | None) -> dict[str, Any] | None:
    """What the audit trail keeps: what the API shows, which holds no secret."""
    return shown.model_dump(mode="json", exclude={"created_at", "updated_at"}) if shown is not None else None
