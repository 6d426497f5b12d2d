"""Turns the constraint that a write violated into the sentence its caller can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError

from tollkeeper.core.errors import TollkeeperError


@contextmanager
def refuse_on(**errors: TollkeeperError) -> Iterator[None]:
    """Around a flush: `refuse_on(uq_users_email=EmailTaken(…))`. The transaction is lost either way."""
    try:
        yield
    except IntegrityError as fault:
        error = errors.get(violated_constraint(fault) or "")
        if error is None:
            raise
        raise error from fault


def violated_constraint(fault: DBAPIError) -> str | None:
    cause = getattr(fault.orig, "__cause__", None)
    name = getattr(cause, "constraint_name", None)
    return name if isinstance(name, str) else None
