"""Mail in tests of routes: what was queued is worked off by the real runner, and kept instead of sent."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.mail import Message
from tollkeeper.domains.identity.tasks import AccountTasks
from tollkeeper.domains.jobs.runner import Runner
from tollkeeper.domains.jobs.schemas import JobKind
from tollkeeper.domains.mail.service import SEND, Mail


class Mailbox:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._kept: list[Message] = []
        self.mail = Mail(plane.services.secret_box, self)

    async def send(self, message: Message) -> None:
        self._kept.append(message)

    async def received(self, email: str) -> list[Message]:
        """All to one address so far, oldest first."""
        services = self._plane.services
        tasks = AccountTasks(
            self._plane.database, services.secret_box, self.mail, services.clock, services.settings.origin
        )
        runner = Runner(self._plane.database, [JobKind(SEND, self.mail.handle), *tasks.kinds()], name="mailbox")
        while (claim := await runner.claim()) is not None:
            await runner.execute(claim)
        return [message for message in self._kept if message.to == email]

    async def token(self, email: str) -> str:
        """Of the last link that was mailed to the address."""
        links = [found for message in await self.received(email) if (found := link_token(message.text))]
        return links[-1]


@contextmanager
def mailbox(plane: ControlPlane) -> Iterator[Mailbox]:
    """Mail is configured for as long as the block lasts."""
    services = plane.services
    before, box = services.mail, Mailbox(plane)
    services.mail = box.mail
    try:
        yield box
    finally:
        services.mail = before


def link_token(text: str) -> str | None:
    match = re.search(r"#token=([A-Za-z0-9_-]+)", text)
    return None if match is None else match[1]
