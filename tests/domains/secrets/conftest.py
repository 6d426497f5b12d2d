"""A database with one secret of every kind, sealed under the former master key."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from tollkeeper.core.crypto import Aad, MasterKey, SecretBox
from tollkeeper.core.ids import uuid7
from tollkeeper.core.master_keys import MasterKeys
from tollkeeper.core.sealed_pieces import PieceKey
from tollkeeper.core.secrets import KeyHasher, new_key
from tollkeeper.db.models import (
    ApiKey,
    Batch,
    File,
    GuardrailEvent,
    GuardrailPolicy,
    GuardrailPolicyVersion,
    IdentityProvider,
    Job,
    Member,
    Provider,
    ProviderCredential,
    SecondFactor,
    StoredResponse,
    SystemState,
    Tenant,
    User,
)
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.sealing import ProviderSecrets
from tollkeeper.domains.guardrail_policies.events import open_text, seal_text
from tollkeeper.domains.guardrail_policies.secret_settings import SecretSettings, open_secrets
from tollkeeper.domains.jobs import service as jobs
from tollkeeper.domains.responses.service import seal, unseal
from tollkeeper.domains.secrets.schemas import Rotated
from tollkeeper.domains.secrets.service import Rotation

OLD, NEW, FOREIGN = (MasterKey(name * 8) for name in ("former-key", "current-key", "foreign-key"))
BOTH = MasterKeys(NEW, (OLD,))
HEADERS = {"X-Team": "blue", "X-Secret": "a header's secret " * 20}

HOOK = {"judge": {"secret": "whsec_of_a_webhook"}}
MAIL = {"to": "a@example.com", "text": "a link " * 40}


@dataclass
class Vault:
    database: Database
    tenant_id: UUID
    user_id: UUID
    told: list[tuple[str, int]] = field(default_factory=list)

    async def add_provider(self, master: MasterKey = OLD) -> UUID:
        row = Provider(id=uuid7(), tenant_id=self.tenant_id, name=uuid7().hex, kind="openai", version=1)
        credential = ProviderCredential(
            id=uuid7(), tenant_id=self.tenant_id, provider_id=row.id, name="default", origins=[], version=1
        )
        secrets = ProviderSecrets(SecretBox(master))
        secrets.seal_provider(row, headers=HEADERS, proxy="http://user:secret@proxy.example:3128")
        secrets.seal_credential(credential, f"sk-{row.id.hex}")
        async with self.database.platform() as session:
            session.add(row)
            await session.flush()
            session.add(credential)
        return row.id

    async def add_identity(self) -> None:
        box, factor_id, provider_id = SecretBox(OLD), uuid7(), uuid7()
        async with self.database.platform() as session:
            session.add(
                SecondFactor(
                    id=factor_id,
                    tenant_id=self.tenant_id,
                    user_id=self.user_id,
                    secret=box.seal(b"totp", Aad(self.tenant_id, factor_id, "secret", 1)),
                )
            )
            session.add(
                IdentityProvider(
                    id=provider_id,
                    tenant_id=self.tenant_id,
                    name="sso",
                    issuer="https://sso.example",
                    client_secret=box.seal(b"client", Aad(self.tenant_id, provider_id, "client_secret", 1)),
                )
            )

    async def add_response(self) -> None:
        box, response_id = SecretBox(OLD), uuid7()
        envelope = seal(box, self.tenant_id, response_id, b'{"input": [], "response": {}}')
        async with self.database.platform() as session:
            session.add(
                StoredResponse(
                    id=response_id,
                    tenant_id=self.tenant_id,
                    environment="live",
                    item_ids=[],
                    envelope=envelope,
                    expires_at=datetime.now(UTC) + timedelta(days=1),
                )
            )

    async def add_file_and_batch(self) -> None:
        box, now = SecretBox(OLD), datetime.now(UTC)
        file_id, batch_id = uuid7(), uuid7()
        owner = {"tenant_id": self.tenant_id, "environment": "live"}
        async with self.database.platform() as session:
            envelope = PieceKey.new(box, Aad(self.tenant_id, file_id, "file", 1))[1]
            named = {"filename": "a", "purpose": "batch", "size": 0, "status": "processed"}
            session.add(File(id=file_id, envelope=envelope, **named, **owner))
            envelope = PieceKey.new(box, Aad(self.tenant_id, batch_id, "batch", 1))[1]
            asked = {"endpoint": "/v1/embeddings", "completion_window": "24h", "status": "completed"}
            session.add(
                Batch(
                    id=batch_id,
                    envelope=envelope,
                    key_id=uuid7(),
                    input_file_id=file_id,
                    expires_at=now,
                    **asked,
                    **owner,
                )
            )

    async def add_guardrails(self) -> None:
        """A policy with a secret among its settings, and an event that keeps what was found."""
        box, policy_id, version_id, event_id = SecretBox(OLD), uuid7(), uuid7(), uuid7()
        async with self.database.platform() as session:
            session.add(GuardrailPolicy(id=policy_id, tenant_id=self.tenant_id, name="house", version=1))
            await session.flush()
            session.add(
                GuardrailPolicyVersion(
                    policy_id=policy_id,
                    number=1,
                    tenant_id=self.tenant_id,
                    document={},
                    id=version_id,
                    secrets=SecretSettings((), box).seal(self.tenant_id, version_id, HOOK),
                )
            )
            session.add(
                GuardrailEvent(
                    id=event_id,
                    tenant_id=self.tenant_id,
                    day=datetime.now(UTC).date(),
                    created_at=datetime.now(UTC),
                    request_id=uuid7(),
                    api_key_id=uuid7(),
                    policy_id=policy_id,
                    policy="house",
                    policy_version=1,
                    is_platform=False,
                    rule="pii",
                    label="email",
                    action="block",
                    is_monitored=False,
                    direction="input",
                    place="text",
                    role="user",
                    count=1,
                    envelope=seal_text(box, self.tenant_id, event_id, "a@example.com"),
                )
            )

    async def add_job(self) -> None:
        async with self.database.platform() as session:
            await jobs.enqueue_sealed(session, SecretBox(OLD), "mail.send", MAIL)

    async def add_key(self, master: MasterKey) -> None:
        key = new_key()
        digest = KeyHasher(master).digest_token(key.token)
        async with self.database.platform() as session:
            session.add(
                ApiKey(
                    tenant_id=self.tenant_id,
                    user_id=self.user_id,
                    name="key",
                    environment="live",
                    public_id=key.public_id,
                    digest=digest.digest,
                    pepper_id=digest.pepper_id,
                    display_prefix=key.display_prefix,
                    last_four=key.last_four,
                    scopes=["inference"],
                )
            )

    async def rotate(self, keys: MasterKeys = BOTH, *, batch: int = 3) -> Rotated:
        def progress(place: str, count: int) -> None:
            self.told.append((place, count))

        return await Rotation(self.database, keys, progress=progress, batch=batch).run()

    async def open_all(self, master: MasterKey) -> int:
        """Opens every secret under that key alone, or raises; how many providers there are."""
        box = SecretBox(master)
        secrets = ProviderSecrets(box)
        async with self.database.platform() as session:
            providers = (await session.scalars(select(Provider))).all()
            for row in providers:
                assert secrets.open_headers(row) == HEADERS
                assert secrets.open_proxy(row) == "http://user:secret@proxy.example:3128"
            for credential in await session.scalars(select(ProviderCredential)):
                assert secrets.open_credential(credential) == f"sk-{credential.provider_id.hex}"
                assert credential.kek_id == box.kek_id
            for factor in await session.scalars(select(SecondFactor)):
                assert box.open(factor.secret, Aad(factor.tenant_id, factor.id, "secret", 1)) == b"totp"
            for sso in await session.scalars(select(IdentityProvider)):
                assert sso.client_secret is not None
                assert box.open(sso.client_secret, Aad(sso.tenant_id, sso.id, "client_secret", 1)) == b"client"
            for kind, name in ((File, "file"), (Batch, "batch")):
                for row in await session.scalars(select(kind)):
                    PieceKey.open(box, row.envelope, Aad(row.tenant_id, row.id, name, 1))
            for response in await session.scalars(select(StoredResponse)):
                assert unseal(box, response).response == {}
                assert response.kek_id == box.kek_id
            for version in await session.scalars(select(GuardrailPolicyVersion)):
                assert open_secrets(version, box) == HOOK
            for event in await session.scalars(select(GuardrailEvent)):
                assert open_text(box, event) == "a@example.com"
                assert event.kek_id == box.kek_id
            for job in await session.scalars(select(Job).where(Job.kind == "mail.send")):
                assert jobs.open_sealed(box, "mail.send", job.payload) == MAIL
        return len(providers)


@pytest.fixture
async def vault(database_url_alone: str) -> AsyncIterator[Vault]:
    database = Database(database_url_alone, pool_size=6, lookup_seconds=5)
    vault = Vault(database, uuid7(), uuid7())
    async with database.platform() as session:
        session.add(Tenant(id=vault.tenant_id, name="acme", slug="acme"))
        await session.flush()
        session.add(User(id=vault.user_id, tenant_id=vault.tenant_id, email="a@example.com", name="a"))
        await session.flush()
        session.add(Member(tenant_id=vault.tenant_id, user_id=vault.user_id, role="platform_admin"))
        session.add(SystemState(key="master_key", value=OLD.fingerprint()))
    yield vault
    await database.close()


@pytest.fixture
def database_url_alone(new_database: object) -> str:
    assert callable(new_database)
    return str(new_database())
