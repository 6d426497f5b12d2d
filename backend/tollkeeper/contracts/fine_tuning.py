"""A fine-tuning job as it is kept here: where it runs, and whose it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FineTuningJob:
    """`document` is what the vendor said of it last, with the ids that the caller gave its files."""

    provider: str
    # The account it runs in.
    credential_id: UUID | None
    vendor_id: str
    model: str
    document: Mapping[str, Any]
