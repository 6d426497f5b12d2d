"""Putting a message into the job table, with the change it tells of, and sending it from there.

A message holds links that prove an account, so the whole of it is sealed while it waits.
Failure policy: mail server gone: the job is tried again, a few times over minutes.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.mail import Message, Sender
from tollkeeper.domains.jobs import service as jobs
from tollkeeper.domains.jobs.schemas import JobContext

log = structlog.get_logger(__name__)

SEND: Final = "mail.send"
_ATTEMPTS: Final = 8


class MailNotConfigured(TollkeeperError):
    """A message waits for a process that knows no mail server."""

    code = "mail_not_configured"


class Mailing(Protocol):
    """What other domains ask for."""

    @property
    def is_configured(self) -> bool: ...

    async def enqueue(
        self, session: AsyncSession, to: str, subject: str, text: str, *, tenant_id: UUID | None = None
    ) -> None: ...


class Mail:
    def __init__(self, box: SecretBox, sender: Sender | None) -> None:
        self._box = box
        self._sender = sender

    @property
    def is_configured(self) -> bool:
        """False: show links instead of mailing them."""
        return self._sender is not None

    async def enqueue(
        self, session: AsyncSession, to: str, subject: str, text: str, *, tenant_id: UUID | None = None
    ) -> None:
        """Sent if and only if the transaction commits; inside a tenant's transaction name the tenant.

        Raises ValueError for a recipient or subject that is not one line of text.
        """
        message = Message(to, subject, text)
        payload = {"to": message.to, "subject": message.subject, "text": message.text}
        await jobs.enqueue_sealed(session, self._box, SEND, payload, tenant_id=tenant_id, max_attempts=_ATTEMPTS)

    async def handle(self, _context: JobContext, payload: Mapping[str, Any]) -> None:
        """The job `mail.send`."""
        if self._sender is None:
            raise MailNotConfigured("TOLLKEEPER_MAIL_URL is not set where the background jobs run.")
        await self._sender.send(Message(**jobs.open_sealed(self._box, SEND, payload)))
        log.info("mail_sent")
