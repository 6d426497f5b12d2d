"""The built-in pages in a real browser: what a person does with the links that the product hands out."""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.canaries import canary
from tests.e2e.browser import Browser, find_chromium, running_browser
from tests.e2e.processes import Product
from tests.oidc_provider import running_provider
from tollkeeper.core import totp
from tollkeeper.core.ids import uuid7

PAGES = ["/account", "/sign-in", "/invitation", "/reset-password", "/verify-email", "/step-up", "/nothing.html"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    found = find_chromium()
    if found is None:
        pytest.skip("no Chromium is installed: the pages are not driven here")
    with running_browser(found) as running:
        yield running


@pytest.fixture
def browser(chromium: Browser, product: Product) -> Iterator[Browser]:
    """A window with no cookies. Whatever is done in it, nothing is asked of another place, and nothing is amiss."""
    chromium.requests.clear()
    chromium.complaints.clear()
    chromium.open_window()
    # Links, roles and people want a fresh proof of the administrator.
    product._token = None
    yield chromium
    assert [url for url in chromium.requests if not url.startswith((product.origin, "about:"))] == []
    assert chromium.complaints == []


def address_of(product: Product, link: str) -> str:
    """The link at the address that the suite uses."""
    found = urlsplit(link)
    return f"{product.origin}{found.path}#{found.fragment}"


def invite(product: Product, email: str, **fields: str) -> str:
    link: str = product.admin("POST", "/invitations", json={"email": email, **fields}).json()["link"]
    return address_of(product, link)


def arrive(browser: Browser, product: Product, origin: str | None = None) -> None:
    """Wherever a built console or its lack leads: on to the account, which is there in any case."""
    browser.wait("location.pathname === '/console'")
    browser.go(f"{origin or product.origin}/console/account")
    browser.wait("document.querySelector('#account').checkVisibility()")


def join(browser: Browser, product: Product, email: str, password: str) -> None:
    browser.go(invite(product, email))
    browser.submit("account-form", name="Ann <b>Example</b>", password=password, repeated=password)
    arrive(browser, product)


def newcomer() -> tuple[str, str]:
    return f"ann-{uuid7().hex}@example.com", canary("password")


def test_an_invitation_is_accepted_and_its_token_is_seen_nowhere(browser: Browser, product: Product) -> None:
    email, password = newcomer()
    link = invite(product, email)
    browser.go(link)
    browser.wait("document.querySelector('#newcomer').checkVisibility()")
    assert browser.ask("location.href") == f"{product.origin}/console/invitation"
    browser.submit("account-form", name="Ann <b>Example</b>", password=password, repeated=password[:-1])
    browser.sees("The two passwords differ.")
    browser.submit("account-form", name="Ann <b>Example</b>", password=password, repeated=password)
    arrive(browser, product)
    browser.sees(f"Ann <b>Example</b> ({email})")
    assert browser.ask("document.cookie") == ""
    assert browser.ask("JSON.stringify([{...sessionStorage}, {...localStorage}])") == "[{},{}]"
    token = link.partition("#token=")[2]
    assert not [url for url in browser.requests if token in url.partition("#")[0]]

    browser.go(link)
    browser.submit("join")
    browser.sees("This invitation does not work, or does not any more.")
    browser.sees("Request id: req_")


def test_a_person_signs_out_and_in_again(browser: Browser, product: Product) -> None:
    email, password = newcomer()
    join(browser, product, email, password)
    browser.submit("sign-out")
    browser.wait("location.pathname === '/console/sign-in'")
    browser.submit("password-form", email=email, password="wrong" + password)
    browser.sees("Request id: req_")
    browser.submit("password-form", email=email, password=password)
    arrive(browser, product)
    browser.sees(email)
    browser.go(f"{product.origin}/console/sign-in?next=//evil.example/")
    browser.sees(f"You are signed in as {email}")
    assert browser.ask("document.querySelector('#go-on').href") == f"{product.origin}/console"


def test_who_has_an_account_signs_in_first_and_comes_back(browser: Browser, product: Product) -> None:
    email, password = newcomer()
    join(browser, product, email, password)
    browser.submit("sign-out")
    browser.wait("location.pathname === '/console/sign-in'")
    name = f"Guests {secrets.token_hex(6)}"
    tenant = product.admin("POST", "/tenants", json={"name": name}).json()
    browser.go(invite(product, email, tenant_id=tenant["id"]))
    browser.submit("account-form", name="Ann", password=password, repeated=password)
    browser.sees("There is an account of this address.")
    browser.ask("void document.querySelector('#sign-in-first a').click()")
    browser.wait("location.pathname === '/console/sign-in'")
    browser.submit("password-form", email=email, password=password)
    browser.submit("join")
    arrive(browser, product)
    assert browser.ask("document.querySelector('#organisation').textContent") == name
    browser.submit("switch")
    browser.wait(f"!['', '{name}'].includes(document.querySelector('#organisation').textContent)")


def test_a_reset_link_sets_a_password(browser: Browser, product: Product) -> None:
    email, password = newcomer()
    join(browser, product, email, password)
    person = browser.ask("fetch('/api/v1/me').then((answer) => answer.json())")
    link = product.admin("POST", f"/users/{person['id']}/password-reset").json()["link"]
    browser.go(address_of(product, link))
    changed = canary("password")
    browser.submit("complete", password=changed, repeated=changed)
    browser.sees("Your password is set.")
    browser.go(f"{product.origin}/console/sign-in")
    browser.submit("password-form", email=email, password=changed)
    arrive(browser, product)
    browser.sees(email)
    browser.go(f"{product.origin}/console/reset-password")
    browser.submit("ask", email=email)
    browser.sees("If there is an account with this address")


def test_a_second_factor_is_set_up_and_asked_for(browser: Browser, product: Product) -> None:
    email, password = newcomer()
    join(browser, product, email, password)
    browser.submit("begin")
    browser.wait("document.querySelector('#secret').textContent")
    secret = browser.ask("document.querySelector('#secret').textContent")
    browser.submit("confirm", code=totp.code_at(base64.b32decode(secret), int(time.time()) // totp.STEP_SECONDS))
    browser.wait("document.querySelectorAll('#recovery-codes li').length === 10")
    recovery = browser.ask("document.querySelector('#recovery-codes li').textContent")
    browser.submit("sign-out")
    browser.wait("location.pathname === '/console/sign-in'")
    browser.submit("password-form", email=email, password=password)
    browser.sees("Your account asks for a code as well.")
    assert browser.ask("document.activeElement.id") == "code"
    browser.submit("password-form", email=email, password=password, code=recovery)
    arrive(browser, product)
    browser.go(f"{product.origin}/console/step-up?next=/console/sign-in")
    browser.sees("You have proven who you are")
    assert browser.ask("document.querySelector('#go-on').pathname") == "/console/sign-in"


def test_a_failed_way_through_a_provider_is_told_in_words_and_as_text(browser: Browser, product: Product) -> None:
    request_id = f"req_{uuid7().hex}"
    browser.go(f"{product.origin}/console/sign-in?error=oidc_not_admitted&request_id={request_id}")
    browser.sees("Your account there may not sign in here.")
    browser.sees(request_id)
    hostile = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
    browser.go(f"{product.origin}/console/sign-in?error={hostile}&request_id={hostile}&next=javascript:alert(1)")
    browser.sees("Signing in did not work.")
    assert browser.ask("document.images.length") == 0
    browser.submit("provider-form", organisation="nobody-here")
    browser.sees("No login of that organisation is known here.")


async def test_a_person_comes_back_from_an_identity_provider_signed_in(browser: Browser, product: Product) -> None:
    # Another host name than the provider's: to a browser, the way back comes from another site.
    origin = product.origin.replace("127.0.0.1", "localhost")
    domain = f"{uuid7().hex}.example"

    def walk() -> None:
        browser.go(f"{origin}/console/sign-in")
        browser.submit("provider-form", organisation=f"ann@{domain}")
        browser.wait("document.querySelector('#providers a').textContent === 'Continue with Login <i>of</i> Ann'")
        browser.ask("void document.querySelector('#providers a').click()")
        arrive(browser, product, origin)
        browser.sees(f"ann@{domain}")

    async with running_provider() as provider:
        provider.add("ann", email=f"ann@{domain}")
        body = {
            "name": "Login <i>of</i> Ann", "issuer": provider.issuer, "client_id": provider.client_id,
            "client_secret": provider.client_secret, "default_role": "developer", "allow_private_address": True,
            "email_domains": [domain],
        }  # fmt: skip
        made = await asyncio.to_thread(product.admin, "POST", "/identity-providers", json=body)
        provider.redirect_uris.add(made.json()["redirect_uri"])
        await asyncio.to_thread(walk)
        assert any(url.startswith(provider.issuer) for url in browser.requests)
        browser.requests[:] = [url for url in browser.requests if not url.startswith((provider.issuer, origin))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_small_screen_and_can_be_read(browser: Browser, product: Product, scheme: str) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=1, mobile=True)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    for page in PAGES:
        browser.go(f"{product.origin}/console{page}")
        arrives = "/sign-in" if page in {"/account", "/step-up"} else page
        browser.wait(
            f"location.pathname === '/console{arrives}' && getComputedStyle(document.body).marginTop === '0px'"
        )
        assert browser.ask("document.documentElement.scrollWidth") <= 360, page
        colours = json.loads(
            browser.ask("(s => JSON.stringify([s.color, s.backgroundColor]))(getComputedStyle(document.body))")
        )
        assert contrast(*colours) > 7, (page, colours)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, of two `rgb(r, g, b)`."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
