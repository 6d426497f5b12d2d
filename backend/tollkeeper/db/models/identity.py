"""How people prove who they are: refresh sessions, second factors, one-time links."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Created, Identified


class RefreshSession(Identified, Created, Base):
    """One row for each token ever handed out, in families that die together. Only the token's digest is kept.

    `replaced_by` is set when it was rotated; a second use is theft. `tenant_id` is the tenant the session works in,
    `authenticated_at` the last time its user proved who they are. `epoch` is the user's at the time: raising that one
    ends the session, in whichever tenant it works.
    """

    __tablename__ = "sessions"

    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    family_id: Mapped[UUID]
    token_digest: Mapped[bytes] = mapped_column(LargeBinary)
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    replaced_by: Mapped[UUID | None]
    user_agent: Mapped[str | None]
    address: Mapped[str | None]
    authenticated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    method: Mapped[str] = mapped_column(default="password", server_default="password")
    epoch: Mapped[int] = mapped_column(default=0, server_default="0")

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "user_id"], ["members.tenant_id", "members.user_id"], ondelete="CASCADE"),
        Index("uq_sessions_token_digest", "token_digest", unique=True),
        Index("ix_sessions_family_id", "family_id"),
        Index("ix_sessions_tenant_id_user_id", "tenant_id", "user_id"),
    )


class SecondFactor(Identified, Created, Base):
    """A TOTP secret in an envelope; it counts once confirmed. Steps up to `last_step` are used up."""

    __tablename__ = "second_factors"

    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "user_id"),
    )


class RecoveryCode(Identified, Created, Base):
    """Replaces the second factor once."""

    __tablename__ = "recovery_codes"

    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    used_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        Index("ix_recovery_codes_tenant_id_user_id", "tenant_id", "user_id"),
    )


class OneTimeLink(Identified, Created, Base):
    """A link that proves an account by its holder's mailbox or an administrator's hand."""

    __tablename__ = "one_time_links"

    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    purpose: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    created_by: Mapped[UUID | None]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("purpose IN ('password_reset', 'email_verification')", name="purpose"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        Index("uq_one_time_links_digest", "digest", unique=True),
        Index("ix_one_time_links_tenant_id_user_id", "tenant_id", "user_id"),
    )


class ConsumedToken(Base):
    """What may be used once and is not in a table of its own: an OIDC state, a TOTP step. Swept after `expires_at`."""

    __tablename__ = "consumed_tokens"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    purpose: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("ix_consumed_tokens_expires_at", "expires_at"),)
