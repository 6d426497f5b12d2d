"""What issuers publish: kept as long as they say, looked for again when a key is unknown, believed while they are down."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.domains.control_plane import MovableClock
from tests.oidc_provider import Provider, SigningKey, new_key, running_provider, sign
from tollkeeper.core.foreign_tokens import ForeignTokenRefused, UnknownKey, take_apart
from tollkeeper.core.outbound import Outbound
from tollkeeper.domains.identity_providers.issuers import Issuer, Issuers, IssuerUnavailable, IssuerUnfit

KEYS = "/keys"
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def issuers(clock: MovableClock) -> Issuers:
    return Issuers(Outbound(total_seconds=5), clock)


@pytest.fixture
async def provider(clock: MovableClock) -> AsyncIterator[Provider]:
    async with running_provider(clock=clock.unix) as provider:
        yield provider


async def judge(issuers: Issuers, provider: Provider, token: str | None = None) -> Any:
    token = token or provider.token_for("us", sub="job")
    return await issuers.verify(Issuer(provider.issuer, allow_private_address=True), take_apart(token))


async def test_keys_are_fetched_once_for_many_tokens(issuers: Issuers, provider: Provider) -> None:
    for _ in range(3):
        assert (await judge(issuers, provider))["sub"] == "job"

    assert (provider.asked[DISCOVERY], provider.asked[KEYS]) == (1, 1)


@pytest.mark.parametrize(
    ("cache_control", "life"),
    [("max-age=1200", 1200), ("max-age=1", 300), ("public, max-age=99999999", 86_400), ("no-store", 3600), ("", 3600)],
)
async def test_keys_live_as_long_as_the_issuer_says_within_bounds(
    issuers: Issuers, provider: Provider, clock: MovableClock, cache_control: str, life: float
) -> None:
    provider.cache_control = cache_control
    await judge(issuers, provider)

    clock.ahead = life - 5
    await judge(issuers, provider)
    assert provider.asked[KEYS] == 1

    clock.ahead = life + 5
    await judge(issuers, provider)
    assert provider.asked[KEYS] == 2


async def test_rotated_key_is_found_at_once_and_the_old_one_is_gone(issuers: Issuers, provider: Provider) -> None:
    await judge(issuers, provider)
    old = provider.token_for("us", sub="job")

    provider.rotate("RS256")

    await judge(issuers, provider)
    with pytest.raises(UnknownKey):
        await judge(issuers, provider, old)


async def test_unknown_keys_make_it_look_once_a_minute(
    issuers: Issuers, provider: Provider, clock: MovableClock
) -> None:
    await judge(issuers, provider)
    for _ in range(20):
        with pytest.raises(UnknownKey):
            await judge(issuers, provider, _of_a_stranger(provider))
    assert provider.asked[KEYS] == 2

    clock.ahead = 61
    with pytest.raises(UnknownKey):
        await judge(issuers, provider, _of_a_stranger(provider))

    assert provider.asked[KEYS] == 3


async def test_issuer_that_is_down_is_believed_by_its_last_keys_for_a_day(
    issuers: Issuers, provider: Provider, clock: MovableClock
) -> None:
    await judge(issuers, provider)
    provider.is_down = True

    for ahead in (700, 10_000, 80_000):
        clock.ahead = ahead
        assert (await judge(issuers, provider))["sub"] == "job"

    clock.ahead = 90_000
    with pytest.raises(IssuerUnavailable):
        await judge(issuers, provider)


async def test_unknown_key_while_the_issuer_is_down_is_not_called_wrong(issuers: Issuers, provider: Provider) -> None:
    await judge(issuers, provider)
    provider.is_down = True

    for _ in range(2):
        with pytest.raises(IssuerUnavailable):
            await judge(issuers, provider, _of_a_stranger(provider))


async def test_issuer_that_is_down_is_not_stormed_and_recovers(
    issuers: Issuers, provider: Provider, clock: MovableClock
) -> None:
    provider.is_down = True
    for _ in range(10):
        with pytest.raises(IssuerUnavailable):
            await judge(issuers, provider)
    assert provider.asked[DISCOVERY] == 1

    provider.is_down = False
    clock.ahead = 6

    assert (await judge(issuers, provider))["sub"] == "job"


async def test_slow_issuer_holds_nobody_up_for_long_who_can_go_on(
    issuers: Issuers, provider: Provider, clock: MovableClock
) -> None:
    await judge(issuers, provider)
    provider.gate = asyncio.Event()
    clock.ahead = 700

    async with asyncio.timeout(4):
        found = await asyncio.gather(*(judge(issuers, provider) for _ in range(20)))

    assert [claims["sub"] for claims in found] == ["job"] * 20
    assert provider.asked[KEYS] + provider.asked[DISCOVERY] == 3
    provider.gate.set()
    while provider.asked[KEYS] < 2:
        await asyncio.sleep(0.01)


async def test_tokens_that_arrive_together_wait_for_one_fetch(issuers: Issuers, provider: Provider) -> None:
    found = await asyncio.gather(*(judge(issuers, provider) for _ in range(20)))

    assert len(found) == 20
    assert (provider.asked[DISCOVERY], provider.asked[KEYS]) == (1, 1)


async def test_token_of_another_issuer_is_refused_without_a_fetch(issuers: Issuers, provider: Provider) -> None:
    token = sign(provider.keys[0], {"iss": "https://other.example", "exp": 32_000_000_000})

    with pytest.raises(ForeignTokenRefused):
        await judge(issuers, provider, token)

    assert not provider.asked


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://other.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "ftp://example.com/keys"},
        {"jwks_uri": "http://user@127.0.0.1/keys"},
        {"token_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": ["http://127.0.0.1/"]},
    ],
    ids=str,
)
async def test_discovery_that_cannot_be_used_says_so(
    issuers: Issuers, provider: Provider, discovery: dict[str, Any]
) -> None:
    provider.discovery = discovery

    with pytest.raises(IssuerUnfit):
        await issuers.metadata(Issuer(provider.issuer, allow_private_address=True))


async def test_key_set_without_a_usable_key_says_so(issuers: Issuers, provider: Provider) -> None:
    provider.keys = []

    with pytest.raises(IssuerUnfit):
        await judge(issuers, provider, provider_token_of(new_key(), provider))


async def test_private_issuer_is_not_asked_without_the_operators_word(issuers: Issuers, provider: Provider) -> None:
    with pytest.raises(IssuerUnavailable):
        await issuers.metadata(Issuer(provider.issuer, allow_private_address=False))

    assert not provider.asked


async def test_what_was_fetched_with_the_operators_word_serves_nobody_without_it(
    issuers: Issuers, provider: Provider
) -> None:
    await judge(issuers, provider)

    with pytest.raises(IssuerUnavailable):
        await issuers.verify(Issuer(provider.issuer, allow_private_address=False), take_apart(provider.token_for("us")))


def provider_token_of(key: SigningKey, provider: Provider) -> str:
    now = int(provider.clock())
    return sign(key, {"iss": provider.issuer, "aud": "us", "iat": now, "exp": now + 300})


def _of_a_stranger(provider: Provider) -> str:
    return provider_token_of(new_key(), provider)
