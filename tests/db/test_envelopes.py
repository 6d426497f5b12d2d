"""Every column that holds bytes is known: as an envelope that a rotation renews, or as something that needs none."""

import pytest
from sqlalchemy import text

from tollkeeper.core.crypto import Aad, MasterKey, SecretBox
from tollkeeper.core.ids import uuid7
from tollkeeper.db.envelopes import ENVELOPES, EnvelopeColumn
from tollkeeper.db.session import Database

BOX = SecretBox(MasterKey("envelopes-of-tests-" * 3))
# Digests, hashes of the audit chain, and stored answers (those with a secret are withheld).
NO_ENVELOPES = {
    "api_keys.digest",
    "api_keys.previous_digest",
    "audit_logs.hash",
    "audit_logs.previous_hash",
    # Sealed under the key in `batches.envelope`.
    "batch_items.outcome",
    "consumed_tokens.digest",
    "idempotency_keys.body_digest",
    "idempotency_keys.response",
    "invitations.digest",
    "one_time_links.digest",
    "recovery_codes.digest",
    "sessions.token_digest",
}

IN_DOCUMENTS = {"providers.headers", "jobs.payload"}


async def test_every_column_of_bytes_is_listed(database: Database) -> None:
    query = text(
        "SELECT table_name || '.' || column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND data_type = 'bytea' "
        # A day's partition has what its table has.
        "AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(quote_ident(table_name)))"
    )
    async with database.owner() as session:
        found = set(await session.scalars(query))
    listed = {column.name for column in ENVELOPES}
    assert found - NO_ENVELOPES == listed - IN_DOCUMENTS
    assert found >= NO_ENVELOPES, "a column that is gone needs no exception"


@pytest.mark.parametrize(
    "column", [column for column in ENVELOPES if column.kek_column is None], ids=lambda column: column.name
)
async def test_sql_names_the_wrapping_key_as_we_do(database: Database, column: EnvelopeColumn) -> None:
    envelope = BOX.seal(b"a secret" * 20, Aad(None, uuid7(), column.column, 1))
    given = ":envelope"
    if column.name in IN_DOCUMENTS:
        given = "jsonb_build_object('sealed', encode(CAST(:envelope AS bytea), 'base64'))"
    kind = "jsonb" if column.name in IN_DOCUMENTS else "bytea"
    query = text(
        f"SELECT {column.kek} FROM (SELECT 'queued' AS status, CAST({given} AS {kind}) AS {column.column}) AS row"
    )
    async with database.platform() as session:
        assert await session.scalar(query, {"envelope": envelope}) == BOX.kek_id


async def test_columns_for_the_wrapping_key_are_made_by_the_database(database: Database) -> None:
    """So that none can say anything else than its envelope."""
    query = text(
        "SELECT table_name || '.' || column_name, generation_expression FROM information_schema.columns "
        "WHERE table_schema = 'public' AND is_generated = 'ALWAYS'"
    )
    async with database.owner() as session:
        made = {row[0]: row[1] for row in await session.execute(query)}
    for column in ENVELOPES:
        if column.kek_column is not None:
            assert "encode(SUBSTRING(envelope FROM 2 FOR 4), 'hex'" in made[f"{column.table}.{column.kek_column}"]
