"""Where sealed secrets lie: every column that holds an envelope of `core/crypto`, and how to read and replace it in SQL.

A rotation of the master key walks this list, so a column that is not on it would be lost with the former key; a
catalogue test holds it against the schema.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EnvelopeColumn:
    """`read` is the envelope as bytes; `write` replaces it by `:envelope`, wrapped by `:kek_id`. Each row has an `id`."""

    table: str
    column: str
    read: str
    write: str
    # A generated column that has the id of the wrapping key: in a table too large to look into every envelope.
    kek_column: str | None = None

    @property
    def name(self) -> str:
        return f"{self.table}.{self.column}"

    @property
    def kek(self) -> str:
        """The id of the wrapping key: four bytes after the format."""
        return self.kek_column or f"encode(substring({self.read} from 2 for 4), 'hex')"


def _bytes(table: str, column: str) -> EnvelopeColumn:
    return EnvelopeColumn(table, column, column, f"{column} = CAST(:envelope AS bytea)")


def _text(table: str, column: str, read: str) -> EnvelopeColumn:
    """In base64 inside a document; PostgreSQL breaks that into lines, ours has none."""
    fresh = "translate(encode(CAST(:envelope AS bytea), 'base64'), E'\\n', '')"
    return EnvelopeColumn(table, column, read, f"{column} = jsonb_set({column}, '{{sealed}}', to_jsonb({fresh}))")


ENVELOPES: Final = (
    EnvelopeColumn(
        "provider_credentials", "envelope", "envelope", "envelope = CAST(:envelope AS bytea), kek_id = :kek_id"
    ),
    _bytes("providers", "proxy_url"),
    # One envelope for all secret headers.
    _text("providers", "headers", "decode(headers ->> 'sealed', 'base64')"),
    # Of jobs that are still to be done.
    _text(
        "jobs",
        "payload",
        "CASE WHEN status NOT IN ('succeeded', 'cancelled', 'dead') THEN decode(payload ->> 'sealed', 'base64') END",
    ),
    _bytes("second_factors", "secret"),
    _bytes("identity_providers", "client_secret"),
    EnvelopeColumn(
        "stored_responses", "envelope", "envelope", "envelope = CAST(:envelope AS bytea)", kek_column="kek_id"
    ),
    _bytes("guardrail_policy_versions", "secrets"),
    EnvelopeColumn(
        "guardrail_events", "envelope", "envelope", "envelope = CAST(:envelope AS bytea)", kek_column="kek_id"
    ),
    # Each holds the key of its file's pieces, or of its batch's outcomes.
    EnvelopeColumn("files", "envelope", "envelope", "envelope = CAST(:envelope AS bytea)", kek_column="kek_id"),
    EnvelopeColumn("batches", "envelope", "envelope", "envelope = CAST(:envelope AS bytea)", kek_column="kek_id"),
)
