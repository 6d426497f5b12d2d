"""The built console: files of `console/dist`, listed when it was built, sent from disk and never kept in memory.

An address is looked up in that list and never becomes a path. What stands under `assets/` has its content's hash in its
name and is kept for ever; the page that names them is asked for anew each time. Text goes out as the build compressed it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import Request, Response
from fastapi.responses import FileResponse

from tollkeeper.console import DIST

# No script that is not ours, no markup from text; style sheets are written by the console's components themselves.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; font-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; "
    "require-trusted-types-for 'script'; trusted-types default"
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_FOREVER: Final = "public, max-age=31536000, immutable"
_ANEW: Final = "no-cache"
_TYPES: Final[Mapping[str, str]] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
_INDEX: Final = "index.html"


@dataclass(frozen=True, slots=True)
class _Asset:
    path: Path
    media_type: str
    is_hashed: bool
    # The same as gzip, where the build left it.
    compressed: Path | None

    def answer(self, request: Request) -> Response | None:
        """None when the file went away since the start: a build replaced it."""
        headers = {**HEADERS, "cache-control": _FOREVER if self.is_hashed else _ANEW}
        path = self.path
        if self.compressed is not None:
            headers["vary"] = "accept-encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                path, headers["content-encoding"] = self.compressed, "gzip"
        return FileResponse(path, headers=headers, media_type=self.media_type) if path.is_file() else None


class BuiltConsole:
    """What of the console there is. A build beneath a running gateway is seen when its page is asked for."""

    def __init__(self, folder: Path = DIST) -> None:
        self._folder = folder
        self._assets: Mapping[str, _Asset] = {}
        self._index = b""
        self._etag = ""
        self._built_at = 0
        self._look()

    @property
    def is_built(self) -> bool:
        """False in a clone whose set-up found no npm."""
        self._look()
        return bool(self._index)

    def page(self, request: Request) -> Response:
        """The one page; which of the console's it shows, its script sees by the address."""
        headers = {**HEADERS, "cache-control": _ANEW, "etag": self._etag}
        if request.headers.get("if-none-match") == self._etag:
            return Response(None, 304, headers)
        return Response(self._index, 200, headers, "text/html; charset=utf-8")

    def asset(self, request: Request, path: str) -> Response | None:
        found = self._assets.get(path)
        return None if found is None else found.answer(request)

    def _look(self) -> None:
        index = self._folder / _INDEX
        try:
            built_at = index.stat().st_mtime_ns
            if built_at == self._built_at:
                return
            content = index.read_bytes()
        except OSError:
            self._built_at, self._index, self._assets = 0, b"", {}
            return
        self._assets = dict(_list_assets(self._folder))
        self._built_at, self._index, self._etag = built_at, content, f'"{sha256(content).hexdigest()[:32]}"'


def is_page_path(path: str) -> bool:
    """Whether the address may be a page of the console: scripts and styles that are gone are no pages."""
    return not path.startswith("assets/") and "." not in path.rpartition("/")[2]


def _list_assets(folder: Path) -> Iterator[tuple[str, _Asset]]:
    for path in sorted(folder.rglob("*")):
        media_type = _TYPES.get(path.suffix)
        if media_type is None or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        compressed = path.with_name(f"{path.name}.gz")
        yield name, _Asset(path, media_type, name.startswith("assets/"), compressed if compressed.is_file() else None)
