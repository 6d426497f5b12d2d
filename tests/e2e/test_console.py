"""The built console in a real browser: one person's way through it, and every page in both colour schemes under axe."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.canaries import canary
from tests.e2e.browser import Browser, find_chromium, running_browser
from tests.e2e.processes import Product
from tollkeeper.console import is_built
from tollkeeper.core.ids import uuid7

FRONTEND = Path(__file__).parent.parent.parent / "frontend"
AXE = FRONTEND / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SCREENS = [("light", 1280), ("dark", 1280), ("light", 390)]
# Finished as far as the server is concerned: a heading, and no skeleton any more.
LOADED = "document.querySelector('main h1') && !document.querySelector('main [role=status][aria-busy=true]')"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    found = find_chromium()
    if found is None:
        pytest.skip("no Chromium is installed: the console is not driven here")
    if not is_built():
        pytest.skip("the console is not built (./tollkeeper console build): it is not driven here")
    with running_browser(found) as running:
        yield running


@pytest.fixture
def console(chromium: Browser, product: Product) -> Iterator[Browser]:
    """A new person's window, signed in. Whatever is done in it, nothing is asked of another place, and nothing is amiss."""
    chromium.requests.clear()
    chromium.complaints.clear()
    chromium.open_window()
    # Links want a fresh proof of the administrator.
    product._token = None
    email, password = f"eve-{uuid7().hex}@example.com", canary("password")
    body = {"email": email, "role": "tenant_admin"}
    token = product.admin("POST", "/invitations", json=body).json()["link"].partition("#token=")[2]
    chromium.go(f"{product.origin}/console/invitation#token={token}")
    chromium.submit("account-form", name="Eve", password=password, repeated=password)
    chromium.wait("location.pathname === '/console'")
    chromium.wait(LOADED)
    yield chromium
    assert [url for url in chromium.requests if not url.startswith((product.origin, "about:", "data:"))] == []
    assert chromium.complaints == []
    assert chromium.ask("document.cookie") == ""
    stored = chromium.ask("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert "tk-" not in stored
    assert password not in stored


def by_text(tag: str, text: str) -> str:
    return f"[...document.querySelectorAll('{tag}')].find((one) => one.innerText.trim() === {json.dumps(text)})"


def press(browser: Browser, text: str, tag: str = "button") -> None:
    browser.wait(f"{by_text(tag, text)}.checkVisibility() && !{by_text(tag, text)}.disabled")
    browser.ask(f"void {by_text(tag, text)}.click()")


def write(browser: Browser, selector: str, text: str) -> None:
    """As a keyboard does, so that the page's own fields hear of it."""
    browser.wait(f"document.querySelector({json.dumps(selector)}).checkVisibility()")
    browser.ask(f"void document.querySelector({json.dumps(selector)}).focus()")
    browser.call("Input.insertText", text=text)


def test_a_key_is_made_used_seen_live_and_revoked(console: Browser, product: Product) -> None:
    name = f"app {uuid7().hex} <b>not bold</b>"
    console.go(f"{product.origin}/console/keys")
    press(console, "Create a key")
    write(console, "[role=dialog] input[required]", name)
    press(console, "Create")
    console.wait("document.querySelector('[data-testid=secret]').innerText.startsWith('tk-live_')")
    secret = console.ask("document.querySelector('[data-testid=secret]').innerText")
    press(console, "I have kept it")
    console.sees(name)
    assert secret not in console.ask("document.documentElement.outerHTML")

    console.go(f"{product.origin}/console/requests?live=1")
    console.wait("document.querySelector('main [role=status]').innerText === 'Live'")
    with OpenAI(base_url=product.base_url, api_key=secret, max_retries=0, timeout=30) as client:
        said = client.chat.completions.with_raw_response.create(
            model="simulated", messages=[{"role": "user", "content": "Hello"}]
        )
    request_id = said.headers["x-request-id"]
    console.wait("document.querySelectorAll('tbody tr').length > 0")
    console.ask("void document.querySelector('tbody tr').focus()")
    console.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r")
    console.wait("new URLSearchParams(location.search).has('open')")

    # A link of it shows the same.
    console.go(f"{product.origin}/console/requests?open={request_id}")
    console.sees(request_id)
    console.sees("Limits and budgets")

    console.go(f"{product.origin}/console/keys")
    console.sees(name)
    console.ask(
        f"void [...document.querySelectorAll('tbody tr')].find((row) => row.innerText.includes({json.dumps(name)})).click()"
    )
    press(console, "Revoke …")
    write(console, "[role=dialog] form input", name)
    press(console, "Revoke this key")
    console.sees("revoked")
    assert console.ask("document.querySelectorAll('tbody b').length") == 0


def test_every_page_can_be_read_in_both_schemes_and_on_a_phone(console: Browser, product: Product) -> None:
    if not AXE.exists():
        pytest.skip("the console's packages are not installed (./tollkeeper check): axe is not there")
    pages = json.loads(
        console.ask("JSON.stringify([...document.querySelectorAll('nav a')].map((link) => link.pathname))")
    )
    assert len(pages) >= 3
    faults = []
    for page in pages:
        for scheme, width in SCREENS:
            console.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
            )
            features = [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]
            console.call("Emulation.setEmulatedMedia", features=features)
            console.go(f"{product.origin}{page}")
            console.wait(LOADED)
            if console.ask("document.documentElement.scrollWidth") > width:
                faults.append((page, width, "is wider than the screen"))
            # Past the policy of the page, as an extension would.
            console.ask(f"{AXE.read_text()};void 0")
            found = f"axe.run({{runOnly: {json.dumps(RULES)}}})"
            shown = "one.violations.map((fault) => fault.id + ' ' + fault.nodes[0].html.slice(0, 200))"
            faults += [(page, scheme, width, fault) for fault in console.ask(f"{found}.then((one) => {shown})")]
    assert faults == []


def test_what_a_role_may_not_see_is_not_offered_and_says_so(console: Browser, product: Product) -> None:
    assert (
        console.ask("[...document.querySelectorAll('nav a')].map((link) => link.pathname)").count("/console/keys") == 1
    )
    console.go(f"{product.origin}/console/no-such-page")
    console.sees("There is nothing here")
    console.call("Input.dispatchKeyEvent", type="keyDown", key="?", code="Slash", text="?", modifiers=8)
    console.sees("Keyboard shortcuts")


def test_who_is_not_signed_in_comes_back_to_the_page_they_asked_for(console: Browser, product: Product) -> None:
    console.open_window()
    console.go(f"{product.origin}/console/keys?status=active")
    console.wait("location.pathname === '/console/sign-in'")
    assert console.ask("new URLSearchParams(location.search).get('next')") == "/console/keys?status=active"
