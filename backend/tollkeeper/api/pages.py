"""What stands under `/console`: the built-in pages of signing in, and for every other address the built console.

The built-in ones, where the links of mails and the ways back from identity providers lead, are plain files of `web/pages`,
read once; an address is looked up in a table and never becomes a path on disk. They know nothing: what they show, their
script asks of `/api/v1`, with the session's cookie. They are there without a build; the console says then how to make it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from tollkeeper import __version__, web
from tollkeeper.api.console import BuiltConsole, is_page_path
from tollkeeper.console import DIST
from tollkeeper.core.errors import NotFound
from tollkeeper.web.deps import public

# No script or style in the markup, nothing from elsewhere, no frame around it; text is never read as markup.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; font-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# What the product links to: mails, banner, the way back from an identity provider.
PAGES: Final[Mapping[str, str]] = {
    "account": "account",
    "sign-in": "sign-in",
    "invitation": "invitation",
    "reset-password": "reset-password",
    "verify-email": "verify-email",
    "step-up": "step-up",
}
ASSETS: Final[Mapping[str, str]] = {
    "pages.js": "text/javascript; charset=utf-8",
    "client.js": "text/javascript; charset=utf-8",
    "pages.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_FOLDER: Final = Path(web.__file__).parent / "pages"
_HTML: Final = "text/html"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str | None = None

    def answer(self, request: Request, status: int = 200) -> Response:
        headers = {
            "content-security-policy": CONTENT_SECURITY_POLICY,
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }
        if self.etag is None:
            return Response(self.content, status, {**headers, "cache-control": "no-store"}, self.media_type)
        # Asked for anew each time, so that pages and script are of one version; unchanged, it costs a few bytes.
        headers |= {"cache-control": "no-cache", "etag": self.etag}
        if request.headers.get("if-none-match") == self.etag:
            return Response(None, 304, headers)
        return Response(self.content, status, headers, self.media_type)


def make_router(dist: Path = DIST) -> APIRouter:
    """`GET /`, and everything under `/console`."""
    console = BuiltConsole(dist)
    not_built = _page("not-built")
    files = {path: _page(name) for path, name in PAGES.items()}
    files |= {name: _asset(name, media_type) for name, media_type in ASSETS.items()}
    missing = _page("not-found")
    router = APIRouter(include_in_schema=False)

    @router.get("/", dependencies=[public()])
    async def root(request: Request) -> Response:
        """People go to the pages; programs are told what this is."""
        vary = {"vary": "accept"}
        if _wants_page(request):
            return RedirectResponse("/console", 302, vary)
        told = {"name": "tollkeeper", "version": __version__, "openapi": "/openapi.json", "health": "/health/ready"}
        return JSONResponse(told, headers=vary)

    @router.get("/console", dependencies=[public()])
    async def home(request: Request) -> Response:
        return console.page(request) if console.is_built else not_built.answer(request)

    @router.get("/console/{path:path}", dependencies=[public()])
    async def page(request: Request, path: str) -> Response:
        found = files.get(path)
        if found is not None:
            return found.answer(request)
        if (asset := console.asset(request, path)) is not None:
            return asset
        if path == "":
            return await home(request)
        if not _wants_page(request):
            raise NotFound("There is nothing at this address.")
        # Which of its pages there are, the console knows.
        return console.page(request) if console.is_built and is_page_path(path) else missing.answer(request, 404)

    return router


def _wants_page(request: Request) -> bool:
    return _HTML in request.headers.get("accept", "")


def _page(name: str) -> _File:
    return _File((_FOLDER / f"{name}.html").read_bytes(), f"{_HTML}; charset=utf-8")


def _asset(name: str, media_type: str) -> _File:
    content = (_FOLDER / name).read_bytes()
    return _File(content, media_type, f'"{sha256(content).hexdigest()[:32]}"')
