"""A rotation moves every secret to the new key beside running writers, can be killed and run again, and loses nothing."""

import asyncio

import pytest
from sqlalchemy import select, text

from tests.domains.secrets.conftest import BOTH, FOREIGN, NEW, OLD, Vault
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.master_keys import MasterKeys
from tollkeeper.db.envelopes import ENVELOPES
from tollkeeper.db.models import AuditLog, Provider, ProviderCredential
from tollkeeper.domains.catalog.sealing import ProviderSecrets, SecretUnreadable
from tollkeeper.domains.secrets import repository, service


async def audited(vault: Vault) -> list[AuditLog]:
    async with vault.database.platform() as session:
        return list(await session.scalars(select(AuditLog).where(AuditLog.action == "secrets.rotate")))


async def test_everything_opens_under_the_new_key_alone_and_nothing_else_has_changed(vault: Vault) -> None:
    for _ in range(7):
        await vault.add_provider()
    await vault.add_identity()
    await vault.add_job()
    await vault.add_response()
    await vault.add_file_and_batch()
    await vault.add_guardrails()
    async with vault.database.platform() as session:
        before = {row.id: (row.version, row.updated_at) for row in await session.scalars(select(Provider))}
        shown = ProviderSecrets(SecretBox(OLD))
        marks = {row.id: shown.fingerprint(row) for row in await session.scalars(select(ProviderCredential))}
    done = await vault.rotate()
    assert done.is_complete
    single = {
        "jobs.payload",
        "second_factors.secret",
        "identity_providers.client_secret",
        "stored_responses.envelope",
        "files.envelope",
        "batches.envelope",
        "guardrail_policy_versions.secrets",
        "guardrail_events.envelope",
    }
    assert done.rewrapped == {column.name: 1 if column.name in single else 7 for column in ENVELOPES}
    assert await vault.open_all(NEW) == 7
    with pytest.raises(SecretUnreadable):
        await vault.open_all(OLD)
    async with vault.database.platform() as session:
        assert {row.id: (row.version, row.updated_at) for row in await session.scalars(select(Provider))} == before
        # The same secret is still shown as the same.
        assert {row.id: shown.fingerprint(row) for row in await session.scalars(select(ProviderCredential))} == marks


async def test_new_fingerprint_and_one_record_are_written_at_the_end(vault: Vault) -> None:
    await vault.add_provider()
    await vault.rotate()
    again = await vault.rotate()
    assert (again.count, again.is_complete) == (0, True)
    [record] = await audited(vault)
    assert record.before == {"fingerprint": OLD.fingerprint()}
    assert record.after is not None
    assert record.after["fingerprint"] == NEW.fingerprint()
    assert (await service.status(vault.database)).fingerprint == NEW.fingerprint()


async def test_killed_rotation_goes_on_where_it_was(vault: Vault) -> None:
    for _ in range(6):
        await vault.add_provider()

    def killed(_place: str, _count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await service.Rotation(vault.database, BOTH, progress=killed, batch=2).run()
    found = {(row.place, row.kek_id): row.count for row in (await service.status(vault.database)).envelopes}
    assert found["provider_credentials.envelope", NEW.kek_id] == 2
    assert found["provider_credentials.envelope", OLD.kek_id] == 4
    assert await audited(vault) == []
    done = await vault.rotate()
    assert done.rewrapped["provider_credentials.envelope"] == 4
    assert await vault.open_all(NEW) == 6


async def test_secrets_changed_meanwhile_are_kept_as_they_were_changed(vault: Vault) -> None:
    """Gateways that still seal under the former key, and two rotations at once."""
    ids = [await vault.add_provider() for _ in range(10)]
    writing = True

    async def write() -> int:
        count = 0
        secrets = ProviderSecrets(SecretBox(OLD, NEW))
        while writing:
            async with vault.database.platform() as session:
                query = select(ProviderCredential).where(ProviderCredential.provider_id == ids[count % len(ids)])
                row = (await session.scalars(query.with_for_update())).one()
                row.version += 1
                secrets.seal_credential(row, f"sk-{row.provider_id.hex}")
            count += 1
        return count

    writers = [asyncio.create_task(write()) for _ in range(2)]
    done = await asyncio.gather(*(vault.rotate() for _ in range(2)))
    writing = False
    assert sum(await asyncio.gather(*writers)) > 0
    assert all(not report.unreadable for report in done)
    last = await vault.rotate()
    assert last.is_complete
    assert await vault.open_all(NEW) == 10


async def test_secret_set_between_reading_and_writing_is_left_alone(vault: Vault) -> None:
    provider_id = await vault.add_provider()
    column = next(column for column in ENVELOPES if column.table == "provider_credentials")
    box = BOTH.secret_box()
    async with vault.database.platform() as session:
        [(row_id, read)] = await repository.list_under_other_keys(session, column, box.kek_id, after=None, limit=10)
    async with vault.database.platform() as session:
        row = (await session.scalars(select(ProviderCredential))).one()
        row.version += 1
        ProviderSecrets(SecretBox(OLD)).seal_credential(row, f"sk-{provider_id.hex}")
    async with vault.database.platform() as session:
        assert not await repository.replace(session, column, row_id, read, box.rewrap(read), box.kek_id)
    assert (await vault.rotate()).is_complete
    await vault.open_all(NEW)


async def test_damaged_secret_is_named_left_alone_and_keeps_the_rotation_open(vault: Vault) -> None:
    await vault.add_provider()
    damaged = await vault.add_provider()
    async with vault.database.platform() as session:
        await session.execute(
            text(
                "UPDATE providers SET proxy_url = set_byte(proxy_url, 100, 255 - get_byte(proxy_url, 100)) WHERE id = :id"
            ),
            {"id": damaged},
        )
    done = await vault.rotate()
    assert [(row.place, row.id) for row in done.unreadable] == [("providers.proxy_url", damaged)]
    assert not done.is_complete
    assert (await service.status(vault.database)).fingerprint == OLD.fingerprint()
    async with vault.database.platform() as session:
        await session.execute(text("UPDATE providers SET proxy_url = NULL WHERE id = :id"), {"id": damaged})
    assert (await vault.rotate()).is_complete


async def test_key_that_is_not_given_is_named_with_its_table(vault: Vault) -> None:
    await vault.add_provider(FOREIGN)
    box = BOTH.secret_box()
    found = await service.find_unknown_keks(vault.database, box)
    assert {(place, kek_id, count) for place, kek_id, count in found} == {
        (place, FOREIGN.kek_id, 1)
        for place in ("provider_credentials.envelope", "providers.proxy_url", "providers.headers")
    }
    done = await vault.rotate()
    assert (done.is_complete, len(done.unreadable)) == (False, 3)
    assert (await vault.rotate(MasterKeys(NEW, (OLD, FOREIGN)))).is_complete
    assert await service.find_unknown_keks(vault.database, SecretBox(NEW)) == []


async def test_api_keys_under_a_former_pepper_are_counted(vault: Vault) -> None:
    for master in (OLD, OLD, NEW):
        await vault.add_key(master)
    status = await service.status(vault.database)
    assert {row.pepper_id: row.count for row in status.keys} == {OLD.pepper_id: 2, NEW.pepper_id: 1}
    assert (await vault.rotate()).keys_to_upgrade == 2
