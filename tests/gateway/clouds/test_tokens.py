"""Tokens are fetched once for all who wait, renewed before they end, and asked for at their own service only."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.gateway.clouds.token_service import config, entra, form, origin, tokens_in_turn
from tests.gateway.serving import ManualClock
from tests.gateway.upstream import FakeUpstream, answer, answer_json, answer_raw, silent
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.cloud_entra import entra_token
from tollkeeper.gateway.cloud_tokens import MAX_ANSWER_BYTES, Tokens
from tollkeeper.gateway.provider import CredentialRefused, CredentialUnavailable


def azure(service: FakeUpstream, **fields: Any) -> Any:
    return config("azure", "https://unused.example", entra(service, **fields))


async def token(tokens: Tokens, owner: Any) -> str:
    return await entra_token(tokens, owner, owner.credentials[0])


async def until(predicate: Any) -> None:
    for _ in range(400):
        if predicate():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def test_many_who_wait_ask_once(service: FakeUpstream, tokens: Tokens) -> None:
    service.script = tokens_in_turn("one", "two")
    owner = azure(service)

    found = await asyncio.gather(*(token(tokens, owner) for _ in range(20)))

    assert set(found) == {"one"}
    assert len(service.seen) == 1
    assert await token(tokens, owner) == "one"
    assert len(service.seen) == 1


async def test_one_who_leaves_does_not_take_the_token_from_the_others(service: FakeUpstream, tokens: Tokens) -> None:
    gate = asyncio.Event()

    async def script(seen: Any, writer: Any) -> bool | None:
        await gate.wait()
        return await tokens_in_turn("one")(seen, writer)

    service.script = script
    owner = azure(service)
    first, second = (asyncio.create_task(token(tokens, owner)) for _ in range(2))
    await until(lambda: service.seen)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.set()

    assert await second == "one"
    assert len(service.seen) == 1


async def test_token_is_renewed_ahead_while_the_old_one_serves(
    service: FakeUpstream, tokens: Tokens, clock: ManualClock
) -> None:
    service.script = tokens_in_turn("one", "two")
    owner = azure(service)
    await token(tokens, owner)

    clock.ahead += 3600 - 299
    assert await token(tokens, owner) == "one"
    await until(lambda: len(service.seen) == 2)
    await until(lambda: tokens._entries and all(entry.task is None for entry in tokens._entries.values()))
    assert await token(tokens, owner) == "two"


async def test_token_that_is_over_is_not_used(service: FakeUpstream, tokens: Tokens, clock: ManualClock) -> None:
    service.script = tokens_in_turn("one", "two")
    owner = azure(service)
    await token(tokens, owner)
    clock.ahead += 3595

    assert await token(tokens, owner) == "two"


async def test_outage_ahead_of_the_end_is_not_noticed(
    service: FakeUpstream, tokens: Tokens, clock: ManualClock
) -> None:
    service.script = tokens_in_turn("one")
    owner = azure(service)
    await token(tokens, owner)
    service.script = answer(503, b"down")
    clock.ahead += 3400

    for _ in range(3):
        assert await token(tokens, owner) == "one"
    await until(lambda: len(service.seen) == 2)
    # One attempt each few seconds, however many calls there are.
    assert len(service.seen) == 2


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (answer_json({"error": "invalid_client", "error_description": "entra-client-secret"}, 401), CredentialRefused),
        (answer_json({"error": "invalid_grant"}, 400), CredentialRefused),
        (answer(503, b"down"), CredentialUnavailable),
        (answer(429, b"{}"), CredentialUnavailable),
        (answer(302, b"", [("location", "http://127.0.0.1:1/")]), CredentialUnavailable),
        (answer(200, b"<html>"), CredentialUnavailable),
        (answer(200, b"[1]"), CredentialUnavailable),
        (answer_json({"access_token": ""}), CredentialUnavailable),
        (answer_json({"access_token": "a\r\nx: y"}), CredentialUnavailable),
        (answer_json({"access_token": 7}), CredentialUnavailable),
        (answer(200, b"[" * 100_000), CredentialUnavailable),
        (answer(200, b" " * (MAX_ANSWER_BYTES + 1)), CredentialUnavailable),
        (answer_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), CredentialUnavailable),
        (answer_raw(b"no http\r\n\r\n"), CredentialUnavailable),
    ],
)
async def test_service_that_gives_no_token_is_a_named_error(
    service: FakeUpstream, tokens: Tokens, script: Any, kind: type[UpstreamError]
) -> None:
    service.script = script
    owner = azure(service)

    with pytest.raises(CredentialUnavailable) as told:
        await token(tokens, owner)

    assert type(told.value) is kind
    assert told.value.code == kind.code
    assert "entra-client-secret" not in told.value.message


async def test_failing_service_gets_no_crowd(service: FakeUpstream, tokens: Tokens, clock: ManualClock) -> None:
    service.script = answer(500, b"")
    owner = azure(service)
    for _ in range(5):
        with pytest.raises(CredentialUnavailable):
            await token(tokens, owner)
    assert len(service.seen) == 1

    service.script = tokens_in_turn("one")
    clock.ahead += 3
    assert await token(tokens, owner) == "one"


async def test_silent_service_ends_in_time(service: FakeUpstream, tokens: Tokens, clock: ManualClock) -> None:
    service.script = silent()
    owner = azure(service)
    asked = asyncio.create_task(token(tokens, owner))
    await until(lambda: service.seen)
    clock.ahead += 11

    with pytest.raises(CredentialUnavailable):
        await asked


async def test_token_that_the_vendor_refused_is_given_up_once_it_has_aged(
    service: FakeUpstream, tokens: Tokens, clock: ManualClock
) -> None:
    service.script = tokens_in_turn("one", "two")
    owner = azure(service)
    await token(tokens, owner)

    tokens.refused(owner.credentials[0])
    assert await token(tokens, owner) == "one"  # a new one would be refused as well: rights are missing
    clock.ahead += 61
    tokens.refused(owner.credentials[0])
    assert await token(tokens, owner) == "two"


async def test_secret_goes_to_the_token_service_and_nowhere_else(service: FakeUpstream, tokens: Tokens) -> None:
    service.script = tokens_in_turn("one")
    owner = azure(service)
    object.__setattr__(owner, "headers", {"x-operator": "for the vendor alone"})
    await token(tokens, owner)

    (asked,) = service.seen
    assert (asked.method, asked.path) == ("POST", "/contoso.example/oauth2/v2.0/token")
    assert form(asked) == {
        "grant_type": "client_credentials",
        "client_id": "11111111-aaaa",
        "client_secret": "entra-client-secret",
        "scope": "https://cognitiveservices.azure.com/.default",
    }
    assert asked.header("content-type") == "application/x-www-form-urlencoded"
    assert asked.header("x-operator") is None
    assert asked.header("authorization") is None


async def test_address_of_a_token_service_is_checked_like_any_other(service: FakeUpstream, tokens: Tokens) -> None:
    """Loopback is not the vendor's own address, and needs the operator's word."""
    owner = config("azure", "https://unused.example", entra(service), allow_private_address=False)

    with pytest.raises(CredentialRefused) as told:
        await token(tokens, owner)

    assert told.value.code == "upstream_configuration"
    assert service.seen == []


async def test_credentials_do_not_share_tokens(service: FakeUpstream, tokens: Tokens) -> None:
    service.script = tokens_in_turn("one", "two")
    assert await token(tokens, azure(service)) == "one"
    assert await token(tokens, azure(service, client_id="other")) == "two"
    assert origin(service).startswith("http://127.0.0.1")


async def test_federated_token_is_read_anew_each_time(
    service: FakeUpstream, tokens: Tokens, clock: ManualClock, tmp_path: Any
) -> None:
    service.script = tokens_in_turn("one", "two")
    file = tmp_path / "token"
    file.write_text("first-proof\n")
    document = {**entra(service), "federated_token_file": str(file)}
    del document["client_secret"]
    owner = config("azure", "https://unused.example", document, is_managed_by_file=True)
    await token(tokens, owner)
    file.write_text("second-proof")
    clock.ahead += 4000
    await token(tokens, owner)

    assert [form(seen)["client_assertion"] for seen in service.seen] == ["first-proof", "second-proof"]
    assert {form(seen)["client_assertion_type"] for seen in service.seen} == {
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    }
    file.unlink()
    clock.ahead += 4000
    with pytest.raises(CredentialUnavailable):
        await token(tokens, owner)


async def test_neither_secret_nor_token_is_logged(service: FakeUpstream, tokens: Tokens, clock: ManualClock) -> None:
    service.script = tokens_in_turn("entra.token.of.ours")
    owner = azure(service)
    with capture_logs() as lines:
        await token(tokens, owner)
        service.script = answer_json({"error": "invalid_client", "error_description": "entra-client-secret"}, 401)
        clock.ahead += 4000
        with pytest.raises(CredentialRefused):
            await token(tokens, owner)
    said = str(lines) + repr(tokens._entries) + repr(tokens._documents)
    assert [line["event"] for line in lines] == ["cloud_token_refused"]
    assert "entra-client-secret" not in said
    assert "entra.token.of.ours" not in said


async def test_tokens_that_are_over_do_not_stay(service: FakeUpstream, tokens: Tokens, clock: ManualClock) -> None:
    service.script = tokens_in_turn("one", "two", "three")
    await token(tokens, azure(service))
    clock.ahead += 4000
    last = azure(service, client_id="other")
    await token(tokens, last)

    assert [credential for credential, _ in tokens._entries] == [last.credentials[0]]


async def test_word_that_the_operator_takes_back_counts_at_once(service: FakeUpstream, tokens: Tokens) -> None:
    service.script = tokens_in_turn("one")
    owner = azure(service)
    assert await token(tokens, owner) == "one"
    with pytest.raises(CredentialRefused):
        await token(tokens, replace(owner, allow_private_address=False))
