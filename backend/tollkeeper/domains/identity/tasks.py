"""The jobs behind public requests: whether there is an account is found out here, after everybody got the same answer."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import SecretBox
from tollkeeper.db.models import User
from tollkeeper.db.session import Database
from tollkeeper.domains.identity import links, messages, registration, repository
from tollkeeper.domains.identity.accounts import REGISTER, RESET
from tollkeeper.domains.identity.repository import Account
from tollkeeper.domains.jobs import service as jobs
from tollkeeper.domains.jobs.schemas import JobContext, JobKind
from tollkeeper.domains.mail.service import Mailing

_SECONDS: Final = 60.0


class AccountTasks:
    def __init__(self, database: Database, box: SecretBox, mail: Mailing, clock: Clock, origin: str) -> None:
        self._database = database
        self._box = box
        self._mail = mail
        self._clock = clock
        self._origin = origin

    def kinds(self) -> Sequence[JobKind]:
        return (
            JobKind(RESET, self.reset, timeout_seconds=_SECONDS),
            JobKind(REGISTER, self.register, timeout_seconds=_SECONDS),
        )

    async def reset(self, _context: JobContext, payload: Mapping[str, Any]) -> None:
        email = jobs.open_sealed(self._box, RESET, payload)["email"]
        async with self._database.platform() as session:
            account = await repository.find_account(session, email)
            if account is None or account.identity.refusal is not None:
                return
            identity, home = account.identity, account.identity.home_tenant_id
            if account.password_hash is None:
                await messages.tell_of(session, self._mail, identity.email, home, messages.SIGNS_IN_ELSEWHERE)
                return
            expires_at = self._clock.now() + links.MAILED_RESET_LIFE
            token = await links.make(session, "password_reset", identity.user_id, home, expires_at)
            notice = messages.reset(self._origin, token)
            await messages.tell_of(session, self._mail, identity.email, home, notice)

    async def register(self, _context: JobContext, payload: Mapping[str, Any]) -> None:
        wanted = jobs.open_sealed(self._box, REGISTER, payload)
        async with self._database.platform() as session:
            account = await repository.find_account(session, wanted["email"])
            if account is None:
                user = await registration.create(session, wanted, self._clock.now(), is_verified=False)
            else:
                known = await self._take_over(session, account, wanted)
                if known is None:
                    notice = messages.ALREADY_REGISTERED
                    home = account.identity.home_tenant_id
                    await messages.tell_of(session, self._mail, account.identity.email, home, notice)
                    return
                user = known
            expires_at = self._clock.now() + links.VERIFICATION_LIFE
            token = await links.make(session, "email_verification", user.id, user.tenant_id, expires_at)
            await messages.tell(session, self._mail, user, messages.verification(self._origin, token))

    async def _take_over(self, session: AsyncSession, account: Account, wanted: Mapping[str, Any]) -> User | None:
        """Of an account that nobody confirmed yet, whoever asks last has the password: a stranger who asked first must
        not have chosen the owner's. None for every other account.
        """
        tenant = await repository.find_tenant(session, account.identity.home_tenant_id)
        user = await repository.lock_user(session, account.identity.user_id)
        if tenant is None or user is None or not registration.is_unverified(tenant):
            return None
        user.password_hash, user.name = wanted["password_hash"], wanted["name"]
        await session.flush()
        return user
