"""The second factor: codes of an authenticator app (TOTP), and recovery codes for the day it is lost.

A code counts once, five wrong ones bring a delay. Setting one up, taking it away and new recovery codes end every other
session. The rows belong to the tenant that manages the account, wherever the person works.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import totp
from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import Aad, SecretBox
from tollkeeper.core.errors import BadRequest, Conflict, Unauthenticated
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.secrets import digest_opaque
from tollkeeper.db.models import SecondFactor, User
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity import credentials, messages, repository
from tollkeeper.domains.identity.client import Client, actor_of
from tollkeeper.domains.identity.grants import Grant, Grants, ended
from tollkeeper.domains.identity.throttle import LoginThrottle, Place
from tollkeeper.domains.mail.service import Mailing
from tollkeeper.web.caller import Caller, Identity

log = structlog.get_logger(__name__)

RECOVERY_CODES: Final = 10
ISSUER: Final = "Tollkeeper"
# Without letters and digits that are mistaken for each other: 32 of them, five bits each.
_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_GROUPS: Final = 4
_GROUP: Final = 4


class CodeRequired(Unauthenticated):
    """The password was right; the account has a second factor."""

    code = "second_factor_required"


class WrongCode(Unauthenticated):
    """Wrong, too old, or used before."""

    code = "invalid_second_factor"


class CodeNotConfirmed(BadRequest):
    """The first code of a new second factor."""

    code = "invalid_second_factor"


class FactorExists(Conflict):
    """One at a time: remove it before setting up another."""

    code = "second_factor_exists"


class NoFactor(Conflict):
    """There is nothing to confirm, renew or remove."""

    code = "no_second_factor"


@dataclass(frozen=True, slots=True)
class NewFactor:
    """Told once."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Renewed:
    """Recovery codes, told once, and the session that goes on."""

    recovery_codes: list[str] = field(repr=False)
    grant: Grant


@dataclass(frozen=True, slots=True)
class FactorState:
    confirmed_at: datetime | None
    recovery_codes_left: int


class SecondFactors:
    def __init__(
        self,
        database: Database,
        box: SecretBox,
        throttle: LoginThrottle,
        grants: Grants,
        mail: Mailing,
        clock: Clock,
    ) -> None:
        self._database = database
        self._box = box
        self._throttle = throttle
        self._grants = grants
        self._mail = mail
        self._clock = clock

    async def prove(self, identity: Identity, code: str | None, client: Client, place: Place) -> None:
        """Returns at once for who has no second factor. Raises CodeRequired, WrongCode, RateLimited."""
        user_id = identity.user_id
        async with self._database.platform() as session:
            factor = await credentials.find_factor(session, user_id)
        if factor is None or factor.confirmed_at is None:
            return
        if code is None:
            raise CodeRequired("Send the code of your authenticator app, or a recovery code, as 'code'.")
        await self._throttle.charge_code(user_id, place)
        async with self._database.platform() as session:
            is_right = await self._use(session, factor, code, identity, client)
        if not is_right:
            log.warning("second_factor_refused", user_id=format_id("usr", user_id), address=client.address)
            raise WrongCode("The code is wrong, too old, or was used before.")
        await self._throttle.forget_code(user_id, place)

    async def state(self, user_id: UUID) -> FactorState:
        async with self._database.platform() as session:
            factor = await credentials.find_factor(session, user_id)
            left = await credentials.count_recovery_codes(session, user_id)
        return FactorState(None if factor is None else factor.confirmed_at, left)

    async def begin(self, caller: Caller) -> NewFactor:
        """A secret that counts once `confirm` has seen a code of it; beginning again forgets the one before."""
        secret, factor_id = totp.new_secret(), uuid7()
        async with self._database.platform() as session:
            await _lock(session, caller.user_id)
            known = await credentials.find_factor(session, caller.user_id)
            if known is not None and known.confirmed_at is not None:
                raise FactorExists("A second factor is set up already; remove it first.")
            await credentials.delete_factor(session, caller.user_id)
            row = SecondFactor(
                id=factor_id,
                tenant_id=caller.home_tenant_id,
                user_id=caller.user_id,
                secret=self._box.seal(secret, _bond(caller.home_tenant_id, factor_id)),
            )
            credentials.add(session, row)
            await _record(session, caller, "auth.second_factor_begun")
        uri = totp.provisioning_uri(secret, account=caller.email, issuer=ISSUER)
        return NewFactor(totp.to_base32(secret), uri)

    async def confirm(self, caller: Caller, code: str, client: Client, place: Place) -> Renewed:
        await self._throttle.charge_code(caller.user_id, place)
        async with self._database.platform() as session:
            user = await _lock(session, caller.user_id)
            factor = await credentials.find_factor(session, caller.user_id)
            if factor is None:
                raise NoFactor("There is no second factor to confirm; begin with POST /api/v1/me/second-factor.")
            if factor.confirmed_at is not None:
                raise FactorExists("The second factor is confirmed already.")
            step = totp.find_step(self._open(factor), _plain(code), self._clock.unix(), after=factor.last_step)
            if step is None:
                raise CodeNotConfirmed("The code does not fit. Is the clock of your device right?", param="code")
            factor.confirmed_at, factor.last_step = self._clock.now(), step
            codes = await self._new_codes(session, caller)
            await _record(session, caller, "auth.second_factor_enabled")
            await messages.tell(session, self._mail, user, messages.SECOND_FACTOR_ENABLED)
            grant = await self._grants.replace_all(session, caller, user, client, "second_factor")
        await self._throttle.forget_code(caller.user_id, place)
        return Renewed(codes, grant)

    async def renew_codes(self, caller: Caller) -> list[str]:
        """Those before count no more."""
        async with self._database.platform() as session:
            user = await _lock(session, caller.user_id)
            factor = await credentials.find_factor(session, caller.user_id)
            if factor is None or factor.confirmed_at is None:
                raise NoFactor("There is no second factor.")
            codes = await self._new_codes(session, caller)
            await _record(session, caller, "auth.recovery_codes_renewed")
            await messages.tell(session, self._mail, user, messages.RECOVERY_CODES_RENEWED)
        return codes

    async def remove(self, caller: Caller, client: Client) -> Grant:
        """The caller's own, after `prove`. One that was never confirmed just goes."""
        async with self._database.platform() as session:
            user = await _lock(session, caller.user_id)
            if not await credentials.delete_factor(session, caller.user_id):
                raise NoFactor("There is no second factor.")
            await _record(session, caller, "auth.second_factor_removed")
            await messages.tell(session, self._mail, user, messages.SECOND_FACTOR_REMOVED)
            return await self._grants.replace_all(session, caller, user, client, "second_factor")

    async def _use(
        self, session: AsyncSession, factor: SecondFactor, code: str, identity: Identity, client: Client
    ) -> bool:
        plain = _plain(code)
        if len(plain) == totp.DIGITS:
            step = totp.find_step(self._open(factor), plain, self._clock.unix(), after=factor.last_step)
            return step is not None and await credentials.use_step(session, factor.id, step)
        digest = _digest(factor.user_id, plain)
        if not await credentials.use_recovery_code(session, factor.user_id, digest, self._clock.now()):
            return False
        left = await credentials.count_recovery_codes(session, factor.user_id)
        user = format_id("usr", factor.user_id)
        await audit.record(
            session, actor_of(identity, client), "auth.recovery_code_used", "user", user, None, {"left": left},
            tenant_id=factor.tenant_id,
        )  # fmt: skip
        await messages.tell_of(session, self._mail, identity.email, factor.tenant_id, messages.RECOVERY_CODE_USED)
        return True

    async def _new_codes(self, session: AsyncSession, caller: Caller) -> list[str]:
        codes = [_new_code() for _ in range(RECOVERY_CODES)]
        digests = [_digest(caller.user_id, _plain(code)) for code in codes]
        await credentials.replace_recovery_codes(session, caller.home_tenant_id, caller.user_id, digests)
        return codes

    def _open(self, factor: SecondFactor) -> bytes:
        return self._box.open(factor.secret, _bond(factor.tenant_id, factor.id))


async def _lock(session: AsyncSession, user_id: UUID) -> User:
    """What concerns one person's credentials comes one after the other."""
    user = await repository.lock_user(session, user_id)
    if user is None:
        raise ended()
    return user


async def _record(session: AsyncSession, caller: Caller, action: str) -> None:
    user = format_id("usr", caller.user_id)
    await audit.record(session, caller, action, "user", user, tenant_id=caller.home_tenant_id)


def _bond(tenant_id: UUID, factor_id: UUID) -> Aad:
    return Aad(tenant_id, factor_id, "second_factors.secret", 1)


def _new_code() -> str:
    """80 bit, in groups that can be read out."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def _plain(code: str) -> str:
    return code.replace("-", "").replace(" ", "").upper()


def _digest(user_id: UUID, plain: str) -> bytes:
    """Random enough to need no slow hash; two people's codes are never compared."""
    return digest_opaque(f"{user_id.hex}|{plain}")
