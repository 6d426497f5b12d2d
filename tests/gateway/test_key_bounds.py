"""Where a key may be used: one verdict for every header, path, alias and mode."""

from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.serving import Serving, chat, principal, provider, serving, snapshot
from tests.gateway.upstream import FakeUpstream, good_stream, stream
from tollkeeper.contracts.key_bounds import (
    address_allowed,
    covers_endpoint,
    covers_network,
    endpoint_allowed,
    endpoint_of,
    key_admits,
    read_network,
    read_origin,
)
from tollkeeper.core.secrets import new_key

HEADERS = ["authorization", "x-api-key", "api-key", "x-goog-api-key"]
PREFIXES = ["/v1", "/api/v1"]
CALLS = [
    ("POST", "/chat/completions", chat()),
    ("POST", "/completions", {"model": "gpt-4o-mini", "prompt": "hi"}),
    ("POST", "/embeddings", {"model": "embed", "input": "hi"}),
    ("GET", "/models", None),
    ("GET", "/models/gpt-4o-mini", None),
    ("GET", "/models/alias", None),
]


def carry(header: str, token: str) -> dict[str, str]:
    return {header: f"Bearer {token}" if header == "authorization" else token}


async def verdict(gateway: Serving, method: str, path: str, body: object, **headers: str) -> tuple[int, str | None]:
    answer: httpx.Response = await gateway.client.request(method, path, json=body, headers=headers)
    return answer.status_code, None if answer.status_code == 200 else answer.json()["error"]["code"]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[path for _, path, _ in CALLS])
@pytest.mark.parametrize(
    ("bound", "code"),
    [
        ({"allowed_endpoints": frozenset({"audio"})}, "endpoint_not_allowed"),
        ({"allowed_endpoints": frozenset()}, "endpoint_not_allowed"),
        ({"allowed_networks": (read_network("192.0.2.0/24"),)}, "address_not_allowed"),
        ({"allowed_origins": frozenset({"https://app.example.com"})}, "origin_not_allowed"),
    ],
    ids=["endpoint", "no endpoint", "address", "origin"],
)
async def test_a_bound_holds_for_each_header_path_and_alias(
    gateway: Serving,
    vendor: FakeUpstream,
    header: str,
    prefix: str,
    method: str,
    path: str,
    body: object,
    bound: dict[str, object],
    code: str,
) -> None:
    token = new_key().token
    gateway.keys.add(token, **bound)
    seen = await verdict(gateway, method, prefix + path, body, origin="https://evil.example", **carry(header, token))
    assert seen == (403, code)
    assert vendor.seen == []


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "alias"])
async def test_what_is_inside_the_bounds_is_served(
    gateway: Serving, vendor: FakeUpstream, is_stream: bool, model: str
) -> None:
    token = new_key().token
    gateway.keys.add(
        token,
        allowed_endpoints=frozenset({"chat"}),
        allowed_networks=(read_network("127.0.0.0/8"),),
        allowed_origins=frozenset({"https://app.example.com"}),
    )
    if is_stream:
        vendor.script = stream(*good_stream("hi"))
    for prefix in PREFIXES:
        for origin in ({}, {"origin": "https://app.example.com"}, {"origin": "HTTPS://APP.example.com:443"}):
            answer = await gateway.client.post(
                f"{prefix}/chat/completions",
                json=chat(stream=is_stream, model=model),
                headers={**carry("api-key", token), **origin},
            )
            assert answer.status_code == 200, answer.text
        refused = await gateway.client.get(f"{prefix}/models", headers=carry("api-key", token))
        assert refused.status_code == 403


async def test_an_origin_that_is_none_is_refused(gateway: Serving) -> None:
    token = new_key().token
    gateway.keys.add(token, allowed_origins=frozenset({"https://app.example.com"}))
    for origin in (
        "null",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "[",
        "https://APP.example.com:8",
    ):
        seen = await verdict(gateway, "GET", "/v1/models", None, origin=origin, **carry("api-key", token))
        assert seen == (403, "origin_not_allowed")


async def test_an_unbounded_key_is_used_from_anywhere(gateway: Serving) -> None:
    answer = await gateway.client.get("/v1/models", headers={"api-key": _default(gateway), "origin": "null"})
    assert answer.status_code == 200


def _default(gateway: Serving) -> str:
    token = new_key().token
    gateway.keys.add(token)
    return token


async def test_a_caller_names_no_other_address(gateway: Serving) -> None:
    """What proxies say is the server's to judge; here no proxy is trusted."""
    token = new_key().token
    gateway.keys.add(token, allowed_networks=(read_network("192.0.2.0/24"),))
    claims = {"x-forwarded-for": "192.0.2.1", "x-real-ip": "192.0.2.1", "forwarded": "for=192.0.2.1"}
    seen = await verdict(gateway, "GET", "/v1/models", None, **claims, **carry("api-key", token))
    assert seen == (403, "address_not_allowed")


@pytest.mark.parametrize(
    ("claim", "status"), [("192.0.2.1", 200), ("198.51.100.1", 403), ("192.0.2.1, 198.51.100.1", 403)]
)
async def test_a_trusted_proxy_names_the_last_address_it_did_not_add(
    tmp_path: Path, vendor: FakeUpstream, claim: str, status: int
) -> None:
    snap = snapshot([provider("one", vendor.base_url)], [])
    async with serving(tmp_path, snap, trusted_proxies="127.0.0.1") as behind:
        token = new_key().token
        behind.keys.add(token, allowed_networks=(read_network("192.0.2.0/24"),))
        headers = {"x-forwarded-for": claim, **carry("api-key", token)}
        assert (await behind.client.get("/v1/models", headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("address", "network", "is_inside"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "::ffff:10.0.0.0/104", True),
        ("11.1.2.3", "::ffff:10.0.0.0/104", False),
        ("::ffff:11.1.2.3", "10.0.0.0/8", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db9::1", "2001:db8::/32", False),
        ("fe80::1%eth0", "fe80::/10", True),
        ("10.1.2.3", "::/0", False),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("testclient", "0.0.0.0/0", False),
        ("010.1.2.3", "10.0.0.0/8", False),
        (None, "0.0.0.0/0", False),
    ],
)
def test_addresses_are_compared_as_addresses(address: str | None, network: str, is_inside: bool) -> None:
    assert address_allowed(address, (read_network(network),)) is is_inside


def test_networks_are_kept_in_one_spelling() -> None:
    assert str(read_network(" 10.1.2.3/8 ")) == "10.0.0.0/8"
    assert str(read_network("192.0.2.7")) == "192.0.2.7/32"
    assert str(read_network("::ffff:192.0.2.7")) == "192.0.2.7/32"
    assert str(read_network("2001:DB8::1/32")) == "2001:db8::/32"
    for text in ("", "10.0.0.0/33", "example.com", "10.0.0.1-10.0.0.9", "*"):
        with pytest.raises(ValueError, match=r".*"):
            read_network(text)
    assert covers_network(read_network("10.0.0.0/8"), read_network("10.2.0.0/16"))
    assert not covers_network(read_network("10.2.0.0/16"), read_network("10.0.0.0/8"))
    assert not covers_network(read_network("::/0"), read_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://App.Example.com", "https://app.example.com"),
        ("https://app.example.com:443/", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:80", "http://[::1]"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_origins_are_kept_as_browsers_send_them(text: str, origin: str) -> None:
    assert read_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "*",
        "https://*.example.com",
        "https://a/b",
        "https://u@a",
        "https://a?b",
        "https://a#b",
        "//a",
        "a",
        "https://",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        read_origin(text)


@pytest.mark.parametrize(
    ("entry", "path", "is_covered"),
    [
        ("chat/completions", "/v1/chat/completions", True),
        ("chat/completions", "/api/v1/chat/completions", True),
        ("chat", "/v1/chat/completions", True),
        ("chat", "/v1/chatter", False),
        ("completions", "/v1/chat/completions", False),
        ("models", "/v1/models/gpt-4o", True),
        ("models/gpt-4o", "/v1/models", False),
        ("models/gpt*", "/v1/models/gpt-4o", True),
        ("*", "/api/v1/keys", True),
        ("keys", "/api/v1/keys/key_1/rotate", True),
        ("keys", "/api/v1/tenants", False),
    ],
)
def test_an_endpoint_covers_itself_and_what_is_below(entry: str, path: str, is_covered: bool) -> None:
    assert endpoint_allowed(path, frozenset({entry})) is is_covered


SEGMENTS = st.lists(st.sampled_from(["chat", "chats", "completions", "models", "a"]), min_size=1, max_size=3)
ENTRIES = st.builds(lambda segments, star: "/".join(segments) + star, SEGMENTS, st.sampled_from(["", "*", "/*"]))


@given(ENTRIES, ENTRIES, SEGMENTS)
def test_what_an_entry_covers_lets_nothing_more_through(wide: str, narrow: str, segments: list[str]) -> None:
    """Attenuation: an entry given on inside another admits no path that the other refuses."""
    endpoint = "/".join(segments)
    if covers_endpoint(wide, narrow) and covers_endpoint(narrow, endpoint):
        assert covers_endpoint(wide, endpoint)


@given(SEGMENTS, st.sampled_from(PREFIXES))
def test_both_spellings_of_a_path_are_one_endpoint(segments: list[str], prefix: str) -> None:
    assert endpoint_of(f"{prefix}/{'/'.join(segments)}") == "/".join(segments)


def test_a_principal_without_bounds_is_told_as_such() -> None:
    assert not principal().is_bounded
    for bound in ({"allowed_endpoints": frozenset()}, {"allowed_networks": ()}, {"allowed_origins": frozenset()}):
        assert principal(**bound).is_bounded
    assert key_admits(principal(), endpoint="/v1/models", address=None, origin="null") is None
