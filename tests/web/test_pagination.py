"""Cursors are opaque, checked, and of one list only."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import uuid7
from tollkeeper.main import create_app
from tollkeeper.web.pagination import PageRequest, Position, cut, decode_cursor, encode_cursor

VALUES: st.SearchStrategy[Position] = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.uuids(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50),
    st.datetimes(timezones=st.just(UTC)),
)


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_a_cursor_reads_as_it_was_written(values: list[Position]) -> None:
    assert decode_cursor(encode_cursor("things", *values), "things", *map(type, values)) == tuple(values)


@given(st.text(max_size=100))
def test_anything_else_is_refused_and_never_crashes(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        decode_cursor(text, "things", UUID)
    assert refused.value.code == "invalid_cursor"


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(BadRequest):
        decode_cursor(encode_cursor("keys", uuid7()), "users", UUID)


@pytest.mark.parametrize("value", [2**63, True, "text", None, 1.5])
def test_a_cursor_with_another_type_is_refused(value: object) -> None:
    with pytest.raises(BadRequest):
        decode_cursor(encode_cursor("things", value), "things", int)  # type: ignore[arg-type]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(BadRequest):
        decode_cursor(encode_cursor("things", "2026-01-01T00:00:00"), "things", datetime)


def test_the_extra_row_makes_the_cursor() -> None:
    ids = [uuid7() for _ in range(3)]
    page, cursor = cut(ids, PageRequest(2, None), "things", lambda row: (row,))
    assert page == ids[:2]
    assert cursor is not None
    assert PageRequest(2, cursor).after_id("things") == ids[1]
    assert cut(ids, PageRequest(3, None), "things", lambda row: (row,)) == (ids, None)


def test_no_list_of_the_control_plane_is_a_bare_array() -> None:
    """A page can grow members and a cursor; an array can grow nothing."""
    arrays = [
        f"{method} {path}"
        for path, methods in create_app().openapi()["paths"].items()
        for method, operation in methods.items()
        for status, answer in operation["responses"].items()
        for content in answer.get("content", {}).values()
        if status.startswith("2") and content.get("schema", {}).get("type") == "array"
    ]
    assert arrays == []
