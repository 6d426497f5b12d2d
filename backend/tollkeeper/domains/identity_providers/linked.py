"""The accounts at providers that sign in to one's own account: shown to its holder, and taken away by them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.errors import Conflict, NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity_providers import repository
from tollkeeper.domains.identity_providers.schemas import LinkedAccount
from tollkeeper.web.caller import Caller


class LastWayIn(Conflict):
    """Without it nobody could sign in to the account any more."""

    code = "last_way_in"


async def list_linked(session: AsyncSession, caller: Caller) -> Sequence[LinkedAccount]:
    rows = await repository.list_linked(session, caller.tenant_id, caller.user_id)
    return [LinkedAccount.model_validate(row) for row in rows]


async def unlink(session: AsyncSession, caller: Caller, identity_id: UUID) -> None:
    """Raises NotFound, LastWayIn."""
    # Locked before they are counted: two at once must not each leave the other as the last.
    has_password = await repository.lock_account(session, caller.user_id)
    linked = {row.id: row for row in await repository.list_linked(session, caller.tenant_id, caller.user_id)}
    row = linked.pop(identity_id, None)
    if row is None:
        raise NotFound("There is no such linked account.")
    if not has_password and not linked:
        raise LastWayIn("This is the only way into your account. Set a password first, or link another provider.")
    await repository.remove_linked(session, identity_id)
    before = {"provider": format_id("idp", row.provider_id), "email": row.email}
    user = format_id("usr", caller.user_id)
    await audit.record(session, caller, "auth.oidc_unlink", "user", user, before, None, tenant_id=caller.tenant_id)
    await events.emit(session, caller.tenant_id, events.UserChanged(caller.user_id, ["identities"]))
