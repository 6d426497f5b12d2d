"""A multipart body as it came: its bytes, and where its fields stand in them. Nothing of a file is copied."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FormPart:
    """One field. Its delimiter begins at `begin`, its content is `content[start:end]` of the form.

    `filename` None: a text. A repeated field may be written `name[]`; `key` is its name without that.
    """

    name: str
    begin: int
    start: int
    end: int
    filename: str | None = None
    content_type: str | None = None

    @property
    def key(self) -> str:
        return self.name.removesuffix("[]")

    @property
    def is_file(self) -> bool:
        return self.filename is not None


@dataclass(frozen=True, slots=True)
class Form:
    """`close`: where the last delimiter begins. `values` are the texts as a call's body had them when it was read."""

    content: bytes
    boundary: bytes
    parts: tuple[FormPart, ...]
    close: int
    values: Mapping[str, Any]

    @property
    def content_type(self) -> str:
        # Quoted, because some boundaries need it and none suffers from it.
        return f'multipart/form-data; boundary="{self.boundary.decode("ascii")}"'

    def files(self, key: str) -> tuple[FormPart, ...]:
        return tuple(part for part in self.parts if part.is_file and part.key == key)

    def view(self, part: FormPart) -> memoryview:
        return memoryview(self.content)[part.start : part.end]
