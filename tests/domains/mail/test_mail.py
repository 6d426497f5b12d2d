"""A message waits sealed in the job table, goes out after the commit, and is tried again while the server is away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, text, update

from tests.smtp import SmtpServer, running
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.ids import uuid7
from tollkeeper.core.mail import MailServer, Smtp
from tollkeeper.db.models import Job, Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.jobs.runner import Runner
from tollkeeper.domains.jobs.schemas import JobKind
from tollkeeper.domains.mail.service import SEND, Mail

BOX = SecretBox(MasterKey("mail-tests-" * 4))
SECRET = "https://gateway.example/console/reset-password#token=a-secret-of-one-time"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, lookup_seconds=2.0)
    async with database.platform() as session:
        await session.execute(text("DELETE FROM jobs"))
    yield database
    await database.close()


def mail_to(port: int, box: SecretBox = BOX) -> Mail:
    return Mail(box, Smtp(MailServer.parse(f"smtp://localhost:{port}"), "no-reply@example.com"))


def runner_of(database: Database, mail: Mail) -> Runner:
    return Runner(database, [JobKind(SEND, mail.handle)], name="test", poll_seconds=0.05)


async def run_one(database: Database, mail: Mail) -> Job:
    runner = runner_of(database, mail)
    claim = await runner.claim()
    assert claim is not None
    await runner.execute(claim)
    async with database.platform() as session:
        return (await session.scalars(select(Job))).one()


async def status(database: Database) -> str:
    async with database.platform() as session:
        return (await session.scalars(select(Job.status))).one()


async def test_a_message_is_sent_once_and_never_lies_open(database: Database) -> None:
    async with running(SmtpServer()) as server:
        mail = mail_to(server.port)
        async with database.platform() as session:
            await mail.enqueue(session, "ann@example.com", "Reset your password", SECRET)
        async with database.platform() as session:
            payload = (await session.scalars(select(Job.payload))).one()
        assert set(payload) == {"sealed"}
        working = asyncio.ensure_future(runner_of(database, mail).run())
        async with asyncio.timeout(10):
            while await status(database) != "succeeded":
                await asyncio.sleep(0.02)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert await runner_of(database, mail).claim() is None
    (message,) = server.messages
    assert message["to"] == "ann@example.com"
    assert SECRET in message.get_content()
    async with database.platform() as session:
        row = (await session.execute(text("SELECT to_jsonb(jobs)::text FROM jobs"))).scalar_one()
    assert "ann@" not in row
    assert "token" not in row


async def test_what_is_rolled_back_is_not_sent(database: Database) -> None:
    mail = mail_to(1)

    async def fail() -> None:
        async with database.platform() as session:
            await mail.enqueue(session, "ann@example.com", "x", "y")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await runner_of(database, mail).claim() is None


async def test_a_tenants_transaction_may_send_under_its_own_name(database: Database) -> None:
    tenant_id = uuid7()
    async with database.platform() as session:
        session.add(Tenant(id=tenant_id, name="mailing", slug="mailing"))
    async with database.tenant(tenant_id) as session:
        await mail_to(1).enqueue(session, "ann@example.com", "x", "y", tenant_id=tenant_id)
    async with database.platform() as session:
        assert (await session.scalars(select(Job.tenant_id))).one() == tenant_id


async def test_a_server_that_is_away_is_tried_again(database: Database) -> None:
    async with running(SmtpServer()) as server:
        port = server.port
    mail = mail_to(port)
    async with database.platform() as session:
        await mail.enqueue(session, "ann@example.com", "x", SECRET)
    failed = await run_one(database, mail)
    assert (failed.status, failed.attempts) == ("failed", 1)
    assert "did not answer" in str(failed.last_error)
    async with running(SmtpServer()) as back:
        async with database.platform() as session:
            await session.execute(update(Job).values(run_at=text("now()")))
        assert (await run_one(database, mail_to(back.port))).status == "succeeded"
        assert len(back.messages) == 1


async def test_a_process_without_mail_or_without_the_key_says_so(database: Database) -> None:
    async with database.platform() as session:
        await Mail(BOX, None).enqueue(session, "ann@example.com", "x", SECRET)
    failed = await run_one(database, Mail(BOX, None))
    assert "TOLLKEEPER_MAIL_URL is not set" in str(failed.last_error)
    async with database.platform() as session:
        await session.execute(update(Job).values(run_at=text("now()")))
    failed = await run_one(database, mail_to(1, SecretBox(MasterKey("another-key-" * 4))))
    assert "master key" in str(failed.last_error)


@pytest.mark.parametrize("to", ["ann@example.com\r\nBcc: all@example.com", "nobody", ""])
async def test_no_recipient_smuggles_a_header(database: Database, to: str) -> None:
    async with database.platform() as session:
        with pytest.raises(ValueError):
            await mail_to(1).enqueue(session, to, "x", "y")
