"""For whoever has the machine and is locked out of the account: a new password, set in the database itself."""

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.core.passwords import Passwords, refuse_weak
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity import credentials, repository
from tollkeeper.domains.identity.grants import end_everything
from tollkeeper.domains.identity.repository import Account


async def rescue(
    database: Database,
    passwords: Passwords,
    clock: Clock,
    email: str,
    password: str,
    *,
    removes_second_factor: bool,
) -> str | None:
    """Ends every session. What still keeps the person out, or None. Raises NotFound, WeakPassword."""
    async with database.platform() as session:
        account = await _account(session, email)
    refuse_weak(password, account.identity.email, account.identity.name, account.identity.tenant_name)
    hashed = await passwords.hash(password)
    async with database.platform() as session:
        account = await _account(session, email)
        user = await repository.lock_user(session, account.identity.user_id)
        assert user is not None
        user.password_hash, user.password_changed_at = hashed, clock.now()
        await credentials.delete_links(session, user.id, "password_reset")
        was_removed = removes_second_factor and await credentials.delete_factor(session, user.id)
        await end_everything(session, user, clock.now(), "password")
        after = {"by": "tollkeeper users reset-password", "is_second_factor_removed": was_removed}
        await audit.record(
            session, audit.SYSTEM, "users.password_set", "user", format_id("usr", user.id), None, after,
            tenant_id=user.tenant_id,
        )  # fmt: skip
        if account.identity.refusal is not None:
            return account.identity.refusal
        if await credentials.has_confirmed_factor(session, user.id):
            return "Signing in still asks for the second factor; --remove-second-factor removes it."
    return None


async def _account(session: AsyncSession, email: str) -> Account:
    account = await repository.find_account(session, email)
    if account is None:
        raise NotFound("There is no person with this address.")
    return account
