"""A rule as the configuration file declares it: whom it is about still stands there by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class DeclaredRule:
    """`tenant` is a slug or a public id, None the platform. `named` is an id, or the name of a team or project, or an email.

    `columns` are the terms by the names of the table's columns; `id` is another one where other counters would begin.
    """

    section: Literal["limits", "budgets"]
    id: UUID
    name: str
    place: str
    tenant: str | None
    kind: str
    named: str | None
    value: str | None
    columns: Mapping[str, Any]
    backfill: bool = False
