"""Making, changing, rotating and revoking keys.

A key never grants more than its maker holds: its owner's role is covered by the maker's, and what is made with a key is
bounded by that key. Who may not see every user sees and manages only their own keys; a foreign id is simply not found.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.principal import Environment
from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Conflict, MalformedPayload, NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Permission, Scope, permissions_of_key
from tollkeeper.core.run_keys import LEEWAY_SECONDS, LONGEST_SECONDS
from tollkeeper.core.secrets import KeyHasher, NewKey, display_prefix, last_four, new_key, parse_key
from tollkeeper.core.tenant_settings import TenantSettings
from tollkeeper.db.models import ApiKey, EndedRun
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.keys import bounds, repository
from tollkeeper.domains.keys.effective import Explanations, of_member
from tollkeeper.domains.keys.errors import (
    BeyondAuthority,
    KeyIsRevoked,
    KeyLivesTooLong,
    KeyNotFound,
    NotInTeam,
    TeamMismatch,
)
from tollkeeper.domains.keys.repository import Filter, Owner
from tollkeeper.domains.keys.schemas import KeyCreate, KeyFields, KeyStatus, KeyUpdate, KeyView
from tollkeeper.domains.projects import service as projects
from tollkeeper.domains.teams import service as teams
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match

__all__ = ["Explanations", "Filter", "Owner", "of_member"]


class Keys:
    def __init__(self, hasher: KeyHasher, clock: Clock) -> None:
        self._hasher = hasher
        self._clock = clock

    async def create(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: KeyCreate
    ) -> tuple[ApiKey, str]:
        """The row and the secret, which is kept nowhere."""
        owner = await self.owner_of_new(session, caller, tenant_id, wanted.user_id)
        rules = await repository.find_rules(session, tenant_id)
        row = await self.prepare(session, caller, tenant_id, owner, wanted, rules.settings)
        token = new_key(row.environment)
        digest = self._hasher.digest_token(token.token)
        row.public_id, row.digest, row.pepper_id = token.public_id, digest.digest, digest.pepper_id
        row.display_prefix, row.last_four = token.display_prefix, token.last_four
        repository.add(session, row)
        await session.flush()
        await audit.record(session, caller, "keys.create", "key", _id(row), None, _facts(row), tenant_id=tenant_id)
        await events.emit(session, tenant_id, events.KeyCreated(row.id, row.name, row.user_id))
        # Somebody may have tried the id before it existed; workers remember what they did not find.
        await announce(session, Topic.KEY, row.id)
        return row, token.token

    async def prepare(
        self,
        session: AsyncSession,
        caller: Caller,
        tenant_id: UUID,
        owner: Owner,
        wanted: KeyFields,
        settings: TenantSettings,
    ) -> ApiKey:
        """A key as its maker may have it, without its secret and not stored yet."""
        self._check_scopes(owner, wanted.scopes)
        _check_hand(caller, owner, wanted.scopes)
        self._check_expiry(wanted.expires_at)
        if wanted.expires_at is None and settings.default_key_days is not None:
            ends = self._clock.now() + timedelta(days=settings.default_key_days)
            if caller.key_expires_at is not None:
                ends = min(ends, datetime.fromtimestamp(caller.key_expires_at, tz=UTC))
            wanted = wanted.model_copy(update={"expires_at": ends})
        narrowed = _bounded(caller, wanted)
        self._check_life(narrowed.expires_at, settings)
        team_id, project_id = await _place(session, caller, tenant_id, narrowed.team_id, narrowed.project_id)
        return ApiKey(
            tenant_id=tenant_id,
            user_id=owner.user_id,
            team_id=team_id,
            project_id=project_id,
            name=narrowed.name,
            environment=narrowed.environment,
            scopes=_distinct(narrowed.scopes),
            tags=narrowed.tags,
            created_by=caller.user_id,
            **bounds.limits(narrowed),
        )

    async def import_key(
        self, session: AsyncSession, actor: audit.Actor, user_id: UUID, tenant_id: UUID, name: str, token: str
    ) -> bool:
        """A key the operator chose, with every scope; False when it is there already, revoked or not."""
        parsed = parse_key(token)
        if parsed is None:
            known = await repository.find_by_digest(session, self._hasher.digest_other(token))
        else:
            known = await repository.find_by_public_id(session, parsed.public_id)
        if known is not None:
            return False
        digest = self._hasher.digest_token(token)
        row = ApiKey(
            tenant_id=tenant_id,
            user_id=user_id,
            name=name,
            public_id=None if parsed is None else parsed.public_id,
            digest=digest.digest,
            pepper_id=digest.pepper_id,
            display_prefix=display_prefix(token),
            last_four=last_four(token),
            environment=Environment.LIVE if parsed is None else parsed.environment,
            scopes=[scope.value for scope in Scope],
            tags={},
        )
        repository.add(session, row)
        await session.flush()
        await audit.record(session, actor, "keys.create", "key", _id(row), None, _facts(row), tenant_id=tenant_id)
        await events.emit(session, tenant_id, events.KeyCreated(row.id, row.name, row.user_id))
        await announce(session, Topic.KEY, row.id)
        return True

    async def get(self, session: AsyncSession, caller: Caller, key_id: UUID) -> ApiKey:
        row = await repository.find(session, key_id, owner=_only_owner(caller, Permission.USERS_VIEW))
        if row is None:
            raise _not_found()
        return row

    async def list_page(
        self,
        session: AsyncSession,
        caller: Caller,
        tenant_id: UUID,
        wanted: Filter,
        *,
        after: UUID | None,
        limit: int,
    ) -> Sequence[ApiKey]:
        owner = _only_owner(caller, Permission.USERS_VIEW)
        return await repository.list_page(session, tenant_id, wanted, owner=owner, after=after, limit=limit)

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        key_id: UUID,
        changed: KeyUpdate,
        if_match: frozenset[int] | None,
    ) -> ApiKey:
        row, owner = await self._for_change(session, caller, key_id)
        check_match(if_match, row)
        _refuse_revoked(row)
        before = _facts(row)
        fields = {name: getattr(changed, name) for name in changed.model_fields_set}
        if "scopes" in fields:
            self._check_scopes(owner, fields["scopes"])
            _check_widened(caller, owner, row, fields["scopes"])
            fields["scopes"] = _distinct(fields["scopes"])
        if "expires_at" in fields:
            self._check_expiry(fields["expires_at"])
            self._check_life(fields["expires_at"], (await repository.find_rules(session, row.tenant_id)).settings)
        bounds.check(caller, fields)
        if "team_id" in fields or "project_id" in fields:
            fields |= await self._move(session, caller, row, fields)
        for name, value in fields.items():
            setattr(row, name, value)
        old, new = audit.changes(before, _facts(row))
        if not new:
            return row
        await session.flush()
        await audit.record(session, caller, "keys.update", "key", _id(row), old, new, tenant_id=row.tenant_id)
        await events.emit(session, row.tenant_id, events.KeyUpdated(row.id))
        await announce(session, Topic.KEY, row.id)
        return row

    async def rotate(
        self,
        session: AsyncSession,
        caller: Caller,
        key_id: UUID,
        grace_seconds: int,
        if_match: frozenset[int] | None,
    ) -> tuple[ApiKey, str]:
        """A new secret. The one before works for the grace period, one from an earlier rotation no longer."""
        row, owner = await self._for_change(session, caller, key_id)
        check_match(if_match, row)
        _refuse_revoked(row)
        _check_hand(caller, owner, map(Scope, row.scopes))
        # Who holds a key may not gain more by a rotation than the key they came with has.
        bounds.check(caller, {"environment": row.environment, **bounds.limits(row)})
        token: NewKey = new_key(row.environment, public_id=row.public_id)
        digest = self._hasher.digest_token(token.token)
        if grace_seconds > 0:
            row.previous_digest, row.previous_pepper_id = row.digest, row.pepper_id
            row.previous_expires_at = self._clock.now() + timedelta(seconds=grace_seconds)
        else:
            row.previous_digest = row.previous_pepper_id = row.previous_expires_at = None
        row.digest, row.pepper_id = digest.digest, digest.pepper_id
        row.public_id, row.display_prefix, row.last_four = token.public_id, token.display_prefix, token.last_four
        row.is_imported, row.created_by = False, caller.user_id
        await session.flush()
        await self._end_runs_before(session, caller, row, grace_seconds)
        after = {"grace_seconds": grace_seconds, "last_four": row.last_four}
        await audit.record(session, caller, "keys.rotate", "key", _id(row), None, after, tenant_id=row.tenant_id)
        await events.emit(session, row.tenant_id, events.KeyRotated(row.id, row.previous_expires_at))
        await announce(session, Topic.KEY, row.id)
        return row, token.token

    async def _end_runs_before(self, session: AsyncSession, caller: Caller, row: ApiKey, grace_seconds: int) -> None:
        """What was made of the secret before ends with that secret: who rotates a key may do it because it leaked."""
        now = self._clock.now()
        ends = now + timedelta(seconds=grace_seconds)
        expires = now + timedelta(seconds=LONGEST_SECONDS + LEEWAY_SECONDS)
        if ends < expires:
            ended = EndedRun(
                tenant_id=row.tenant_id,
                key_id=row.id,
                issued_before=now,
                ends_at=ends,
                expires_at=expires,
                created_by=caller.user_id,
            )
            await repository.end_runs(session, ended, now)

    async def get_for_runs(self, session: AsyncSession, caller: Caller, key_id: UUID) -> ApiKey:
        """A key whose runs the caller may begin and end: itself, or one that the caller may give a new secret."""
        if caller.key_id == key_id:
            return await self.get(session, caller, key_id)
        row, _ = await self._for_change(session, caller, key_id)
        bounds.check(caller, {"environment": row.environment, **bounds.limits(row)})
        return row

    async def revoke(
        self, session: AsyncSession, caller: Caller, key_id: UUID, if_match: frozenset[int] | None = None
    ) -> ApiKey:
        """For good. Doing it twice changes nothing."""
        row, _ = await self._for_change(session, caller, key_id)
        check_match(if_match, row)
        if row.status != "revoked":
            await _revoke(session, caller, row, "revoked by hand", self._clock.now())
        return row

    async def get_to_hand_on(self, session: AsyncSession, caller: Caller, key_id: UUID) -> ApiKey:
        """A key that the caller may let others act as: as much authority as giving it a new secret needs."""
        row, _ = await self._for_change(session, caller, key_id)
        _refuse_revoked(row)
        bounds.check(caller, {"environment": row.environment, **bounds.limits(row)})
        return row

    async def list_own(self, session: AsyncSession, caller: Caller, limit: int) -> Sequence[ApiKey]:
        wanted = Filter(self._clock.now(), user_id=caller.user_id)
        return await repository.list_page(
            session, caller.tenant_id, wanted, owner=caller.user_id, after=None, limit=limit
        )

    def view(self, row: ApiKey) -> KeyView:
        return KeyView.model_validate({**_columns(row), "status": self._status(row)})

    def _status(self, row: ApiKey) -> KeyStatus:
        if row.status == "revoked":
            return "revoked"
        is_over = row.expires_at is not None and row.expires_at <= self._clock.now()
        return "expired" if is_over else "active"

    async def _for_change(self, session: AsyncSession, caller: Caller, key_id: UUID) -> tuple[ApiKey, Owner]:
        row = await repository.find_locked(session, key_id, owner=_only_owner(caller, Permission.USERS_UPDATE))
        if row is None:
            raise _not_found()
        owner = await repository.find_owner(session, row.tenant_id, row.user_id)
        assert owner is not None, "a key's owner is bound by a foreign key"
        if not caller.covers(owner.permissions):
            raise BeyondAuthority(f"The key's owner is '{owner.role}', who may do more than you; ask one of them.")
        return row, owner

    async def owner_of_new(self, session: AsyncSession, caller: Caller, tenant_id: UUID, user_id: UUID | None) -> Owner:
        if user_id is None and tenant_id != caller.tenant_id:
            owner = await repository.find_first_admin(session, tenant_id)
            if owner is None:
                raise Conflict("Name the key's owner with user_id: the tenant has no administrator.", code="no_owner")
            return owner
        user_id = user_id or caller.user_id
        if user_id != caller.user_id and not caller.may(Permission.USERS_UPDATE):
            raise BeyondAuthority("You may make keys for yourself only; leave out user_id.")
        owner = await repository.find_owner(session, tenant_id, user_id)
        if owner is None or not owner.is_active:
            raise NotFound("There is no such user.")
        if not caller.covers(owner.permissions):
            raise BeyondAuthority(f"The owner is '{owner.role}', who may do more than you; ask one of them.")
        return owner

    async def _move(
        self, session: AsyncSession, caller: Caller, row: ApiKey, fields: dict[str, Any]
    ) -> dict[str, UUID | None]:
        """Where the key goes. Who may put keys into a team may take them out of it."""
        old = row.team_id
        if row.project_id is not None:
            old = (await projects.get_in(session, row.tenant_id, row.project_id)).team_id
        await _check_membership(session, caller, row.tenant_id, old)
        project_id = fields.get("project_id", row.project_id)
        # A team that is not named goes with the project: out of one project into the other, or out of all.
        team_id = fields.get("team_id", row.team_id if row.project_id is None and project_id is None else None)
        if "project_id" not in fields and team_id is not None and row.project_id is not None:
            raise TeamMismatch("The key is in a project; send project_id null to put it into a team.", param="team_id")
        team_id, project_id = await _place(session, caller, row.tenant_id, team_id, project_id)
        return {"team_id": team_id, "project_id": project_id}

    def _check_life(self, expires_at: datetime | None, settings: TenantSettings) -> None:
        days = settings.longest_key_days
        if days is None:
            return
        if expires_at is None or expires_at > self._clock.now() + timedelta(days=days):
            raise KeyLivesTooLong(f"Keys of this tenant live at most {days} days; send an earlier expires_at.")

    def _check_scopes(self, owner: Owner, scopes: Sequence[Scope]) -> None:
        if Scope.INFERENCE in scopes and Permission.GATEWAY_USE not in permissions_of_key(owner.permissions, scopes):
            raise BeyondAuthority(
                f"The owner's role '{owner.role}' may not use the gateway: no key with scope 'inference'."
            )

    def _check_expiry(self, expires_at: datetime | None) -> None:
        if expires_at is not None and expires_at <= self._clock.now():
            raise MalformedPayload("expires_at lies in the past.", param="expires_at")


def _check_hand(caller: Caller, owner: Owner, scopes: Iterable[Scope]) -> None:
    """An admin key grows with its owner's role, so nobody else may hold the secret of a person's admin key.

    A service account's keys are made by others always: who widens its role knows that.
    """
    is_own = owner.user_id == caller.user_id or not owner.is_person
    if Scope.ADMIN in scopes and not is_own and not caller.is_platform:
        raise BeyondAuthority(
            "A key with scope 'admin' acts with its owner's role, today's and tomorrow's: only they make and rotate it. "
            "Let a service account own it instead."
        )


def _check_widened(caller: Caller, owner: Owner, row: ApiKey, scopes: Sequence[Scope]) -> None:
    if Scope.ADMIN in scopes and Scope.ADMIN.value not in row.scopes:
        _check_hand(caller, owner, scopes)
        # `created_by` is whoever was shown the secret last.
        if owner.is_person and row.created_by not in {None, row.user_id} and not caller.is_platform:
            raise BeyondAuthority("Somebody else was shown this key's secret; make a new key with scope 'admin'.")


async def revoke_all_of(
    session: AsyncSession, caller: Caller | audit.Actor, tenant_id: UUID, user_id: UUID, reason: str, now: datetime
) -> int:
    """Every key of a member who leaves; the caller's right to that member was checked before."""
    rows = await repository.list_active_of(session, tenant_id, user_id)
    for row in rows:
        await _revoke(session, caller, row, reason, now)
    return len(rows)


async def revoke_all_in(
    session: AsyncSession, actor: audit.Actor, tenant_id: UUID, team_id: UUID, user_id: UUID, now: datetime
) -> int:
    """The keys that somebody who left a team had in it."""
    rows = await repository.list_active_in(session, tenant_id, team_id, user_id)
    for row in rows:
        await _revoke(session, actor, row, "its owner left the team", now)
    return len(rows)


async def _revoke(session: AsyncSession, caller: Caller | audit.Actor, row: ApiKey, reason: str, now: datetime) -> None:
    row.status, row.revoked_at = "revoked", now
    row.previous_digest = row.previous_pepper_id = row.previous_expires_at = None
    await session.flush()
    before, after = {"status": "active"}, {"status": "revoked", "reason": reason}
    await audit.record(session, caller, "keys.revoke", "key", _id(row), before, after, tenant_id=row.tenant_id)
    await events.emit(session, row.tenant_id, events.KeyRevoked(row.id, reason))
    await announce(session, Topic.KEY, row.id)


async def _place(
    session: AsyncSession, caller: Caller, tenant_id: UUID, team_id: UUID | None, project_id: UUID | None
) -> tuple[UUID | None, UUID | None]:
    """The team and the project to keep. A key in a project has no team of its own: it goes where the project goes."""
    in_effect = team_id
    if project_id is not None:
        in_effect = (await projects.get_in(session, tenant_id, project_id)).team_id
        if team_id is not None and team_id != in_effect:
            raise TeamMismatch("The project belongs to another team; leave out team_id.", param="team_id")
    elif team_id is not None:
        await teams.get_in(session, tenant_id, team_id)
    await _check_membership(session, caller, tenant_id, in_effect)
    bounds.check_place(caller, in_effect, project_id)
    return None if project_id is not None else team_id, project_id


async def _check_membership(session: AsyncSession, caller: Caller, tenant_id: UUID, team_id: UUID | None) -> None:
    if team_id is None or caller.may(Permission.TEAMS_UPDATE):
        return
    if not await teams.is_member(session, tenant_id, team_id, caller.user_id):
        raise NotInTeam("You are not in that team; ask one of its maintainers.")


def _bounded(caller: Caller, wanted: KeyFields) -> KeyFields:
    """What a key makes has that key's limits where none are asked for, and never wider ones."""
    narrowed = wanted.model_copy(update=bounds.inherited(caller, wanted))
    bounds.check(caller, {"environment": narrowed.environment, **bounds.limits(narrowed)})
    return narrowed


def _only_owner(caller: Caller, permission: Permission) -> UUID | None:
    """Whose keys the caller is confined to; None for who may see or manage the others' as well."""
    return None if caller.may(permission) else caller.user_id


def _refuse_revoked(row: ApiKey) -> None:
    if row.status == "revoked":
        raise KeyIsRevoked("The key is revoked; make a new one.")


def _not_found() -> KeyNotFound:
    return KeyNotFound("There is no such key.")


def _distinct(scopes: Sequence[Scope]) -> list[str]:
    return [scope.value for scope in dict.fromkeys(scopes)]


def _id(row: ApiKey) -> str:
    return format_id("key", row.id)


def _facts(row: ApiKey) -> dict[str, Any]:
    """What the audit trail keeps of a key."""
    return {
        "name": row.name,
        "user_id": format_id("usr", row.user_id),
        "team_id": None if row.team_id is None else format_id("team", row.team_id),
        "project_id": None if row.project_id is None else format_id("prj", row.project_id),
        "environment": row.environment,
        "scopes": list(row.scopes),
        **bounds.limits(row),
        "tags": dict(row.tags),
        "last_four": row.last_four,
    }


def _columns(row: ApiKey) -> dict[str, Any]:
    return {name: getattr(row, name) for name in KeyView.model_fields}
