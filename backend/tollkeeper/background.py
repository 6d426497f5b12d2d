"""A part of `wiring`: the work beside the calls.

`running` keeps tasks of one process alive for as long as a block; the job runner and its kinds are here too, as any
process may take a job.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from tollkeeper.core.clock import Clock, SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.events import TeamMemberRemoved, UserDeleted
from tollkeeper.db.session import Database
from tollkeeper.domains.guardrail_policies.sink import DAYS as GUARDRAIL_DAYS
from tollkeeper.domains.identity.tasks import AccountTasks
from tollkeeper.domains.jobs.outbox import OutboxDelivery, Subscriber
from tollkeeper.domains.jobs.runner import Runner
from tollkeeper.domains.jobs.schemas import JobContext, JobKind
from tollkeeper.domains.jobs.tasks import HOUR, make_kinds
from tollkeeper.domains.keys.subscribers import RevokeKeysOfTeam
from tollkeeper.domains.mail.service import SEND, Mail
from tollkeeper.domains.request_logs.partitions import DAYS
from tollkeeper.domains.usage.days import close_days
from tollkeeper.domains.usage.partitions import drop_expired, ensure_partitions
from tollkeeper.domains.users.subscribers import EndGuestMemberships
from tollkeeper.gateway.kept_answers import KeptAnswers

log = structlog.get_logger(__name__)

_MAIL_SECONDS: Final = 60.0


@asynccontextmanager
async def running(work: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Background tasks that live as long as the block; one that ends by itself is a bug and is logged as one."""
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
    for task in tasks:
        task.add_done_callback(_report_end)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def make_runner(settings: Settings, database: Database, more: Sequence[JobKind], *, name: str) -> Runner:
    subscribers: dict[str, list[Subscriber]] = {
        UserDeleted.name: [EndGuestMemberships(database, SystemClock())],
        TeamMemberRemoved.name: [RevokeKeysOfTeam(database, SystemClock())],
    }
    kinds = make_kinds(
        database,
        ensure_partitions=ensure_partitions,
        drop_expired=drop_expired,
        usage_retention_days=settings.usage_retention_days,
        deliver_outbox=OutboxDelivery(database, subscribers).handle,
    )
    return Runner(database, [*kinds, _closing_of_days(database), _days_of_calls(settings, database), *more], name=name)


def _closing_of_days(database: Database) -> JobKind:
    async def close(_context: JobContext, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"closed": [day.isoformat() for day in await close_days(database, SystemClock())]}

    return JobKind("usage.days", close, every_seconds=HOUR)


def _days_of_calls(settings: Settings, database: Database) -> JobKind:
    async def keep(_context: JobContext, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        async with database.owner() as session:
            made = await DAYS.ensure(session)
            dropped = await DAYS.drop_expired(session, settings.request_log_retention_days)
            # What was found in the calls of a day is kept as long as the calls.
            await GUARDRAIL_DAYS.ensure(session)
            await GUARDRAIL_DAYS.drop_expired(session, settings.request_log_retention_days)
        return {"made": [day.isoformat() for day in made], "dropped": [day.isoformat() for day in dropped]}

    return JobKind("requests.days", keep, every_seconds=HOUR)


def answer_job(answers: KeptAnswers) -> JobKind:
    async def sweep(_context: JobContext, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"swept": await answers.sweep()}

    return JobKind("answers.sweep", sweep, every_seconds=HOUR)


def mail_jobs(settings: Settings, database: Database, box: SecretBox, mail: Mail, clock: Clock) -> Sequence[JobKind]:
    accounts = AccountTasks(database, box, mail, clock, settings.origin)
    return [JobKind(SEND, mail.handle, timeout_seconds=_MAIL_SECONDS), *accounts.kinds()]


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error("background_task_ended", task=task.get_name(), exc_info=task.exception())
