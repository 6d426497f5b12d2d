"""Files and batches as a caller meets them: the gateway over real sockets, on a real database and object store."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from tests.gateway.serving import KEY, ManualClock, Serving, route, serving, snapshot
from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.ids import uuid7
from tollkeeper.core.objects import Objects
from tollkeeper.core.secrets import new_key
from tollkeeper.db.models import Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.batches.service import Batches
from tollkeeper.domains.files.service import Files
from tollkeeper.gateway.app import Gateway

BOX = SecretBox(MasterKey("files-of-tests-" * 4))


@dataclass
class Keeping:
    serving: Serving
    database: Database
    files: Files
    objects: Objects
    clock: ManualClock
    folder: Path
    ours: Principal

    def key(self, **fields: Any) -> str:
        """A further key of the tenant, unless `tenant_id` says another one."""
        token = new_key().token
        self.serving.keys.add(token, **{"tenant_id": self.ours.tenant_id, **fields})
        return token

    async def tenant(self) -> Any:
        tenant_id = uuid7()
        async with self.database.platform() as session:
            session.add(Tenant(id=tenant_id, name=tenant_id.hex, slug=tenant_id.hex))
        return tenant_id

    @asynccontextmanager
    async def client(self, key: str | None = None, *, prefix: str = "/v1") -> AsyncIterator[AsyncOpenAI]:
        token = self.token if key is None else key
        url = f"{self.serving.origin}{prefix}"
        async with AsyncOpenAI(base_url=url, api_key=token, max_retries=0, timeout=30) as client:
            yield client

    token: str = KEY
    batches: Batches | None = None

    @property
    def gateway(self) -> Gateway:
        assert self.serving.gateway is not None
        return self.serving.gateway


@asynccontextmanager
async def keeping(
    database: Database,
    folder: Path,
    snap: Snapshot | None = None,
    *,
    doubles: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Keeping]:
    clock = ManualClock()
    configured = Settings(_env_file=None, data_dir=folder, **settings)
    objects = Objects.open(None, folder)
    files = Files(database, objects, BOX, clock, configured)
    batches = Batches(database, files, BOX, clock)
    snap = snap or snapshot([], [route("gpt-4o-mini")])
    async with serving(folder, snap, files=files, batches=batches, **(doubles or {}), **settings) as running:
        kept = Keeping(running, database, files, objects, clock, folder, running.keys.record(KEY).principal)
        tenant_id = await kept.tenant()
        token = new_key().token
        kept.ours = running.keys.add(token, tenant_id=tenant_id)
        kept.token, kept.batches = token, batches
        yield kept
