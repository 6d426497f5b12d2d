"""The object store over a real folder; the S3 side is the same library behind the same interface."""

from pathlib import Path

import pytest

from tollkeeper.core.errors import DependencyUnavailable, NotFound
from tollkeeper.core.objects import Objects


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects.open(None, tmp_path)


async def test_what_was_put_comes_back_whole_and_in_ranges(objects: Objects) -> None:
    await objects.put("ten_1/logs/day.bin", b"0123456789")

    assert await objects.get("ten_1/logs/day.bin") == b"0123456789"
    assert await objects.get("ten_1/logs/day.bin", start=2, end=5) == b"234"
    assert await objects.get("ten_1/logs/day.bin", start=7) == b"789"


async def test_a_second_put_replaces_the_first(objects: Objects) -> None:
    await objects.put("a", b"one")
    await objects.put("a", b"two")

    assert await objects.get("a") == b"two"


async def test_what_is_not_there_is_not_found_and_may_be_deleted(objects: Objects) -> None:
    await objects.delete("ten_1/none")

    with pytest.raises(NotFound):
        await objects.get("ten_1/none")
    with pytest.raises(NotFound):
        await objects.get("ten_1/none", start=1)


async def test_a_listing_stays_below_its_prefix(objects: Objects) -> None:
    for key in ("ten_1/a", "ten_1/b/c", "ten_10/d"):
        await objects.put(key, b"x")

    assert sorted([key async for key in objects.list("ten_1")]) == ["ten_1/a", "ten_1/b/c"]


@pytest.mark.parametrize(
    "key", ["../x", "a/../b", "/etc/passwd", "a//b", "", "a/.hidden/../../b", "a\x00b", "x" * 1000]
)
async def test_a_key_that_could_leave_its_folder_is_refused(objects: Objects, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        await objects.put(key, b"x")


async def test_a_store_that_fails_is_a_dependency_fault(objects: Objects) -> None:
    await objects.put("folder/object", b"x")

    with pytest.raises(DependencyUnavailable):
        await objects.put("folder/object/below", b"x")


def test_a_url_that_names_no_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TOLLKEEPER_OBJECTS_URL"):
        Objects.open("nothing://x", tmp_path)
