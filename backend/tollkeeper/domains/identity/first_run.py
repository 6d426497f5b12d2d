"""The first start: a tenant, an administrator and a key, made once however many workers start together.

Values of `TOLLKEEPER_INIT_*` are used when set, and created when they are absent at a later start too; the others are
generated and told once. The master key's fingerprint is kept beside them: with another key no secret here would open.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.clock import Clock, SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.passwords import Passwords, new_password
from tollkeeper.core.permissions import Role
from tollkeeper.core.secrets import LONGEST_TOKEN, SHORTEST_OTHER, KeyHasher, new_key
from tollkeeper.db.models import Tenant, User
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity import repository
from tollkeeper.domains.keys.service import Keys
from tollkeeper.domains.roles.service import built_in
from tollkeeper.domains.tenants import service as tenants
from tollkeeper.domains.users import service as users
from tollkeeper.domains.users.schemas import LONGEST_PASSWORD, SHORTEST_PASSWORD
from tollkeeper.web.schemas import Email

log = structlog.get_logger(__name__)

TENANT_NAME: Final = "default"
DEFAULT_EMAIL: Final = "admin@localhost"
_FINGERPRINT: Final = "master_key"
_DONE: Final = "first_run"
_KEY: Final = re.compile(r"tk-[0-9A-Za-z._~-]+")


class CannotStart(TollkeeperError):
    """The message says what is wrong and what the operator does about it."""

    code = "cannot_start"


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What was made now. A secret that was not made now, and is not in the settings either, is empty."""

    api_key: str = field(repr=False)
    admin_email: str
    admin_password: str = field(repr=False)
    # False: a later start added what `TOLLKEEPER_INIT_*` names.
    is_new: bool


async def ensure_first_run(
    database: Database,
    settings: Settings,
    *,
    hasher: KeyHasher,
    passwords: Passwords,
    master_key_fingerprint: str,
    previous_fingerprints: Collection[str] = (),
    clock: Clock | None = None,
) -> FirstRun | None:
    """None when there was nothing to make. Raises CannotStart, DependencyUnavailable."""
    wanted = _Wanted.of(settings)
    keys = Keys(hasher, clock or SystemClock())
    async with database.platform() as session:
        await _check_fingerprint(session, master_key_fingerprint, previous_fingerprints)
        is_new = await repository.get_state(session, _DONE) is None
        if not is_new and not wanted.is_explicit:
            return None
    # Outside the transaction: hashing takes long, and others wait for the lock.
    password = wanted.password or new_password()
    password_hash = await passwords.hash(password)
    async with database.platform() as session:
        await repository.lock_first_run(session)
        await _check_fingerprint(session, master_key_fingerprint, previous_fingerprints)
        is_new = await repository.get_state(session, _DONE) is None
        if await repository.get_state(session, _FINGERPRINT) is None:
            repository.set_state(session, _FINGERPRINT, master_key_fingerprint)
        if is_new:
            repository.set_state(session, _DONE, True)
        elif not wanted.is_explicit:
            return None
        tenant = await _ensure_tenant(session)
        admin, is_admin_new = await _ensure_admin(session, tenant, wanted, password_hash, is_new=is_new)
        token = wanted.key or (new_key().token if is_new else None)
        is_key_new = token is not None and await _ensure_key(session, keys, admin, token)
        if not is_admin_new and not is_key_new:
            return None
        return FirstRun(
            api_key=token or "",
            admin_email=admin.email,
            admin_password=password if is_admin_new else (wanted.password or ""),
            is_new=is_new,
        )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The `TOLLKEEPER_INIT_*` settings, checked."""

    key: str | None = field(repr=False)
    email: str | None
    password: str | None = field(repr=False)

    @property
    def is_explicit(self) -> bool:
        return self.key is not None or self.email is not None

    @classmethod
    def of(cls, settings: Settings) -> "_Wanted":
        key = None if settings.init_api_key is None else settings.init_api_key.get_secret_value()
        password = None if settings.init_admin_password is None else settings.init_admin_password.get_secret_value()
        if key is not None and not (SHORTEST_OTHER <= len(key) <= LONGEST_TOKEN and _KEY.fullmatch(key)):
            raise CannotStart(
                f"TOLLKEEPER_INIT_API_KEY must begin with 'tk-', have {SHORTEST_OTHER} to {LONGEST_TOKEN} characters and "
                "hold only letters, digits and . _ ~ - . Leave it unset to have one made."
            )
        if password is not None and not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise CannotStart(
                f"TOLLKEEPER_INIT_ADMIN_PASSWORD must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters. "
                "Leave it unset to have one made."
            )
        return cls(key, _email(settings.init_admin_email), password)


def _email(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        address: str = TypeAdapter(Email).validate_python(text)
    except ValidationError:
        raise CannotStart("TOLLKEEPER_INIT_ADMIN_EMAIL is not an e-mail address.") from None
    return address


async def _check_fingerprint(session: AsyncSession, fingerprint: str, previous: Collection[str]) -> None:
    known = await repository.get_state(session, _FINGERPRINT)
    if known in {None, fingerprint}:
        return
    if known not in previous:
        raise CannotStart(
            "The master key is not the one this database was set up with, so no key and no credential in it could be "
            "used. Set TOLLKEEPER_MASTER_KEY to the former value, or keep the new one and name the former in "
            "TOLLKEEPER_MASTER_KEYS_PREVIOUS, or start with an empty database."
        )
    log.warning(
        "master_key_rotation_unfinished", note="stored secrets are under another key: tollkeeper secrets rotate"
    )


async def _ensure_tenant(session: AsyncSession) -> Tenant:
    admin = await repository.find_platform_admin(session)
    if admin is not None:
        tenant = await repository.find_tenant(session, admin.tenant_id)
        assert tenant is not None
        return tenant
    known = await repository.find_tenant_by_name(session, TENANT_NAME)
    if known is not None:
        return known
    return await tenants.add(session, audit.SYSTEM, Tenant(name=TENANT_NAME, slug=TENANT_NAME))


async def _ensure_admin(
    session: AsyncSession, tenant: Tenant, wanted: _Wanted, password_hash: str, *, is_new: bool
) -> tuple[User, bool]:
    """The administrator of the settings; at a later start without one, the first there is."""
    if wanted.email is None and not is_new:
        known = await repository.find_platform_admin(session)
        if known is not None:
            return known, False
    email = wanted.email or DEFAULT_EMAIL
    known = await users.find_by_email(session, email)
    if known is not None:
        return known, False
    row = User(
        tenant_id=tenant.id,
        email=email,
        name="Administrator",
        password_hash=password_hash,
    )
    await users.add(session, audit.SYSTEM, row, built_in(Role.PLATFORM_ADMIN))
    return row, True


async def _ensure_key(session: AsyncSession, keys: Keys, admin: User, token: str) -> bool:
    return await keys.import_key(session, audit.SYSTEM, admin.id, admin.tenant_id, "First key", token)
