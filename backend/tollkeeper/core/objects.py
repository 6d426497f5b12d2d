"""The object store: a folder by default, S3-compatible by URL, one interface over both (obstore).

Keys are `/`-separated paths made by us, never taken from a caller; every key names the tenant it belongs to.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from tollkeeper.core.errors import DependencyUnavailable, NotFound

_KEY: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MAX_KEY_LENGTH: Final = 900  # S3 takes 1,024 bytes; the prefix of the bucket needs some.


class Objects:
    """Whole objects and ranges of them. A store that does not answer raises `DependencyUnavailable`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str | None, data_dir: Path) -> "Objects":
        """`url` None is the folder `objects` of the data folder. Raises ValueError for a URL that names no store."""
        if url is None:
            folder = data_dir / "objects"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(LocalStore(folder))
        try:
            return cls(from_url(url))
        except BaseError as error:
            raise ValueError(f"TOLLKEEPER_OBJECTS_URL names no object store: {_first_line(error)}") from error

    async def put(self, key: str, data: bytes) -> None:
        """Write or replace an object."""
        try:
            await obstore.put_async(self._store, _checked(key), data)
        except BaseError as error:
            raise _unavailable() from error

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> bytes:
        """The object, or its bytes from `start` up to but without `end`. Raises `NotFound`."""
        try:
            if start == 0 and end is None:
                found = await obstore.get_async(self._store, _checked(key))
                return bytes(await found.bytes_async())
            if end is None:
                end = (await obstore.head_async(self._store, _checked(key)))["size"]
            return bytes(await obstore.get_range_async(self._store, _checked(key), start=start, end=end))
        except (NotFoundError, FileNotFoundError) as error:
            raise NotFound("No such object.") from error
        except BaseError as error:
            raise _unavailable() from error

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        try:
            await obstore.delete_async(self._store, _checked(key))
        except (NotFoundError, FileNotFoundError):
            return
        except BaseError as error:
            raise _unavailable() from error

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """The keys below a prefix, in no promised order."""
        try:
            async for batch in obstore.list(self._store, prefix=_checked(prefix.rstrip("/"))):
                for entry in batch:
                    yield entry["path"]
        except BaseError as error:
            raise _unavailable() from error


def _checked(key: str) -> str:
    """A key that could leave its folder is a mistake of ours, not of a caller."""
    if len(key) > _MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise ValueError("not a key of the object store")
    return key


def _unavailable() -> DependencyUnavailable:
    return DependencyUnavailable("The object store does not answer. Try again shortly.", retry_after_seconds=5)


def _first_line(error: BaseError) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
