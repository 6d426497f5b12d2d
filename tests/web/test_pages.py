"""The built-in pages: every link of the product leads to one, and none of them runs or loads what is not ours."""

import re
from collections.abc import AsyncIterator, MutableMapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import tollkeeper
from tests.domains.control_plane import ORIGIN
from tests.matrix.operations import operations
from tollkeeper.api.pages import ASSETS, CONTENT_SECURITY_POLICY, PAGES
from tollkeeper.core.config import Settings
from tollkeeper.main import create_app

PACKAGE = Path(tollkeeper.__file__).parent
FOLDER = PACKAGE / "web" / "pages"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
HTML = sorted(FOLDER.glob("*.html"))
ADDRESSES = ["/console", *(f"/console/{path}" for path in PAGES)]
# In a clone without npm the console is not built; `test_console.py` has what a built one adds.
NOT_BUILT = Path(__file__).parent / "no-such-folder"
# All that the security rules ask of a page of ours.
DIRECTIVES = {
    "default-src 'none'", "script-src 'self'", "connect-src 'self'", "font-src 'self'", "img-src 'self' data:",
    "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'", "require-trusted-types-for 'script'",
}  # fmt: skip


class Markup(HTMLParser):
    """The tags of a page, the references in them, and the text between script and style tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline = ""
        self._open = ""
        # Whether each open section is hidden, and the forms that are shown before the script is there.
        self._sections: list[bool] = []
        self.bare_forms: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag
        is_hidden = "hidden" in dict(attrs)
        if tag == "section":
            self._sections.append(is_hidden)
        elif tag == "form" and not is_hidden and not any(self._sections):
            self.bare_forms.append(dict(attrs)["id"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""
        if tag == "section":
            self._sections.pop()

    def handle_data(self, data: str) -> None:
        if self._open in {"script", "style"}:
            self.inline += data

    @property
    def references(self) -> list[str]:
        names = ("href", "src", "action", "formaction", "data", "srcset", "poster")
        return [attributes[name] for _, attributes in self.tags for name in names if name in attributes]


def markup_of(path: Path) -> Markup:
    return Markup(path.read_text())


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """The mounted application, never started: the pages need nothing of it."""
    transport = httpx.ASGITransport(create_app(Settings(_env_file=None), console=NOT_BUILT), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=BROWSER) as client:
        yield client


def linked_paths() -> set[str]:
    """Every address under /console that the product's own code writes into a link or a redirect."""
    sources = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "api"]
    texts = [re.sub(r'"""[\s\S]*?"""|#.*', "", path.read_text()) for path in sources]
    # A sentence of an error names one as an example.
    return {found for text in texts for found in re.findall(r'["}](/console[\w/-]*)', text)}


def test_the_product_links_to_these_pages() -> None:
    assert linked_paths() == {
        "/console", "/console/sign-in", "/console/invitation", "/console/reset-password", "/console/verify-email"
    }  # fmt: skip
    assert linked_paths() <= set(ADDRESSES)


@pytest.mark.parametrize("address", [*ADDRESSES, "/console/"])
async def test_every_page_is_html_under_the_strict_policy(client: httpx.AsyncClient, address: str) -> None:
    answer = await client.get(address, params={"error": "x", "request_id": "y", "next": "/console"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = set(answer.headers["content-security-policy"].split("; "))
    assert policy >= DIRECTIVES
    assert not re.search(r"unsafe|\*|https?:", CONTENT_SECURITY_POLICY)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", ASSETS)
async def test_an_asset_is_asked_for_again_and_sent_once(client: httpx.AsyncClient, name: str) -> None:
    first = await client.get(f"/console/{name}")
    assert (first.status_code, first.headers["content-type"]) == (200, ASSETS[name])
    assert first.headers["cache-control"] == "no-cache"
    again = await client.get(f"/console/{name}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("page", HTML, ids=lambda page: page.name)
def test_no_page_has_a_script_or_a_style_in_its_markup(page: Path) -> None:
    markup = markup_of(page)
    assert not markup.inline.strip()
    names = {name for _, attributes in markup.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in {"style", "srcdoc"}]
    assert {tag for tag, _ in markup.tags}.isdisjoint({"style", "iframe", "object", "embed", "base"})


@pytest.mark.parametrize("page", HTML, ids=lambda page: page.name)
async def test_every_reference_of_a_page_is_served_here(client: httpx.AsyncClient, page: Path) -> None:
    for reference in markup_of(page).references:
        address = urlsplit(reference)
        assert (address.scheme, address.netloc) == ("", ""), reference
        if reference != "/health/ready":
            assert (await client.get(reference)).status_code == 200, reference


@pytest.mark.parametrize("name", ASSETS)
def test_scripts_and_styles_name_no_other_place_and_write_no_markup(name: str) -> None:
    text = (FOLDER / name).read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|[\"'(]//|@import|url\(", text)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|srcdoc|localStorage", text
    )


@pytest.mark.parametrize("page", HTML, ids=lambda page: page.name)
def test_a_page_can_be_used_without_eyes_and_on_a_small_screen(page: Path) -> None:
    markup = markup_of(page)
    tags = [tag for tag, _ in markup.tags]
    assert tags.count("h1") == tags.count("main") == 1
    assert ("html", {"lang": "en"}) in markup.tags
    assert any(attributes.get("name") == "viewport" for _, attributes in markup.tags)
    labelled = {attributes["for"] for tag, attributes in markup.tags if tag == "label"}
    assert {attributes["id"] for tag, attributes in markup.tags if tag in {"input", "select"}} == labelled
    ids = [attributes["id"] for _, attributes in markup.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    if page.stem in PAGES.values():
        roles = {attributes.get("role") for _, attributes in markup.tags}
        assert roles >= {"alert", "status"}


@pytest.mark.parametrize("page", HTML, ids=lambda page: page.name)
def test_no_form_is_shown_before_its_script_listens(page: Path) -> None:
    assert markup_of(page).bare_forms == []


def test_no_form_puts_what_is_typed_into_an_address() -> None:
    forms = [attributes for page in HTML for tag, attributes in markup_of(page).tags if tag == "form"]
    assert len(forms) > 8
    # Without the script they go nowhere, and never into the query.
    assert all(form == {**form, "method": "post"} and "action" not in form for form in forms)


@pytest.mark.parametrize(
    "address", ["/console/nothing", "/console/sign-in/", "/console/account.html", "/console/sign-in.html"]
)
async def test_an_unknown_address_is_a_page_for_people_and_a_problem_for_programs(
    client: httpx.AsyncClient, address: str
) -> None:
    page = await client.get(address)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "There is nothing here" in page.text
    problem = await client.get(address, headers={"accept": "*/*"})
    assert (problem.status_code, problem.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "address",
    ["/console/../pyproject.toml", "/console/%2e%2e/%2e%2e/main.py", "/console/..%2f..%2fmain.py", "/console//etc/passwd",
     "/console/..%5cpages.py", "/console/pages/pages.js", "/console/%2fetc%2fpasswd", "/console/pages.js/..", "/console/./pages.js"],
)  # fmt: skip
async def test_no_spelling_reaches_another_file(address: str) -> None:
    # By hand: a client would tidy the path up before it is sent.
    app = create_app(Settings(_env_file=None), console=NOT_BUILT)
    raw = address.encode()
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": httpx.URL(address).path,
        "raw_path": raw, "query_string": b"", "root_path": "", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"testserver"), (b"accept", b"text/html")],
    }  # fmt: skip
    scope["path"] = re.sub(r"%([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), address)
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app(scope, receive, send)
    assert sent[0]["status"] == 404
    body = b"".join(message.get("body", b"") for message in sent)
    assert b"There is nothing" in body


async def test_the_root_sends_people_to_the_pages_and_tells_programs_what_it_is(client: httpx.AsyncClient) -> None:
    person = await client.get("/", headers={"host": "evil.example"})
    assert (person.status_code, person.headers["location"], person.headers["vary"]) == (302, "/console", "accept")
    told = (await client.get("/", headers={"accept": "*/*"})).json()
    assert told == {
        "name": "tollkeeper", "version": tollkeeper.__version__, "openapi": "/openapi.json", "health": "/health/ready"
    }  # fmt: skip


async def test_pages_take_no_writes(client: httpx.AsyncClient) -> None:
    for address in ("/", "/console", "/console/sign-in"):
        assert (await client.post(address, content=b"password=secret")).status_code == 405


def test_the_pages_are_declared_public() -> None:
    declared = {op.path: op.permission for op in operations() if not op.path.startswith(("/api/", "/health/"))}
    assert declared.items() >= {"/": None, "/console": None, "/console/{path:path}": None}.items()
